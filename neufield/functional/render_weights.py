"""What light comes from where along rays, in plain PyTorch: differentiable any number of times.

Ragged rays are flat arrays with sorted ``ray_ids``; see :class:`neufield.core.rays.Intervals`.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.rays import Intervals, RenderOutput

_OPAQUE = 800.0  # exp of minus that is 0, in float64 too


def optical_depth(sigma: Float[Tensor, " S"], intervals: Intervals) -> tuple[Tensor, Tensor]:
    """The optical depth s_i d_i of each interval, and sum_{j<i} s_j d_j of those before it on its ray, (S,) each."""
    # Infinity times 0 is NaN, and so is infinity less infinity in the sums of all rays behind it; of a depth beyond
    # _OPAQUE no more light is left than of it. What lies behind a NaN is dark, so that it spoils no other ray.
    own = (sigma.clamp(max=torch.finfo(sigma.dtype).max) * intervals.lengths).clamp(-_OPAQUE, _OPAQUE)
    return own, exclusive_sum(own.nan_to_num(nan=_OPAQUE), intervals).to(own.dtype)


def exclusive_sum(values: Float[Tensor, " S"], intervals: Intervals) -> Float[Tensor, " S"]:
    """Sum the ``values`` before each interval on its ray, in float64.

    The running sum is taken over all rays in float64 and each ray's beginning subtracted, so that a long batch costs no
    accuracy.
    """
    before = torch.cumsum(values.double(), 0) - values.double()
    ray_ids = intervals.ray_ids
    first = torch.searchsorted(ray_ids, torch.arange(intervals.n_rays, device=ray_ids.device))
    starts = torch.cat([before, before.new_zeros(1)])[first]  # a ray without samples reads anything, nobody reads it
    return before - starts[ray_ids]


def render_weights(sigma: Float[Tensor, " S"], intervals: Intervals) -> Float[Tensor, " S"]:
    """The share of its ray's light that comes from each interval (arXiv 2003.08934, equation 3).

    w_i = exp(-sum_{j<i} s_j d_j) (1 - exp(-s_i d_i)), with densities s (``sigma``) and the intervals' lengths d.
    """
    own, before = optical_depth(sigma, intervals)
    return torch.exp(-before) * -torch.expm1(-own)


def composite(sigma: Float[Tensor, " S"], rgb: Float[Tensor, "S C"], intervals: Intervals) -> RenderOutput:
    """Sum colors, ones and distances along rays: sum_i w_i c_i, sum_i w_i and sum_i w_i m_i.

    w are the :func:`render_weights` and m the intervals' middles (emission and absorption). There is no background, and
    no samples are kept.
    """
    weights = render_weights(sigma, intervals)
    middle = intervals.mid
    columns = torch.cat([rgb, torch.ones_like(middle)[:, None], middle[:, None].to(rgb.dtype)], dim=1)
    sums = columns.new_zeros(intervals.n_rays, columns.shape[1])
    sums = sums.index_add(0, intervals.ray_ids, columns * weights[:, None])
    return RenderOutput(sums[:, :-2], sums[:, -2], sums[:, -1], weights)


def visibility_mask(sigma: Float[Tensor, " S"], intervals: Intervals, early_stop_eps: float) -> Bool[Tensor, " S"]:
    """Which intervals still get at least the share ``early_stop_eps`` of the light: exp(-sum_{j<i} s_j d_j) >= eps."""
    _, before = optical_depth(sigma, intervals)
    return torch.exp(-before) >= early_stop_eps
