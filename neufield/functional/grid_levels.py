"""The levels of a multiresolution grid: tiny-cuda-nn's, to the bit (arXiv 2201.05989, section 3).

Vocabulary: a level has ``scale`` s, ``resolution`` r = ceil(s) + 1 vertices an axis, ``size`` table entries from
``offset`` on. A point x lies at s * x + 0.5 (the half stagger keeps nodes of different levels apart).

Scales are computed exactly (:mod:`neufield.core.exact`): a level whose last vertex one processor has and another has
not is another function, and another size in a file.
"""

import dataclasses
import functools
import math

import numpy as np

from neufield.core import exact
from neufield.core.shapes import check_choice, check_positive

PRIMES = (1, 2654435761, 805459861, 3674653429)
STORAGES = ("hash", "dense", "tiled")
_MAX_ENTRIES = 2**31 - 1  # tcnn indexes with 32 bits
_MAX_RESOLUTION = 2**31 - 1  # a point's cell is a signed number of 32 bits
_MAX_LEVELS = 1024  # far more than anyone has; each costs a walk over all points


@dataclasses.dataclass(frozen=True)
class GridLevel:
    """One level of the grid."""

    scale: float
    resolution: int
    size: int
    offset: int
    hashed: bool


def grid_levels(
    dim: int,
    n_levels: int = 16,
    log2_hashmap_size: int = 19,
    base_resolution: int = 16,
    per_level_scale: float = 2.0,
    storage: str = "hash",
) -> tuple[GridLevel, ...]:
    """All levels, coarse to fine, with scales s_l = 2^(l log2 b) N - 1.

    N is the ``base_resolution`` and b the ``per_level_scale``. A level of "hash" ``storage`` has at most
    2^``log2_hashmap_size`` entries, and is hashed where its vertices are more; one of "tiled" repeats after N^dim;
    "dense" has an entry for each vertex. Sizes are rounded up to 8. The last level's ``offset + size`` is how many rows
    a table of them has.
    """
    if dim not in (1, 2, 3, 4):
        raise ValueError(f"a grid encodes 1 to 4 dimensions, not {dim}; slice the input or use Composite")
    check_positive(n_levels=n_levels, base_resolution=base_resolution, per_level_scale=per_level_scale)
    if not 0 < log2_hashmap_size <= 30:
        raise ValueError(f"log2_hashmap_size is {log2_hashmap_size}, but it must be in 1..30")
    check_choice("storage", storage, STORAGES)
    if n_levels > _MAX_LEVELS:
        raise ValueError(f"n_levels is {n_levels}, but a grid has at most {_MAX_LEVELS}")
    if not 1e-30 < per_level_scale < 1e30:  # within float32
        raise ValueError(f"per_level_scale is {per_level_scale}, but it is a growth such as 1.5")
    levels, offset = [], 0
    for index in range(n_levels):
        scale = _scale(index, per_level_scale, base_resolution)
        resolution = _resolution(index, scale, dim, per_level_scale, storage)
        vertices = resolution**dim
        size = min(-(-vertices // 8) * 8, _MAX_ENTRIES // 8 * 8)
        if storage == "hash":
            size = min(size, 2**log2_hashmap_size)
        elif storage == "tiled":
            size = min(size, base_resolution**dim)
        levels.append(GridLevel(scale, resolution, size, offset, hashed=storage == "hash" and size < vertices))
        offset += size
    if offset > _MAX_ENTRIES:
        raise ValueError(
            f"this grid needs {offset} table entries, but at most {_MAX_ENTRIES} can be indexed; "
            "lower n_levels, per_level_scale or log2_hashmap_size"
        )
    return tuple(levels)


def _resolution(index: int, scale: float, dim: int, per_level_scale: float, storage: str) -> int:
    """The vertices an axis of a level; refuses one without, and one with more than 32 bits can count."""
    resolution = math.ceil(scale) + 1 if math.isfinite(scale) else 2 * _MAX_RESOLUTION
    if resolution < 1:
        raise ValueError(
            f"level {index} of this grid has no vertex (per_level_scale is {per_level_scale}); "
            "raise per_level_scale or base_resolution, or lower n_levels"
        )
    too_many_rows = storage == "dense" and resolution**dim > _MAX_ENTRIES
    if resolution > _MAX_RESOLUTION or too_many_rows:
        raise ValueError(
            f"level {index} of this grid has more vertices than 32 bits can count (per_level_scale is "
            f"{per_level_scale}); lower n_levels, per_level_scale or base_resolution"
        )
    return resolution


@functools.lru_cache(maxsize=4096)
def _scale(level: int, per_level_scale: float, base_resolution: int) -> float:
    """exp2(level * log2(b)) * N - 1 as tiny-cuda-nn's ``grid_scale``: in float32, each operation correctly rounded."""
    log2_scale = np.float32(exact.log2_float32(float(np.float32(per_level_scale))))
    with np.errstate(over="ignore"):  # an infinite scale is refused
        grown = np.float32(exact.exp2_float32(float(np.float32(level) * log2_scale)))
        return float(grown * np.float32(base_resolution) - np.float32(1))
