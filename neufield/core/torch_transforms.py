"""Whether something of torch's follows what is computed, which can follow only its own operations."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

_is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)  # torch 2.6 has it not


def exporting() -> bool:
    """Whether torch.export, ONNX or torch.jit.trace is writing down what is computed."""
    return _is_exporting() or torch.jit.is_tracing()


def plain_only() -> list[str]:
    """Why only PyTorch's own operations may compute now: sentences for the user; [] means that any kernel may.

    What follows a call through all of its operations does not follow a kernel: a tangent ends there without an error.
    """
    found = []
    if forward_ad._current_level >= 0:
        found.append("forward-mode derivatives follow only PyTorch's own operations.")
    elif torch._C._are_functorch_transforms_active():
        found.append("torch.func's transforms (vmap, grad, jacrev ...) follow only PyTorch's own operations.")
    if exporting():
        found.append("an exported or traced field consists of PyTorch's own operations, which others can read.")
    return found


def in_portions(function: Callable[[Tensor], Tensor], points: Tensor, most: int) -> Tensor:
    """``function(points)``, of no more than ``most`` rows at a time, for the sake of memory.

    At once where it is written down, so that what is exported takes any number of points.
    """
    return function(points) if exporting() else torch.cat([function(part) for part in points.split(most)])
