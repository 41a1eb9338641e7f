"""Functions of the fused encoding and network: linear maps, there and back.

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
def sum_more(sums, real, later, a, b, factor, TYPE: tl.constexpr):
    """``factor`` * ``a`` @ ``b`` more in the sums in memory; ``later``: whether there are any yet."""
    total = tl.where(later, tl.load(sums, mask=real, other=0.0), 0.0)
    tl.store(sums, add_product(total, a, b, factor, TYPE), mask=real)


@triton.jit
@no_type_check
def sum_rows_more(sums, real, later, g):
    """The sum of the rows of ``g`` more in the sums in memory."""
    total = tl.where(later, tl.load(sums, mask=real, other=0.0), 0.0)
    tl.store(sums, total + tl.sum(g, 0), mask=real)


@triton.jit
@no_type_check
def back_through_linear(
    g,
    h,
    factors,
    sums,
    later,
    N_OUT: tl.constexpr,
    N_IN: tl.constexpr,
    OUT: tl.constexpr,
    IN: tl.constexpr,
    BIAS: tl.constexpr,
    TYPE: tl.constexpr,
):
    """The gradient by ``h`` of that by the sums of ``linear``; what it is to the parameters is added to ``sums``.

    ``factors`` and ``sums`` are where the linear map begins.
    """
    if BIAS:
        at, real = vector_index(sums + N_OUT * N_IN, N_OUT, OUT)
        sum_rows_more(at, real, later, g)
    g, factor = narrow_gradient(g, TYPE)
    at, real = matrix_index(sums, N_OUT, N_IN, OUT, IN, 0)
    if OUT < IN:  # the warps share out a product's rows, 16 to each
        sum_more(tl.trans(at), tl.trans(real), later, tl.trans(h), g, factor, TYPE)
    else:
        sum_more(at, real, later, tl.trans(g), h, factor, TYPE)
    at, real = matrix_index(factors, N_OUT, N_IN, OUT, IN, 0)
    w = tl.load(at, mask=real, other=0.0)
    return add_product(tl.zeros(h.shape, tl.float32), g, w, factor, TYPE)
