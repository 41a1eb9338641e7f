"""Choosing who computes an op, and saying why the others cannot."""

import abc
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import nn

from neufield.core.errors import BackendError, nearest

SpecT = TypeVar("SpecT")


class Kernel(abc.ABC, Generic[SpecT]):
    """One implementation of an op: pure, differentiable, and without parameters of its own.

    ``tolerance`` is the largest relative L2 error against the op's float64 reference that its tests accept, by dtype.
    """

    name: str
    tolerance: Mapping[torch.dtype, float]

    @abc.abstractmethod
    def obstacles(self, spec: SpecT, device: torch.device, dtype: torch.dtype) -> list[str]:
        """Why this kernel cannot run ``spec`` in ``dtype`` on ``device``: sentences for the user; [] means it can."""


KernelT = TypeVar("KernelT", bound=Kernel)


def select(
    op: str,
    kernels: Sequence[KernelT],
    spec: object,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    backend: str = "auto",
) -> KernelT:
    """The first kernel of the priority list that can run, or exactly the named one.

    A named backend never falls back: where it cannot run, the error lists its obstacles. With "auto", the error lists
    every kernel's.
    """
    names = [kernel.name for kernel in kernels]
    if backend != "auto" and backend not in names:
        raise unknown(backend, op, names)
    reasons = []
    for kernel in kernels:
        if backend in ("auto", kernel.name):
            obstacles = kernel.obstacles(spec, device, dtype)
            if not obstacles:
                return kernel
            reasons.append(f"{kernel.name}: {' '.join(obstacles)}")
    raise BackendError(f"no backend can run {op} here ({'; '.join(reasons)})")


def unknown(backend: str, what: str, names: Sequence[str]) -> BackendError:
    """The error about a ``backend`` that ``what`` does not have, where it has those of ``names``, and "auto"."""
    hint = nearest(backend, names)
    known = f"known: auto, {', '.join(names)}" + (hint if "did you mean" in hint else "")
    return BackendError(f"backend '{backend}' does not exist for {what}; {known}")


class Accelerated(nn.Module):
    """A module whose work goes through a kernel; ``backend`` is how it runs, never part of what it is."""

    backend: str = "auto"

    def backends(self) -> Sequence[str]:
        """The names that ``backend`` may have here, besides "auto"."""
        raise NotImplementedError

    def kernel_name(self, device: torch.device) -> str:
        """The kernel that would serve a call on ``device``; raises BackendError when none can."""
        raise NotImplementedError


def use_backend(model: nn.Module, backend: str, device: torch.device) -> str:
    """Set the backend of every accelerated part of ``model`` and return the kernels' names that will serve.

    A name that only some parts know (nerfacc's, of the march) is theirs; the others choose by themselves. Where it
    serves none, or a part knows it but cannot run it here, BackendError says so. A model without accelerated parts runs
    on plain torch whatever its device.
    """
    parts = [part for part in model.modules() if isinstance(part, Accelerated)]
    there = list(dict.fromkeys([name for part in parts for name in part.backends() if name != "torch"] + ["torch"]))
    if backend not in ("auto", *there):
        raise unknown(backend, "this field", there)
    known = any(backend in part.backends() for part in parts)
    for part in parts:
        part.backend = backend if not known or backend in part.backends() else "auto"
    names = {part.kernel_name(device) for part in parts}
    if backend not in ("auto", "torch", *names):
        raise BackendError(f"backend '{backend}' was asked for, but this field has no part that it serves; use 'torch'")
    return "+".join(sorted(names)) or "torch"
