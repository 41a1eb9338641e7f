"""Slow, obvious twins of the encodings: one point, one corner, one number at a time, in Python numbers.

They share no code with neufield. Each follows the definition in words beside it, and none knows a tensor. Grid indices
are Python integers reduced modulo 2^32 by hand; grid positions are exact fractions rounded once, which is what a fused
multiply-add does.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from scipy.special import sph_harm_y

Row = Sequence[float]
_WORD = 2**32
_HASH_FACTORS = (1, 2654435761, 805459861, 3674653429)  # arXiv 2201.05989, eq. 4; the fourth is tiny-cuda-nn's


def relative_l2(values: Sequence[Row], truth: Sequence[Row]) -> float:
    """|values - truth| / |truth| over all numbers."""
    difference = total = 0.0
    for row, true_row in zip(values, truth, strict=True):
        for value, true_value in zip(row, true_row, strict=True):
            difference += (value - true_value) ** 2
            total += true_value**2
    return math.sqrt(difference / total)


class GridLevel(NamedTuple):
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
) -> list[GridLevel]:
    """Level by level: where points land, how many vertices an axis has, how many rows its table has, and from where."""
    levels, offset = [], 0
    log2_growth = np.float32(math.log2(np.float32(per_level_scale)))
    for index in range(n_levels):
        growth = np.float32(2.0 ** float(np.float32(index) * log2_growth))
        scale = growth * np.float32(base_resolution) - np.float32(1)
        resolution = math.ceil(scale) + 1
        vertices = 1
        for _ in range(dim):
            vertices *= resolution
        size = vertices
        while size % 8:
            size += 1
        if storage == "hash" and size > 2**log2_hashmap_size:
            size = 2**log2_hashmap_size
        if storage == "tiled" and size > base_resolution**dim:
            size = base_resolution**dim
        levels.append(GridLevel(float(scale), resolution, size, offset, storage == "hash" and vertices > size))
        offset += size
    return levels


def grid_row(cell: Sequence[int], level: GridLevel) -> int:
    """The row of the vertex ``cell`` in its level's table, by unsigned 32-bit arithmetic."""
    row, stride = 0, 1
    for axis, coordinate in enumerate(cell):
        coordinate %= _WORD
        if level.hashed:
            row ^= coordinate * _HASH_FACTORS[axis] % _WORD
        else:
            row = (row + coordinate * stride) % _WORD
            stride = stride * level.resolution % _WORD
    return row % level.size


def grid_position(x: float, scale: float, single: bool) -> float:
    """scale * x + 1/2 rounded once, to float32 if ``single``."""
    exact = Fraction(x) * Fraction(scale) + Fraction(1, 2)
    return _to_float32(exact) if single else float(exact)


def _to_float32(exact: Fraction) -> float:
    near = np.float32(float(exact))
    candidates = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    # Nearest; of two equally near ones, the one whose last bit is 0.
    return float(min(candidates, key=lambda c: (abs(Fraction(float(c)) - exact), int(c.view(np.uint32)) & 1)))


def grid_corners(
    x: Row, level: GridLevel, interpolation: str = "linear", single: bool = False
) -> list[tuple[int, float]]:
    """(row of the table, weight) of each corner that ``x`` reads on one level."""
    positions = [grid_position(value, level.scale, single) for value in x]
    low = [math.floor(position) for position in positions]
    if interpolation == "nearest":
        return [(grid_row(low, level), 1.0)]
    corners = []
    for corner in range(2 ** len(x)):
        cell, weight = [], 1.0
        for axis in range(len(x)):
            fraction = positions[axis] - low[axis]
            if interpolation == "smoothstep":
                fraction = 3 * fraction**2 - 2 * fraction**3
            is_upper = corner // 2**axis % 2 == 1
            cell.append(low[axis] + 1 if is_upper else low[axis])
            weight *= fraction if is_upper else 1 - fraction
        corners.append((grid_row(cell, level), weight))
    return corners


def grid_encode(
    points: Sequence[Row],
    table: Sequence[Row],
    levels: Sequence[GridLevel],
    interpolation: str = "linear",
    single: bool = False,
) -> list[list[float]]:
    """Features of all points, level by level."""
    encoded = []
    for x in points:
        features: list[float] = []
        for level in levels:
            total = [0.0] * len(table[0])
            for row, weight in grid_corners(x, level, interpolation, single):
                for f, entry in enumerate(table[level.offset + row]):
                    total[f] += weight * entry
            features += total
        encoded.append(features)
    return encoded


def frequency(x: Row, n_frequencies: int) -> list[float]:
    """sin(2^k pi x), cos(2^k pi x): coordinate by coordinate, octave by octave."""
    features = []
    for value in x:
        for k in range(n_frequencies):
            features += [math.sin(2**k * math.pi * value), math.cos(2**k * math.pi * value)]
    return features


def triangle_wave(x: Row, n_frequencies: int) -> list[float]:
    """The triangle with the period and phase of cos(2 pi v), v = 2^(k-1) x + k/4; arcsine makes it of a cosine."""
    return [
        2 / math.pi * math.asin(math.cos(2 * math.pi * (2.0 ** (k - 1) * value + k / 4)))
        for value in x
        for k in range(n_frequencies)
    ]


def local_cosine(x: Row, scale: float, orders: Sequence[Sequence[int]]) -> list[float]:
    """prod_j cos(pi k_j (scale x_j + 1/2)), atom by atom."""
    atoms = []
    for order in orders:
        product = 1.0
        for value, k in zip(x, order, strict=True):
            product *= math.cos(math.pi * k * (scale * value + 0.5))
        atoms.append(product)
    return atoms


def one_blob(x: Row, n_bins: int) -> list[float]:
    """Mass of 15/16 (1 - u^2)^2, of radius 1 / n_bins around x on a circle of length 1, in each bin, by quadrature."""

    def density(t: float, center: float) -> float:
        u = (t - center) * n_bins
        return 15 / 16 * (1 - u * u) ** 2 * n_bins if abs(u) < 1 else 0.0

    features = []
    for value in x:
        for k in range(n_bins):
            total = 0.0
            for turn in (-1, 0, 1):
                total += _integral(lambda t, c=value + turn: density(t, c), k / n_bins, (k + 1) / n_bins, 4000)
            features.append(total)
    return features


def _integral(f: Callable[[float], float], start: float, stop: float, pieces: int) -> float:
    """The midpoint rule."""
    width = (stop - start) / pieces
    return sum(f(start + (i + 0.5) * width) for i in range(pieces)) * width


def spherical_harmonics(direction: Row, degree: int) -> list[float]:
    """Real orthonormal Y_lm from scipy's complex ones (which carry the Condon-Shortley sign), m = -l .. l."""
    dx, dy, dz = direction
    polar, azimuth = math.acos(dz), math.atan2(dy, dx)
    features = []
    for band in range(degree):
        for m in range(-band, band + 1):
            value = complex(sph_harm_y(band, abs(m), polar, azimuth))
            if m == 0:
                features.append(value.real)
            else:
                features.append(math.sqrt(2) * (value.real if m > 0 else value.imag))
    return features
