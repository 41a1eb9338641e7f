"""Volume rendering along rays in plain PyTorch: what every other kernel is tested against.

Ragged rays are flat arrays with sorted ``ray_ids``; see :class:`neufield.core.records.Samples`.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neufield.core.records import Rays
from neufield.kernels.arguments import FLOATING, check, check_march, check_ray_ids, of_composite
from neufield.kernels.volume.spec import Composite, CompositeKernel, MarchKernel, MarchSpec

ENDLESS = 1_000_000  # steps
_OPAQUE = 800.0  # exp of minus that is 0, in float64 too


def optical_depth(
    sigma: Float[Tensor, " S"], lengths: Float[Tensor, " S"], ray_ids: Int[Tensor, " S"], n_rays: int
) -> tuple[Tensor, Tensor]:
    """Of each interval its own, and the sum of those before it on its ray, (S,) each."""
    # Infinity times 0 is NaN, and so is infinity less infinity in the sums of all rays behind it; of a depth beyond
    # _OPAQUE no more light is left than of it. What lies behind a NaN is dark, so that it spoils no other ray.
    own = (sigma.clamp(max=torch.finfo(sigma.dtype).max) * lengths).clamp(-_OPAQUE, _OPAQUE)
    return own, exclusive_sum(own.nan_to_num(nan=_OPAQUE), ray_ids, n_rays).to(own.dtype)


def exclusive_sum(values: Float[Tensor, " S"], ray_ids: Int[Tensor, " S"], n_rays: int) -> Float[Tensor, " S"]:
    """Of each interval the sum of the ``values`` before it on its ray, float64.

    The running sum is taken over all rays in float64 and each ray's beginning subtracted, so that a long batch costs no
    accuracy.
    """
    before = torch.cumsum(values.double(), 0) - values.double()
    first = torch.searchsorted(ray_ids, torch.arange(n_rays, device=ray_ids.device))
    starts = torch.cat([before, before.new_zeros(1)])[first]  # a ray without samples reads anything, nobody reads it
    return before - starts[ray_ids]


def render_weights(
    sigma: Float[Tensor, " S"],
    starts: Float[Tensor, " S"],
    ends: Float[Tensor, " S"],
    ray_ids: Int[Tensor, " S"],
    n_rays: int,
) -> Float[Tensor, " S"]:
    """The share exp(-sum_{j<i} s_j d_j) (1 - exp(-s_i d_i)) of each interval, arXiv 2003.08934, eq. 3."""
    own, before = optical_depth(sigma, ends - starts, ray_ids, n_rays)
    return torch.exp(-before) * -torch.expm1(-own)


def composite(
    sigma: Float[Tensor, " S"],
    rgb: Float[Tensor, "S C"],
    starts: Float[Tensor, " S"],
    ends: Float[Tensor, " S"],
    ray_ids: Int[Tensor, " S"],
    n_rays: int,
) -> Composite:
    """Emission and absorption: colours, ones and distances, each weighted by its interval's share of :func:`light`."""
    weights = render_weights(sigma, starts, ends, ray_ids, n_rays)
    middle = 0.5 * (starts + ends)
    columns = torch.cat([rgb, torch.ones_like(middle)[:, None], middle[:, None].to(rgb.dtype)], dim=1)
    sums = columns.new_zeros(n_rays, columns.shape[1]).index_add(0, ray_ids, columns * weights[:, None])
    return Composite(sums[:, :-2], sums[:, -2], sums[:, -1], weights)


def visibility_mask(
    sigma: Float[Tensor, " S"],
    starts: Float[Tensor, " S"],
    ends: Float[Tensor, " S"],
    ray_ids: Int[Tensor, " S"],
    n_rays: int,
    early_stop_eps: float,
) -> Bool[Tensor, " S"]:
    """Which intervals still get at least the share ``early_stop_eps`` of the light."""
    _, before = optical_depth(sigma, ends - starts, ray_ids, n_rays)
    return torch.exp(-before) >= early_stop_eps


class TorchComposite(CompositeKernel):
    """:func:`composite` and :func:`visibility_mask`, on any device and in any precision."""

    name = "torch"
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-6, torch.float64: 0.0}

    def obstacles(self, spec: int, device: torch.device, dtype: torch.dtype) -> list[str]:
        """None."""
        del spec, device, dtype
        return []

    def composite(
        self,
        sigma: Float[Tensor, " S"],
        rgb: Float[Tensor, "S C"],
        starts: Float[Tensor, " S"],
        ends: Float[Tensor, " S"],
        ray_ids: Int[Tensor, " S"],
        n_rays: int,
    ) -> Composite:
        """See :class:`CompositeKernel`."""
        check("composite", of_composite(FLOATING), sigma=sigma, rgb=rgb, starts=starts, ends=ends, ray_ids=ray_ids)
        check_ray_ids("composite", ray_ids, n_rays)
        return composite(sigma, rgb, starts, ends, ray_ids, n_rays)

    def visibility_mask(
        self,
        sigma: Float[Tensor, " S"],
        starts: Float[Tensor, " S"],
        ends: Float[Tensor, " S"],
        ray_ids: Int[Tensor, " S"],
        n_rays: int,
        early_stop_eps: float,
    ) -> Bool[Tensor, " S"]:
        """See :class:`CompositeKernel`."""
        check("visible", of_composite(FLOATING), sigma=sigma, starts=starts, ends=ends, ray_ids=ray_ids)
        check_ray_ids("visible", ray_ids, n_rays)
        return visibility_mask(sigma, starts, ends, ray_ids, n_rays, early_stop_eps)


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
    ) -> tuple[Int[Tensor, " S"], Float[Tensor, " S"]]:
        """See :class:`MarchKernel`."""
        check_march(spec, rays.origins, rays.directions, rays.near, rays.far, jitter, occupied)
        starts = _all_starts(rays, jitter, spec)
        middles = starts + 0.5 * spec.lengths(starts)
        inside = (middles > rays.near[:, None]) & (middles < rays.far[:, None])
        ray_ids, steps = inside.nonzero(as_tuple=True)
        starts, middles = starts[ray_ids, steps], middles[ray_ids, steps]
        kept = in_occupied(rays, ray_ids, middles, occupied, spec)
        return ray_ids[kept], starts[kept]


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
