"""From a network's number to a density: the activations of the papers, by name."""

import dataclasses
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from neufield.core.shapes import check_choice, check_positive

_LARGEST = 15.0  # exp of it, 3.3e6, is the steepest slope that a gradient sees


class _TruncExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.exp(x)

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * torch.exp(x.clamp(max=_LARGEST))  # differentiable, and with the clamp's own derivative of 0


def trunc_exp(x: Tensor) -> Tensor:
    """exp(x), in float32 at least, with the gradient g * exp(min(x, 15)) (as nerfacc has it; instant-ngp's is exp(x)).

    Above 15 the gradient is too small, but a point that is far too dense still finds its way back. The second
    derivative is that of the gradient as it stands: 0 above 15.
    """
    return _TruncExp.apply(_wide(x))


def _wide(x: Tensor) -> Tensor:
    """``x`` in float32 or more: exp of a bfloat16 is wrong by percents."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


DENSITIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "trunc_exp": trunc_exp,
    "softplus": lambda x: F.softplus(_wide(x)),  # zoom 1, unlike tiny-cuda-nn's hidden activation of the same name
    "relu": lambda x: F.relu(_wide(x)),
}


@dataclasses.dataclass(frozen=True)
class Density:
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
        return self.scale * DENSITIES[self.activation](_wide(logit) + self.shift)
