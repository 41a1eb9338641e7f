"""What the kernels made of tiny-cuda-nn's modules share. Not run on a GPU: tested with a stand-in for tinycudann.

Read in tiny-cuda-nn at 6ee3546, its PyTorch bindings: a module computes from one row of numbers, ``params``, and rounds
it to fp16 itself unless it is fp16 already. Here that row is made of the caller's numbers at each call, and the
module's own, which its constructor draws, are dropped.
"""

import abc
import functools
import importlib
import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from neufield.core.torch_transforms import plain_only
from neufield.kernels import composition

_INSTALL = 'pip install --no-build-isolation "git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch"'
# fp16 ends at 65504 and tiny-cuda-nn multiplies by 128 of its own: a batch's gradients, by whatever loss, are brought
# to this sum, so that no weight's gradient overflows where activations stay below 32, and few of them vanish.
_SUM = 16.0


def obstacles(device: torch.device) -> list[str]:
    """What keeps tiny-cuda-nn from running on ``device``."""
    found = []
    if device.type != "cuda":
        found.append(f"tiny-cuda-nn runs on CUDA, not on {device}.")
    elif torch.are_deterministic_algorithms_enabled():
        found.append("tiny-cuda-nn adds gradients up in any order, so that its bits are not the same in every run.")
    if importlib.util.find_spec("tinycudann") is None:
        found.append(f"tinycudann is not installed; it is compiled for the GPU at hand by {_INSTALL}.")
    found += plain_only()
    return found or [sentence for sentence in [_broken()] if sentence]


def module() -> ModuleType:
    """The package."""
    return importlib.import_module("tinycudann")


@functools.lru_cache(maxsize=1)
def _broken() -> str | None:
    """Why what is installed cannot be used."""
    try:
        found = module()
    except (ImportError, OSError, RuntimeError) as error:  # OSError: it was built for another GPU
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return f"tinycudann cannot be loaded ({reason}); build it anew: {_INSTALL}."
    if getattr(found, "supports_jit_fusion", None) is None:
        return f"this tinycudann is older than 2.0; build it anew: {_INSTALL}."
    return None


def without_numbers(made: nn.Module, fusion: bool) -> nn.Module:
    """A module of tinycudann that waits for its ``params``; ``fusion`` has it compile itself, where it can."""
    made.params = nn.Parameter(torch.empty(0), requires_grad=False)
    setattr(made, "jit_fusion", fusion and module().supports_jit_fusion())  # noqa: B010 - a property, no submodule
    return made


class Layout(abc.ABC):
    """Between an op's numbers and a module's ``params``."""

    @abc.abstractmethod
    def pack(self, *numbers: Tensor) -> Tensor:
        """One row of them; the same memory where that is possible."""

    @abc.abstractmethod
    def unpack(self, row: Tensor) -> tuple[Tensor, ...]:
        """The other way, and so also from the row's gradient to theirs; views where that is possible."""


def call(made: nn.Module, layout: Layout, reference: Callable[..., Tensor], x: Tensor, *numbers: Tensor) -> Tensor:
    """``made`` at points ``x (N, dim)``, float32, differentiable by ``x`` and ``numbers`` any number of times.

    Second derivatives are those of ``reference(x, *numbers)``: tiny-cuda-nn lacks some of them, and does not say so
    when it is asked.
    """
    if len(x) == 0:
        return reference(x, *numbers)
    return _Call.apply(made, layout, reference, x, *numbers)


class _Call(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, made: nn.Module, layout: Layout, reference: Any, x: Tensor, *numbers: Tensor) -> Tensor:
        points = x.detach().float().contiguous().requires_grad_(ctx.needs_input_grad[3])
        row = layout.pack(*[value.detach() for value in numbers]).requires_grad_(any(ctx.needs_input_grad[4:]))
        with torch.enable_grad():
            y = torch.func.functional_call(made, {"params": row}, (points,))
        ctx.made, ctx.layout, ctx.reference = (y, points, row), layout, reference
        ctx.save_for_backward(x, *numbers)
        return y.detach().float()

    @staticmethod
    def backward(ctx: Any, gy: Tensor):
        asked = ctx.needs_input_grad[3:]
        again = torch.is_grad_enabled()  # somebody will differentiate the gradients
        if again or plain_only():
            inputs = ctx.saved_tensors
            found = composition.gradients(lambda *values: (ctx.reference(*values),), inputs, asked, (gy,), again)
            return (None, None, None, *found)
        y, points, row = ctx.made
        factor = torch.ones_like(gy[0, 0]) if y.dtype == torch.float32 else _SUM / gy.abs().sum().clamp(min=1e-30)
        wanted = [value for value in (points, row) if value.requires_grad]
        made = iter(torch.autograd.grad(y, wanted, (gy * factor).to(y.dtype), retain_graph=True))
        by_x = next(made) / factor if asked[0] else None
        by_numbers = ctx.layout.unpack(next(made).float() / factor) if row.requires_grad else (None,) * len(asked[1:])
        return (None, None, None, by_x, *by_numbers)
