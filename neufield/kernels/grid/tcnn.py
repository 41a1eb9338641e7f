"""The grid encoding by tiny-cuda-nn, whose function and table it is: no number is copied. Not run on a GPU."""

import functools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neufield.kernels import tinycudann
from neufield.kernels.arguments import FLOATING, check, of_grid
from neufield.kernels.grid.reference import TorchGrid
from neufield.kernels.grid.spec import GridKernel, GridSpec

_DIMS, _FEATURES, _MOST_LEVELS = (2, 3, 4), (1, 2, 4, 8), 128
_OVERFLOW = 2**32  # vertices of a level, above which tiny-cuda-nn gives up counting them


class TcnnGrid(GridKernel):
    """``encode`` by ``tinycudann.Encoding`` in float32, on CUDA; second derivatives are the reference's."""

    name = "tcnn"
    # The for float32: the same sums as TorchGrid's, added by atomics in any order.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-5}

    def obstacles(self, spec: GridSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """CUDA, a tinycudann that loads, float32, and a grid that it has."""
        found = tinycudann.obstacles(device)
        if dtype != torch.float32:
            found.append(f"tiny-cuda-nn's grids are float32, not {str(dtype).removeprefix('torch.')}.")
        return found + spec_obstacles(spec)

    def encode(self, x: Tensor, table: Tensor, spec: GridSpec) -> Tensor:
        """See :class:`GridKernel`."""
        check("grid", of_grid(spec, FLOATING), x=x, table=table)
        return tinycudann.call(_encoding(spec), _Flat(spec), functools.partial(_reference, spec), x, table)


def spec_obstacles(spec: GridSpec) -> list[str]:
    """What tiny-cuda-nn does not have of ``spec``."""
    found = []
    if spec.dim not in _DIMS:
        found.append(f"tiny-cuda-nn's grids have 2 to 4 dimensions, not {spec.dim}.")
    if spec.n_features_per_level not in _FEATURES:
        found.append(f"tiny-cuda-nn's grids have 1, 2, 4 or 8 features a level, not {spec.n_features_per_level}.")
    if spec.n_levels > _MOST_LEVELS:
        found.append(f"tiny-cuda-nn's grids have at most {_MOST_LEVELS} levels, not {spec.n_levels}.")
    if any(not level.hashed and level.resolution**spec.dim >= _OVERFLOW for level in spec.levels):
        found.append("tiny-cuda-nn reads one row for all points of a level that is not hashed and this fine.")
    return found


def config(spec: GridSpec) -> dict[str, object]:
    """``spec`` as tiny-cuda-nn's DOCUMENTATION.md has it."""
    return {
        "otype": "Grid",
        "type": spec.storage.capitalize(),
        "n_levels": spec.n_levels,
        "n_features_per_level": spec.n_features_per_level,
        "log2_hashmap_size": spec.log2_hashmap_size,
        "base_resolution": spec.base_resolution,
        "per_level_scale": spec.per_level_scale,
        "interpolation": spec.interpolation.capitalize(),
    }


class _Flat(tinycudann.Layout):
    """The table, row after row."""

    def __init__(self, spec: GridSpec) -> None:
        self.spec = spec

    def pack(self, *numbers: Tensor) -> Tensor:
        (table,) = numbers
        return table.reshape(-1)

    def unpack(self, row: Tensor) -> tuple[Tensor, ...]:
        return (row.view(self.spec.n_entries, self.spec.n_features_per_level),)


def _reference(spec: GridSpec, x: Tensor, table: Tensor) -> Tensor:
    return TorchGrid().encode(x, table, spec)


@functools.lru_cache(maxsize=16)
def _encoding(spec: GridSpec) -> nn.Module:
    made = tinycudann.module().Encoding(spec.dim, config(spec), dtype=torch.float32)
    return tinycudann.without_numbers(made, fusion=True)
