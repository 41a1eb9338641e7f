"""Copies constants and draws random numbers to a tensor's device without making a GPU finish its work first.

A copy to a GPU waits for it unless it is told not to. From ordinary memory nothing is lost by that: the numbers have
been read when the call returns.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neufield.core.errors import BackendError

_TYPES = ("cpu", "cuda")


def usable_device(named: torch.device | str) -> torch.device:
    """The device of that name, if neufield computes there; Apple's mps has no float64, which exact positions need."""
    try:
        device = torch.device(named)
        if device.type not in _TYPES or (device.type == "cpu" and device.index):
            raise RuntimeError
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError):  # torch's own, by builds and systems
        usable = ["cpu", *[f"cuda:{i}" for i in range(torch.cuda.device_count())]]
        raise BackendError(
            f"device '{named}' cannot be used here: neufield computes on a CPU or on CUDA, and this machine has "
            f"{', '.join(usable)}; use --device {usable[-1]}"
        ) from None


def device_constant(values: Any, like: Tensor) -> Tensor:
    """``values``, numbers or nested sequences of them, as a tensor of the type of ``like`` and beside it."""
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)


def device_uniform(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    """Random numbers in [0, 1), drawn in float32 where the ``generator`` is, of the type of ``like`` and beside it."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device).to(like)


def generator_for(device: torch.device, seed: int) -> torch.Generator:
    """Draws for what happens on ``device``: on CUDA there; elsewhere on the CPU, where every type can be drawn."""
    return torch.Generator(device if device.type == "cuda" else "cpu").manual_seed(seed)
