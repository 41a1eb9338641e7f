"""The activations of the papers that make a network's number a density, by name."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

_LARGEST = 15.0  # exp of it, 3.3e6, is the steepest slope that a gradient sees


class _TruncExp(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.exp(x)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * torch.exp(x.clamp(max=_LARGEST))  # differentiable, and with the clamp's own derivative of 0

    @staticmethod
    def jvp(ctx, t: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return t * torch.exp(x.clamp(max=_LARGEST))


def trunc_exp(x: Tensor) -> Tensor:
    """exp(x), in float32 at least, with the gradient g * exp(min(x, 15)) (as nerfacc has it; instant-ngp's is exp(x)).

    Above 15 the gradient is too small, but a point that is far too dense still finds its way back. The second
    derivative is that of the gradient as it stands: 0 above 15.
    """
    return _TruncExp.apply(to_float32(x))


def to_float32(x: Tensor) -> Tensor:
    """``x`` in float32 or more: exp of a bfloat16 is wrong by percents."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


DENSITIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "trunc_exp": trunc_exp,
    "softplus": lambda x: F.softplus(to_float32(x)),  # zoom 1, unlike tiny-cuda-nn's hidden activation of the same name
    "relu": lambda x: F.relu(to_float32(x)),
}
