"""Grid and network by tiny-cuda-nn's fused fp16 network. Not run on a GPU: tested with a stand-in for tinycudann.

A network may also be alone, given its features.

Its numbers in one row: the network's matrices one after the other, each (out, in) row by row, the first one's inputs
and the last one's outputs filled up to a multiple of 16; then the grid's table, as ours is. The features that fill up
the first one's inputs are zeros, or ones where it is alone; their weights are 0
(and so they do not matter), and their gradients are dropped.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neufield.kernels import tinycudann
from neufield.kernels.arguments import FLOATING, check, of_field
from neufield.kernels.field.reference import evaluate
from neufield.kernels.field.spec import REGRESSION_LOSSES, FieldKernel, FieldSpec
from neufield.kernels.grid import tcnn as grid_tcnn
from neufield.kernels.grid.spec import GridSpec

_ALIGNMENT = 16  # of all its networks; CutlassMLP's was 8 before version 1.6
_WIDTHS = (16, 32, 64, 128)
_ACTIVATIONS = {"none": "None", "relu": "ReLU", "leaky_relu": "LeakyReLU"}  # the rest of ours is not fused there


class TcnnField(FieldKernel):
    """``evaluate`` by ``tinycudann.NetworkWithInputEncoding``: fp16 products and sums, float32 numbers of ours.

    ``fusion`` is tiny-cuda-nn's JIT fusion, used where the GPU supports it. Copied at each call: each number once, as
    it is rounded to fp16.
    """

    name = "tcnn"
    # fp16 has 11 bits, and sums are fp16, too; the bound is the for half precision.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 5e-3}

    def __init__(self, fusion: bool = True) -> None:
        self.fusion = fusion

    def obstacles(self, spec: FieldSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """CUDA, a tinycudann that loads, float32 parameters, half precision, and parts that it has."""
        found = tinycudann.obstacles(device)
        if dtype != torch.float32:
            found.append(f"tiny-cuda-nn rounds float32 parameters, not {str(dtype).removeprefix('torch.')} ones.")
        if spec.precision == "fp32":
            found.append("tiny-cuda-nn computes in fp16, which has to be asked for with --precision bf16.")
        if spec.width not in _WIDTHS or spec.n_hidden_layers < 1:
            found.append(
                f"tiny-cuda-nn's fused network has hidden layers of 16, 32, 64 or 128, not {spec.n_hidden_layers} of "
                f"{spec.width}."
            )
        if spec.bias:
            found.append("tiny-cuda-nn's networks have no biases; build the network with bias=False.")
        if spec.activation not in _ACTIVATIONS:
            found.append(f"tiny-cuda-nn's fused network knows {', '.join(_ACTIVATIONS)}, not '{spec.activation}'.")
        return found + _ENCODINGS[spec.kind].obstacles(spec.encoding)

    def evaluate(self, x: Tensor, table: Tensor | None, params: Tensor, spec: FieldSpec) -> Tensor:
        """Points or features ``x (N, .)`` -> ``(N, out_dim)``; the arguments are those of ``reference.evaluate``."""
        check("field", of_field(spec, FLOATING), x=x, table=table, params=params)
        numbers = [params] if table is None else [table, params]
        reference = functools.partial(_reference, spec)
        return tinycudann.call(_network(spec, self.fusion), Packed(spec), reference, x, *numbers)

    def fused_loss(
        self,
        x: Tensor,
        table: Tensor | None,
        params: Tensor,
        target: Tensor,
        weight: Tensor | None,
        loss: str,
        spec: FieldSpec,
    ) -> tuple[Tensor, Tensor]:
        """Compute ``reference.fused_loss``."""
        target, weight = target.float(), None if weight is None else weight.float()
        check("field", of_field(spec, FLOATING), x=x, target=target, weight=weight)
        error = REGRESSION_LOSSES[loss](self.evaluate(x, table, params, spec), target).mean(-1)
        return (error if weight is None else error * weight).mean(), error.detach()


class Packed(tinycudann.Layout):
    """A table, if any, and a network's ``params``, as ``reference.evaluate`` has them, in tiny-cuda-nn's row."""

    def __init__(self, spec: FieldSpec, alignment: int = _ALIGNMENT, dtype: torch.dtype = torch.float16) -> None:
        self.spec = spec
        self.dtype = dtype
        last = len(spec.shapes) - 1
        self.padded = [
            (_filled(n_out, alignment if i == last else 1), _filled(n_in, alignment if i == 0 else 1))
            for i, (n_out, n_in) in enumerate(spec.shapes)
        ]
        self.n_network = sum(math.prod(shape) for shape in self.padded)
        self.size = self.n_network + math.prod(spec.table_shape or (0,))

    def pack(self, *numbers: Tensor) -> Tensor:
        """(table, params), or (params,) -> (size,)."""
        *tables, params = numbers
        row = torch.empty(self.size, dtype=self.dtype, device=params.device)
        begin = 0
        matrices = params.split([math.prod(shape) for shape in self.spec.shapes])
        for matrix, (n_out, n_in), (rows, columns) in zip(matrices, self.spec.shapes, self.padded, strict=True):
            padding = (0, columns - n_in, 0, rows - n_out)
            row[begin : begin + rows * columns] = F.pad(matrix.view(n_out, n_in), padding).flatten()
            begin += rows * columns
        for table in tables:
            row[begin:] = table.reshape(-1)
        return row

    def unpack(self, row: Tensor) -> tuple[Tensor, ...]:
        """(size,) -> (table, params), or (params,); what fills up is dropped."""
        network, table = row.split([self.n_network, self.size - self.n_network])
        matrices = network.split([math.prod(shape) for shape in self.padded])
        kept = [
            matrix.view(shape)[:n_out, :n_in].flatten()
            for matrix, shape, (n_out, n_in) in zip(matrices, self.padded, self.spec.shapes, strict=True)
        ]
        params = torch.cat(kept)
        return (params,) if self.spec.table_shape is None else (table.view(self.spec.table_shape), params)


def _filled(n: int, alignment: int) -> int:
    return -(-n // alignment) * alignment


def _reference(spec: FieldSpec, x: Tensor, *numbers: Tensor) -> Tensor:
    *tables, params = numbers
    return evaluate(x, tables[0] if tables else None, params, spec)


class _Encoding(NamedTuple):
    """What tiny-cuda-nn makes of one kind of encoding: why it cannot, and its module of encoding and network."""

    obstacles: Callable[[Any], list[str]]
    make: Callable[[FieldSpec], nn.Module]


def _alone(spec: FieldSpec) -> nn.Module:
    # Which fills its inputs up with ones, whose weights are 0 here.
    return tinycudann.module().Network(spec.in_dim, spec.out_dim, network_config(spec))


def _behind_grid(spec: FieldSpec) -> nn.Module:
    grid = cast(GridSpec, spec.encoding)  # of whose kind it is
    return tinycudann.module().NetworkWithInputEncoding(
        grid.dim, spec.out_dim, grid_tcnn.config(grid), network_config(spec)
    )


_ENCODINGS: Mapping[str, _Encoding] = {
    "features": _Encoding(lambda _: [], _alone),
    "grid": _Encoding(grid_tcnn.spec_obstacles, _behind_grid),
    "frequency": _Encoding(
        lambda _: ["this backend hands tiny-cuda-nn a network, alone or behind a grid, nothing else."], _alone
    ),
}


@functools.lru_cache(maxsize=16)
def _network(spec: FieldSpec, fusion: bool) -> nn.Module:
    return tinycudann.without_numbers(_ENCODINGS[spec.kind].make(spec), fusion)


def network_config(spec: FieldSpec) -> dict[str, object]:
    """The network of ``spec`` as tiny-cuda-nn's DOCUMENTATION.md has it."""
    return {
        "otype": "FullyFusedMLP",
        "activation": _ACTIVATIONS[spec.activation],
        "output_activation": "None",
        "n_neurons": spec.width,
        "n_hidden_layers": spec.n_hidden_layers,
    }
