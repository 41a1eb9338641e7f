"""What a module will take is reckoned before it is built: first on "meta", where a tensor has a size and no numbers."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registry
from torch.overrides import TorchFunctionMode

from neufield.core.errors import DataError
from neufield.core.memory import check_budget

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_SPARE_TENSORS, _SPARE_NUMBERS = 1000, 10**6  # what a constructor may make and drop, beside what it keeps
_MOST_TENSORS = 10_000  # that somebody may describe; the deepest network of a paper has a hundred layers
_TRAINED = 5  # copies of the parameters: themselves, gradients, Adam's two moments, and one while a save is written


@contextlib.contextmanager
def sizes_only(tensors: int, numbers: int, what: str) -> Iterator[None]:
    """Modules built inside the block are on "meta"; a DataError once they have more than the so many it should be.

    ``tensors`` and ``numbers`` count parameters and buffers; up to four times as many, and some, pass, because a part
    may replace what a part of its own has made. What is built is therefore still to be compared with what was expected.
    A description of a million layers ends here after some thousand, and not when the memory does.
    """
    left = {"tensors": 4 * tensors + _SPARE_TENSORS, "numbers": 4 * numbers + _SPARE_NUMBERS}

    def count(value: Tensor) -> None:
        left["tensors"] -= 1
        left["numbers"] -= value.numel()
        if min(left.values()) < 0:
            raise DataError(f"{what} describes more than the {tensors:,} tensors of {numbers:,} numbers that it holds")

    with _unbuilt(count):
        yield


def within_budget(
    make: Callable[[torch.Generator | None], ModuleT], generator: torch.Generator | None, what: str
) -> ModuleT:
    """What ``make`` builds, after its parameters and buffers were found to be within the memory budget."""
    taken = {"tensors": 0, "bytes": 0}

    def count(value: Tensor) -> None:
        taken["tensors"] += 1
        taken["bytes"] += value.nbytes
        if taken["tensors"] > _MOST_TENSORS:
            raise DataError(f"{what} has more than {_MOST_TENSORS:,} tensors; give it fewer layers or parts")

    with _unbuilt(count):
        make(None)
    check_budget(taken["bytes"], what, "make it smaller")
    return make(generator)


def training_bytes(model: nn.Module, averaged: bool) -> int:
    """What ``model`` and its optimizer take while it is trained; ``averaged``: with a moving average of its weights."""
    copies = _TRAINED + (2 if averaged else 0)  # the average, and its own in a save
    learned = sum(parameter.nbytes for parameter in model.parameters())
    return copies * learned + sum(buffer.nbytes for buffer in model.buffers())


@contextlib.contextmanager
def _unbuilt(count: Callable[[Tensor], None]) -> Iterator[None]:
    """Inside the block this thread builds on "meta", and ``count`` hears of each parameter and buffer."""
    thread = threading.get_ident()  # the hooks are those of the process

    def heard(module: nn.Module, name: str, value: Tensor | None) -> None:
        del module, name
        if value is not None and threading.get_ident() == thread:
            count(value)

    with contextlib.ExitStack() as stack:
        stack.callback(registry.register_module_parameter_registration_hook(heard).remove)
        stack.callback(registry.register_module_buffer_registration_hook(heard).remove)
        stack.enter_context(torch.device("meta"))
        stack.enter_context(_Undrawn())
        yield


class _Undrawn(TorchFunctionMode):
    """Leaves out the drawing of random numbers: on "meta" it draws none, in a way that takes long."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.rand, torch.randn):
            return torch.empty(*args, **{key: value for key, value in kwargs.items() if key != "generator"})
        if func in (torch.Tensor.uniform_, torch.Tensor.normal_):
            return args[0]
        return func(*args, **kwargs)
