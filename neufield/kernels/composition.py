"""Gradients taken of the composition of an op's parts, where a fused op has none: second ones, and under transforms."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def gradients(
    function: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor | None],
    asked: Sequence[bool],
    given: Sequence[Tensor | None],
    again: bool,
) -> list[Tensor | None]:
    """Differentiate ``function(*inputs)``, whose outputs' gradients are ``given``, by the inputs ``asked`` for.

    Outputs without a gradient are left out. ``again``: whether the gradients will be differentiated in their turn.
    """
    wanted = [value for value, ask in zip(inputs, asked, strict=True) if value is not None and ask]

    def outputs(*values: Tensor) -> tuple[Tensor, ...]:
        found = iter(values)
        made = function(*[next(found) if ask else value for value, ask in zip(inputs, asked, strict=True)])
        return tuple(y for y, g in zip(made, given, strict=True) if g is not None)

    by_outputs = [g for g in given if g is not None]
    if torch._C._are_functorch_transforms_active():  # what torch.autograd.grad gives is not followed by them
        made = torch.func.vjp(outputs, *wanted)[1](tuple(by_outputs))
    else:
        with torch.enable_grad():
            own = [value.view_as(value) for value in wanted]  # apart, where one of them was made of another
            # Some outputs depend on no input, and some on others only: those derivatives are zeros.
            used = [(y, g) for y, g in zip(outputs(*own), by_outputs, strict=True) if y.requires_grad]
            made = torch.autograd.grad(
                [y for y, _ in used], own, [g for _, g in used], create_graph=again, materialize_grads=True
            )
    found = iter(made)
    return [next(found) if ask else None for ask in asked]
