"""A box of the world as the unit box, and back."""

from collections.abc import Sequence

from torch import Tensor

from neufield.core.on_device import device_constant


def to_unit_box(points: Tensor, lower: Sequence[float], upper: Sequence[float]) -> Tensor:
    """Map ``points (..., d)`` of the box from ``lower`` to ``upper`` to the unit box: (p - lower) / (upper - lower)."""
    low, high = device_constant(lower, points), device_constant(upper, points)
    return (points - low) / (high - low)


def from_unit_box(x: Tensor, lower: Sequence[float], upper: Sequence[float]) -> Tensor:
    """The inverse of :func:`to_unit_box`: lower + x (upper - lower)."""
    low, high = device_constant(lower, x), device_constant(upper, x)
    return low + x * (high - low)
