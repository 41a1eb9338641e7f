"""The multiresolution grid as numbers: tiny-cuda-nn's levels, to the bit (arXiv 2201.05989, section 3).

Vocabulary: a level has ``scale`` s, ``resolution`` r = ceil(s) + 1 vertices an axis, ``size`` table entries from
``offset`` on. A point x lies at s * x + 0.5 (the half stagger keeps nodes of different levels apart).

Scales are computed exactly (:mod:`neufield.core.exact`): a level whose last vertex one processor has and another has
not is another function, and another size in a file.
"""

import abc
import dataclasses
import functools
import json
import math
from typing import ClassVar

import numpy as np
from torch import Tensor

from neufield.core import exact
from neufield.core.json_files import parse_json
from neufield.core.shapes import check_choice, check_positive
from neufield.kernels.dispatch import Kernel

PRIMES = (1, 2654435761, 805459861, 3674653429)
STORAGES = ("hash", "dense", "tiled")
INTERPOLATIONS = ("linear", "smoothstep", "nearest")
_MAX_ENTRIES = 2**31 - 1  # tcnn indexes with 32 bits
_MAX_RESOLUTION = 2**31 - 1  # a point's cell is a signed number of 32 bits
_MAX_LEVELS = 1024  # far more than anyone has; each costs a walk over all points


@dataclasses.dataclass(frozen=True)
class Level:
    """One level of the grid."""

    scale: float
    resolution: int
    size: int
    offset: int
    hashed: bool


@dataclasses.dataclass(frozen=True)
class GridSpec:
    """What a grid encoding computes. ``dim`` 1-4; other names and defaults are tiny-cuda-nn's."""

    dim: int
    n_levels: int = 16
    n_features_per_level: int = 2
    log2_hashmap_size: int = 19
    base_resolution: int = 16
    per_level_scale: float = 2.0
    storage: str = "hash"
    interpolation: str = "linear"
    kind: ClassVar[str] = "grid"
    # The spec as an operator of torch.library takes it.
    text: str = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.dim not in (1, 2, 3, 4):
            raise ValueError(f"a grid encodes 1 to 4 dimensions, not {self.dim}; slice the input or use Composite")
        check_positive(
            n_levels=self.n_levels,
            n_features_per_level=self.n_features_per_level,
            base_resolution=self.base_resolution,
            per_level_scale=self.per_level_scale,
        )
        if not 0 < self.log2_hashmap_size <= 30:
            raise ValueError(f"log2_hashmap_size is {self.log2_hashmap_size}, but it must be in 1..30")
        check_choice("storage", self.storage, STORAGES)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        if self.n_levels > _MAX_LEVELS:
            raise ValueError(f"n_levels is {self.n_levels}, but a grid has at most {_MAX_LEVELS}")
        if not 1e-30 < self.per_level_scale < 1e30:  # within float32
            raise ValueError(f"per_level_scale is {self.per_level_scale}, but it is a growth such as 1.5")
        for index, level in enumerate(self.levels):
            self._check_level(index, level)
        if self.n_entries > _MAX_ENTRIES:
            raise ValueError(
                f"this grid needs {self.n_entries} table entries, but at most {_MAX_ENTRIES} can be indexed; "
                "lower n_levels, per_level_scale or log2_hashmap_size"
            )
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.init}
        object.__setattr__(self, "text", json.dumps(fields))

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def from_text(text: str) -> "GridSpec":
        """The spec that ``text`` describes."""
        return GridSpec(**parse_json(text, "the spec"))

    @functools.cached_property
    def levels(self) -> tuple[Level, ...]:
        """All levels, coarse to fine."""
        levels, offset = [], 0
        for index in range(self.n_levels):
            scale = _scale(index, self.per_level_scale, self.base_resolution)
            # Infinite scales, and those of no vertex, are refused; until then they count as beyond any size.
            resolution = math.ceil(scale) + 1 if math.isfinite(scale) else 2 * _MAX_RESOLUTION
            vertices = resolution**self.dim
            size = min(-(-vertices // 8) * 8, _MAX_ENTRIES // 8 * 8)
            if self.storage == "hash":
                size = min(size, 2**self.log2_hashmap_size)
            elif self.storage == "tiled":
                size = min(size, self.base_resolution**self.dim)
            hashed = self.storage == "hash" and size < vertices
            levels.append(Level(scale, resolution, size, offset, hashed))
            offset += size
        return tuple(levels)

    def _check_level(self, index: int, level: Level) -> None:
        """Refuse a level without vertices, and one with more than 32 bits can count."""
        if level.resolution < 1:
            raise ValueError(
                f"level {index} of this grid has no vertex (per_level_scale is {self.per_level_scale}); "
                "raise per_level_scale or base_resolution, or lower n_levels"
            )
        too_many_rows = self.storage == "dense" and level.resolution**self.dim > _MAX_ENTRIES
        if level.resolution > _MAX_RESOLUTION or too_many_rows:
            raise ValueError(
                f"level {index} of this grid has more vertices than 32 bits can count (per_level_scale is "
                f"{self.per_level_scale}); lower n_levels, per_level_scale or base_resolution"
            )

    @property
    def n_entries(self) -> int:
        """Table entries of all levels together; each holds ``n_features_per_level`` numbers."""
        return self.levels[-1].offset + self.levels[-1].size

    @property
    def table_shape(self) -> tuple[int, int]:
        """Rows, and features in each."""
        return self.n_entries, self.n_features_per_level

    @property
    def out_dim(self) -> int:
        """Features of all levels together."""
        return self.n_levels * self.n_features_per_level


class GridKernel(Kernel[GridSpec]):
    """A grid encoding, differentiable twice at least."""

    @abc.abstractmethod
    def encode(self, x: Tensor, table: Tensor, spec: GridSpec) -> Tensor:
        """Points ``x (N, dim)`` and ``table (n_entries, features)`` -> ``(N, n_levels * features)``, level-major."""


@functools.lru_cache(maxsize=4096)
def _scale(level: int, per_level_scale: float, base_resolution: int) -> float:
    """exp2(level * log2(b)) * N - 1 as tiny-cuda-nn's ``grid_scale``: in float32, each operation correctly rounded."""
    log2_scale = np.float32(exact.log2_float32(float(np.float32(per_level_scale))))
    with np.errstate(over="ignore"):  # an infinite scale is refused
        grown = np.float32(exact.exp2_float32(float(np.float32(level) * log2_scale)))
        return float(grown * np.float32(base_resolution) - np.float32(1))
