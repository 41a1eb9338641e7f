"""First and second derivatives of every case, by input and by parameters, in float64 against finite differences.

First ones entry by entry, second ones along random directions (gradcheck's fast mode), in which every entry has a
part. The points are fixed, and none lies within 1e-6 (gradcheck's step) of a cell edge or of a kink.
"""

import pytest
import torch
from cases import PIECEWISE_LINEAR, all_cases, evaluate, points_for, seeded
from torch import Tensor, nn
from torch.func import functional_call

from neufield.core.interfaces import Network

CASES = all_cases()
every_case = pytest.mark.parametrize("name", CASES)


def in_double(name: str) -> tuple[nn.Module, Tensor]:
    part = CASES[name]().double()
    with torch.no_grad():
        for parameter in part.parameters():  # biases that start at zero, tables of 1e-4: make every term count
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(7), dtype=torch.float64) * 0.5)
    return part, points_for(part, 2).double().requires_grad_()


def as_function(part: nn.Module):
    """(x, *parameters) -> output."""
    names = [name for name, _ in part.named_parameters()]

    def call(x: Tensor, *values: Tensor) -> Tensor:
        inputs = (x, x) if isinstance(part, Network) else (x,)
        return functional_call(part, dict(zip(names, values, strict=True)), inputs)

    return call


def inputs_of(part: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    return (x, *(p.detach().clone().requires_grad_() for p in part.parameters()))


def slope_by_input(part: nn.Module, x: Tensor) -> Tensor:
    """Derivative by ``x`` of a sum of the outputs in which none cancels another."""
    y = evaluate(part, x)
    mix = torch.linspace(0.5, 1.5, y.shape[-1], dtype=y.dtype)
    return torch.autograd.grad((y * mix).sum(), x, create_graph=True, materialize_grads=True)[0]


def hessian_rows(part: nn.Module, x: Tensor) -> Tensor:
    """Second derivatives by ``x``, stacked; zeros where the graph ends."""
    rows = []
    for column in slope_by_input(part, x).sum(0):
        if column.requires_grad:
            rows.append(torch.autograd.grad(column, x, retain_graph=True, materialize_grads=True)[0])
        else:
            rows.append(torch.zeros_like(x))
    return torch.stack(rows)


@every_case
def test_gradients_by_input_and_parameters(name: str) -> None:
    part, x = in_double(name)
    assert torch.autograd.gradcheck(as_function(part), inputs_of(part, x))


@every_case
@pytest.mark.usefixtures("random_directions")
def test_second_derivatives_by_input_and_parameters_together(name: str) -> None:
    part, x = in_double(name)
    assert torch.autograd.gradgradcheck(as_function(part), inputs_of(part, x), fast_mode=True)


@every_case
def test_second_derivatives_by_input_vanish_only_for_piecewise_linear_parts(name: str) -> None:
    part, x = in_double(name)
    assert bool((hessian_rows(part, x) == 0).all()) == (name in PIECEWISE_LINEAR)


@every_case
def test_every_coordinate_moves_the_output_unless_it_is_piecewise_constant(name: str) -> None:
    part, x = in_double(name)
    slope = slope_by_input(part, x)
    assert torch.equal(slope != 0, torch.full_like(slope, name != "Grid-nearest").bool())
