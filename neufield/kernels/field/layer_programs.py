"""Functions of the fused encoding and network: linear maps there and back, and the sums that their gradients are.

Factors of products are *narrow*: of the type TYPE. Sums, gradients by what is not a factor, and losses are float32.

Every function is marked ``no_type_check``: the hook that checks signatures in tests would wrap what Triton must read.
"""

from typing import no_type_check

import triton
import triton.language as tl


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
def matrix_index(
    start, N_ROWS: tl.constexpr, N_COLUMNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, first
):
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
def sum_more(sums, k: tl.constexpr, later, at, real, a, b, factor, RESIDENT: tl.constexpr, TYPE: tl.constexpr):
    """``factor`` * ``a`` @ ``b`` more, in the ``k``-th of the sums or in memory; the sum or (), as a tuple.

    ``later``: whether something was summed before.
    """
    if RESIDENT:
        return (add_product(sums[k], a, b, factor, TYPE),)
    else:
        total = tl.where(later, tl.load(at, mask=real, other=0.0), 0.0)
        tl.store(at, add_product(total, a, b, factor, TYPE), mask=real)
        return ()


@triton.jit
@no_type_check
def sum_rows_more(sums, k: tl.constexpr, later, at, real, g, RESIDENT: tl.constexpr):
    """The same with the sum of the rows of ``g``."""
    if RESIDENT:
        return (sums[k] + tl.sum(g, 0),)
    else:
        total = tl.where(later, tl.load(at, mask=real, other=0.0), 0.0)
        tl.store(at, total + tl.sum(g, 0), mask=real)
        return ()


@triton.jit
@no_type_check
def back_through_linear(
    g,
    h,
    sums,
    k: tl.constexpr,
    later,
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
        grown = grown + sum_rows_more(sums, k, later, at, real, g, RESIDENT)
    g, factor = narrow_gradient(g, TYPE)
    at, real = matrix_index(mine, N_OUT, N_IN, OUT, IN, 0)
    if OUT < IN:  # a product's rows are shared out among the warps, which want 16 each
        grown = grown + sum_more(
            sums, k + BIAS, later, tl.trans(at), tl.trans(real), tl.trans(h), g, factor, RESIDENT, TYPE
        )
    else:
        grown = grown + sum_more(sums, k + BIAS, later, at, real, tl.trans(g), h, factor, RESIDENT, TYPE)
    at, real = matrix_index(start, N_OUT, N_IN, OUT, IN, 0)
    w = tl.load(at, mask=real, other=0.0)
    return add_product(tl.zeros(h.shape, tl.float32), g, w, factor, TYPE), grown


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
