"""Nonparametric teaching: the published schedules' numbers, what is chosen and for how long, and resuming."""

import dataclasses
import time

import pytest
import torch
from ball import write_ball
from cases import seeded

from neufield import presets
from neufield.core.config import build, describe
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError
from neufield.core.recipe import Recipe
from neufield.core.records import Batch, StepContext
from neufield.core.sample_selection import (
    INT,
    SHRINKING,
    ConstantRatio,
    CosineRatio,
    Intervals,
    LinearRatio,
    Ratio,
    StepRatio,
)
from neufield.encodings import Frequency, Identity
from neufield.fields import NeuralField
from neufield.fitting import FitState, HardSampleObjective, Regression, fit, objective_of, start
from neufield.formats.scene import read_scene
from neufield.networks import MLP, Siren
from neufield.parts import PARTS
from neufield.presets import SignalFacts, radiance_scene
from neufield.signals import Array


def selections(sample_selection: INT, steps: int) -> list[int]:
    return [t for t in range(steps) if sample_selection.selects(t, t / steps)]


@pytest.mark.parametrize(
    ("intervals", "steps", "expected"),
    [
        (Intervals(), 5000, 1422), (Intervals(), 1000, 285),
        (SHRINKING, 5000, 642), (SHRINKING, 1000, 130),
        (Intervals([1], []), 1000, 1000), (Intervals([2], []), 1000, 500),
    ],
)  # fmt: skip
def test_the_number_of_selections_is_the_published_one(intervals: Intervals, steps: int, expected: int) -> None:
    assert len(selections(INT(intervals=intervals), steps)) == expected


@pytest.mark.parametrize(
    ("steps", "switches"), [(5000, [1250, 2000, 2750, 3500, 4250]), (1000, [250, 400, 550, 700, 850])]
)
def test_intervals_change_at_the_published_steps(steps: int, switches: list[int]) -> None:
    intervals = [Intervals().at(t / steps) for t in range(steps)]
    assert [t for t in range(1, steps) if intervals[t] != intervals[t - 1]] == switches
    assert sorted(set(intervals)) == [1, 10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (StepRatio(), {0: 0.2, 499: 0.2, 500: 0.28, 2499: 0.52, 4999: 0.92}),
        (ConstantRatio(), {0: 0.2, 4999: 0.2}),
        (LinearRatio(), {0: 0.2, 2500: 0.6, 4000: 0.84}),
        (CosineRatio(), {0: 0.2, 2500: 0.6, 5000: 1.0}),
        (CosineRatio(1.0, 0.2), {0: 1.0, 2500: 0.6, 5000: 0.2}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_ratios_are_the_published_ones(ratio: Ratio, expected: dict[int, float]) -> None:
    assert {t: ratio.at(t / 5000) for t in expected} == pytest.approx(expected, rel=1e-12)


def test_the_published_ratios_take_56_percent_on_average() -> None:
    assert sum(StepRatio().at(t / 5000) for t in range(5000)) / 5000 == pytest.approx(0.56, rel=1e-9)


def wave(n: int = 60, channels: int = 2) -> Array:
    x = (torch.arange(n) + 0.5) / n
    return Array(torch.stack([torch.sin((7 + 5 * c) * x) for c in range(channels)], -1))


def field(seed: int = 0, **recipe: object) -> NeuralField:
    network = MLP(6, 2, 8, 1, "tanh", generator=seeded(seed))
    return NeuralField(Frequency(1, 3), network, Recipe(**{"lr": 1e-2, "steps": 40, **recipe}))


class Recorder(Regression):
    """Keeps the batches that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Batch] = []

    def __call__(self, model, batch, step):
        self.seen.append(batch)
        return super().__call__(model, batch, step)


def test_the_largest_errors_are_chosen_in_their_order() -> None:
    model, batch, inner = field(), wave().sample(60, seeded()), Recorder()
    evaluation = HardSampleObjective(inner, INT(ConstantRatio(0.35)))(model, batch, StepContext(0, 0.0, seeded()))
    error = (model(batch.x) - batch.target).abs().sum(1)
    k = 21  # int(0.35 * 60)
    expected = error.argsort(descending=True)[:k].sort().values
    (seen,) = inner.seen
    assert torch.equal(seen.x, batch.x[expected])
    assert torch.equal(seen.target, batch.target[expected])
    assert (evaluation.metrics["n_selected"], evaluation.metrics["selected"]) == (k, 1)
    torch.testing.assert_close(evaluation.loss, (model(seen.x) - seen.target).square().mean())


def test_weights_go_along_with_their_samples() -> None:
    batch, inner = wave().sample(60, seeded()), Recorder()
    weighted = dataclasses.replace(batch, weight=batch.x[:, 0].clone())
    HardSampleObjective(inner, INT())(field(), weighted, StepContext(0, 0.0, seeded()))
    assert torch.equal(inner.seen[0].weight, inner.seen[0].x[:, 0])


def test_between_selections_the_same_samples_are_learnt_from() -> None:
    inner = Recorder()
    sample_selection = INT(StepRatio(0.2, 1.0, 2), Intervals([10], []))
    state = fit(field(), wave(), objective=HardSampleObjective(inner, sample_selection))
    sizes = [int(row["n_selected"]) for row in state.history]
    assert sizes == [12] * 20 + [36] * 20  # int(.2 * 60), int(.6 * 60)
    assert [i for i, row in enumerate(state.history) if row["selected"]] == [0, 10, 20, 30]
    for i, batch in enumerate(inner.seen):
        assert torch.equal(batch.x, inner.seen[i // 10 * 10].x)
    assert not torch.equal(inner.seen[0].x, inner.seen[10].x)


def test_random_batches_are_chosen_from_anew() -> None:
    inner = Recorder()
    sample_selection = INT(ConstantRatio(0.5), Intervals([10], []))
    state = fit(field(batch_size=16), wave(), objective=HardSampleObjective(inner, sample_selection))
    assert all(row["selected"] and row["n_selected"] == 8 for row in state.history)
    assert all(len(batch.x) == 8 for batch in inner.seen)


def test_a_share_of_one_is_plain_training_to_the_bit() -> None:
    plain = fit(field(ema=0.9), wave())
    taught = fit(field(ema=0.9, sample_selection=INT(ConstantRatio(1.0), Intervals([7], []))), wave())
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, taught.model.state_dict()[name])
    assert [row["loss"] for row in plain.history] == [row["loss"] for row in taught.history]
    assert not any(row["selected"] for row in taught.history)


def test_scores_are_the_field_s_on_all_of_the_signal() -> None:
    state = fit(field(sample_selection=INT(ConstantRatio(0.2), Intervals([50], []))), wave())
    trained, signal = state.model, wave()
    assert state.history[-1]["mse"] == pytest.approx(signal.evaluate(trained)["mse"], rel=1e-12)


@pytest.mark.parametrize("batch_size", [1000, 16], ids=["full", "random"])
def test_a_resumed_run_ends_in_the_bits_of_the_uninterrupted_one(batch_size: int) -> None:
    """Interrupted between two selections, so that what was chosen has to survive too."""
    recipe = {"sample_selection": INT(intervals=Intervals([1, 9], [0.2])), "batch_size": batch_size}
    whole = fit(field(**recipe), wave(), seed=3)

    class StopError(Exception):
        pass

    def interrupt(state: FitState) -> None:
        if state.step == 23:
            raise StopError

    first = start(field(**recipe), field(**recipe).recipe, seed=3)
    with pytest.raises(StopError):
        fit(first.model, wave(), hooks=[interrupt], state=first)
    stored, facts = {name: value.clone() for name, value in first.tensors().items()}, first.facts()
    fresh = field(seed=99, **recipe)
    second = start(fresh, fresh.recipe, seed=4)
    second.restore(stored, facts)
    fit(fresh, wave(), state=second)
    ours, expected = second.tensors(), whole.tensors()
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)
    assert {"memory.chosen", "memory.step"} <= ours.keys()


def test_one_objective_begins_anew_with_every_run() -> None:
    objective = HardSampleObjective(Regression(), INT(intervals=Intervals([9], [])))
    first, second = (fit(field(), wave(), objective=objective) for _ in range(2))
    assert [row["selected"] for row in first.history] == [row["selected"] for row in second.history]
    assert first.history[-1]["loss"] == second.history[-1]["loss"]


def test_over_a_time_budget_the_share_follows_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    taught = field(steps=1000, sample_selection=INT(intervals=Intervals([1], [])))
    state = fit(taught, wave(), time_budget=200.0, evaluate_every=1000)
    assert state.stopped == "time-budget"
    sizes = [row["n_selected"] for row in state.history]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (12, 55)  # int(.2 * 60), int(.92 * 60)


def test_the_recipe_makes_the_objective_and_the_shell_reaches_it() -> None:
    assert isinstance(objective_of(Recipe()), Regression)
    ngp = presets.ngp(2, 3, (16, 16), generator=seeded())
    changed = presets.customize(
        ngp,
        [
            Edit("recipe.sample_selection.type", "INT"),
            Edit("recipe.sample_selection.ratio.type", "CosineRatio"),
            Edit("recipe.sample_selection.ratio.start", 0.5),
        ],
    )
    assert changed.recipe.sample_selection == INT(CosineRatio(0.5))
    objective = objective_of(changed.recipe)
    assert isinstance(objective, HardSampleObjective)
    assert objective.sample_selection is changed.recipe.sample_selection


def test_a_teaching_is_the_same_from_a_file() -> None:
    recipe = Recipe(sample_selection=INT(LinearRatio(0.1), Intervals([1, 5], [0.5])))
    assert build(describe(recipe), PARTS) == recipe


def test_radiance_fields_say_that_they_cannot_be_taught(tmp_path) -> None:
    scene = read_scene(write_ball(tmp_path, train=2, test=1))
    with pytest.raises(ConfigError, match=r"recipe\.sample_selection chooses among the samples of a signal, but rays"):
        radiance_scene(scene, "nerf", resolution=4, edits=[Edit("recipe.sample_selection.type", "INT")])


def test_the_preset_is_the_paper_s_network() -> None:
    made = presets.find("int")(SignalFacts(2, 3, (8, 8), 100), seeded())
    assert isinstance(made.encoding, Identity)
    assert isinstance(made.network, Siren)
    assert (made.network.width, made.network.bias) == (256, "inside_small")
    assert made.recipe.sample_selection == INT()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantRatio(0.0), "value is 0.0, but a share"),
        (lambda: StepRatio(1.2), "start is 1.2"),
        (lambda: LinearRatio(final=1.5), "final is 1.5"),
        (lambda: CosineRatio(-0.1), "start is -0.1"),
        (lambda: StepRatio(stages=0), "stages is 0"),
        (lambda: Intervals([1, 2], []), r"steps is \[1, 2\] and changes \[\]"),
        (lambda: Intervals([0], []), r"steps is \[0\]"),
        (lambda: Intervals([1, 2, 3], [0.5, 0.2]), r"changes is \[0.5, 0.2\], but shares of the run rise"),
    ],
)
def test_impossible_schedules_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
