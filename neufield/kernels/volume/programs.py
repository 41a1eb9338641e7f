"""Along rays in Triton: the march through occupied cells. What is summed up along them: :mod:`.sums_programs`.

A lane is a ray: its steps follow from each other, and to the bit only in their order. Every function is marked
``no_type_check``: the hook that checks signatures in tests would wrap what Triton must read.
"""

from typing import no_type_check

import triton
import triton.language as tl

from neufield.kernels.gpu import Variant
from neufield.kernels.volume import sums_programs

# Rays that are marched together: one warp, which waits for the longest of its rays only, and votes without a barrier.
RAYS = 32


@triton.jit
@no_type_check
def _length(start, step, cone):
    """The lengths of the intervals that start there."""
    return tl.maximum(cone * start, step)


@triton.jit
@no_type_check
def _middle(start, step, cone):
    return start + 0.5 * _length(start, step, cone)


@triton.jit
@no_type_check
def _index(place, resolution):
    """The cell of a coordinate in cells, at the border the nearest; 0 of what is not a number."""
    last = (resolution - 1) * 1.0
    return tl.where(place > 0, tl.where(place < last, place, last), 0.0).to(tl.int32)


@triton.jit
@no_type_check
def _exit(x, a, per_b, margin, at, first, cell):
    """When a + t b leaves the slab of cells ``at``, by ``margin`` early, and whether x is within it by as much.

    ``cell`` is a cell's side, ``first`` where they begin, and ``per_b`` 1 / b, or 0.
    """
    low = at.to(tl.float32) * cell + (first + margin)
    high = low + (cell - 2 * margin)
    time = (tl.where(per_b > 0, high, low) - a) * per_b
    return tl.where(per_b == 0, float("inf"), time), (x > low) & (x < high)


@triton.jit
@no_type_check
def _inverse(b):
    """1 / b, and 0 of 0."""
    return tl.where(b == 0, 0.0, 1 / tl.where(b == 0, 1.0, b))


# Long because it is one loop whose state is thirty numbers of each ray; taken apart, they would be handed on and back.
@triton.jit
@no_type_check
def march(
    origins,
    directions,
    near,
    far,
    shift,
    occupied,
    counts,
    firsts,
    ends,
    ray_ids,
    starts,
    n,
    lower_x,
    lower_y,
    lower_z,
    upper_x,
    upper_y,
    upper_z,
    step,
    cone,
    resolution,
    LEVELS: tl.constexpr,
    ALIGNED: tl.constexpr,
    CONTRACTED: tl.constexpr,
    GROWS: tl.constexpr,
    WRITE: tl.constexpr,
    RAYS: tl.constexpr,
):
    """Counts each ray's intervals in occupied cells (n,), or writes them where ``ends``, a running sum, says.

    The arithmetic of what is kept is the reference's, operation by operation: launch it without fused multiply-adds.

    Where a cell is empty, a ray goes on from its far side: with equal steps at once, with growing ones by adding up
    lengths, up to eight without looking. It leaves the cell early by more than all rounding of the way there, so that
    none is passed over that the reference would have looked up elsewhere. ``ALIGNED``: the cells of a level end where
    the level within it does. In a contracted space only cells that lie wholly in the ball are crossed so.

    ``firsts`` (n,) keeps where the first interval was found, from where the second run goes on: a start where steps
    grow, else the number of the step.
    """
    ray = tl.program_id(0) * RAYS + tl.arange(0, RAYS)
    here = ray < n
    at = ray.to(tl.int64) * 3
    o_x = tl.load(origins + at, here, other=0.0)
    o_y = tl.load(origins + at + 1, here, other=0.0)
    o_z = tl.load(origins + at + 2, here, other=0.0)
    d_x = tl.load(directions + at, here, other=0.0)
    d_y = tl.load(directions + at + 1, here, other=0.0)
    d_z = tl.load(directions + at + 2, here, other=0.0)
    begin = tl.load(near + ray, here, other=0.0)
    end = tl.load(far + ray, here, other=0.0)
    early = tl.load(shift + ray, here, other=0.0)
    side_x, side_y, side_z = upper_x - lower_x, upper_y - lower_y, upper_z - lower_z

    # In the unit box, or what is not bent of it, the ray is a + t b. For skipping alone, which leaves a margin: of
    # eight roundings of the largest number on the way.
    shrink = 0.5 if CONTRACTED else 1.0
    a_x = (o_x - lower_x) / side_x * shrink + (0.5 - 0.5 * shrink)
    a_y = (o_y - lower_y) / side_y * shrink + (0.5 - 0.5 * shrink)
    a_z = (o_z - lower_z) / side_z * shrink + (0.5 - 0.5 * shrink)
    b_x, b_y, b_z = d_x / side_x * shrink, d_y / side_y * shrink, d_z / side_z * shrink
    per_x, per_y, per_z = _inverse(b_x), _inverse(b_y), _inverse(b_z)
    margin_x = 1e-6 * (1 + (tl.abs(o_x) + tl.abs(lower_x)) / side_x + tl.abs(b_x * end))
    margin_y = 1e-6 * (1 + (tl.abs(o_y) + tl.abs(lower_y)) / side_y + tl.abs(b_y * end))
    margin_z = 1e-6 * (1 + (tl.abs(o_z) + tl.abs(lower_z)) / side_z + tl.abs(b_z * end))

    alive = here & (tl.div_rn(end - begin, step) - early <= 999_999.0)  # more is no ray, nor is a NaN
    k = tl.zeros([RAYS], tl.int32)
    start = begin + early * _length(begin, step, cone)
    count = tl.zeros([RAYS], tl.int32)
    total, place, first = count, ray.to(tl.int64), start
    if WRITE:
        total = tl.load(counts + ray, here, other=0).to(tl.int32)
        place = tl.load(ends + ray, here, other=0) - total
        alive = alive & (total > 0)
        if GROWS:
            start = tl.load(firsts + ray, here, other=0.0)
        else:
            k = tl.load(firsts + ray, here, other=0.0).to(tl.int32)
    while tl.max(alive.to(tl.int32), 0) > 0:
        if not GROWS:
            start = begin + (k.to(tl.float32) + early) * step
        middle = _middle(start, step, cone)
        alive = alive & (middle < end) & (k < 1_000_000)
        inside = alive & (middle > begin)

        x_x = tl.div_rn((o_x + middle * d_x) - lower_x, side_x)
        x_y = tl.div_rn((o_y + middle * d_y) - lower_y, side_y)
        x_z = tl.div_rn((o_z + middle * d_z) - lower_z, side_z)
        if CONTRACTED:
            x_x, x_y, x_z = 2 * x_x - 1, 2 * x_y - 1, 2 * x_z - 1
            size = tl.sqrt_rn((x_x * x_x + x_y * x_y) + x_z * x_z)
            size = tl.where(size < 1, 1.0, size)
            factor = tl.div_rn(2 - tl.div_rn(1.0, size), size) * 0.25
            x_x, x_y, x_z = x_x * factor + 0.5, x_y * factor + 0.5, x_z * factor + 0.5
        level = tl.zeros([RAYS], tl.int32)
        scale = tl.full([RAYS], 1.0, tl.float32)
        if LEVELS > 1:
            off_x, off_y, off_z = tl.abs(2 * x_x - 1), tl.abs(2 * x_y - 1), tl.abs(2 * x_z - 1)
            number = (off_x == off_x) & (off_y == off_y) & (off_z == off_z)
            scale = tl.full([RAYS], 2.0 ** (LEVELS - 1), tl.float32)
            for _ in tl.static_range(1, LEVELS):
                beyond = ((off_x * scale > 1) | (off_y * scale > 1) | (off_z * scale > 1)) & number
                level += beyond.to(tl.int32)
                scale = tl.where(beyond, scale * 0.5, scale)
        i_x = _index(((x_x - 0.5) * scale + 0.5) * resolution, resolution)
        i_y = _index(((x_y - 0.5) * scale + 0.5) * resolution, resolution)
        i_z = _index(((x_z - 0.5) * scale + 0.5) * resolution, resolution)
        cell = ((level * resolution + i_x) * resolution + i_y) * resolution + i_z
        full = tl.load(occupied + cell, inside, other=0) != 0
        if WRITE:
            tl.store(ray_ids + place + count, ray.to(tl.int64), full)
            tl.store(starts + place + count, start, full)
        else:
            first = tl.where(full & (count == 0), start if GROWS else k.to(tl.float32), first)
        count += full.to(tl.int32)

        # Onwards, across an empty cell to where it ends.
        side, lowest = 1 / (scale * resolution), 0.5 - 0.5 / scale
        leave_x, within_x = _exit(x_x, a_x, per_x, margin_x, i_x, lowest, side)
        leave_y, within_y = _exit(x_y, a_y, per_y, margin_y, i_y, lowest, side)
        leave_z, within_z = _exit(x_z, a_z, per_z, margin_z, i_z, lowest, side)
        skips = inside & (full == 0) & within_x & within_y & within_z
        if LEVELS > 1 and not ALIGNED:
            skips = skips & (level == 0)
        if CONTRACTED:
            far_x = tl.abs((i_x.to(tl.float32) + 0.5) * side - 0.5) + 0.5 * side
            far_y = tl.abs((i_y.to(tl.float32) + 0.5) * side - 0.5) + 0.5 * side
            far_z = tl.abs((i_z.to(tl.float32) + 0.5) * side - 0.5) + 0.5 * side
            skips = skips & (far_x * far_x + far_y * far_y + far_z * far_z < 0.25 * 0.25 * 0.9999)
        leave = tl.where(skips, tl.minimum(tl.minimum(leave_x, leave_y), tl.minimum(leave_z, end)), begin)
        if GROWS:
            start = start + _length(start, step, cone)
            k += 1
            for _ in tl.static_range(8):
                again = _middle(start, step, cone) < leave
                k += again.to(tl.int32)
                start = tl.where(again, start + _length(start, step, cone), start)
        else:
            # One step less than what rounding could make too many.
            k = tl.maximum(k + 1, ((leave - begin) / step - early - 1.5).to(tl.int32))
        if WRITE:
            alive = alive & (count < total)
    if not WRITE:
        tl.store(counts + ray, count.to(tl.int64), here)
        tl.store(firsts + ray, first, here)


def variants() -> list[Variant]:
    """The launches that train a hash grid on synthetic scenes, within a scene, and in a contracted world."""
    numbers = dict.fromkeys(march.arg_names[12:20], "fp32") | {"n": "i32", "resolution": "i32"}
    tensors = dict.fromkeys((*march.arg_names[:5], "firsts", "starts"), "*fp32") | {"occupied": "*u8"}
    shared = numbers | tensors | dict.fromkeys(("counts", "ends", "ray_ids"), "*i64")
    spaces = {"box": (1, False, False), "cascades": (3, False, True), "contracted": (1, True, True)}
    made = []
    for name, (levels, contracted, grows) in spaces.items():
        how = {"LEVELS": levels, "ALIGNED": True, "CONTRACTED": contracted, "GROWS": grows, "RAYS": RAYS}
        for write in (False, True):
            title = f"march_{name}_{'write' if write else 'count'}"
            made.append(Variant(title, march, shared, {**how, "WRITE": write}, warps=1, fp_fusion=False))
    return [*made, *sums_programs.variants()]
