"""The grid in Triton: functions that any program may call, to encode inside of itself.

How a grid reaches a program: ``levels``, an int32 tensor (n_levels, 8) that ``triton.levels(spec, device)`` makes once
per spec and device, holds a record per level,

    0: scale (the bits of a float32)    1, 2, 3: what a vertex along axes 1, 2, 3 adds to a row (axis 0: 1)
    4: size    5: floor(2^32 / size)    6: offset    7: 1 where the level is hashed, else 0

so that nothing is compiled again for another resolution; constants are only DIM, F (features per level), INTERPOLATION
("linear", "smoothstep", "nearest") and HASHED ("none", "all" or "some" of the levels; ``triton.hashed(spec)``).

The device functions work on any number of points and levels at once, elementwise with broadcasting: with coordinates
(P, 1) and the records of levels (1, G) they give (P, G); features stand in one more axis, last, so that a level's F
numbers are read at once. ``reshape`` of (P, G, F) to (P, G * F) is then the level-major order of the spec.

    record = read_level(levels, tl.minimum(level, n_levels - 1))     # level: a number, or a block of any shape
    features = interpolate(table, x, record, mask, DIM, F, INTERPOLATION, HASHED, (), False)  # (*shape, F), float32
    add_gradient(by_table, x, record, g, mask, DIM, F, INTERPOLATION, HASHED, (), False)      # atomically, float32
    slopes = gradient(table, x, record, g, mask, DIM, F, INTERPOLATION, HASHED, (), False)    # by each coordinate

``x`` is a tuple of DIM float32 blocks; ``mask`` (of points, levels, or both) keeps memory from being touched. Corners
are constants, or uint32 blocks where each element has its own: bit j says that on axis j it is the cell's upper vertex.

Every function is marked ``no_type_check``: the hook that checks signatures in tests would wrap what Triton must read.
"""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def read_level(levels, level):
    """The records of ``level``, a number or a block: a tuple of float32 scale and seven uint32."""
    at = levels + level * 8
    scale = tl.load(at).to(tl.float32, bitcast=True)
    step_1 = tl.load(at + 1).to(tl.uint32, bitcast=True)
    step_2 = tl.load(at + 2).to(tl.uint32, bitcast=True)
    step_3 = tl.load(at + 3).to(tl.uint32, bitcast=True)
    size = tl.load(at + 4).to(tl.uint32, bitcast=True)
    reciprocal = tl.load(at + 5).to(tl.uint32, bitcast=True)
    offset = tl.load(at + 6).to(tl.uint32, bitcast=True)
    hashed = tl.load(at + 7).to(tl.uint32, bitcast=True)
    return (scale, step_1, step_2, step_3, size, reciprocal, offset, hashed)


@triton.jit
@no_type_check
def locate(x, record, DIM: tl.constexpr):
    """The cells of points: a tuple of their lower vertex along each axis (uint32), one of the places within [0, 1)."""
    cells = ()
    places = ()
    for j in tl.static_range(DIM):
        at = tl.fma(x[j], record[0], 0.5)  # rounded once, as in tiny-cuda-nn
        low = tl.floor(at)
        cells = cells + (low.to(tl.int32).to(tl.uint32, bitcast=True),)
        places = places + (at - low,)
    return cells, places


@triton.jit
@no_type_check
def corner_row(cells, record, corner, DIM: tl.constexpr, HASHED: tl.constexpr):
    """The table row (int32) of a corner of ``cells``."""
    row = cells[0] + (corner & 1)
    for j in tl.static_range(1, DIM):
        end = (cells[j] + ((corner >> j) & 1)) * record[j]
        if HASHED == "all":
            row = row ^ end
        elif HASHED == "none":
            row = row + end
        else:
            row = tl.where(record[7] != 0, row ^ end, row + end)
    size = record[4]
    if HASHED == "all":  # a power of two
        row = row & (size - 1)
    else:
        # The quotient by the reciprocal is the true one or one less. An unsigned row - size below 0 is huge.
        row = row - tl.umulhi(row, record[5]) * size
        row = tl.minimum(row, row - size)
    return (row + record[6]).to(tl.int32, bitcast=True)


@triton.jit
@no_type_check
def shares_of(places, DIM: tl.constexpr, INTERPOLATION: tl.constexpr):
    """What the upper vertex gets along each axis."""
    shares = ()
    for j in tl.static_range(DIM):
        u = places[j]
        if INTERPOLATION == "smoothstep":
            u = u * u * (3.0 - 2.0 * u)
        shares = shares + (u,)
    return shares


@triton.jit
@no_type_check
def slopes_of(places, record, DIM: tl.constexpr, INTERPOLATION: tl.constexpr):
    """The derivatives of ``shares_of`` by the coordinates."""
    slopes = ()
    for j in tl.static_range(DIM):
        slope = tl.zeros_like(places[j]) + record[0]
        if INTERPOLATION == "smoothstep":
            slope = 6.0 * places[j] * (1.0 - places[j]) * record[0]
        slopes = slopes + (slope,)
    return slopes


@triton.jit
@no_type_check
def bends_of(places, record, DIM: tl.constexpr, INTERPOLATION: tl.constexpr):
    """The second derivatives of ``shares_of`` by the coordinates."""
    bends = ()
    for j in tl.static_range(DIM):
        bend = tl.zeros_like(places[j])
        if INTERPOLATION == "smoothstep":
            bend = (6.0 - 12.0 * places[j]) * record[0] * record[0]
        bends = bends + (bend,)
    return bends


@triton.jit
@no_type_check
def of_corner(upper, corner, axis: tl.constexpr):
    """``upper`` (a share's change along ``axis``) where the corner is the upper vertex, else its negative."""
    return tl.where(((corner >> axis) & 1) == 1, upper, -upper)


@triton.jit
@no_type_check
def corner_weight(shares, corner, SKIP: tl.constexpr, DIM: tl.constexpr, INTERPOLATION: tl.constexpr):
    """The product of a corner's shares of all axes but SKIP (-1: of all)."""
    weight = tl.zeros_like(shares[0]) + 1.0
    for j in tl.static_range(DIM):
        if INTERPOLATION == "nearest":
            weight = weight + 0.0 * shares[j]  # 1, and NaN where the point is none
        elif j != SKIP:
            weight = weight * tl.where(((corner >> j) & 1) == 1, shares[j], 1.0 - shares[j])
    return weight


@triton.jit
@no_type_check
def corner_weight_along(shares, slopes, v, corner, SKIP: tl.constexpr, DIM: tl.constexpr, INTERPOLATION: tl.constexpr):
    """The derivative of ``corner_weight`` along the direction ``v``, a tuple of DIM blocks."""
    total = tl.zeros_like(shares[0])
    for k in tl.static_range(DIM):
        if k != SKIP:
            term = of_corner(v[k] * slopes[k], corner, k)
            for j in tl.static_range(DIM):
                if j != k and j != SKIP:
                    term = term * tl.where(((corner >> j) & 1) == 1, shares[j], 1.0 - shares[j])
            total = total + term
    return total


@triton.jit
@no_type_check
def weight_of(places, record, v, corner, DIM: tl.constexpr, INTERPOLATION: tl.constexpr, ALONG: tl.constexpr):
    """A corner's weight; with ALONG its derivative along ``v``."""
    shares = shares_of(places, DIM, INTERPOLATION)
    if ALONG:
        slopes = slopes_of(places, record, DIM, INTERPOLATION)
        weight = corner_weight_along(shares, slopes, v, corner, -1, DIM, INTERPOLATION)
    else:
        weight = corner_weight(shares, corner, -1, DIM, INTERPOLATION)
    return weight


@triton.jit
@no_type_check
def numbers_of(table, rows, mask, F: tl.constexpr):
    """The F numbers (*, F), float32, of each of ``rows``."""
    at = tl.expand_dims(rows, -1) * F + tl.arange(0, F)
    return tl.load(table + at, mask=tl.expand_dims(mask, -1), other=0.0).to(tl.float32)


@triton.jit
@no_type_check
def interpolate(
    table,
    x,
    record,
    mask,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    v,
    ALONG: tl.constexpr,
):
    """The features (*, F), float32, of points in levels. ``mask``: of all the result but its last axis.

    With ALONG their derivative along ``v``, a tuple like ``x``; so in the functions below, of what they return. (Not a
    default: Triton 3.6 does not take a tuple as one.)
    """
    cells, places = locate(x, record, DIM)
    CORNERS: tl.constexpr = 1 if INTERPOLATION == "nearest" else 2**DIM
    for corner in tl.static_range(CORNERS):
        numbers = numbers_of(table, corner_row(cells, record, corner, DIM, HASHED), mask, F)
        weight = tl.expand_dims(weight_of(places, record, v, corner, DIM, INTERPOLATION, ALONG), -1)
        total = weight * numbers if corner == 0 else total + weight * numbers
    return total


@triton.jit
@no_type_check
def add_gradient(
    by_table,
    x,
    record,
    g,
    mask,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    v,
    ALONG: tl.constexpr,
):
    """Add what the gradient ``g`` (*, F) of ``interpolate`` is to the table, atomically, in no certain order."""
    cells, places = locate(x, record, DIM)
    CORNERS: tl.constexpr = 1 if INTERPOLATION == "nearest" else 2**DIM
    for corner in tl.static_range(CORNERS):
        rows = corner_row(cells, record, corner, DIM, HASHED)
        at = tl.expand_dims(rows, -1) * F + tl.arange(0, F)
        weight = tl.expand_dims(weight_of(places, record, v, corner, DIM, INTERPOLATION, ALONG), -1)
        tl.atomic_add(by_table + at, weight * g, mask=tl.expand_dims(mask, -1), sem="relaxed")


@triton.jit
@no_type_check
def gradient(
    table,
    x,
    record,
    g,
    mask,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    v,
    ALONG: tl.constexpr,
):
    """What the gradient ``g`` (*, F) of ``interpolate`` is by each coordinate: a tuple of DIM blocks (*).

    Not for "nearest", where it is 0.
    """
    cells, places = locate(x, record, DIM)
    shares = shares_of(places, DIM, INTERPOLATION)
    slopes = slopes_of(places, record, DIM, INTERPOLATION)
    bends = bends_of(places, record, DIM, INTERPOLATION)
    totals = ()
    for j in tl.static_range(DIM):
        totals = totals + (tl.zeros_like(places[j]),)
    for corner in tl.static_range(2**DIM):
        numbers = numbers_of(table, corner_row(cells, record, corner, DIM, HASHED), mask, F)
        product = tl.sum(numbers * g, axis=-1)
        changed = ()
        for j in tl.static_range(DIM):
            across = corner_weight(shares, corner, j, DIM, INTERPOLATION)
            if ALONG:
                along = corner_weight_along(shares, slopes, v, corner, j, DIM, INTERPOLATION)
                change = slopes[j] * along + v[j] * bends[j] * across
            else:
                change = slopes[j] * across
            changed = changed + (totals[j] + product * of_corner(change, corner, j),)
        totals = changed
    return totals


@triton.jit
@no_type_check
def read_points(x, index, mask, DIM: tl.constexpr):
    """The coordinates of points: a tuple of DIM blocks, 0 where ``mask`` is not."""
    axes = ()
    for j in tl.static_range(DIM):
        axes = axes + (tl.load(x + index * DIM + j, mask=mask, other=0.0),)
    return axes
