"""The losses of mip-NeRF 360 (arXiv 2111.12077) on render weights along rays: distortion and interlevel.

Ragged rays are flat arrays with sorted ``ray_ids``; intervals are in their order along the ray and do not overlap.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.rays import Intervals, IntervalWeights
from neufield.functional.render_weights import exclusive_sum

_TINY = 1e-7  # beside a weight in a denominator (the paper's code: float32's epsilon)


def distortion(weights: Float[Tensor, " S"], intervals: Intervals) -> Float[Tensor, " N"]:
    """Measure how spread each ray's light is: sum_ij w_i w_j |m_i - m_j| + sum_i w_i^2 d_i / 3 (equation 15).

    ``m`` are the middles of the intervals and ``d`` their lengths, in whatever unit they are; the
    paper's is its normalized s. Since the m are sorted, the double sum is 2 sum_i w_i (m_i W_i - M_i) with the sums W_i
    of w_j and M_i of w_j m_j over j < i: exact, in one pass, and differentiable as often as one likes.
    """
    w, middle = weights.double(), 0.5 * (intervals.starts.double() + intervals.ends.double())
    others = middle * exclusive_sum(w, intervals) - exclusive_sum(w * middle, intervals)
    each = 2 * w * others + w.square() * intervals.lengths.double() / 3
    return each.new_zeros(intervals.n_rays).index_add(0, intervals.ray_ids, each).to(weights.dtype)


def interlevel(fine: IntervalWeights, coarse: IntervalWeights) -> Float[Tensor, " N"]:
    """How much of each ray's ``fine`` light ``coarse`` leaves no room for: sum_i max(0, w_i - b_i)^2 / w_i (eq. 13).

    b_i is the weight of all coarse intervals that share more than an end with the fine interval i (equation 12): no
    histogram of the same light could have less. 0 where coarse and fine are one. Only ``coarse.weights`` get a
    gradient. Departure: 1e-7 is added to the denominator, as in the paper's code: an interval without light counts 0.
    """
    w = fine.weights.detach()
    at, bins = fine.intervals, coarse.intervals
    first = _place(bins.ends, bins, at.starts, at.ray_ids, or_at=True)
    last = _place(bins.starts, bins, at.ends, at.ray_ids, or_at=False)
    running = torch.cat([coarse.weights.new_zeros(1).double(), coarse.weights.double().cumsum(0)])
    bound = (running[torch.maximum(first, last)] - running[first]).to(w.dtype)
    each = (w - bound).clamp(min=0).square() / (w + _TINY)
    return each.new_zeros(at.n_rays).index_add(0, at.ray_ids, each)


def _place(values: Tensor, bins: Intervals, keys: Tensor, ray_ids: Tensor, or_at: bool) -> Tensor:
    """The index of the first of a ray's sorted ``values`` that is not below its key (``or_at``: nor at it).

    By bisection of all rays at once: exact, where one search over all rays would have to pack ray and value into one
    number. Where there is none, the index of the next ray's first.
    """
    rays = torch.arange(bins.n_rays + 1, device=ray_ids.device)
    begins = torch.searchsorted(bins.ray_ids, rays)
    low, high = begins[ray_ids], begins[ray_ids + 1]
    longest = int((high - low).max()) if len(keys) else 0
    for _ in range(longest.bit_length()):
        middle = (low + high) // 2
        value = values[middle.clamp(max=len(values) - 1)]
        after = (low < high) & ((value <= keys) if or_at else (value < keys))
        low, high = torch.where(after, middle + 1, low), torch.where(after, high, middle)
    return low
