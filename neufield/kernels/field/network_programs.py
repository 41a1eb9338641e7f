"""Functions of the fused encoding and network: a block of points through the whole network, and back.

What the constants are, says :mod:`.programs`. Every function is marked ``no_type_check``: the hook that checks
signatures in tests would wrap what Triton must read.
"""

from typing import no_type_check

import triton
import triton.language as tl

from neufield.kernels.field.block_programs import (
    activate,
    features_of,
    through_activation,
    through_features,
)
from neufield.kernels.field.layer_programs import (
    add_product,
    back_through_linear,
    linear,
    matrix_index,
    narrow,
    narrow_gradient,
    sum_more,
    sum_rows_more,
    vector_index,
)


@triton.jit
@no_type_check
def through_network(
    x,
    table,
    levels,
    params,
    factors,
    kept,
    points,
    valid,
    FRONT: tl.constexpr,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    N_IN: tl.constexpr,
    IN: tl.constexpr,
    N_WIDTH: tl.constexpr,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    N_OUT: tl.constexpr,
    OUT: tl.constexpr,
    FIRST: tl.constexpr,
    STEP: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BIAS: tl.constexpr,
    TYPE: tl.constexpr,
    BLOCK: tl.constexpr,
    KEEP: tl.constexpr,
):
    """The values (BLOCK, OUT) of a block of points, and, narrow, two tuples: hidden layers, their marks.

    With KEEP the features are written to ``kept``, as they are.
    """
    N_NEXT: tl.constexpr = N_OUT if HIDDEN == 0 else N_WIDTH
    NEXT: tl.constexpr = OUT if HIDDEN == 0 else WIDTH
    z = tl.zeros((BLOCK, NEXT), tl.float32)
    for group in tl.static_range(IN // 16):
        found = features_of(x, table, levels, points, valid, group, FRONT, N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK)
        if KEEP:
            column = group * 16 + tl.arange(0, 16)[None, :]
            tl.store(kept + tl.arange(0, BLOCK)[:, None] * N_IN + column, found, mask=valid & (column < N_IN))
        at, real = matrix_index(0, N_NEXT, N_IN, NEXT, 16, group * 16)
        w = tl.load(factors + at, mask=real, other=0.0)
        z = add_product(z, narrow(found, TYPE), tl.trans(w), 1.0, TYPE)
    if BIAS:
        at, real = vector_index(N_NEXT * N_IN, N_NEXT, NEXT)
        z += tl.load(params + at, mask=real, other=0.0)[None, :]
    hidden = ()
    marks = ()
    for layer in tl.static_range(1, HIDDEN + 1):
        h, mark = activate(z, ACTIVATION)
        h = narrow(h, TYPE)
        hidden = hidden + (h,)
        marks = marks + (narrow(mark, TYPE),)
        start = FIRST + (layer - 1) * STEP
        if layer == HIDDEN:
            z = linear(h, params, factors, start, N_OUT, N_WIDTH, OUT, WIDTH, BIAS, TYPE, BLOCK)
        else:
            z = linear(h, params, factors, start, N_WIDTH, N_WIDTH, WIDTH, WIDTH, BIAS, TYPE, BLOCK)
    return z, hidden, marks


@triton.jit
@no_type_check
def back_through_network(
    g,
    hidden,
    marks,
    later,
    x,
    levels,
    factors,
    sums,
    points,
    valid,
    by_table,
    by_features,
    FRONT: tl.constexpr,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    N_IN: tl.constexpr,
    IN: tl.constexpr,
    N_WIDTH: tl.constexpr,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    N_OUT: tl.constexpr,
    OUT: tl.constexpr,
    FIRST: tl.constexpr,
    STEP: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BIAS: tl.constexpr,
    TYPE: tl.constexpr,
    BLOCK: tl.constexpr,
    READ: tl.constexpr,
    BACK: tl.constexpr,
):
    """From the gradient ``g`` (BLOCK, OUT) by the values to all the others.

    READ: the front that gives the features at ``x`` once more.
    """
    N_NEXT: tl.constexpr = N_OUT if HIDDEN == 0 else N_WIDTH
    NEXT: tl.constexpr = OUT if HIDDEN == 0 else WIDTH
    for layer in tl.static_range(HIDDEN, 0, -1):
        at = FIRST + (layer - 1) * STEP
        if layer == HIDDEN:
            g = back_through_linear(
                g, hidden[layer - 1], factors + at, sums + at, later,
                N_OUT, N_WIDTH, OUT, WIDTH, BIAS, TYPE,
            )  # fmt: skip
        else:
            g = back_through_linear(
                g, hidden[layer - 1], factors + at, sums + at, later,
                N_WIDTH, N_WIDTH, WIDTH, WIDTH, BIAS, TYPE,
            )  # fmt: skip
        g = through_activation(g, marks[layer - 1], ACTIVATION)
    if BIAS:
        at, real = vector_index(sums + N_NEXT * N_IN, N_NEXT, NEXT)
        sum_rows_more(at, real, later, g)
    g, factor = narrow_gradient(g, TYPE)
    for group in tl.static_range(IN // 16):
        found = features_of(x, x, levels, points, valid, group, READ, N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK)
        at, real = matrix_index(sums, N_NEXT, N_IN, NEXT, 16, group * 16)
        sum_more(at, real, later, tl.trans(g), narrow(found, TYPE), factor, TYPE)
        if BACK != "nothing":
            at, real = matrix_index(factors, N_NEXT, N_IN, NEXT, 16, group * 16)
            w = tl.load(at, mask=real, other=0.0)
            g_group = add_product(tl.zeros((BLOCK, 16), tl.float32), g, w, factor, TYPE)
            through_features(
                g_group, levels, points, valid, group, by_table, by_features,
                FRONT, BACK, N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK,
            )  # fmt: skip
