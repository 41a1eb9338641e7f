"""Functions of the fused encoding and network: a block of points' features, activations and losses.

Features come in groups of 16 columns, the least that a product on tensor cores sums over.

Every function is marked ``no_type_check``: the hook that checks signatures in tests would wrap what Triton must read.
"""

from typing import no_type_check

import triton
import triton.language as tl

from neufield.kernels.grid.cell_programs import add_gradient, interpolate, read_level


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
    mark = mark.to(tl.float32)  # in bfloat16 the interpreter compares bits
    if ACTIVATION == "relu":
        g = tl.where(mark > 0.0, g, 0.0)
    elif ACTIVATION == "leaky_relu":
        g = tl.where(mark > 0.0, g, 0.01 * g)
    elif ACTIVATION != "none":
        g = g * mark
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
def features_of(
    x,
    table,
    levels,
    points,
    valid,
    group,
    ENCODING: tl.constexpr,
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
    if ENCODING == "features":
        found = tl.load(x + row * N_IN + column, mask=mask, other=0.0)
    elif ENCODING == "frequency":
        at = tl.load(x + row * DIM + column // (2 * F), mask=mask, other=0.0)
        octave = (column // 2) % F
        found = sine_of_half_turns(at * (1 << octave).to(tl.float32), 0.5 * (column % 2).to(tl.float32))
    else:
        level = group * (16 // F) + tl.arange(0, 16 // F)[None, :]
        record = read_level(levels, tl.minimum(level, N_IN // F - 1))
        mask = valid & (level < N_IN // F)
        found = interpolate(table, points, record, mask, DIM, F, INTERPOLATION, HASHED, (), False)
        found = tl.reshape(found, (BLOCK, 16))
    return found


@triton.jit
@no_type_check
def through_features(
    g,
    levels,
    points,
    valid,
    group,
    by_table,
    by_features,
    ENCODING: tl.constexpr,
    BACK: tl.constexpr,
    N_IN: tl.constexpr,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """What the gradient ``g`` (BLOCK, 16) of ``features_of`` is to others.

    BACK "table": added to the table's gradient, atomically; "features": written, by point and feature.
    """
    if BACK == "features":
        column = group * 16 + tl.arange(0, 16)[None, :]
        at = by_features + tl.arange(0, BLOCK)[:, None] * N_IN + column
        tl.store(at, g, mask=valid & (column < N_IN))
    elif BACK == "table":
        level = group * (16 // F) + tl.arange(0, 16 // F)[None, :]
        record = read_level(levels, tl.minimum(level, N_IN // F - 1))
        g = tl.reshape(g, (BLOCK, 16 // F, F))
        mask = valid & (level < N_IN // F)
        add_gradient(by_table, points, record, g, mask, DIM, F, INTERPOLATION, HASHED, (), False)
