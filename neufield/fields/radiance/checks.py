"""What every radiance field refuses, with the remedy."""

from collections.abc import Sequence

from torch import Tensor

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


def check_code(code: Tensor | None, code_dim: int) -> None:
    """Refuse a code of another size than the field's ``code_dim``, and one where it is 0; None there is right."""
    given = 0 if code is None else code.shape[-1]
    if given == code_dim:
        return
    wanted = f"codes of {code_dim} numbers" if code_dim else "no codes"
    came = f"one of {given}" if given else "none"
    remedy = f"give code (..., {code_dim})" if code_dim else f"leave it out, or build a field with code_dim={given}"
    raise ValueError(f"this field's colour takes {wanted}, but {came} came; {remedy}")
