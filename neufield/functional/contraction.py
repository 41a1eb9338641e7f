"""All of the world in the unit box (mip-NeRF 360, arXiv 2111.12077, equation 10)."""

from torch import Tensor


def contract(x: Tensor) -> Tensor:
    """World points (..., 3) in radii of a ball around its center -> the unit box: (2 - 1 / |x|) x / |x| / 4 + 1/2.

    The ball itself keeps its shape, in the middle half of the box.
    """
    size = x.norm(dim=-1, keepdim=True).clamp(min=1.0)
    return x * ((2 - 1 / size) / size * 0.25) + 0.5


def uncontract(x: Tensor) -> Tensor:
    """The inverse of :func:`contract`; what lies on the box's border is infinitely far."""
    x = 4 * x - 2
    size = x.norm(dim=-1, keepdim=True).clamp(min=1.0)
    return x / (size * (2 - size).clamp(min=1e-6))
