"""An operator of torch.library, and the way around torch.library that most calls can take.

torch.library finds a kernel, calls through fakes, compilers, modes and transforms, and follows gradients. That takes a
fifth of a millisecond a call, more than the rest of what Python does for a training step. Where nobody is there to look
on, the same functions are called by an autograd function of torch's with nothing in between.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from neufield.core.torch_transforms import plain_only
from neufield.kernels.arguments import Expected, check, decoded

S = TypeVar("S")
_PLAIN = (Tensor, nn.Parameter)  # no subclass, which would see the operator
_has_storage: Callable[[Tensor], bool] = torch._C._has_storage  # which wrappers of torch's, as of vmap, have not


class Operator:
    """An operator ``neufield::name``, called with its arguments, the last of which is a spec if it has one.

    Args:
        name: of the operator.
        schema: as torch.library reads it.
        cpu: what computes it on a CPU; it takes the spec itself, or as the operator has it.
        fake: the outputs' shapes, of the same arguments.
        cuda: what computes it on CUDA.
        written: how a spec is written for the operator; None where there is none.
        setup: keeps what ``gradients`` needs, as torch.library's ``setup_context`` does.
        gradients: by all of the arguments, of the outputs' ``grads``.
    """

    def __init__(
        self,
        name: str,
        schema: str,
        cpu: Callable[..., Any],
        fake: Callable[..., Any],
        cuda: Callable[..., Any] | None = None,
        written: Callable[[Any], object] | None = None,
        setup: Callable[[Any, tuple, Any], None] | None = None,
        gradients: Callable[..., Any] | None = None,
    ) -> None:
        made = torch.library.custom_op(f"neufield::{name}", cpu, mutates_args=(), device_types="cpu", schema=schema)
        made.register_fake(fake)
        if cuda is not None:
            made.register_kernel("cuda")(cuda)
        if gradients is not None:
            made.register_autograd(gradients, setup_context=setup)
        self._op = getattr(torch.ops.neufield, name)
        self._cpu = cpu
        self._written = written
        self._direct = None if gradients is None else _direct(name, cpu, cast(Any, setup), gradients)

    def __call__(self, *arguments: Any) -> Any:
        """The outputs, differentiable where the operator is."""
        if not _alone(arguments):
            *others, spec = arguments
            if self._written is not None and not isinstance(spec, str | Sequence):
                arguments = (*others, self._written(spec))
            return self._op(*arguments)
        if self._direct is None or not torch.is_grad_enabled() or not torch._C._any_requires_grad(*arguments):
            return self._cpu(*arguments)
        return self._direct.apply(*arguments)


def _alone(arguments: Sequence[Any]) -> bool:
    """Whether these are ordinary tensors of a CPU, and nothing of torch's looks on at what is computed."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack():
        return False
    for value in arguments:
        if isinstance(value, Tensor) and (type(value) not in _PLAIN or not value.is_cpu or not _has_storage(value)):
            return False
    return not plain_only()


def _direct(name: str, compute: Callable[..., Any], setup: Callable, gradients: Callable) -> Any:
    """An autograd function of the same two halves as the operator's own."""

    def forward(ctx: Any, *arguments: Any) -> Any:
        found = compute(*arguments)
        setup(ctx, arguments, found)
        return found

    halves = {"forward": staticmethod(forward), "backward": staticmethod(gradients)}
    return type(f"Direct_{name}", (torch.autograd.Function,), halves)


class Specs(Generic[S]):
    """How the operators of one op read their spec, which they are handed itself or as a text.

    Args:
        op: the op's name, with which the operators' names begin.
        kind: the spec's class, which has a ``text`` and reads one with ``from_text``.
        expected: what goes with a spec, of :mod:`neufield.kernels.arguments`.
    """

    def __init__(self, op: str, kind: type[S], expected: Callable[[S], Expected]) -> None:
        self._op, self._kind, self._expected = op, kind, expected

    def known(self, described: S | str) -> S:
        """The spec itself."""
        return described if isinstance(described, self._kind) else decoded(cast(Any, self._kind).from_text, described)

    def checked(self, name: str, described: S | str, **tensors: Tensor | None) -> S:
        """The spec, with which the ``tensors`` of the operator ``name`` go."""
        known = self.known(described)
        check(f"{self._op}_{name}", self._expected(known), **tensors)
        return known

    @staticmethod
    def text(spec: Any) -> str:
        """The spec as an operator of torch.library takes it."""
        return spec.text
