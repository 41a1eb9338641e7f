"""What every radiance field refuses, with the remedy."""

from collections.abc import Sequence

from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.rays import Conditioning
from neufield.fields.radiance.directional_head import DirectionalHead


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


def check_head(head: DirectionalHead | None, n_features: int) -> None:
    """Refuse a head that reads anything but the density's logit and ``n_features`` features."""
    if head is not None and head.n_features != n_features + 1:
        raise ValueError(
            f"the head reads {head.n_features} features, but the density's logit and n_features={n_features} go in; "
            f"give n_features={head.n_features - 1}"
        )


def code_of(cond: Conditioning | None, code_dim: int) -> Tensor | None:
    """The codes that a field with this ``code_dim`` reads of ``cond``; None where that is 0. Refuses any other size."""
    if not code_dim:
        return None
    code = None if cond is None else cond.code
    if code is None or code.shape[-1] != code_dim:
        came = "none" if code is None else f"one of {code.shape[-1]}"
        raise ValueError(
            f"this field's color takes codes of {code_dim} numbers, but {came} came; "
            f"give cond=Conditioning(code=...) with a code (..., {code_dim})"
        )
    return code
