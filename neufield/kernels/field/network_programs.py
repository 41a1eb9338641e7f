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
    keep,
    kept_numbers,
    linear,
    matrix_index,
    narrow,
    narrow_gradient,
    sum_more,
    sum_rows_more,
    vector_index,
)
from neufield.kernels.grid.cell_programs import read_points


# Long because a Triton program names every argument, and every constant, on a line of its own.
@triton.jit
@no_type_check
def through_network(
    x,
    table,
    levels,
    params,
    factors,
    kept,
    held,
    points,
    valid,
    ENCODING: tl.constexpr,
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
    PLANE: tl.constexpr,
    BLOCK: tl.constexpr,
    KEEP: tl.constexpr,
    HOLD: tl.constexpr,
):
    """The values (BLOCK, OUT) of a block of points.

    With KEEP the features are written to ``kept``, as they are; with HOLD the hidden layers, narrow, to ``held``, and
    after each what its activation's slope is known by, if that is something else.
    """
    N_NEXT: tl.constexpr = N_OUT if HIDDEN == 0 else N_WIDTH
    NEXT: tl.constexpr = OUT if HIDDEN == 0 else WIDTH
    z = tl.zeros((BLOCK, NEXT), tl.float32)
    for group in tl.static_range(IN // 16):
        found = features_of(
            x, table, levels, points, valid, group, ENCODING, N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK
        )
        if KEEP:
            column = group * 16 + tl.arange(0, 16)[None, :]
            tl.store(kept + tl.arange(0, BLOCK)[:, None] * N_IN + column, found, mask=valid & (column < N_IN))
        here, real = matrix_index(0, N_NEXT, N_IN, NEXT, 16, group * 16)
        z = add_product(z, narrow(found, TYPE), factors + here, real, PLANE, True, 1.0, TYPE)
    if BIAS:
        at, real = vector_index(N_NEXT * N_IN, N_NEXT, NEXT)
        z += tl.load(params + at, mask=real, other=0.0)[None, :]
    SMOOTH: tl.constexpr = ACTIVATION == "silu" or ACTIVATION == "sine"
    LAYER: tl.constexpr = (3 if TYPE == tl.float32 else 1) * BLOCK * WIDTH
    for layer in tl.static_range(1, HIDDEN + 1):
        h, mark = activate(z, ACTIVATION)
        h = narrow(h, TYPE)
        if HOLD:
            at, _real = matrix_index(held + (layer - 1) * (1 + SMOOTH) * LAYER, BLOCK, WIDTH, BLOCK, WIDTH, 0)
            keep(at, BLOCK * WIDTH, h, TYPE)
            if SMOOTH:
                keep(at + LAYER, BLOCK * WIDTH, narrow(mark, TYPE), TYPE)
        start = FIRST + (layer - 1) * STEP
        if layer == HIDDEN:
            z = linear(h, params, factors, start, N_OUT, N_WIDTH, OUT, WIDTH, BIAS, TYPE, PLANE, BLOCK)
        else:
            z = linear(h, params, factors, start, N_WIDTH, N_WIDTH, WIDTH, WIDTH, BIAS, TYPE, PLANE, BLOCK)
    return z


# Long because a Triton program names every argument, and every constant, on a line of its own.
@triton.jit
@no_type_check
def back_through_network(
    g,
    held,
    later,
    x,
    waiting,
    levels,
    factors,
    sums,
    valid,
    by_table,
    by_features,
    ENCODING: tl.constexpr,
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
    PLANE: tl.constexpr,
    BLOCK: tl.constexpr,
    READ: tl.constexpr,
    BACK: tl.constexpr,
):
    """Computes all gradients from that by the values, ``g`` (BLOCK, OUT).

    READ: the encoding that gives the features of what is ``waiting`` once more. The points at ``x`` are read once more
    too: they would take up a dozen registers all the while.
    """
    N_NEXT: tl.constexpr = N_OUT if HIDDEN == 0 else N_WIDTH
    NEXT: tl.constexpr = OUT if HIDDEN == 0 else WIDTH
    SMOOTH: tl.constexpr = ACTIVATION == "silu" or ACTIVATION == "sine"
    LAYER: tl.constexpr = (3 if TYPE == tl.float32 else 1) * BLOCK * WIDTH
    for layer in tl.static_range(HIDDEN, 0, -1):
        start = FIRST + (layer - 1) * STEP
        h = held + (layer - 1) * (1 + SMOOTH) * LAYER
        if layer == HIDDEN:
            g = back_through_linear(
                g, h, factors + start, sums + start, later, N_OUT, N_WIDTH, OUT, WIDTH, BIAS, TYPE, PLANE, BLOCK
            )
        else:
            g = back_through_linear(
                g, h, factors + start, sums + start, later, N_WIDTH, N_WIDTH, WIDTH, WIDTH, BIAS, TYPE, PLANE, BLOCK
            )
        if ACTIVATION != "none":
            at, _real = matrix_index(h + SMOOTH * LAYER, BLOCK, WIDTH, BLOCK, WIDTH, 0)
            g = through_activation(g, kept_numbers(at, BLOCK * WIDTH, TYPE), ACTIVATION)
    if BIAS:
        at, real = vector_index(sums + N_NEXT * N_IN, N_NEXT, NEXT)
        sum_rows_more(at, real, later, g)
    g, factor = narrow_gradient(g, TYPE)
    points = ()
    if ENCODING == "grid":
        points = read_points(x, tl.arange(0, BLOCK)[:, None], valid, DIM)
    for group in tl.range(IN // 16, num_stages=1, disable_licm=True):
        found = features_of(waiting, x, levels, points, valid, group, READ, N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK)
        here, real = matrix_index(sums, N_NEXT, N_IN, NEXT, 16, group * 16)
        sum_more(here, real, later, tl.trans(g), narrow(found, TYPE), factor, TYPE)
        if BACK != "nothing":
            here, real = matrix_index(factors, N_NEXT, N_IN, NEXT, 16, group * 16)
            none = tl.zeros((BLOCK, 16), tl.float32)
            g_group = add_product(none, g, here, real, PLANE, False, factor, TYPE)
            through_features(
                g_group, levels, points, valid, group, by_table, by_features,
                ENCODING, BACK, N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK,
            )  # fmt: skip
