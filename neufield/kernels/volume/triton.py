"""Along rays in Triton, on CUDA: who can, and how the programs are launched. Not run on a GPU so far."""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neufield.core.rays import Intervals, Rays, RenderOutput
from neufield.kernels import gpu
from neufield.kernels.arguments import FLOAT32, check_intervals, check_march, converted
from neufield.kernels.volume.spec import CompositeKernel, MarchKernel, MarchSpec

CHANNELS = (0, 3)


class TritonMarch(MarchKernel):
    """Ray by ray on CUDA, float32: a lane each, which crosses empty cells at once.

    The intervals are the reference's, to the bit, in the reference's order: what decides is computed operation by
    operation, without fused multiply-adds. In a contracted space only the starts are so: its norm is a library's, and
    a middle that lies within a rounding of a cell's face may fall to its other side.
    """

    name = "triton"
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 0.0}

    def obstacles(self, spec: MarchSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """CUDA and float32."""
        del spec
        found = list(gpu.obstacles(device))
        if dtype != torch.float32:
            found.append(f"the Triton march computes in float32, not in {_name(dtype)}.")
        return found

    def march(
        self, rays: Rays, jitter: Float[Tensor, " N"], occupied: Bool[Tensor, "cascades R R R"], spec: MarchSpec
    ) -> Intervals:
        """See :class:`MarchKernel`. Waits for the GPU once, to learn how many intervals there are."""
        columns = rays.origins, rays.directions, rays.near, rays.far
        ray_ids, starts = torch.ops.neufield.march(*columns, jitter, occupied, spec.numbers)
        return spec.intervals(ray_ids, len(rays), starts)


class TritonComposite(CompositeKernel):
    """A warp to a ray on CUDA, float32; second derivatives are taken of the reference."""

    name = "triton"
    # exp in float32 of sums in float32, along one ray: measured 3e-7 relative in values and gradients.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-5}

    def obstacles(self, spec: int, device: torch.device, dtype: torch.dtype) -> list[str]:
        """CUDA, float32, and three color channels or none."""
        found = list(gpu.obstacles(device))
        if dtype != torch.float32:
            found.append(f"Triton's compositing computes in float32, not in {_name(dtype)}.")
        if spec not in CHANNELS:
            found.append(f"Triton's compositing adds up 3 color channels, not {spec}.")
        return found

    def composite(self, sigma: Float[Tensor, " S"], rgb: Float[Tensor, "S C"], intervals: Intervals) -> RenderOutput:
        """See :class:`CompositeKernel`."""
        at = intervals
        found = torch.ops.neufield.composite(
            sigma, converted(rgb, sigma.dtype), at.starts, at.ends, at.ray_ids, at.n_rays
        )
        return RenderOutput(*found[:4])

    def visibility_mask(
        self, sigma: Float[Tensor, " S"], intervals: Intervals, early_stop_eps: float
    ) -> Bool[Tensor, " S"]:
        """See :class:`CompositeKernel`."""
        return visibility_mask(sigma, intervals, early_stop_eps)


def march(rays: Rays, jitter: Tensor, occupied: Tensor, spec: MarchSpec) -> tuple[Tensor, Tensor]:
    """``neufield::march``: one run counts each ray's intervals, the next writes them behind one another."""
    from neufield.kernels.volume import programs

    check_march(spec, rays.origins, rays.directions, rays.near, rays.far, jitter, occupied)
    levels, resolution, *_ = occupied.shape
    n = len(rays.near)
    counts = torch.empty(n, dtype=torch.int64, device=rays.near.device)
    if n == 0:
        return counts, rays.near.new_empty(0)
    given = [t.float().contiguous() for t in (rays.origins, rays.directions, rays.near, rays.far, jitter)]
    given.append(occupied.contiguous().view(torch.uint8))
    firsts = torch.empty_like(given[2])
    how = {
        "LEVELS": levels,
        "ALIGNED": resolution % 4 == 0,
        "CONTRACTED": spec.contracted,
        "GROWS": spec.cone_angle > 0,
        "RAYS": programs.RAYS,
    }
    numbers = (n, *map(float, (*spec.lower, *spec.upper, spec.render_step_size, spec.cone_angle)), resolution)
    run = functools.partial(gpu.launch, programs.march, (-(-n // programs.RAYS),), warps=1, fp_fusion=False)
    # What a run does not write is not given to it twice: any tensor of the type stands there.
    outputs = (counts, firsts, counts, counts, firsts)
    run((*given, *outputs, *numbers), how | {"WRITE": False})
    ends = counts.cumsum(0)
    total = int(ends[-1])
    ray_ids, starts = counts.new_empty(total), firsts.new_empty(total)
    if total:
        outputs = (counts, firsts, ends, ray_ids, starts)
        run((*given, *outputs, *numbers), how | {"WRITE": True})
    return ray_ids, starts


def visibility_mask(sigma: Tensor, intervals: Intervals, early_stop_eps: float) -> Bool[Tensor, " S"]:
    """Compute :meth:`CompositeKernel.visibility_mask`."""
    check_intervals("visibility_mask", FLOAT32, intervals, sigma=sigma)
    from neufield.kernels.volume import sums_programs as programs

    at, n_rays = intervals, intervals.n_rays
    seen = torch.zeros_like(at.ray_ids, dtype=torch.uint8)
    if len(seen):
        samples, firsts = _contiguous(sigma, at.starts, at.ends), first_samples(at.ray_ids, n_rays)
        _launch(programs.visible, n_rays, *samples, firsts, seen, n_rays, float(early_stop_eps))
    return seen.view(torch.bool)


def composite(
    sigma: Tensor, rgb: Tensor, starts: Tensor, ends: Tensor, ray_ids: Tensor, n_rays: int
) -> tuple[Tensor, ...]:
    """``neufield::composite``: rgb, opacity, distance and weights, and how much light arrives at each interval (S,)."""
    from neufield.kernels.volume import sums_programs as programs

    samples = _contiguous(sigma, rgb, starts, ends)
    sums, opacity = sigma.new_empty(n_rays, rgb.shape[1]), sigma.new_empty(n_rays)
    # Zeros: nobody looks whether ``ray_ids`` are sorted rays, and an interval that no ray has gets no light.
    found = sums, opacity, torch.empty_like(opacity), torch.zeros_like(samples[0]), torch.zeros_like(samples[0])
    if n_rays:
        firsts = first_samples(ray_ids, n_rays)
        _launch(programs.composite, n_rays, *samples, firsts, *found, n_rays, COLORED=rgb.shape[1] > 0)
    return found


def composite_backward(
    sigma: Tensor,
    rgb: Tensor,
    starts: Tensor,
    ends: Tensor,
    ray_ids: Tensor,
    weights: Tensor,
    light: Tensor,
    g_rgb: Tensor,
    g_opacity: Tensor,
    g_distance: Tensor,
    g_weights: Tensor | None,
    placed: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``neufield::composite_backward``: the gradients by sigma, rgb, starts and ends; the last two if ``placed``."""
    from neufield.kernels.volume import sums_programs as programs

    n_rays = len(g_opacity)
    samples = _contiguous(sigma, rgb, starts, ends)
    given = _contiguous(weights, light, g_rgb, g_opacity, g_distance, weights if g_weights is None else g_weights)
    found = [torch.zeros_like(t) for t in samples[:2]]
    found += [torch.zeros_like(t) if placed else t.new_empty(0) for t in samples[2:]]
    if len(sigma):
        how = {"COLORED": rgb.shape[1] > 0, "WEIGHED": g_weights is not None, "PLACED": placed}
        firsts = first_samples(ray_ids, n_rays)
        _launch(programs.composite_backward, n_rays, *samples, firsts, *given, *found, n_rays, **how)
    return found[0], found[1], found[2], found[3]


def first_samples(ray_ids: Int[Tensor, " S"], n_rays: int) -> Int[Tensor, " N1"]:
    """Where the samples of each ray begin, and behind them where those of the last one end (n_rays + 1,).

    Whatever ``ray_ids`` hold, these are sorted and within 0 to S, so that a program stays within its memory.
    """
    return torch.searchsorted(ray_ids, torch.arange(n_rays + 1, device=ray_ids.device))


def _launch(program: Any, n_rays: int, *arguments: Any, **constants: Any) -> None:
    from neufield.kernels.volume import sums_programs as programs

    sizes = {"ROWS": programs.ROWS, "COLUMNS": programs.COLUMNS}
    blocks = (-(-n_rays // programs.ROWS),)
    gpu.launch(program, blocks, arguments, constants | sizes, programs.WARPS)


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in tensors]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
