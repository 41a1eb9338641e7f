"""The activation that makes a network's number a density, with the papers' shifts and scales."""

import dataclasses

from torch import Tensor

from neufield.core.shapes import check_choice, check_positive
from neufield.functional import DENSITIES, to_float32, trunc_exp

__all__ = ["DENSITIES", "DensityActivation", "trunc_exp"]


@dataclasses.dataclass(frozen=True)
class DensityActivation:
    """sigma = ``scale`` * activation(logit + ``shift``), per world unit.

    What the papers take:

    * instant-ngp ("trunc_exp", 0); nerfacc's version of it ("trunc_exp", -1);
    * TensoRF ("softplus", -10, 25): it multiplies all distances by 25 instead, which is the same in every pixel;
    * NeRF, Plenoxels ("relu"); mip-NeRF ("softplus", -1), with which no field starts empty and without a gradient.
    """

    activation: str = "trunc_exp"
    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, tuple(DENSITIES))
        check_positive(scale=self.scale)

    def __call__(self, logit: Tensor) -> Tensor:
        """Densities of ``logit (...)``, in float32 or float64."""
        return self.scale * DENSITIES[self.activation](to_float32(logit) + self.shift)
