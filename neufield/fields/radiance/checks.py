"""What every radiance field refuses, with the remedy."""

from collections.abc import Sequence

from neufield.core.interfaces import Encoding


def check_resolution(resolution: Sequence[int]) -> None:
    """Refuse anything but three sizes above zero."""
    if len(resolution) != 3 or min(resolution) < 1:
        raise ValueError(
            f"resolution is {list(resolution)}, but it is cells along x, y, z, for instance [128, 128, 128]"
        )


def check_three_dimensional(**encodings: Encoding) -> None:
    """Refuse an encoding of points or directions of another dimension, by name."""
    for name, encoding in encodings.items():
        if encoding.in_dim != 3:
            raise ValueError(f"{name} takes {encoding.in_dim} coordinates, but radiance is in 3-D; build it for 3")
