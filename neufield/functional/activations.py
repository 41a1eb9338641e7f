"""Activations by name, with tiny-cuda-nn's definitions where it has one."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

# Those that fused networks know.
ACTIVATE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
    "silu": F.silu,
    "sine": torch.sin,
}
_K = 10.0  # tiny-cuda-nn's K_ACT: its softplus and squareplus are zoomed out towards the ReLU by this factor


def _squareplus(x: Tensor) -> Tensor:
    scaled = x * _K
    return 0.5 * (scaled + torch.sqrt(scaled * scaled + 4)) / _K


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    **ACTIVATE,
    "gelu": F.gelu,
    "exponential": torch.exp,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: F.softplus(x, beta=_K),
    "squareplus": _squareplus,
    "tanh": torch.tanh,
    "signed_to_unit": lambda x: (x + 1) / 2,  # for networks whose papers train on targets in [-1, 1]
}
