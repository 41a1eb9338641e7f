"""Density activations: their formulas, and the gradient that trunc_exp cuts off."""

import math

import pytest
import torch
from radiance_cases import positions, shaken

from neufield.encodings import SphericalHarmonics
from neufield.fields import DensityActivation, Plenoxels
from neufield.fields.radiance import DENSITIES, trunc_exp

FORMULAS = {
    "trunc_exp": math.exp,
    "softplus": lambda x: math.log1p(math.exp(x)),
    "relu": lambda x: max(0.0, x),
}


def test_every_activation_has_a_formula() -> None:
    assert DENSITIES.keys() == FORMULAS.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_densities_are_their_formulas_shifted_and_scaled(name: str) -> None:
    logits = torch.tensor([-12.0, -0.4, 0.0, 0.3, 3.0, 17.0], dtype=torch.float64)
    found = DensityActivation(name, -1.5, 25.0)(logits)
    expected = [25 * FORMULAS[name](logit - 1.5) for logit in logits.tolist()]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)  # float64


def test_tensorf_s_numbers() -> None:
    """softplus(f - 10) * 25: what its code multiplies distances by, the density has here."""
    sigma = DensityActivation("softplus", -10.0, 25.0)(torch.tensor([0.0, 10.0], dtype=torch.float64))
    assert sigma.tolist() == pytest.approx([25 * math.log1p(math.exp(-10)), 25 * math.log(2)])


def test_trunc_exp_is_exp_forward_and_exp_of_at_most_15_backward() -> None:
    x = torch.tensor([-80.0, -1.0, 0.0, 14.9, 15.1, 20.0, 80.0], dtype=torch.float64, requires_grad=True)
    y = trunc_exp(x)
    assert torch.equal(y, torch.exp(x))
    (gradient,) = torch.autograd.grad(y, x, 3 * torch.ones_like(x), create_graph=True)
    expected = [3 * math.exp(min(value, 15.0)) for value in x.tolist()]
    assert gradient.tolist() == pytest.approx(expected, rel=1e-12)  # float64
    (second,) = torch.autograd.grad(gradient.sum(), x)
    expected = [3 * math.exp(value) if value < 15 else 0.0 for value in x.tolist()]
    assert second.tolist() == pytest.approx(expected, rel=1e-12)


def test_trunc_exp_below_the_cut_passes_gradcheck_twice() -> None:
    x = torch.tensor([-2.0, 0.3, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(trunc_exp, x)
    assert torch.autograd.gradgradcheck(trunc_exp, x)


def test_above_the_cut_a_step_stays_finite_where_exp_s_does_not() -> None:
    x = torch.tensor([100.0], requires_grad=True)
    trunc_exp(x).backward()
    assert x.grad.item() == pytest.approx(math.exp(15), rel=1e-6)  # float32
    assert torch.exp(x).isinf().item()


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_logits_give_float32_densities(name: str, dtype: torch.dtype) -> None:
    logit = torch.tensor([-3.3, 0.7, 12.6], dtype=dtype)
    sigma = DensityActivation(name, 0.1)(logit)
    assert sigma.dtype == torch.float32
    assert torch.equal(sigma, DENSITIES[name](logit.float() + 0.1))


def test_densities_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match=r"activation is 'exp'.*'trunc_exp', 'softplus', 'relu'"):
        DensityActivation("exp")
    with pytest.raises(ValueError, match=r"scale is 0"):
        DensityActivation(scale=0.0)


def test_a_field_takes_the_density_it_is_given() -> None:
    given = DensityActivation("trunc_exp", 2.0, 3.0)
    field = shaken(Plenoxels([3, 3, 3], SphericalHarmonics(1), given))
    logit, sigma, _ = field.geometry(positions(5))
    torch.testing.assert_close(sigma, 3 * torch.exp(logit + 2), rtol=1e-6, atol=0)  # float32: the order of operations
