"""Triton on CUDA: whether its programs can run, and how they are looked at where no GPU is.

Triton comes with torch's CUDA builds. An op's programs lie in its folder's ``programs.py``, which imports triton; who
launches them, in ``triton.py`` beside it, imports that only when it launches. Without a GPU the programs are checked by
Triton's interpreter (``TRITON_INTERPRET=1``, on CPU tensors) and compiled ahead of time, as their ``variants()`` say.
"""

import dataclasses
import functools
import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from neufield.core.errors import BackendError
from neufield.core.torch_transforms import plain_only

_LEAST_CAPABILITY = (8, 0)  # sm_80: bfloat16 on tensor cores, asynchronous copies


@dataclasses.dataclass(frozen=True)
class Variant:
    """A program with the types of its arguments and its constants, as a launch would have it compiled.

    ``signature`` has a type for each argument that is not constant, in Triton's words ("*fp32", "i32").
    """

    name: str
    program: Any
    signature: Mapping[str, str]
    constants: Mapping[str, object]
    warps: int = 4
    fp_fusion: bool = True


def launch(
    program: Any,
    blocks: tuple[int, ...],
    arguments: Sequence[Any],
    constants: Mapping[str, object],
    warps: int = 4,
    fp_fusion: bool = True,
) -> None:
    """Run ``program`` on the device of its first argument, as often as ``blocks`` says.

    ``fp_fusion``: whether products and sums may be one instruction, rounded once. Each launch says so: Triton 3.9 warns
    of one that does not, and 3.10 no longer fuses then.
    """
    device, reasons = arguments[0].device, plain_only()
    if reasons:
        raise BackendError(" ".join(reasons))
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise BackendError(f"the Triton kernels run on CUDA, not on {device}; choose another backend")
    with torch.cuda.device_of(arguments[0]):
        program[blocks](*arguments, **constants, num_warps=warps, enable_fp_fusion=fp_fusion)


def obstacles(device: torch.device) -> tuple[str, ...]:
    """What keeps every Triton program from running on ``device`` now: sentences for the user."""
    return (*_machine_obstacles(device), *plain_only())


@functools.lru_cache(maxsize=16)
def _machine_obstacles(device: torch.device) -> tuple[str, ...]:
    found = []
    if device.type != "cuda":
        found.append(f"the Triton kernels run on CUDA, not on {device}.")
    elif not torch.cuda.is_available():
        found.append("torch finds no GPU that CUDA runs on.")
    if importlib.util.find_spec("triton") is None:
        found.append("Triton is not installed; it comes with torch's CUDA builds for Linux.")
    if not found and torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        found.append(f"the Triton kernels need compute capability 8.0 or more, which {name} has not.")
    return tuple(found)
