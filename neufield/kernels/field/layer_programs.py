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
    """Round to a factor of products; what is beyond float16 becomes its largest number rather than infinite."""
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
def three_parts(value):
    """float32 numbers as the sums of three bfloat16 numbers, of 8 bits each."""
    first = value.to(tl.bfloat16)
    rest = value - first.to(tl.float32)
    second = rest.to(tl.bfloat16)
    return first, second, (rest - second.to(tl.float32)).to(tl.bfloat16)


@triton.jit
@no_type_check
def keep(at, plane, value, TYPE: tl.constexpr):
    """Write narrow numbers to ``at``: those of float32 as their three parts, each ``plane`` behind the one before."""
    if TYPE == tl.float32:
        first, second, third = three_parts(value)
        tl.store(at, first)
        tl.store(at + plane, second)
        tl.store(at + 2 * plane, third)
    else:
        tl.store(at, value)


@triton.jit
@no_type_check
def kept_numbers(at, plane, TYPE: tl.constexpr):
    """What ``keep`` wrote, in float32."""
    value = tl.load(at).to(tl.float32)
    if TYPE == tl.float32:
        value += tl.load(at + plane).to(tl.float32)
        value += tl.load(at + 2 * plane).to(tl.float32)
    return value


@triton.jit
@no_type_check
def factor_block(at, real, TRANSPOSED: tl.constexpr):
    """Factors in memory, or with TURNED their transpose."""
    b = tl.load(at, mask=real, other=0.0)
    if TRANSPOSED:
        b = tl.trans(b)
    return b


@triton.jit
@no_type_check
def add_product(total, a, at, real, plane, TRANSPOSED: tl.constexpr, factor, TYPE: tl.constexpr):
    """``total`` + ``factor`` * ``a`` @ ``b`` in float32, with ``b`` in memory as ``keep`` writes it.

    ``factor`` is that of ``narrow_gradient``. float32 factors are sums of three bfloat16 numbers, of whose nine
    products the three smallest, below 2^-24 of the largest, are left out: as exact as float32, on tensor cores. The
    parts of ``b`` come from memory because every warp needs all of them: parted here, they would fill the registers.
    """
    if TYPE == tl.float16:
        return total + tl.dot(a, factor_block(at, real, TRANSPOSED)) * factor
    elif TYPE == tl.bfloat16:
        return tl.dot(a, factor_block(at, real, TRANSPOSED), total)
    else:
        a_1, a_2, a_3 = three_parts(a)
        b = factor_block(at + 2 * plane, real, TRANSPOSED)
        total = tl.dot(a_1, b, total)
        b = factor_block(at + plane, real, TRANSPOSED)
        total = tl.dot(a_2, b, total)
        total = tl.dot(a_1, b, total)
        b = factor_block(at, real, TRANSPOSED)
        total = tl.dot(a_3, b, total)
        total = tl.dot(a_2, b, total)
        return tl.dot(a_1, b, total)


@triton.jit
@no_type_check
def add_product_found(total, a, b, factor, TYPE: tl.constexpr):
    """The same of a ``b`` that was just found."""
    if TYPE == tl.float16:
        return total + tl.dot(a, b) * factor
    elif TYPE == tl.bfloat16:
        return tl.dot(a, b, total)
    else:
        a_1, a_2, a_3 = three_parts(a)
        b_1, b_2, b_3 = three_parts(b)
        total = tl.dot(a_1, b_3, total)
        total = tl.dot(a_2, b_2, total)
        total = tl.dot(a_1, b_2, total)
        total = tl.dot(a_3, b_1, total)
        total = tl.dot(a_2, b_1, total)
        return tl.dot(a_1, b_1, total)


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
    PLANE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The sums (BLOCK, OUT) that a linear map, whose parameters begin at ``start``, makes of ``h`` (BLOCK, IN)."""
    at, real = matrix_index(start, N_OUT, N_IN, OUT, IN, 0)
    z = add_product(tl.zeros((BLOCK, OUT), tl.float32), h, factors + at, real, PLANE, True, 1.0, TYPE)
    if BIAS:
        at, real = vector_index(start + N_OUT * N_IN, N_OUT, OUT)
        z += tl.load(params + at, mask=real, other=0.0)[None, :]
    return z


@triton.jit
@no_type_check
def sum_more(sums, real, later, a, b, factor, TYPE: tl.constexpr):
    """``factor`` * ``a`` @ ``b`` more in the sums in memory; ``later``: whether there are any yet."""
    total = tl.where(later, tl.load(sums, mask=real, other=0.0), 0.0)
    tl.store(sums, add_product_found(total, a, b, factor, TYPE), mask=real)


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
    held,
    factors,
    sums,
    later,
    N_OUT: tl.constexpr,
    N_IN: tl.constexpr,
    OUT: tl.constexpr,
    IN: tl.constexpr,
    BIAS: tl.constexpr,
    TYPE: tl.constexpr,
    PLANE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The gradient by ``h`` of that by the sums of ``linear``; what it is to the parameters is added to ``sums``.

    ``held`` is where ``h`` was written to; ``factors`` and ``sums`` are where the linear map begins.
    """
    COLUMNS: tl.constexpr = IN if IN < 32 else 32  # at a time, for the sake of registers
    if BIAS:
        at, real = vector_index(sums + N_OUT * N_IN, N_OUT, OUT)
        sum_rows_more(at, real, later, g)
    g, factor = narrow_gradient(g, TYPE)
    for first in tl.static_range(0, IN, COLUMNS):
        h, every = matrix_index(held, BLOCK, IN, BLOCK, COLUMNS, first)
        at, real = matrix_index(sums, N_OUT, N_IN, OUT, COLUMNS, first)
        if TYPE == tl.float32:
            total = tl.where(later, tl.load(at, mask=real, other=0.0), 0.0)
            total = add_product(total, tl.trans(g), h, every, BLOCK * IN, False, factor, TYPE)
            tl.store(at, total, mask=real)
        elif OUT < COLUMNS:  # the warps share out a product's rows, 16 to each
            sum_more(tl.trans(at), tl.trans(real), later, tl.trans(tl.load(h)), g, factor, TYPE)
        else:
            sum_more(at, real, later, tl.trans(g), tl.load(h), factor, TYPE)
    at, real = matrix_index(factors, N_OUT, N_IN, OUT, IN, 0)
    return add_product(tl.zeros((BLOCK, IN), tl.float32), g, at, real, PLANE, False, factor, TYPE)
