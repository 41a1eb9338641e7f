"""Encoding and network in Triton: forward, and forward with backward, a block of points at a time.

A program takes BLOCK points through everything; hidden layers never meet memory. The first layer's product is summed
over groups of 16 features as they are found: all at once they and what finds them would not fit the registers.

``train`` computes the hidden layers once more and keeps them in registers for the way back. Features wait in memory,
16 columns at a time being read back: those that ``forward`` kept, or (a few kB for each program, which stay in the
second cache) those that the program itself found.

Its programs are few and each takes many blocks, one after the other. What these are to the weights is summed in
registers where there is room (RESIDENT), else in the program's own row of ``partials``, by plain loads and stores;
``reduce`` adds the rows in their order. So no atomics, and the same bits in every run on a machine.

What all programs know of the network: IN features (N_IN of them real, the others 0) of a FRONT, HIDDEN layers of WIDTH
units (N_WIDTH) and OUT values (N_OUT); DIM, F, INTERPOLATION, HASHED are of the front (``features_of``). In the
parameters the first linear map takes up FIRST numbers and each further hidden one STEP. ``factors`` are the parameters
in the type TYPE of the products' factors.
"""

from typing import no_type_check

import triton
import triton.language as tl

from neufield.kernels.field.block_programs import (
    activate,
    features_of,
    loss_of,
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
    no_sums,
    sum_more,
    sum_rows_more,
    vector_index,
    write_sums,
)
from neufield.kernels.grid.cell_programs import read_points


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
def forward(
    x,
    table,
    levels,
    params,
    factors,
    kept,
    y,
    n,
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
    """The values ``y`` (n, N_OUT) at ``x`` (n, DIM), or (n, N_IN) where features are given."""
    begin = tl.program_id(0).to(tl.int64) * BLOCK
    row = tl.arange(0, BLOCK)[:, None]
    valid = begin + row < n
    x += begin * DIM
    points = ()
    if FRONT == "grid":
        points = read_points(x, row, valid, DIM)
    values, _hidden, _marks = through_network(
        x, table, levels, params, factors, kept + begin * N_IN, points, valid,
        FRONT, DIM, F, INTERPOLATION, HASHED, N_IN, IN, N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT, FIRST, STEP,
        ACTIVATION, BIAS, TYPE, BLOCK, KEEP,
    )  # fmt: skip
    column = tl.arange(0, OUT)[None, :]
    tl.store(y + begin * N_OUT + row * N_OUT + column, values, mask=valid & (column < N_OUT))


@triton.jit
@no_type_check
def back_through_network(
    g,
    hidden,
    marks,
    sums,
    later,
    x,
    levels,
    factors,
    mine,
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
    RESIDENT: tl.constexpr,
):
    """From the gradient ``g`` (BLOCK, OUT) by the values to all the others; returns the sums.

    READ: the front that gives the features at ``x`` once more.
    """
    N_NEXT: tl.constexpr = N_OUT if HIDDEN == 0 else N_WIDTH
    NEXT: tl.constexpr = OUT if HIDDEN == 0 else WIDTH
    K: tl.constexpr = HIDDEN * (1 + BIAS)
    grown = ()
    for layer in tl.static_range(HIDDEN, 0, -1):
        at = FIRST + (layer - 1) * STEP
        if layer == HIDDEN:
            g, more = back_through_linear(
                g, hidden[layer - 1], sums, (HIDDEN - layer) * (1 + BIAS), later, factors + at, mine + at,
                N_OUT, N_WIDTH, OUT, WIDTH, BIAS, TYPE, RESIDENT,
            )  # fmt: skip
        else:
            g, more = back_through_linear(
                g, hidden[layer - 1], sums, (HIDDEN - layer) * (1 + BIAS), later, factors + at, mine + at,
                N_WIDTH, N_WIDTH, WIDTH, WIDTH, BIAS, TYPE, RESIDENT,
            )  # fmt: skip
        grown = grown + more
        g = through_activation(g, marks[layer - 1], ACTIVATION)
    if BIAS:
        at, real = vector_index(mine + N_NEXT * N_IN, N_NEXT, NEXT)
        grown = grown + sum_rows_more(sums, K, later, at, real, g, RESIDENT)
    g, factor = narrow_gradient(g, TYPE)
    for group in tl.static_range(IN // 16):
        found = features_of(x, x, levels, points, valid, group, READ, N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK)
        at, real = matrix_index(mine, N_NEXT, N_IN, NEXT, 16, group * 16)
        grown = grown + sum_more(
            sums, K + BIAS + group, later, at, real, tl.trans(g), narrow(found, TYPE), factor, RESIDENT, TYPE
        )
        if BACK != "nothing":
            at, real = matrix_index(factors, N_NEXT, N_IN, NEXT, 16, group * 16)
            w = tl.load(at, mask=real, other=0.0)
            g_group = add_product(tl.zeros((BLOCK, 16), tl.float32), g, w, factor, TYPE)
            through_features(
                g_group, levels, points, valid, group, by_table, by_features,
                FRONT, BACK, N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK,
            )  # fmt: skip
    return grown


@triton.jit
@no_type_check
def train(
    x,
    table,
    levels,
    params,
    factors,
    kept,
    given,
    weight,
    error,
    by_table,
    by_features,
    partials,
    n,
    stride,
    share,
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
    LOSS: tl.constexpr,
    WEIGHTED: tl.constexpr,
    KEPT: tl.constexpr,
    BACK: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    """Gradients by table, features and, as a row of ``partials`` for each program, parameters.

    Without a LOSS ("none") ``given`` (n, N_OUT) are the gradients by the values. With one they are targets; ``error``
    (n,) is written, its sum, weighted, stands behind the row's parameters, and ``share`` is what of a value's loss goes
    into the mean.
    KEPT: features are "given", as ``forward`` kept them; found and kept by each program as its "own" for the way back;
    or, "no", found both times.
    BACK: what is made of the gradient by features: the "table"'s, the "features"' or "nothing".
    """
    sums = no_sums(IN, WIDTH, HIDDEN, OUT, BIAS, RESIDENT)
    cost = tl.zeros((BLOCK,), tl.float32)
    mine = partials + tl.program_id(0) * stride
    row = tl.arange(0, BLOCK)[:, None]
    column = tl.arange(0, OUT)[None, :]
    # Addresses computed ahead of the loop would take up registers that its blocks want.
    for block in tl.range(tl.program_id(0), tl.cdiv(n, BLOCK), tl.num_programs(0), num_stages=1, disable_licm=True):
        begin = tl.cast(block, tl.int64) * BLOCK
        valid = begin + row < n
        here = x + begin * DIM
        waiting = here
        if KEPT == "given":
            waiting = kept + begin * N_IN
        elif KEPT == "own":
            waiting = kept + tl.program_id(0) * BLOCK * N_IN
        points = ()
        if FRONT == "grid":
            points = read_points(here, row, valid, DIM)
        y, hidden, marks = through_network(
            waiting if KEPT == "given" else here, table, levels, params, factors, waiting, points, valid,
            "features" if KEPT == "given" else FRONT, DIM, F, INTERPOLATION, HASHED, N_IN, IN,
            N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT, FIRST, STEP, ACTIVATION, BIAS, TYPE, BLOCK, KEPT == "own",
        )  # fmt: skip
        real = valid & (column < N_OUT)
        g = tl.load(given + begin * N_OUT + row * N_OUT + column, mask=real, other=0.0)
        if LOSS != "none":
            value, g = loss_of(y, g, LOSS)
            errors = tl.sum(tl.where(real, value, 0.0), 1) * (1.0 / N_OUT)
            point = tl.arange(0, BLOCK)
            tl.store(error + begin + point, errors, mask=begin + point < n)
            if WEIGHTED:
                counts = tl.load(weight + begin + point, mask=begin + point < n, other=0.0)
                errors = errors * counts
                g = g * counts[:, None]
            cost += errors
            g = tl.where(real, g * share, 0.0)
        if not RESIDENT or KEPT == "own":
            tl.debug_barrier()  # other threads may have written what is now read, of sums or features
        sums = back_through_network(
            g, hidden, marks, sums, begin >= tl.num_programs(0) * BLOCK, waiting, levels, factors, mine, points, valid,
            by_table, by_features + begin * N_IN,
            FRONT, DIM, F, INTERPOLATION, HASHED, N_IN, IN, N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT, FIRST, STEP,
            ACTIVATION, BIAS, TYPE, BLOCK, FRONT if KEPT == "no" else "features", BACK, RESIDENT,
        )  # fmt: skip
        if KEPT == "own":
            tl.debug_barrier()  # before the next block's features are written over these
    if RESIDENT:
        write_sums(sums, mine, N_IN, IN, N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT, FIRST, STEP, BIAS)
    if LOSS != "none":
        tl.store(mine + stride - 1, tl.sum(cost, 0))


@triton.jit
@no_type_check
def reduce(partials, found, total, rows, columns, stride, share, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """``found`` (columns,): the sums over the rows of ``partials``, in their order; ``total``: a share of the last."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, rows, ROWS):
        row = first + tl.arange(0, ROWS)[:, None]
        there = (row < rows) & (column < stride)[None, :]
        sums += tl.load(partials + row * stride + column[None, :], mask=there, other=0.0)
    sums = tl.sum(sums, 0)
    tl.store(found + column, sums, mask=column < columns)
    tl.store(total + column * 0, sums * share, mask=column == columns)


@triton.jit
@no_type_check
def rescale(numbers, scale, n, BLOCK: tl.constexpr):
    """``numbers`` times ``scale``, a number on the device, in place; nothing is read where it is 1."""
    factor = tl.load(scale)
    if factor != 1.0:
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        tl.store(numbers + at, tl.load(numbers + at, mask=at < n) * factor, mask=at < n)
