"""Encoding and network in Triton: forward, and forward with backward, a block of points at a time.

A program takes BLOCK points through everything; nothing but coordinates, values and gradients meets memory. The
first layer's product is summed over groups of 16 features, as they are found: all at once they and what finds them
would not fit the registers.

``train`` computes the activations once more (from the kept features where there are such), and keeps them in registers
for the way back, which BLOCK is chosen to allow (``triton.launch_of``): spilling them to memory would cost more than
the smaller block does. Its programs are few and each takes many blocks, one after the other. What these are to the
weights is summed in registers where all the weights' gradients fit (RESIDENT), else in the program's own row of
``partials``, and ``reduce`` adds the rows in their order: no atomics, the same bits in every run.

What all programs know of the network: IN features (N_IN of them real, the others 0) of a FRONT, HIDDEN layers of WIDTH
units (N_WIDTH) and OUT values (N_OUT); DIM, F, INTERPOLATION, HASHED are of the front (``features_of``). In the
parameters the first linear map takes up FIRST numbers and each further hidden one STEP.
"""

from typing import no_type_check

import triton
import triton.language as tl

from neufield.kernels.field.device import (
    activate,
    add_product,
    coordinates,
    features_of,
    loss_of,
    matrix_index,
    narrow,
    narrow_gradient,
    through_activation,
    through_features,
    vector_index,
)


@triton.jit
@no_type_check
def linear(
    h,
    params,
    factors,
    start,
    N_OUT: tl.constexpr,
    N_IN: tl.constexpr,
    OUT: tl.constexpr,
    IN: tl.constexpr,
    BIAS: tl.constexpr,
    TYPE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The sums (BLOCK, OUT) that a linear map, whose parameters begin at ``start``, makes of ``h`` (BLOCK, IN)."""
    at, real = matrix_index(start, N_OUT, N_IN, OUT, IN, 0)
    w = tl.load(factors + at, mask=real, other=0.0)
    z = add_product(tl.zeros((BLOCK, OUT), tl.float32), h, tl.trans(w), 1.0, TYPE)
    if BIAS:
        at, real = vector_index(start + N_OUT * N_IN, N_OUT, OUT)
        z += tl.load(params + at, mask=real, other=0.0)[None, :]
    return z


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
    hidden = ()
    marks = ()
    for group in tl.static_range(IN // 16):
        found = features_of(x, table, levels, points, valid, group, FRONT, N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK)
        if KEEP:
            column = group * 16 + tl.arange(0, 16)[None, :]
            tl.store(kept + tl.arange(0, BLOCK)[:, None] * N_IN + column, found, mask=valid & (column < N_IN))
        found = narrow(found, TYPE)
        at, real = matrix_index(0, N_NEXT, N_IN, NEXT, 16, group * 16)
        w = tl.load(factors + at, mask=real, other=0.0)
        z = add_product(z, found, tl.trans(w), 1.0, TYPE)
    if BIAS:
        at, real = vector_index(N_NEXT * N_IN, N_NEXT, NEXT)
        z += tl.load(params + at, mask=real, other=0.0)[None, :]
    for layer in tl.static_range(1, HIDDEN + 1):
        h, mark = activate(z, ACTIVATION)
        h = narrow(h, TYPE)
        hidden = hidden + (h,)
        marks = marks + (narrow(mark, TYPE),)
        if layer == HIDDEN:
            z = linear(h, params, factors, FIRST + (layer - 1) * STEP, N_OUT, N_WIDTH, OUT, WIDTH, BIAS, TYPE, BLOCK)
        else:
            z = linear(h, params, factors, FIRST + (layer - 1) * STEP, N_WIDTH, N_WIDTH, WIDTH, WIDTH, BIAS, TYPE, BLOCK)
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
    valid = (begin + tl.arange(0, BLOCK) < n)[:, None]
    x += begin * DIM
    points = ()
    if FRONT == "grid":
        points = coordinates(x, valid, BLOCK, DIM)
    values, _hidden, _marks = through_network(
        x, table, levels, params, factors, kept + begin * N_IN, points, valid,
        FRONT, DIM, F, INTERPOLATION, HASHED, N_IN, IN, N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT, FIRST, STEP,
        ACTIVATION, BIAS, TYPE, BLOCK, KEEP,
    )  # fmt: skip
    column = tl.arange(0, OUT)[None, :]
    tl.store(y + begin * N_OUT + tl.arange(0, BLOCK)[:, None] * N_OUT + column, values, mask=valid & (column < N_OUT))


@triton.jit
@no_type_check
def sum_more(sums, k: tl.constexpr, at, real, a, b, factor, RESIDENT: tl.constexpr, TYPE: tl.constexpr):
    """``factor`` * ``a`` @ ``b`` more, in the ``k``-th of the sums or in memory; () or the sum, as a tuple."""
    if RESIDENT:
        return (add_product(sums[k], a, b, factor, TYPE),)
    else:
        tl.store(at, add_product(tl.load(at, mask=real, other=0.0), a, b, factor, TYPE), mask=real)
        return ()


@triton.jit
@no_type_check
def sum_rows_more(sums, k: tl.constexpr, at, real, g, RESIDENT: tl.constexpr):
    """The same with the sum of the rows of ``g``."""
    if RESIDENT:
        return (sums[k] + tl.sum(g, 0),)
    else:
        tl.store(at, tl.load(at, mask=real, other=0.0) + tl.sum(g, 0), mask=real)
        return ()


@triton.jit
@no_type_check
def no_sums(
    IN: tl.constexpr,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    OUT: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    """What ``sum_more`` adds to, from the last linear map to the first: of each its bias, its weight."""
    sums = ()
    if RESIDENT:
        for layer in tl.static_range(HIDDEN, -1, -1):
            if BIAS:
                sums = sums + (tl.zeros((OUT if layer == HIDDEN else WIDTH,), tl.float32),)
            if layer > 0:
                if layer == HIDDEN and OUT < WIDTH:
                    sums = sums + (tl.zeros((WIDTH, OUT), tl.float32),)
                else:
                    sums = sums + (tl.zeros((OUT if layer == HIDDEN else WIDTH, WIDTH), tl.float32),)
            else:
                for _group in tl.static_range(IN // 16):
                    sums = sums + (tl.zeros((OUT if layer == HIDDEN else WIDTH, 16), tl.float32),)
    return sums


@triton.jit
@no_type_check
def back_through_linear(
    g,
    h,
    sums,
    k: tl.constexpr,
    start,
    mine,
    N_OUT: tl.constexpr,
    N_IN: tl.constexpr,
    OUT: tl.constexpr,
    IN: tl.constexpr,
    BIAS: tl.constexpr,
    TYPE: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    """The gradient by ``h`` of that by the sums of ``linear``, and the further sums of what it is to the parameters.

    These are the ``k``-th of ``sums`` and the next, or from ``mine`` on in memory.
    """
    grown = ()
    if BIAS:
        at, real = vector_index(mine + N_OUT * N_IN, N_OUT, OUT)
        grown = grown + sum_rows_more(sums, k, at, real, g, RESIDENT)
    g, factor = narrow_gradient(g, TYPE)
    at, real = matrix_index(mine, N_OUT, N_IN, OUT, IN, 0)
    if OUT < IN:  # a product's rows are shared out among the warps, which want 16 each
        grown = grown + sum_more(sums, k + BIAS, tl.trans(at), tl.trans(real), tl.trans(h), g, factor, RESIDENT, TYPE)
    else:
        grown = grown + sum_more(sums, k + BIAS, at, real, tl.trans(g), h, factor, RESIDENT, TYPE)
    at, real = matrix_index(start, N_OUT, N_IN, OUT, IN, 0)
    w = tl.load(at, mask=real, other=0.0)
    return add_product(tl.zeros(h.shape, tl.float32), g, w, factor, TYPE), grown


@triton.jit
@no_type_check
def back_through_network(
    g,
    at_features,
    hidden,
    marks,
    sums,
    x,
    table,
    levels,
    factors,
    mine,
    points,
    valid,
    by_table,
    by_x,
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
    BY_TABLE: tl.constexpr,
    BY_X: tl.constexpr,
    KEPT: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    """From the gradient ``g`` (BLOCK, OUT) by the values to all the others; returns the sums."""
    N_NEXT: tl.constexpr = N_OUT if HIDDEN == 0 else N_WIDTH
    NEXT: tl.constexpr = OUT if HIDDEN == 0 else WIDTH
    grown = ()
    for layer in tl.static_range(HIDDEN, 0, -1):
        at = FIRST + (layer - 1) * STEP
        if layer == HIDDEN:
            g, more = back_through_linear(
                g, hidden[layer - 1], sums, (HIDDEN - layer) * (1 + BIAS), factors + at, mine + at,
                N_OUT, N_WIDTH, OUT, WIDTH, BIAS, TYPE, RESIDENT,
            )  # fmt: skip
        else:
            g, more = back_through_linear(
                g, hidden[layer - 1], sums, (HIDDEN - layer) * (1 + BIAS), factors + at, mine + at,
                N_WIDTH, N_WIDTH, WIDTH, WIDTH, BIAS, TYPE, RESIDENT,
            )  # fmt: skip
        grown = grown + more
        g = through_activation(g, marks[layer - 1], ACTIVATION)
    if BIAS:
        at, real = vector_index(mine + N_NEXT * N_IN, N_NEXT, NEXT)
        grown = grown + sum_rows_more(sums, HIDDEN * (1 + BIAS), at, real, g, RESIDENT)
    g, factor = narrow_gradient(g, TYPE)
    by_points = ()
    for j in tl.static_range(DIM):
        by_points = by_points + (tl.zeros((BLOCK,), tl.float32),)
    for group in tl.static_range(IN // 16):
        found = features_of(
            at_features, table, levels, points, valid, group,
            FRONT if KEPT == "no" else "features", N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK,
        )  # fmt: skip
        at, real = matrix_index(mine, N_NEXT, N_IN, NEXT, 16, group * 16)
        grown = grown + sum_more(
            sums, HIDDEN * (1 + BIAS) + BIAS + group, at, real, tl.trans(g), narrow(found, TYPE), factor, RESIDENT, TYPE
        )
        if BY_TABLE != "none" or BY_X:
            at, real = matrix_index(factors, N_NEXT, N_IN, NEXT, 16, group * 16)
            w = tl.load(at, mask=real, other=0.0)
            by_features = add_product(tl.zeros((BLOCK, 16), tl.float32), g, w, factor, TYPE)
            by_points = through_features(
                by_features, x, table, levels, points, valid, group, by_table, by_x, by_points,
                FRONT, BY_TABLE, BY_X, N_IN, DIM, F, INTERPOLATION, HASHED, BLOCK,
            )  # fmt: skip
    if BY_X and FRONT != "features":
        for j in tl.static_range(DIM):
            at = by_x + tl.arange(0, BLOCK)[:, None] * DIM + j
            tl.store(at, tl.expand_dims(by_points[j], 1), mask=valid)
    return grown


@triton.jit
@no_type_check
def write_sums(
    sums,
    mine,
    N_IN: tl.constexpr,
    IN: tl.constexpr,
    N_WIDTH: tl.constexpr,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    N_OUT: tl.constexpr,
    OUT: tl.constexpr,
    FIRST: tl.constexpr,
    STEP: tl.constexpr,
    BIAS: tl.constexpr,
):
    """The sums to where they belong in a row of parameters."""
    N_NEXT: tl.constexpr = N_OUT if HIDDEN == 0 else N_WIDTH
    NEXT: tl.constexpr = OUT if HIDDEN == 0 else WIDTH
    for layer in tl.static_range(HIDDEN, 0, -1):
        start = mine + FIRST + (layer - 1) * STEP
        if layer == HIDDEN:
            at, real = matrix_index(start, N_OUT, N_WIDTH, OUT, WIDTH, 0)
            if OUT < WIDTH:
                at = tl.trans(at)
                real = tl.trans(real)
        else:
            at, real = matrix_index(start, N_WIDTH, N_WIDTH, WIDTH, WIDTH, 0)
        tl.store(at, sums[(HIDDEN - layer) * (1 + BIAS) + BIAS], mask=real)
        if BIAS:
            if layer == HIDDEN:
                at, real = vector_index(start + N_OUT * N_WIDTH, N_OUT, OUT)
            else:
                at, real = vector_index(start + N_WIDTH * N_WIDTH, N_WIDTH, WIDTH)
            tl.store(at, sums[(HIDDEN - layer) * (1 + BIAS)], mask=real)
    if BIAS:
        at, real = vector_index(mine + N_NEXT * N_IN, N_NEXT, NEXT)
        tl.store(at, sums[HIDDEN * (1 + BIAS)], mask=real)
    for group in tl.static_range(IN // 16):
        at, real = matrix_index(mine, N_NEXT, N_IN, NEXT, 16, group * 16)
        tl.store(at, sums[HIDDEN * (1 + BIAS) + BIAS + group], mask=real)


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
    by_x,
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
    BY_TABLE: tl.constexpr,
    BY_X: tl.constexpr,
    KEPT: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    """Gradients by table, points and, as a row of ``partials`` for each program, parameters.

    Without a LOSS ("none") ``given`` (n, N_OUT) are the gradients by the values. With one they are targets; ``error``
    (n,) is written, its sum, weighted, stands behind the row's parameters, and ``share`` is what of a value's loss goes
    into the mean. KEPT: features are "given", as ``forward`` kept them; computed and kept by each program as its "own"
    for the way back; or, "no", computed both times.
    """
    sums = no_sums(IN, WIDTH, HIDDEN, OUT, BIAS, RESIDENT)
    cost = tl.zeros((BLOCK,), tl.float32)
    mine = partials + tl.program_id(0) * stride
    row = tl.arange(0, BLOCK)
    column = tl.arange(0, OUT)[None, :]
    for block in tl.range(tl.program_id(0), tl.cdiv(n, BLOCK), tl.num_programs(0), num_stages=1, disable_licm=True):
        begin = block.to(tl.int64) * BLOCK
        inside = begin + row < n
        valid = inside[:, None]
        at_x = x + begin * DIM
        points = ()
        if FRONT == "grid":
            points = coordinates(at_x, valid, BLOCK, DIM)
        at_features = at_x
        if KEPT == "given":
            at_features = kept + begin * N_IN
        elif KEPT == "own":
            at_features = kept + tl.program_id(0) * BLOCK * N_IN
        y, hidden, marks = through_network(
            at_features if KEPT == "given" else at_x, table, levels, params, factors, at_features, points, valid,
            "features" if KEPT == "given" else FRONT, DIM, F, INTERPOLATION, HASHED, N_IN, IN, N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT,
            FIRST, STEP, ACTIVATION, BIAS, TYPE, BLOCK, KEPT == "own",
        )  # fmt: skip
        real = valid & (column < N_OUT)
        g = tl.load(given + begin * N_OUT + row[:, None] * N_OUT + column, mask=real, other=0.0)
        if LOSS != "none":
            value, g = loss_of(y, g, LOSS)
            errors = tl.sum(tl.where(real, value, 0.0), 1) * (1.0 / N_OUT)
            tl.store(error + begin + row, errors, mask=inside)
            if WEIGHTED:
                counts = tl.load(weight + begin + row, mask=inside, other=0.0)
                errors = errors * counts
                g = g * counts[:, None]
            cost += tl.where(inside, errors, 0.0)
            g = tl.where(real, g * share, 0.0)
        if not RESIDENT or KEPT == "own":
            tl.debug_barrier()  # other threads may have written what is now read, of sums or features
        sums = back_through_network(
            g, at_features, hidden, marks, sums, at_x, table, levels, factors, mine, points, valid,
            by_table + begin * N_IN if BY_TABLE == "features" else by_table, by_x + begin * DIM,
            FRONT, DIM, F, INTERPOLATION, HASHED, N_IN, IN, N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT, FIRST, STEP,
            ACTIVATION, BIAS, TYPE, BLOCK,
            BY_TABLE, BY_X, KEPT, RESIDENT,
        )  # fmt: skip
        if KEPT == "own":
            tl.debug_barrier()  # before the next block's features are written over them
    if RESIDENT:
        write_sums(sums, mine, N_IN, IN, N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT, FIRST, STEP, BIAS)
    if LOSS != "none":
        tl.store(mine + stride - 1, tl.sum(cost, 0))


@triton.jit
@no_type_check
def reduce(partials, found, total, rows, columns, stride, share, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """``found`` (columns,): the sums over the rows of ``partials``, in their order; ``total``: of the last, a share."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, rows, ROWS):
        row = first + tl.arange(0, ROWS)[:, None]
        sums += tl.load(
            partials + row * stride + column[None, :], mask=(row < rows) & (column < stride)[None, :], other=0.0
        )
    sums = tl.sum(sums, 0)
    tl.store(found + column, sums, mask=column < columns)
    tl.store(total + column * 0, sums * share, mask=column == stride - 1)
