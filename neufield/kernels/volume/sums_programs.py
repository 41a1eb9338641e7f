"""Along rays in Triton: what is visible, and compositing, forward and backward.

A row is a ray, whose samples lie beside each other in memory and are read so. Launched with fused multiply-adds.
"""

from typing import Any, no_type_check

import triton
import triton.language as tl

from neufield.kernels.gpu import Variant

# Rays and samples at a time: a warp to a ray, as wide as rays have visible samples (10 to 60).
ROWS, COLUMNS = 4, 32
WARPS = 4
# Of an infinite density: its product with a length or a gradient of 0 is 0 then, not NaN.
LARGEST = tl.constexpr(3.4028234663852886e38)


@triton.jit
@no_type_check
def _opacity(depth):
    """1 - exp(-depth), to float32's precision where that is small, too."""
    series = depth * (1 - depth / 2 * (1 - depth / 3 * (1 - depth / 4 * (1 - depth / 5))))
    return tl.where(tl.abs(depth) < 0.1, series, 1 - tl.exp(-depth))


@triton.jit
@no_type_check
def _depth(sigma, starts, ends, at, mask):
    """Optical depths of intervals; 0 outside the mask."""
    long = tl.load(ends + at, mask, other=0.0) - tl.load(starts + at, mask, other=0.0)
    return tl.minimum(tl.load(sigma + at, mask, other=0.0), LARGEST, propagate_nan=tl.PropagateNan.ALL) * long


@triton.jit
@no_type_check
def visible(sigma, starts, ends, firsts, seen, n, least, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Sets ``seen`` (S,), zeros before, where an interval still gets the share ``least`` of its ray's light.

    ``firsts`` (n + 1,) says where rays begin. A ray is left as soon as it is dark.
    """
    ray = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    at = tl.load(firsts + ray, ray < n, other=0)
    stop = tl.load(firsts + ray + 1, ray < n, other=0)
    columns = tl.arange(0, COLUMNS)[None, :]
    depth = tl.zeros([ROWS], tl.float32)
    alive = at < stop
    while tl.max(alive.to(tl.int32), 0) > 0:
        place = at[:, None] + columns
        mask = alive[:, None] & (place < stop[:, None])
        # What lies before each: a running sum of their predecessors' own, since the difference of two sums is worth
        # nothing behind something opaque.
        before = depth[:, None] + tl.cumsum(_depth(sigma, starts, ends, place - 1, mask & (columns > 0)), 1)
        tl.store(seen + place, (tl.exp(-before) >= least).to(tl.uint8), mask)
        depth += tl.sum(_depth(sigma, starts, ends, place, mask), 1)
        at += COLUMNS
        alive = (at < stop) & (tl.exp(-depth) >= least)


@triton.jit
@no_type_check
def composite(
    sigma,
    rgb,
    starts,
    ends,
    firsts,
    sums,
    opacity,
    distance,
    weights,
    light,
    n,
    COLORED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Sums of rays, intervals' ``weights`` and the ``light`` that arrives at each, for the way back."""
    ray = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    at = tl.load(firsts + ray, ray < n, other=0)
    stop = tl.load(firsts + ray + 1, ray < n, other=0)
    columns = tl.arange(0, COLUMNS)[None, :]
    depth = tl.zeros([ROWS], tl.float32)
    red = tl.zeros([ROWS, COLUMNS], tl.float32)
    green, blue, whole, far = red, red, red, red
    while tl.max((at < stop).to(tl.int32), 0) > 0:
        place = at[:, None] + columns
        mask = place < stop[:, None]
        before = depth[:, None] + tl.cumsum(_depth(sigma, starts, ends, place - 1, mask & (columns > 0)), 1)
        own = _depth(sigma, starts, ends, place, mask)
        arrives = tl.exp(-before)
        weight = arrives * _opacity(own)
        tl.store(weights + place, weight, mask)
        tl.store(light + place, arrives, mask)
        middle = 0.5 * (tl.load(starts + place, mask, other=0.0) + tl.load(ends + place, mask, other=0.0))
        if COLORED:
            red += weight * tl.load(rgb + place * 3, mask, other=0.0)
            green += weight * tl.load(rgb + place * 3 + 1, mask, other=0.0)
            blue += weight * tl.load(rgb + place * 3 + 2, mask, other=0.0)
        whole += tl.where(mask, weight, 0.0)
        far += tl.where(mask, weight * middle, 0.0)
        depth += tl.sum(own, 1)
        at += COLUMNS
    if COLORED:
        tl.store(sums + ray * 3, tl.sum(red, 1), ray < n)
        tl.store(sums + ray * 3 + 1, tl.sum(green, 1), ray < n)
        tl.store(sums + ray * 3 + 2, tl.sum(blue, 1), ray < n)
    tl.store(opacity + ray, tl.sum(whole, 1), ray < n)
    tl.store(distance + ray, tl.sum(far, 1), ray < n)


# Long because all four gradients come of one walk along a ray, which reads each sample once.
@triton.jit
@no_type_check
def composite_backward(
    sigma,
    rgb,
    starts,
    ends,
    firsts,
    weights,
    light,
    g_sums,
    g_opacity,
    g_distance,
    g_weights,
    by_sigma,
    by_rgb,
    by_starts,
    by_ends,
    n,
    COLORED: tl.constexpr,
    WEIGHED: tl.constexpr,
    PLACED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Walks from the last sample of each ray to its first: what is behind an interval loses what it takes.

    ``WEIGHED``: weights have gradients too. ``PLACED``: those by starts and ends are wanted.
    """
    ray = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = ray < n
    begin = tl.load(firsts + ray, here, other=0)
    stop = tl.load(firsts + ray + 1, here, other=0)
    columns = tl.arange(0, COLUMNS)[None, :]
    if COLORED:
        g_red = tl.load(g_sums + ray * 3, here, other=0.0)[:, None]
        g_green = tl.load(g_sums + ray * 3 + 1, here, other=0.0)[:, None]
        g_blue = tl.load(g_sums + ray * 3 + 2, here, other=0.0)[:, None]
    g_whole = tl.load(g_opacity + ray, here, other=0.0)[:, None]
    g_far = tl.load(g_distance + ray, here, other=0.0)[:, None]
    behind = tl.zeros([ROWS], tl.float32)
    at = begin + (stop - begin - 1) // COLUMNS * COLUMNS  # the last block
    while tl.max(((at >= begin) & (stop > begin)).to(tl.int32), 0) > 0:
        place = at[:, None] + columns
        mask = (place >= begin[:, None]) & (place < stop[:, None])
        weight = tl.load(weights + place, mask, other=0.0)
        arrives = tl.load(light + place, mask, other=0.0)
        start, end = tl.load(starts + place, mask, other=0.0), tl.load(ends + place, mask, other=0.0)
        density = tl.load(sigma + place, mask, other=0.0)
        density = tl.minimum(density, LARGEST, propagate_nan=tl.PropagateNan.ALL)
        worth = g_whole + g_far * (0.5 * (start + end))
        if COLORED:
            worth += g_red * tl.load(rgb + place * 3, mask, other=0.0)
            worth += g_green * tl.load(rgb + place * 3 + 1, mask, other=0.0)
            worth += g_blue * tl.load(rgb + place * 3 + 2, mask, other=0.0)
            tl.store(by_rgb + place * 3, weight * g_red, mask)
            tl.store(by_rgb + place * 3 + 1, weight * g_green, mask)
            tl.store(by_rgb + place * 3 + 2, weight * g_blue, mask)
        if WEIGHED:
            worth += tl.load(g_weights + place, mask, other=0.0)
        taken = tl.where(mask, worth * weight, 0.0)
        after = behind[:, None] + tl.cumsum(taken, 1, reverse=True) - taken
        by_depth = worth * arrives * tl.exp(-density * (end - start)) - after
        tl.store(by_sigma + place, by_depth * (end - start), mask)
        if PLACED:
            moved = 0.5 * g_far * weight
            tl.store(by_starts + place, moved - by_depth * density, mask)
            tl.store(by_ends + place, moved + by_depth * density, mask)
        behind += tl.sum(taken, 1)
        at -= COLUMNS


def variants() -> list[Variant]:
    """The launches with three colors, as a training step has them; also with every gradient that there can be."""
    sizes = {"ROWS": ROWS, "COLUMNS": COLUMNS}
    types = {"firsts": "*i64", "seen": "*u8", "n": "i32", "least": "fp32"}

    def variant(name: str, program: Any, **constants: bool) -> Variant:
        taken = [argument for argument in program.arg_names if argument not in {**constants, **sizes}]
        signature = {argument: types.get(argument, "*fp32") for argument in taken}
        return Variant(name, program, signature, {**constants, **sizes}, warps=WARPS)

    return [
        variant("visible", visible),
        variant("composite", composite, COLORED=True),
        variant("composite_backward", composite_backward, COLORED=True, WEIGHED=False, PLACED=False),
        variant("composite_backward_all", composite_backward, COLORED=True, WEIGHED=True, PLACED=True),
    ]
