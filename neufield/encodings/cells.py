"""A grid of cells over the unit box: which of them a point reads, and averages of neighbors."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def windows(
    x: Float[Tensor, "n d"], resolution: int, width: int
) -> tuple[Int[Tensor, "n reach"], Float[Tensor, "n reach"]]:
    """The (width + 1)^d cells by which ``x (N, d)`` reads a ``resolution``^d grid, and their weights, which sum to 1.

    A box blur of odd ``width`` along each axis, then linear interpolation between the two nearest cells; width 1 is the
    interpolation alone. The box [0, 1] reaches from 0.5 to resolution - 1.5 in cells, as in SAPE's code, and beyond the
    ends each axis goes on as it ends. Cells are numbered with axis 0 slowest.
    """
    place = x.clamp(0, 1) * (resolution - 2) + 0.5
    lower = place.detach().floor()
    share = place - lower
    offsets = torch.arange(width + 1, device=x.device) - width // 2
    index = (lower.long()[..., None] + offsets).clamp(0, resolution - 1)
    within = torch.ones_like(share)[..., None].expand(*share.shape, width - 1)
    weight = torch.cat([(1 - share)[..., None], within, share[..., None]], dim=-1) / width
    cells = index.new_zeros(x.shape[0], 1)
    weights = weight.new_ones(x.shape[0], 1)
    for axis in range(x.shape[-1]):
        cells = (cells[:, :, None] * resolution + index[:, axis, None]).flatten(1)
        weights = (weights[:, :, None] * weight[:, axis, None]).flatten(1)
    return cells, weights


def box_blur(values: Float[Tensor, "..."], width: int) -> Float[Tensor, "..."]:
    """The mean of ``width`` neighbors (odd) along each axis; beyond the ends, what is at the end."""
    for axis, size in enumerate(values.shape):
        offsets = torch.arange(width, device=values.device) - width // 2
        index = (torch.arange(size, device=values.device)[:, None] + offsets).clamp(0, size - 1)
        values = values.index_select(axis, index.flatten()).unflatten(axis, (size, width)).mean(axis + 1)
    return values
