"""Numbers beside the tensors that need them, without waiting for a GPU to have done what it was asked before.

A copy to a GPU waits for it unless it is told not to. From ordinary memory nothing is lost by that: the numbers have
been read when the call returns.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def constant(values: Any, like: Tensor) -> Tensor:
    """``values``, numbers or nested sequences of them, as a tensor of the type of ``like`` and beside it."""
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)


def uniform(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    """Random numbers in [0, 1), drawn in float32 where the ``generator`` is, of the type of ``like`` and beside it."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device).to(like)


def generator_for(device: torch.device, seed: int) -> torch.Generator:
    """Draws for what happens on ``device``: on CUDA there; elsewhere on the CPU, where every type can be drawn."""
    return torch.Generator(device if device.type == "cuda" else "cpu").manual_seed(seed)
