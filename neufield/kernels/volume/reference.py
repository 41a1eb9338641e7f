"""Volume rendering along rays in plain PyTorch: what every other kernel is tested against.

The sums along rays are those of :mod:`neufield.functional.render_weights`.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neufield.core.rays import Intervals, Rays, RenderOutput
from neufield.functional.render_weights import composite, visibility_mask
from neufield.kernels.arguments import FLOATING, check_intervals, check_march
from neufield.kernels.volume.spec import CompositeKernel, MarchKernel, MarchSpec

ENDLESS = 1_000_000  # steps


class TorchComposite(CompositeKernel):
    """:func:`composite` and :func:`visibility_mask`, on any device and in any precision."""

    name = "torch"
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-6, torch.float64: 0.0}

    def obstacles(self, spec: int, device: torch.device, dtype: torch.dtype) -> list[str]:
        """None."""
        del spec, device, dtype
        return []

    def composite(self, sigma: Float[Tensor, " S"], rgb: Float[Tensor, "S C"], intervals: Intervals) -> RenderOutput:
        """See :class:`CompositeKernel`."""
        check_intervals("composite", FLOATING, intervals, sigma=sigma, rgb=rgb)
        return composite(sigma, rgb, intervals)

    def visibility_mask(
        self, sigma: Float[Tensor, " S"], intervals: Intervals, early_stop_eps: float
    ) -> Bool[Tensor, " S"]:
        """See :class:`CompositeKernel`."""
        check_intervals("visibility_mask", FLOATING, intervals, sigma=sigma)
        return visibility_mask(sigma, intervals, early_stop_eps)


class TorchMarch(MarchKernel):
    """Every step of every ray at once, on any device."""

    name = "torch"
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 0.0}

    def obstacles(self, spec: MarchSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """None."""
        del spec, device, dtype
        return []

    def march(
        self, rays: Rays, jitter: Float[Tensor, " N"], occupied: Bool[Tensor, "cascades R R R"], spec: MarchSpec
    ) -> Intervals:
        """See :class:`MarchKernel`."""
        check_march(spec, rays.origins, rays.directions, rays.near, rays.far, jitter, occupied)
        starts = _all_starts(rays, jitter, spec)
        middles = starts + 0.5 * spec.lengths(starts)
        inside = (middles > rays.near[:, None]) & (middles < rays.far[:, None])
        ray_ids, steps = inside.nonzero(as_tuple=True)
        starts, middles = starts[ray_ids, steps], middles[ray_ids, steps]
        kept = in_occupied(rays, ray_ids, middles, occupied, spec)
        return spec.intervals(ray_ids[kept], len(rays), starts[kept])


def in_occupied(
    rays: Rays,
    ray_ids: Int[Tensor, " S"],
    distances: Float[Tensor, " S"],
    occupied: Bool[Tensor, "cascades R R R"],
    spec: MarchSpec,
) -> Bool[Tensor, " S"]:
    """Which points at ``distances`` along their rays lie in an occupied cell."""
    x = spec.to_unit(rays.origins[ray_ids] + distances[:, None] * rays.directions[ray_ids])
    return occupied.reshape(-1)[spec.cells(x, occupied.shape[1])]


def count_steps(rays: Rays, jitter: Float[Tensor, " N"], spec: MarchSpec) -> Float[Tensor, " N"]:
    """How many intervals of ``step`` would reach each ray's far; ENDLESS or more, or NaN, of rays that have none."""
    return torch.ceil((rays.far - rays.near) / spec.render_step_size - jitter).clamp(min=0)


def _all_starts(rays: Rays, jitter: Tensor, spec: MarchSpec) -> Tensor:
    """Where the intervals (N, K) of every ray start, as many for each as for the longest; NaN on endless rays."""
    near, far = rays.near, rays.far
    count = count_steps(rays, jitter, spec)
    endless = ~(count < ENDLESS)
    n_steps = int(torch.where(endless, 0, count).max()) if len(count) else 0
    near = torch.where(endless, torch.nan, near)
    if not spec.cone_angle:
        return near[:, None] + (torch.arange(n_steps, device=near.device) + jitter[:, None]) * spec.render_step_size
    starts = [near + jitter * spec.lengths(near)]
    while bool((starts[-1] < far).any()):
        starts.append(starts[-1] + spec.lengths(starts[-1]))
    return torch.stack(starts, dim=1)
