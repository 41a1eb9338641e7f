"""A training step of our torch backend beside the best plain PyTorch we could write, alternately in one process.

    python benchmarks/torch_step.py [--rounds 15]

Workload W: 2-D, 16 levels x 2 features, 2^15 entries, base 16, scale 1.5, network 64 x 2 -> 3, 65,536 points, forward,
backward and Adam. The other side is written for this file alone: all levels and corners at once, ``embedding_bag``
forward, ``index_put_`` backward, fused Adam. It is checked to compute the same function before it is timed.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neufield as nf
from neufield.encodings import Grid
from neufield.fields import MLP, NeuralField

POINTS = 65_536


class BagGather(torch.autograd.Function):
    """Weighted rows of a table; the table's gradient by ``index_put_``."""

    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(index, weight)
        ctx.entries = table.shape[0]
        return F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        index, weight = ctx.saved_tensors
        values = (weight.unsqueeze(-1) * grad.unsqueeze(1)).view(-1, grad.shape[-1])
        table = grad.new_zeros(ctx.entries, grad.shape[-1])
        return table.index_put_((index.view(-1),), values, accumulate=True), None, None


class PlainGrid(nn.Module):
    """The same encoding, all levels and corners in one batch of tensor operations."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        levels = grid.spec.levels
        self.table = nn.Parameter(grid.table.detach().clone())
        self.register_buffer("scale", torch.tensor([level.scale for level in levels]))
        self.register_buffer("resolution", torch.tensor([level.resolution for level in levels]))
        self.register_buffer("size", torch.tensor([level.size for level in levels]))
        self.register_buffer("offset", torch.tensor([level.offset for level in levels]))
        self.register_buffer("hashed", torch.tensor([level.hashed for level in levels]))
        self.register_buffer("corners", torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2) -> (N, levels * features)."""
        position = (x.double()[:, None, :] * self.scale[:, None].double() + 0.5).float()
        cell = position.floor()
        fraction = position - cell
        vertex = cell.long()[:, :, None, :] + self.corners
        dense = vertex[..., 0] + vertex[..., 1] * self.resolution[:, None]
        mixed = (vertex[..., 0] ^ (vertex[..., 1] * 2654435761)) & 0xFFFFFFFF
        index = torch.where(self.hashed[:, None], mixed, dense) % self.size[:, None] + self.offset[:, None]
        share = torch.where(self.corners.bool(), fraction[:, :, None, :], 1 - fraction[:, :, None, :])
        weight = share.prod(-1)
        rows = BagGather.apply(self.table, index.view(-1, 4), weight.view(-1, 4))
        return rows.view(len(x), -1)


def step_of(model: nn.Module, x: Tensor, target: Tensor):
    """A function that does one training step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.99), eps=1e-15, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.mse_loss(model(x), target).backward()
        optimizer.step()

    return step


def seconds(function) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def main() -> None:
    """Check, time alternately, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "torch_step.json")
    options = parser.parse_args()
    nf.keep_freed_memory()  # for both sides
    generator = torch.Generator().manual_seed(0)
    grid = Grid(2, log2_hashmap_size=15, per_level_scale=1.5, generator=generator)
    with torch.no_grad():
        grid.table.mul_(1e4)  # large enough for a wrong corner to show
    field = NeuralField(grid, MLP(32, 3, bias=False, generator=generator))
    plain_grid = PlainGrid(grid)
    plain = nn.Sequential(
        plain_grid,
        nn.Linear(32, 64, bias=False),
        nn.ReLU(),
        nn.Linear(64, 64, bias=False),
        nn.ReLU(),
        nn.Linear(64, 3, bias=False),
    )
    for ours, theirs in zip(field.network.layers, (plain[1], plain[3], plain[5]), strict=True):
        theirs.weight.data.copy_(ours.weight.data)
    x, target = torch.rand(POINTS, 2, generator=generator), torch.rand(POINTS, 3, generator=generator)
    for a, b in ((grid(x), plain_grid(x)), (field(x), plain(x))):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)

    sides = {"neufield torch": step_of(field, x, target), "best plain PyTorch": step_of(plain, x, target)}
    with torch.no_grad():
        sides |= {"neufield forward": lambda: field(x), "plain forward": lambda: plain(x)}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(options.rounds + 2):
        for name, function in sides.items():
            with torch.set_grad_enabled("forward" not in name):
                spent = seconds(function)
            if round_ >= 2:
                times[name].append(spent * 1e3)
    medians = {name: statistics.median(values) for name, values in times.items()}
    result = {
        "workload": "W",
        "points": POINTS,
        "median_ms": medians,
        "p10_ms": {name: float(np.percentile(v, 10)) for name, v in times.items()},
        "p90_ms": {name: float(np.percentile(v, 90)) for name, v in times.items()},
        "ratio_step": medians["best plain PyTorch"] / medians["neufield torch"],
        "ratio_forward": medians["plain forward"] / medians["neufield forward"],
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "platform": platform.platform(),
        "torch": torch.__version__,
    }
    for name, median in medians.items():
        print(f"{name:20s} {median:8.1f} ms  [{result['p10_ms'][name]:.1f} - {result['p90_ms'][name]:.1f}]")
    print(f"ours is {result['ratio_step']:.2f} times as fast in a step, {result['ratio_forward']:.2f} forward")
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
