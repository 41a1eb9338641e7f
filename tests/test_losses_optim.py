"""Losses, schedules, Adam's groups and the averaged weights, each against plain numbers."""

import math

import pytest
import torch
from cases import seeded
from torch import Tensor, nn

from neufield.core.errors import ConfigError
from neufield.core.recipe import LOSS_NAMES, Constant, Cosine, Exponential, Recipe, Step
from neufield.core.records import Batch, StepContext
from neufield.encodings import Grid, Identity
from neufield.fields import NeuralField
from neufield.fitting import EMA, LOSSES, Regression, adam
from neufield.fitting.optim import set_rate
from neufield.networks import MLP

# loss -> (value of one number, the divisor that its gradient holds constant); p predicted, t wanted, y luminance of p.
# Relative losses: tiny-cuda-nn's losses/*.h at 6ee3546, epsilon 0.01. Huber: instant-ngp's, delta 0.1.
FORMULAS = {
    "l2": (lambda d: d * d, lambda p, t, y: 1.0),
    "l1": (abs, lambda p, t, y: 1.0),
    "huber": (lambda d: 0.5 * d * d if abs(d) <= 0.1 else 0.1 * (abs(d) - 0.05), lambda p, t, y: 0.1),
    "relative_l2": (lambda d: d * d, lambda p, t, y: p * p + 0.01),
    "relative_l2_luminance": (lambda d: d * d, lambda p, t, y: y * y + 0.01),
    "relative_l1": (abs, lambda p, t, y: abs(p) + 0.01),
    "mape": (abs, lambda p, t, y: abs(t) + 0.01),
    "smape": (abs, lambda p, t, y: (abs(p) + abs(t)) / 2 + 0.01),
}


def predictions() -> tuple[Tensor, Tensor]:
    """Both signs, differences on both sides of Huber's 0.1, nothing on a kink."""
    prediction = torch.randn(20, 3, generator=seeded(1), dtype=torch.float64)
    scale = torch.where(torch.arange(20)[:, None] % 2 == 0, 0.04, 1.0)
    return prediction, prediction + scale * torch.randn(20, 3, generator=seeded(2), dtype=torch.float64)


def luminance(row: list[float]) -> float:
    return 0.299 * row[0] + 0.587 * row[1] + 0.114 * row[2]


def test_every_loss_has_a_formula_and_a_name() -> None:
    assert LOSSES.keys() == FORMULAS.keys() == set(LOSS_NAMES)


@pytest.mark.parametrize("name", FORMULAS)
def test_losses_are_their_formulas_number_by_number(name: str) -> None:
    prediction, target = predictions()
    numerator, divisor = FORMULAS[name]
    values = LOSSES[name](prediction, target)
    assert values.shape == (20, 3)
    for row, wanted, computed in zip(prediction.tolist(), target.tolist(), values.tolist(), strict=True):
        expected = [numerator(p - t) / divisor(p, t, luminance(row)) for p, t in zip(row, wanted, strict=True)]
        assert computed == pytest.approx(expected, rel=1e-6)  # the luminance weights are float32


@pytest.mark.parametrize("name", FORMULAS)
def test_gradients_hold_the_divisor_constant(name: str) -> None:
    prediction, target = predictions()
    numerator, divisor = FORMULAS[name]
    prediction.requires_grad_()
    (slope,) = torch.autograd.grad(LOSSES[name](prediction, target).sum(), prediction)
    step = 1e-6
    for row, wanted, computed in zip(prediction.tolist(), target.tolist(), slope.tolist(), strict=True):
        expected = []
        for p, t in zip(row, wanted, strict=True):
            rise = (numerator(p - t + step) - numerator(p - t - step)) / (2 * step)
            expected.append(rise / divisor(p, t, luminance(row)))
        assert computed == pytest.approx(
            expected, rel=1e-6
        )  # central differences of parabolas and lines: rounding only


@pytest.mark.parametrize("name", FORMULAS)
def test_a_perfect_prediction_costs_nothing(name: str) -> None:
    prediction, _ = predictions()
    assert torch.equal(LOSSES[name](prediction, prediction), torch.zeros(20, 3, dtype=torch.float64))


def test_regression_is_the_weighted_mean_over_points_of_the_mean_over_channels() -> None:
    model = NeuralField(Identity(2), MLP(2, 3, n_hidden_layers=0))
    x, target = torch.rand(5, 2, generator=seeded()), torch.rand(5, 3, generator=seeded(1))
    weight = torch.tensor([0.0, 1.0, 2.0, 0.5, 3.0])
    errors = (model(x) - target).square().mean(-1)
    plain = Regression()(model, Batch(x, target), StepContext(0, 0.0, seeded()))
    weighted = Regression("l2")(model, Batch(x, target, weight), StepContext(0, 0.0, seeded()))
    torch.testing.assert_close(plain.loss, errors.sum() / 5)
    torch.testing.assert_close(weighted.loss, (errors * weight).sum() / 5)
    torch.testing.assert_close(plain.error, errors.detach())
    assert not plain.error.requires_grad
    assert weighted.loss.requires_grad
    assert weighted.x is x
    assert weighted.weight is weight


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(ValueError, match=r"loss is 'l3'.*'l2', 'l1'"):
        Regression("l3")


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(), {0.0: 1.0, 0.5: 1.0, 1.0: 1.0}),
        (Cosine(), {0.0: 1.0, 0.25: (1 + math.sqrt(0.5)) / 2, 0.5: 0.5, 1.0: 0.0}),
        (Cosine(0.2), {0.0: 1.0, 0.5: 0.6, 1.0: 0.2}),
        (Exponential(), {0.0: 1.0, 0.5: math.sqrt(0.1), 1.0: 0.1}),
        (Exponential(0.01), {0.25: 0.01**0.25, 0.5: 0.1}),
    ],
)
def test_schedules_follow_the_progress(schedule: Constant | Cosine | Exponential, expected: dict) -> None:
    for progress, factor in expected.items():
        assert schedule.factor(7, progress) == pytest.approx(factor)


def test_the_step_schedule_is_tiny_cuda_nns_decay_step_by_step() -> None:
    """exponential_decay.h at 6ee3546: at every interval-th step from start on, up to end, times base."""
    schedule, factor = Step(base=0.5, start=4, interval=3, end=11), 1.0
    for step in range(30):
        if step >= 4 and (step - 4) % 3 == 0 and step <= 11:
            factor *= 0.5
        assert schedule.factor(step, 0.0) == pytest.approx(factor)
    assert factor == 0.5**3


def small_field(recipe: Recipe) -> NeuralField:
    return NeuralField(Grid(2, 2, 2, 4, 2, generator=seeded()), MLP(4, 1, 3, 1, generator=seeded()), recipe)


def groups_by_name(field: NeuralField, recipe: Recipe) -> dict[str, dict]:
    names = {id(p): name for name, p in field.named_parameters()}
    return {names[id(p)]: group for group in adam(field, recipe).param_groups for p in group["params"]}


def test_l2_regularization_falls_on_the_matrices_of_the_network_alone() -> None:
    recipe = Recipe(l2_reg=1e-3, beta1=0.8, beta2=0.95, epsilon=1e-7)
    groups = groups_by_name(small_field(recipe), recipe)
    assert {name: group["weight_decay"] for name, group in groups.items()} == {
        "encoding.table": 0.0,
        "network.layers.0.weight": 1e-3,
        "network.layers.0.bias": 0.0,
        "network.layers.1.weight": 1e-3,
        "network.layers.1.bias": 0.0,
    }
    assert all(group["betas"] == (0.8, 0.95) and group["eps"] == 1e-7 for group in groups.values())


def test_rate_factors_go_by_the_longest_name_that_fits() -> None:
    recipe = Recipe(lr=0.1, lr_factors={"network": 0.5, "network.layers.1": 3.0, "network.layers.0.bias": 0.0})
    groups = groups_by_name(small_field(recipe), recipe)
    assert {name: group["lr"] for name, group in groups.items()} == pytest.approx(
        {
            "encoding.table": 0.1,
            "network.layers.0.weight": 0.05,
            "network.layers.0.bias": 0.0,
            "network.layers.1.weight": 0.3,
            "network.layers.1.bias": 0.3,
        }
    )


def test_a_regularization_by_name_comes_before_that_of_networks() -> None:
    recipe = Recipe(l2_reg=1e-3, l2_regs={"encoding": 0.25, "network.layers.0": 0.5, "network.layers.0.bias": 0.0})
    groups = groups_by_name(small_field(recipe), recipe)
    assert {name: group["weight_decay"] for name, group in groups.items()} == {
        "encoding.table": 0.25,
        "network.layers.0.weight": 0.5,
        "network.layers.0.bias": 0.0,
        "network.layers.1.weight": 1e-3,
        "network.layers.1.bias": 0.0,
    }
    with pytest.raises(ValueError, match=r"l2_regs\.encoding is -1.0, but it must be 0 or above"):
        Recipe(l2_regs={"encoding": -1.0})


@pytest.mark.parametrize("which", ["lr_factors", "l2_regs"])
@pytest.mark.parametrize(("key", "nearest"), [("encodin", "encoding"), ("network.layers.2", "network.layers.[01]")])
def test_a_setting_for_nothing_is_named(which: str, key: str, nearest: str) -> None:
    recipe = Recipe(**{which: {key: 2.0}})
    with pytest.raises(ConfigError, match=f"{which} has '{key}', .*did you mean '{nearest}'"):
        adam(small_field(recipe), recipe)


def test_set_rate_scales_every_group_from_its_own_base() -> None:
    recipe = Recipe(lr=0.1, lr_factors={"network": 0.5})
    optimizer = adam(small_field(recipe), recipe)
    for factor in (0.5, 0.1):  # not cumulative
        set_rate(optimizer, factor)
        assert sorted(group["lr"] for group in optimizer.param_groups) == pytest.approx([0.05 * factor, 0.1 * factor])


def test_one_step_is_adams_formula_with_the_decay_in_the_gradient() -> None:
    """Kingma and Ba, algorithm 1; tiny-cuda-nn adds l2_reg times the weight to the gradient (adam.h)."""
    recipe = Recipe(lr=0.01, beta1=0.9, beta2=0.99, epsilon=1e-4, l2_reg=0.3)
    field = small_field(recipe)
    before = {name: p.detach().double() for name, p in field.named_parameters()}
    optimizer = adam(field, recipe)
    for p in field.parameters():
        p.grad = torch.full_like(p, 0.02)
    optimizer.step()
    for name, p in field.named_parameters():
        gradient = 0.02 + (0.3 * before[name] if name.startswith("network") and p.ndim == 2 else 0.0)
        # After one step the debiased moments are the gradient and its square.
        expected = before[name] - 0.01 * gradient / (abs(torch.as_tensor(gradient)) + 1e-4)
        torch.testing.assert_close(p.detach().double(), expected, rtol=1e-5, atol=1e-7)  # float32 of numbers near 1


def test_the_average_is_tiny_cuda_nns_debiased_one() -> None:
    model = nn.Linear(2, 1)
    average = EMA(model, 0.9)
    biased, decay = 0.0, 0.9
    for step in range(1, 8):
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[step**2, -1.0]]))
        average.update(model)
        biased = decay * biased + (1 - decay) * step**2
        # The debiased average: divided by the sum of its weights so far.
        assert average.ema_params["weight"][0, 0].item() == pytest.approx(biased / (1 - decay**step), rel=1e-5)
        assert average.ema_params["weight"][0, 1].item() == pytest.approx(-1.0)


def test_the_average_is_lent_and_given_back() -> None:
    model = nn.Linear(1, 1)
    average = EMA(model, 0.5)
    own = model.weight.detach().clone()
    with average.applied(model):
        assert torch.equal(model.weight, own)  # nothing was averaged yet
    average.update(model)
    with torch.no_grad():
        model.weight += 3.0
    average.update(model)

    def borrow_and_fail() -> None:
        with average.applied(model):
            # Debiased weights 1/3 and 2/3 on own and own + 3.
            torch.testing.assert_close(model.weight.detach(), own + 2.0)
            raise KeyError

    with pytest.raises(KeyError):
        borrow_and_fail()
    assert torch.equal(model.weight, own + 3.0)


def test_no_average_keeps_nothing() -> None:
    model = nn.Linear(1, 1)
    average = EMA(model, 0.0)
    average.update(model)
    assert (average.ema_params, average.count) == ({}, 0)
    with pytest.raises(ValueError, match=r"ema is 1\.0, .*\[0, 1\)"):
        EMA(model, 1.0)
