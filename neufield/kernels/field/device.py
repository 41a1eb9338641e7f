"""Device functions of the fused encoding and network: a block of points' features, weights, activations, losses.

A block of features is 16 columns wide, the least that a product on tensor cores sums over. Features and hidden units
are *narrow*: of the type of the products' factors. Sums, losses, and what goes to a table are float32.

Every function is marked ``no_type_check``: the hook that checks signatures in tests would wrap what Triton must read.
"""

from typing import no_type_check

import triton
import triton.language as tl

from neufield.kernels.grid.programs import add_gradient, gradient, interpolate, read_level


@triton.jit
@no_type_check
def narrow(value, TYPE: tl.constexpr):
    """As a factor of products; what is beyond float16 becomes its largest number rather than infinite."""
    if TYPE == tl.float16:
        value = tl.clamp(value, -65504.0, 65504.0, propagate_nan=tl.PropagateNan.ALL)
    return value.to(TYPE)


@triton.jit
@no_type_check
def narrow_gradient(g, TYPE: tl.constexpr):
    """A gradient as a factor of products, and by what the product must be multiplied.

    float16 reaches from 2^-24 to 2^16, gradients lie anywhere. A block's are multiplied by that power of two (so
    exactly) which brings the largest to [2^13, 2^14). Nothing can overflow, the sums being float32. What is rounded
    more coarsely than the rest is below 2^-28 of the largest, what is lost below 2^-38: less than float32 itself keeps
    of a sum over the block, 2^-24. bfloat16 and float32 have the range as they are.
    """
    if TYPE == tl.float16:
        size = tl.abs(g)
        largest = tl.max(tl.where(size < float("inf"), size, 0.0))
        exponent = largest.to(tl.int32, bitcast=True) >> 23
        power = tl.minimum(267 - exponent, 253)
        scale = (power << 23).to(tl.float32, bitcast=True)
        inverse = ((254 - power) << 23).to(tl.float32, bitcast=True)
        return (g * scale).to(TYPE), inverse
    else:
        return g.to(TYPE), 1.0


@triton.jit
@no_type_check
def add_product(total, a, b, factor, TYPE: tl.constexpr):
    """``total`` + ``factor`` * ``a`` @ ``b`` in float32; ``factor`` is that of ``narrow_gradient``."""
    if TYPE == tl.float16:
        return total + tl.dot(a, b) * factor
    else:
        # Three products of 11 + 11 bits each on the tensor cores, where the factors are float32.
        return tl.dot(a, b, total, input_precision="tf32x3")


@triton.jit
@no_type_check
def matrix_index(start, N_ROWS: tl.constexpr, N_COLUMNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, first):
    """Where the numbers of a matrix (N_ROWS, N_COLUMNS) are, in a block from the column ``first`` on; and which are.

    Where all are, the mask is one constant, which takes up no registers.
    """
    row = tl.arange(0, ROWS)[:, None]
    column = first + tl.arange(0, COLUMNS)[None, :]
    if N_COLUMNS % COLUMNS == 0:
        real = row < N_ROWS
        if N_ROWS == ROWS:
            real = tl.full((1, 1), True, tl.int1)
    else:
        real = (row < N_ROWS) & (column < N_COLUMNS)
    return start + row * N_COLUMNS + column, real


@triton.jit
@no_type_check
def vector_index(start, N: tl.constexpr, SIZE: tl.constexpr):
    """The same of a bias (N,)."""
    row = tl.arange(0, SIZE)
    return start + row, row < N


@triton.jit
@no_type_check
def sine(z, SHIFT: tl.constexpr):
    """sin(z + SHIFT * pi), to 2^-23 for |z| up to 1e4."""
    turns = tl.floor(z * 0.3183098861837907 + (SHIFT + 0.5))
    off = SHIFT - turns
    rest = tl.fma(off, 3.1415927410125732, z)  # pi as float32, and what that is too much
    return turned(tl.fma(off, -8.742277657347586e-08, rest), turns)


@triton.jit
@no_type_check
def sine_of_half_turns(t, shift):
    """sin((t + shift) * pi), the whole turns taken away exactly."""
    turns = tl.floor(t + (shift + 0.5))
    return turned((t + (shift - turns)) * 3.1415927410125732, turns)


@triton.jit
@no_type_check
def turned(rest, turns):
    """(-1)^turns sin(rest), for a rest within a quarter of a turn."""
    odd = turns - 2.0 * tl.floor(turns * 0.5)
    square = rest * rest
    series = tl.fma(square, -2.3889859e-08, 2.7525562e-06)
    series = tl.fma(square, series, -1.9840874e-04)
    series = tl.fma(square, series, 8.3333310e-03)
    series = tl.fma(square, series, -1.6666667e-01)
    value = tl.fma(square * rest, series, rest)
    return tl.where(odd > 0.5, -value, value)


@triton.jit
@no_type_check
def activate(z, ACTIVATION: tl.constexpr):
    """The activation of sums ``z``, and what its slope is known by: itself, or the slope."""
    if ACTIVATION == "relu":
        h = tl.where(z < 0.0, 0.0, z)  # a NaN stays one
        mark = h
    elif ACTIVATION == "leaky_relu":
        h = tl.where(z < 0.0, 0.01 * z, z)
        mark = h
    elif ACTIVATION == "silu":
        share = 1.0 / (1.0 + tl.exp(-z))
        h = z * share
        mark = share * (1.0 + z * (1.0 - share))
    elif ACTIVATION == "sine":
        h = sine(z, 0.0)
        mark = sine(z, 0.5)
    else:
        h = z
        mark = h
    return h, mark


@triton.jit
@no_type_check
def through_activation(g, mark, ACTIVATION: tl.constexpr):
    """A gradient by the activation's values, as one by what went in."""
    if ACTIVATION == "relu":
        g = tl.where(mark > 0.0, g, 0.0)
    elif ACTIVATION == "leaky_relu":
        g = tl.where(mark > 0.0, g, 0.01 * g)
    elif ACTIVATION != "none":
        g = g * mark.to(tl.float32)
    return g


@triton.jit
@no_type_check
def loss_of(y, target, LOSS: tl.constexpr):
    """The loss of each value and its derivative by the value (``losses.py``)."""
    d = y - target
    sign = tl.where(d > 0.0, 1.0, tl.where(d < 0.0, -1.0, 0.0 * d))
    if LOSS == "l2":
        value = d * d
        slope = 2.0 * d
    elif LOSS == "l1":
        value = tl.abs(d)
        slope = sign
    elif LOSS == "huber":
        near = tl.abs(d) <= 0.1
        value = tl.where(near, 5.0 * d * d, tl.abs(d) - 0.05)
        slope = tl.where(near, 10.0 * d, sign)
    else:  # relative_l2
        share = 1.0 / (y * y + 0.01)
        value = d * d * share
        slope = 2.0 * d * share
    return value, slope


@triton.jit
@no_type_check
def coordinates(x, valid, BLOCK: tl.constexpr, DIM: tl.constexpr):
    """Points as a tuple of DIM blocks (BLOCK, 1)."""
    row = tl.arange(0, BLOCK)[:, None]
    found = ()
    for j in tl.static_range(DIM):
        found = found + (tl.load(x + row * DIM + j, mask=valid, other=0.0),)
    return found


@triton.jit
@no_type_check
def features_of(
    x,
    table,
    levels,
    points,
    valid,
    group,
    FRONT: tl.constexpr,
    N_IN: tl.constexpr,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Features (BLOCK, 16) from column 16 * ``group`` on. ``F``: of a grid's level; or the octaves of sines."""
    row = tl.arange(0, BLOCK)[:, None]
    column = group * 16 + tl.arange(0, 16)[None, :]
    mask = valid & (column < N_IN)
    if FRONT == "features":
        found = tl.load(x + row * N_IN + column, mask=mask, other=0.0)
    elif FRONT == "frequency":
        at = tl.load(x + row * DIM + column // (2 * F), mask=mask, other=0.0)
        octave = (column // 2) % F
        found = sine_of_half_turns(at * (1 << octave).to(tl.float32), 0.5 * (column % 2).to(tl.float32))
    else:
        level = group * (16 // F) + tl.arange(0, 16 // F)[None, :]
        record = read_level(levels, tl.minimum(level, N_IN // F - 1))
        mask = valid & (level < N_IN // F)
        found = interpolate(table, points, record, mask, DIM, F, INTERPOLATION, HASHED)
        found = tl.reshape(found, (BLOCK, 16))
    return found


@triton.jit
@no_type_check
def through_features(
    g,
    x,
    table,
    levels,
    points,
    valid,
    group,
    by_table,
    by_x,
    by_points,
    FRONT: tl.constexpr,
    BY_TABLE: tl.constexpr,
    BY_X: tl.constexpr,
    N_IN: tl.constexpr,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """What the gradient ``g`` (BLOCK, 16) of ``features_of`` is to the table, and to the points: ``by_points`` and more.

    BY_TABLE: "none"; "atomic", added to ``by_table`` there; or "features", written to it by point and feature, for a
    sum in order.
    """
    row = tl.arange(0, BLOCK)[:, None]
    column = group * 16 + tl.arange(0, 16)[None, :]
    mask = valid & (column < N_IN)
    if BY_TABLE == "features":
        tl.store(by_table + row * N_IN + column, g, mask=mask)
    if FRONT == "features":
        if BY_X:
            tl.store(by_x + row * N_IN + column, g, mask=mask)
    elif FRONT == "frequency":
        if BY_X:
            axis = column // (2 * F)
            rate = (1 << ((column // 2) % F)).to(tl.float32)
            at = tl.load(x + row * DIM + axis, mask=mask, other=0.0)
            g = g * sine_of_half_turns(at * rate, 0.5 + 0.5 * (column % 2).to(tl.float32)) * rate * 3.1415927410125732
            changed = ()
            for j in tl.static_range(DIM):
                changed = changed + (by_points[j] + tl.sum(tl.where(mask & (axis == j), g, 0.0), 1),)
            by_points = changed
    else:
        level = group * (16 // F) + tl.arange(0, 16 // F)[None, :]
        record = read_level(levels, tl.minimum(level, N_IN // F - 1))
        mask = valid & (level < N_IN // F)
        g = tl.reshape(g, (BLOCK, 16 // F, F))
        if BY_TABLE == "atomic":
            add_gradient(by_table, points, record, g, mask, DIM, F, INTERPOLATION, HASHED)
        if BY_X and INTERPOLATION != "nearest":
            slopes = gradient(table, points, record, g, mask, DIM, F, INTERPOLATION, HASHED)
            changed = ()
            for j in tl.static_range(DIM):
                changed = changed + (by_points[j] + tl.sum(tl.where(mask, slopes[j], 0.0), 1),)
            by_points = changed
    return by_points
