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


@contextlib.contextmanager
def sizes_only(tensors: int, numbers: int, what: str) -> Iterator[None]:
    """Modules built inside the block are on "meta"; a DataError once they have more than the so many it should be.

    ``tensors`` and ``numbers`` count parameters and buffers; up to four times as many, and some, pass, because a part
    may replace what a part of its own has made. What is built is therefore still to be compared with what was expected.
    A description of a million layers ends here after some thousand, and not when the memory does.
    """
    left = {"tensors": 4 * tensors + _SPARE_TENSORS, "numbers": 4 * numbers + _SPARE_NUMBERS}
    thread = threading.get_ident()  # the hooks are those of the process

    def count(module: nn.Module, name: str, value: Tensor | None) -> None:
        del module, name
        if value is None or threading.get_ident() != thread:
            return
        left["tensors"] -= 1
        left["numbers"] -= value.numel()
        if min(left.values()) < 0:
            raise DataError(f"{what} describes more than the {tensors:,} tensors of {numbers:,} numbers that it holds")

    with contextlib.ExitStack() as stack:
        stack.callback(registry.register_module_parameter_registration_hook(count).remove)
        stack.callback(registry.register_module_buffer_registration_hook(count).remove)
        stack.enter_context(torch.device("meta"))
        stack.enter_context(_Undrawn())
        yield


def within_budget(
    make: Callable[[torch.Generator | None], ModuleT], generator: torch.Generator | None, what: str, copies: int = 1
) -> ModuleT:
    """What ``make`` builds, after its bytes, ``copies`` times, were found to be within the memory budget."""
    with torch.device("meta"), _Undrawn():
        sketch = make(None)
    needed = sum(tensor.nbytes for tensor in (*sketch.parameters(), *sketch.buffers()))
    check_budget(copies * needed, what, "make it smaller")
    return make(generator)


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
