"""The other side of benchmarks/cpu.py: grids and networks in the best plain PyTorch that we could write.

It shares no code with neufield's own torch backend. What was tried for it and left out as slower (CPU time of one
thread, W / V, forward and backward of the grid, ms): batches of points outermost instead of levels (339 / 943 against
210 / 623), one corner at a time (371 / 2424), the gradient corner by corner (206 / 669), ``bmm`` in place of multiply
and sum (241 / 1280 against 286 / 1220, and slower forward on V). So: indices of 32 bits, levels outermost (neighbouring
rows then lie in one level), and dense and hashed levels each with only their own arithmetic.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neufield.core.records import Batch
from neufield.fields import NeuralField
from neufield.functional.grid_levels import PRIMES
from neufield.kernels.grid import GridSpec

ACTIVATIONS = {"relu": F.relu, "silu": F.silu}


def _asked(ctx, i: int) -> bool:
    """Whether this backward pass will use the gradient of tensor ``i``; without the question it is made for nothing."""
    if not ctx.needs_input_grad[i]:
        return False
    try:
        return torch._C._will_engine_execute_node(ctx.next_functions[i][0])
    except RuntimeError:  # a leaf that was asked for by name
        return True


class _Gather(torch.autograd.Function):
    """Weighted sums of table rows: (table (E, F), index (N, C), weight (N, C)) -> (N, F)."""

    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, weight)
        return F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")

    @staticmethod
    def backward(ctx, grad: Tensor):
        table, index, weight = ctx.saved_tensors
        by_table = _Scatter.apply(weight, index, grad, len(table)) if _asked(ctx, 0) else None
        by_weight = _Contract.apply(table, index, grad) if _asked(ctx, 2) else None
        return by_table, None, by_weight


class _Scatter(torch.autograd.Function):
    """The table's gradient by ``index_put_``: (weight (N, C), index (N, C), g (N, F), E) -> (E, F)."""

    @staticmethod
    def forward(ctx, weight: Tensor, index: Tensor, g: Tensor, entries: int) -> Tensor:
        ctx.save_for_backward(weight, index, g)
        values = (weight.unsqueeze(-1) * g.unsqueeze(1)).flatten(0, 1)
        return g.new_zeros(entries, g.shape[-1]).index_put_((index.flatten(),), values, accumulate=True)

    @staticmethod
    def backward(ctx, grad: Tensor):
        weight, index, g = ctx.saved_tensors
        by_weight = _Contract.apply(grad, index, g) if _asked(ctx, 0) else None
        by_g = _Gather.apply(grad, index, weight) if _asked(ctx, 2) else None
        return by_weight, None, by_g, None


class _Contract(torch.autograd.Function):
    """The weights' gradient: (table (E, F), index (N, C), g (N, F)) -> (N, C)."""

    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor, g: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, g)
        return (table[index] * g.unsqueeze(1)).sum(-1)

    @staticmethod
    def backward(ctx, grad: Tensor):
        table, index, g = ctx.saved_tensors
        by_table = _Scatter.apply(grad, index, g, len(table)) if _asked(ctx, 0) else None
        by_g = _Gather.apply(table, index, grad) if _asked(ctx, 2) else None
        return by_table, None, by_g


def bag(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """``embedding_bag`` forward, hand-written ``index_put_`` backward, differentiable any number of times."""
    return _Gather.apply(table, index, weight)


def rows(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """``table[index]``, and autograd for the rest."""
    return (table[index] * weight.unsqueeze(-1)).sum(1)


GATHERS = {"bag": bag, "rows": rows}


@functools.cache
def _addcmul_rounds_once() -> bool:
    x, scale, half = torch.rand(100_003), torch.tensor(7006.532), torch.tensor(0.5)
    return torch.equal(torch.addcmul(half, x, scale), (x.double() * scale.double() + 0.5).float())


class PlainGrid(nn.Module):
    """A hash grid with linear interpolation. ``gather`` names how table rows are read.

    The position scale * x + 0.5 must be rounded once to float32, or points near a cell's border land in its
    neighbor: by ``addcmul`` where that is a fused multiply-add, else through float64. With a float64 table
    everything after this rounding is float64.
    """

    def __init__(self, spec: GridSpec, table: Tensor, gather: str, exact_positions: bool = False) -> None:
        super().__init__()
        self.table = nn.Parameter(table.detach().clone())
        self.gather = GATHERS[gather]
        self.fused = not exact_positions and table.dtype == torch.float32 and _addcmul_rounds_once()
        levels = spec.levels
        self.dim, self.dense = spec.dim, sum(not level.hashed for level in levels)
        self.mask = levels[-1].size - 1
        steps = [[PRIMES[j] if level.hashed else level.resolution**j for level in levels] for j in range(spec.dim)]
        self.register_buffer("stagger", torch.tensor(0.5), persistent=False)
        self.register_buffer("scale", torch.tensor([level.scale for level in levels])[:, None], persistent=False)
        self.register_buffer("step", torch.tensor(steps).to(torch.int32)[:, :, None], persistent=False)
        for name in ("size", "offset"):
            values = torch.tensor([getattr(level, name) for level in levels], dtype=torch.int32)
            self.register_buffer(name, values[:, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim) -> (N, levels * features)."""
        positions = [self._position(axis) for axis in x.unbind(-1)]  # each (L, N)
        cells = [position.detach().floor() for position in positions]
        fractions = [position - cell for position, cell in zip(positions, cells, strict=True)]
        low = [cell.int() * step for cell, step in zip(cells, self.step, strict=True)]
        ends = [(at, at + step) for at, step in zip(low, self.step, strict=True)]
        shares = [(1 - fraction, fraction) for fraction in fractions]
        index, weight = [], []
        for corner in range(2**self.dim):
            upper = [corner >> j & 1 for j in range(self.dim)]
            weight.append(functools.reduce(torch.mul, [share[up] for share, up in zip(shares, upper, strict=True)]))
            index.append(self._row([end[up] for end, up in zip(ends, upper, strict=True)]))
        features = self.gather(self.table, torch.stack(index, -1).flatten(0, 1), torch.stack(weight, -1).flatten(0, 1))
        return features.view(len(self.scale), len(x), -1).transpose(0, 1).reshape(len(x), -1)

    def _position(self, axis: Tensor) -> Tensor:
        if self.fused:
            return torch.addcmul(self.stagger, axis, self.scale)
        exact = axis.double() * self.scale.double() + 0.5
        if self.table.dtype == torch.float32:
            return exact.float()
        return exact + (exact.float().double() - exact).detach()  # the same value; its gradient stays float64

    def _row(self, ends: list[Tensor]) -> Tensor:
        """Table rows (L, N) of one corner; ``ends`` has a summand (dense) or factor (hashed) for each axis."""
        dense = functools.reduce(torch.add, [end[: self.dense] for end in ends]) % self.size[: self.dense]
        mixed = functools.reduce(torch.bitwise_xor, [end[self.dense :] for end in ends]) & self.mask
        return torch.cat([dense, mixed]) + self.offset


class PlainField(nn.Module):
    """A grid and a chain of linear maps without bias."""

    def __init__(self, grid: PlainGrid, weights: list[Tensor], activation: str) -> None:
        super().__init__()
        self.grid = grid
        self.weights = nn.ParameterList([weight.detach().clone() for weight in weights])
        self.activate = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        h = self.grid(x)
        for weight in self.weights[:-1]:
            h = self.activate(F.linear(h, weight))
        return F.linear(h, self.weights[-1])


class PlainSiren(nn.Module):
    """sin(omega (W h + b)), layer by layer, on points of the unit box mapped to [-1, 1].

    ``folded`` multiplies omega into weights and biases, which saves a pass over every activation.
    """

    def __init__(self, layers: list[nn.Linear], omega: float, folded: bool) -> None:
        super().__init__()
        self.weights = nn.ParameterList([t.detach().clone() for layer in layers for t in (layer.weight, layer.bias)])
        self.omega, self.folded = omega, folded

    def forward(self, x: Tensor) -> Tensor:
        h = x * 2 - 1
        *hidden, (weight, bias) = zip(self.weights[::2], self.weights[1::2], strict=True)
        for w, b in hidden:
            if self.folded:
                h = F.linear(h, w * self.omega, b * self.omega).sin()
            else:
                h = (self.omega * F.linear(h, w, b)).sin()
        return F.linear(h, weight, bias)


class Chunked(nn.Module):
    """``model`` on ``size`` points at a time: larger batches only make larger temporaries."""

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        self.model, self.size = model, size

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.model(part) for part in x.split(self.size)])


def mse(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """The plain L2 loss; of a neufield as ``nf.fit`` computes it, in one pass with its gradients where it can."""
    fused = model.fused_loss(Batch(x, target), "l2") if isinstance(model, NeuralField) else None
    return fused[0] if fused else F.mse_loss(model(x), target)


def eikonal(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """mean((|grad f| - 1)^2) + mean(f^2): its gradient by the parameters needs second derivatives of f."""
    del target
    x = x.detach().requires_grad_()
    f = model(x)
    slope = torch.autograd.grad(f.sum(), x, create_graph=True)[0]
    return (slope.norm(dim=-1) - 1).square().mean() + f.square().mean()


def relative(found: Tensor, truth: Tensor) -> float:
    """The relative L2 error."""
    error = (found.detach().double() - truth.detach().double()).norm() / truth.detach().double().norm()
    return float(error) if math.isfinite(error) else math.inf
