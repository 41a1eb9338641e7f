"""The three operators of :mod:`.operators` by Triton, on CUDA: how the programs are launched.

The table's gradient is added up atomically, so that its last bits change from run to run, unless
``torch.use_deterministic_algorithms`` asks for the same every time: then it is sorted and reduced (:mod:`.sorted_sum`).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neufield.kernels import gpu
from neufield.kernels.arguments import converted
from neufield.kernels.grid.launch_shapes import constants, levels, shape
from neufield.kernels.grid.spec import GridKernel, GridSpec

FEATURES = (1, 2, 4, 8)
_NUMBERS = 2**31  # that an index of 32 bits reaches


class TritonGrid(GridKernel):
    """``encode`` in Triton, float32 on CUDA; the table may be float16 or bfloat16, and so are the features then."""

    name = "triton"
    # float32 rounding of weights and a 2^d-term sum, as on the CPU; atomic sums of the table's gradient in any order.
    # In 16 bits the features are rounded to 2^-11 and 2^-8 of their size, sqrt(1/3) of that on average: 2.3e-3.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 5e-3}

    def obstacles(self, spec: GridSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """CUDA, a type and a number of features that the programs know, a table that 32 bits can index."""
        found = list(gpu.obstacles(device))
        if dtype not in self.tolerance:
            found.append(
                f"the Triton grid reads float32, float16 or bfloat16, not {str(dtype).removeprefix('torch.')}."
            )
        if spec.n_features_per_level not in FEATURES:
            found.append(f"the Triton grid has 1, 2, 4 or 8 features per level, not {spec.n_features_per_level}.")
        if spec.n_entries * spec.n_features_per_level >= _NUMBERS:
            found.append("the Triton grid's table has fewer than 2^31 numbers; lower log2_hashmap_size or n_levels.")
        return found

    def encode(self, x: Tensor, table: Tensor, spec: GridSpec) -> Tensor:
        """See :class:`GridKernel`."""
        return torch.ops.neufield.grid_gather(converted(x, torch.float32), table, None, spec.text).to(table.dtype)


def gather(x: Tensor, table: Tensor, v: Tensor | None, spec: GridSpec) -> Tensor:
    """``neufield::grid_gather``: points ``x (N, dim)`` float32 -> ``(N, n_levels * features)`` float32."""
    from neufield.kernels.grid import programs

    if _is_constant(spec, v):
        return x.new_zeros(len(x), spec.out_dim)
    out = x.new_empty(len(x), spec.out_dim)
    _launch(programs.gather, spec, (x, table), v, out)
    return out


def scatter(x: Tensor, g: Tensor, v: Tensor | None, spec: GridSpec) -> Tensor:
    """``neufield::grid_scatter``: the features' gradient ``g`` -> the table's, ``(n_entries, features)``, float32."""
    from neufield.kernels.grid import programs, sorted_sum

    if torch.are_deterministic_algorithms_enabled() and not _is_constant(spec, v):
        return sorted_sum.scatter(x, g, v, spec)
    out = x.new_zeros(spec.n_entries, spec.n_features_per_level)
    if _is_constant(spec, v):
        return out
    _launch(programs.scatter, spec, (x, g), v, out)
    return out


def contract(x: Tensor, table: Tensor, g: Tensor, v: Tensor | None, spec: GridSpec) -> Tensor:
    """``neufield::grid_contract``: the features' gradient ``g`` -> the points', ``(N, dim)`` float32."""
    from neufield.kernels.grid import programs

    if spec.interpolation == "nearest":
        return x.new_zeros(x.shape)
    groups = -(-spec.n_levels // shape(spec)["GROUP"])
    out = x.new_empty(groups, *x.shape)
    _launch(programs.contract, spec, (x, table, g), v, out)
    return out[0] if groups == 1 else out.sum(0)


def _is_constant(spec: GridSpec, v: Tensor | None) -> bool:
    """Whether weights are the same all over a cell, so that their derivative is 0."""
    return v is not None and spec.interpolation == "nearest"


def _launch(program: Any, spec: GridSpec, inputs: tuple[Tensor, ...], v: Tensor | None, out: Tensor) -> None:
    """``program`` over all blocks of points and groups of levels; ``inputs`` begin with the points."""
    x, *others = [tensor.contiguous() for tensor in inputs]
    if not len(x):
        return
    sizes = shape(spec)
    blocks = (-(-len(x) // sizes["BLOCK"]), -(-spec.n_levels // sizes["GROUP"]))
    along = x if v is None else v.contiguous()
    arguments = (x, *others, along, levels(spec, x.device), out, len(x), spec.n_levels)
    gpu.launch(program, blocks, arguments, constants(spec) | sizes | {"ALONG": v is not None})
