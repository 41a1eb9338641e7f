"""The three operators of :mod:`.operators` by the native library, on a CPU."""

import ctypes
import functools
from collections.abc import Mapping

import torch
from torch import Tensor

from neufield.kernels import native
from neufield.kernels.arguments import converted, refuse_if
from neufield.kernels.grid.spec import GridKernel, GridSpec


class CpuGrid(GridKernel):
    """``encode`` in C++, float32 on a CPU."""

    name = "cpu"
    # float32 rounding of weights and a 2^d-term sum; measured 1e-7 relative against float64 at equal positions.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-6}

    def obstacles(self, spec: GridSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """A CPU, float32, and a library that was built."""
        del spec
        return native.machine_obstacles(device, dtype)

    def encode(self, x: Tensor, table: Tensor, spec: GridSpec) -> Tensor:
        """See :class:`GridKernel`."""
        return torch.ops.neufield.grid_gather(converted(x, table.dtype), table, None, spec.text)


@functools.lru_cache(maxsize=64)
def structure(spec: GridSpec) -> native.Grid:
    """A spec as the C library reads it."""
    levels = [native.Level(v.scale, v.resolution, v.size, v.hashed, v.offset) for v in spec.levels]
    return native.Grid(
        spec.dim,
        spec.n_levels,
        spec.n_features_per_level,
        native.INTERPOLATIONS[spec.interpolation],
        spec.n_entries,
        (native.Level * len(levels))(*levels),
    )


def gather(x: Tensor, table: Tensor, v: Tensor | None, spec: GridSpec) -> Tensor:
    """``neufield::grid_gather``."""
    return _native("grid_gather", x.new_empty(len(x), spec.out_dim), spec, x, table, v)


def scatter(x: Tensor, g: Tensor, v: Tensor | None, spec: GridSpec) -> Tensor:
    """``neufield::grid_scatter``."""
    return _native("grid_scatter", x.new_empty(spec.n_entries, spec.n_features_per_level), spec, x, g, v)


def contract(x: Tensor, table: Tensor, g: Tensor, v: Tensor | None, spec: GridSpec) -> Tensor:
    """``neufield::grid_contract``."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    return _native("grid_contract", out, spec, x, table, g, v)


def _native(name: str, out: Tensor, spec: GridSpec, x: Tensor, first: Tensor, *others: Tensor | None) -> Tensor:
    refuse_if(native.machine_obstacles(first.device, first.dtype))
    # The contiguous copies are named, so that they live until the call has ended.
    kept = [None if tensor is None else tensor.contiguous() for tensor in (x, first, *others)]
    native.run(name, ctypes.byref(structure(spec)), len(x), *map(native.pointer, kept), native.pointer(out))
    return out
