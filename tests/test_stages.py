"""Stages of a run: growth, freezing, terms of parameters, restarts; resumed to the bit in any of them."""

import dataclasses

import pytest
import torch
from cases import seeded
from render_cases import BOX, camera, pose

from neufield.core.config import build, describe
from neufield.core.errors import ConfigError, DataError
from neufield.core.plan import Freeze, Upsample
from neufield.core.recipe import Constant, Exponential, Recipe, Stage, TrainingPlan
from neufield.core.records import Batch, Evaluation, StepContext
from neufield.encodings import Frequency
from neufield.fields import NeuralField, Roughness, Sparsity, TotalVariation, roughness, sparsity, total_variation
from neufield.fitting import FitState, Photometric, Regression, Regularized, fit, grown, start
from neufield.fitting.stages import Course
from neufield.fitting.steps import EagerStep
from neufield.networks import MLP
from neufield.parts import PARTS
from neufield.presets import RadianceFacts, find
from neufield.renderers import Cameras, HierarchicalSampler, OccupancyGrid, RadianceScene
from neufield.signals.array import Array
from neufield.signals.posed_images import PosedImages

pytestmark = pytest.mark.usefixtures("one_thread")

# By preset: cells an edge at the end, and what the log must show of the paper's regularizers.
PLANNED = {
    "vm": (16, ["Sparsity of density_planes density_lines"]),
    "cp": (16, ["Sparsity of density_lines"]),
    "voxels": (16, ["TotalVariation of density_table", "TotalVariation of color_table"]),
    "triplane": (16, ["Roughness of backbone.encoding.planes"]),
}
STEPS = 24
planned = pytest.mark.parametrize("name", PLANNED)


def scene(name: str) -> tuple[RadianceScene, PosedImages]:
    straight = camera(to_world=pose(at=(0.0, 0.0, 4.0)), cx=32.0, cy=24.0)
    field = find(name, "radiance")(RadianceFacts(PLANNED[name][0]), seeded(1))
    field.recipe = dataclasses.replace(field.recipe, batch_size=1024, steps=STEPS)
    image = torch.randint(256, (48, 64, 4), generator=seeded(2), dtype=torch.uint8)
    return RadianceScene(field, Cameras.of([straight]), BOX, OccupancyGrid(BOX, 0.1, 8)), PosedImages([image])


def train(model: RadianceScene, photographs: PosedImages, **options: object) -> FitState:
    return fit(model, photographs, objective=Photometric("l2"), evaluate_every=1000, **options)


@planned
def test_a_preset_trains_with_its_paper_s_growth_and_terms(name: str) -> None:
    model, photographs = scene(name)
    expected = {key: value.shape for key, value in grown(model, model.recipe.plan).named_parameters()}
    state = train(model, photographs, hooks=[lambda state: None])
    assert {key: value.shape for key, value in model.named_parameters()} == expected
    assert state.stage == len(model.recipe.plan.stages) - 1
    if name != "triplane":  # whose scales are there at once
        assert model.field.resolution == [PLANNED[name][0]] * 3
        assert state.stage >= 3
    for term in PLANNED[name][1]:
        assert max(row.get(term, 0.0) for row in state.history) > 0  # at first the voxels are all alike


@planned
def test_a_run_that_stops_in_any_stage_ends_in_the_bits_of_one_that_did_not(name: str) -> None:
    expected = train(*scene(name)).tensors()
    for stop in (1, STEPS // 2, STEPS - 2):
        first, photographs = scene(name)

        def interrupt(state: FitState, stop: int = stop) -> None:
            state.stopped = "here" if state.step == stop else state.stopped

        begun = train(first, photographs, hooks=[interrupt])
        assert begun.step == stop
        stored, facts = {key: value.clone() for key, value in begun.tensors().items()}, begun.facts()
        second, photographs = scene(name)
        state = start(second, second.recipe, seed=9)
        state.restore(stored, {**facts, "stopped": ""})
        found = train(second, photographs, state=state).tensors()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize(("kind", "resolution"), [("vm", [16] * 3), ("nerf", None)])
def test_a_coarse_field_grows_with_the_fine_one_if_it_is_of_its_kind(kind: str, resolution: list[int] | None) -> None:
    model, photographs = scene("vm")
    coarse = find(kind, "radiance")(RadianceFacts(16), seeded(3))
    seen = RadianceScene(model.field, model.cameras, BOX, HierarchicalSampler(BOX, coarse, n_coarse=4, n_fine=4))
    expected = {name: value.shape for name, value in grown(seen, seen.recipe.plan).named_parameters()}
    train(seen, photographs)
    assert seen.field.resolution == [16] * 3
    assert getattr(coarse, "resolution", None) == resolution
    assert {name: value.shape for name, value in seen.named_parameters()} == expected


def small(plan: TrainingPlan, **numbers: float) -> NeuralField:
    recipe = Recipe(lr=1e-2, steps=10, batch_size=64, plan=plan, **numbers)
    return NeuralField(Frequency(1, 3), MLP(Frequency(1, 3).out_dim, 1, 8, 1, generator=seeded()), recipe)


def wave() -> Array:
    return Array(torch.sin(torch.linspace(0, 6, 100))[:, None])


def test_what_is_frozen_stays_and_what_remains_goes_on_with_its_optimizer() -> None:
    field = small(TrainingPlan([Stage(0.5), Stage(before=[Freeze(["network.layers.0"])])]), ema=0.9)
    seen = []
    state = fit(field, wave(), hooks=[lambda state: seen.append([p.detach().clone() for p in field.parameters()])])
    frozen = [name.startswith("network.layers.0") for name, _ in field.named_parameters()]
    assert sorted(set(frozen)) == [False, True]
    for i, still in enumerate(frozen):
        assert not torch.equal(seen[3][i], seen[4][i])
        assert torch.equal(seen[4][i], seen[9][i]) == still
    steps = {int(slots["step"]) for slots in state.optimizer.state.values()}
    assert steps == {5, 10}
    assert state.ema.count == 5  # of a model that was changed the average begins anew


def test_a_restart_forgets_the_moments() -> None:
    state = fit(small(TrainingPlan([Stage(0.6), Stage(restart=True)])), wave())
    assert {int(slots["step"]) for slots in state.optimizer.state.values()} == {4}


def test_an_objective_hears_the_stage() -> None:
    heard = []

    class Hearing(Regression):
        def __call__(self, model: NeuralField, batch: Batch, step: StepContext) -> Evaluation:
            heard.append(step.stage)
            return super().__call__(model, batch, step)

    fit(small(TrainingPlan([Stage(0.3), Stage(0.6), Stage()])), wave(), objective=Hearing())
    assert heard == [0] * 3 + [1] * 3 + [2] * 4


def test_rates_by_stage() -> None:
    plan = TrainingPlan([Stage(0.25), Stage(0.5, schedule=Exponential(0.01)), Stage(0.75, restart=True), Stage()])
    run = Exponential(1e-4)
    found = [plan.factor(stage, run, 0, at) for stage, at in ((0, 0.2), (1, 0.375), (2, 0.5), (2, 0.6), (3, 0.9))]
    # The run's own; half of the stage's; the run's counted from 0.5, which the last stage goes on with.
    assert found == pytest.approx([1e-4**0.2, 0.1, 1.0, 1e-4**0.1, 1e-4**0.4])
    assert [plan.due(0, at) for at in (0.24, 0.25)] == [False, True]
    assert not plan.due(3, 1.0)


def test_each_stage_s_steps_are_made_anew() -> None:
    """What is recorded, or lowered, for one stage knows the parameters of that one."""
    field = small(TrainingPlan([Stage(0.3), Stage(0.6, regularizers=[Sparsity(1.0, ["network"])]), Stage()]))
    state = start(field, field.recipe)
    course = Course(state, Regression(), lambda objective: EagerStep(field, state, objective))
    steppers = [course.at(progress)[0] for progress in (0.0, 0.2, 0.3, 0.5, 0.6, 0.9)]
    assert len({id(stepper) for stepper in steppers}) == 3
    assert [type(stepper.objective) for stepper in steppers] == [
        Regression, Regression, Regularized, Regularized, Regression, Regression
    ]  # fmt: skip


def test_terms_are_added_with_their_weights() -> None:
    field = small(TrainingPlan())
    tables = [p for name, p in field.named_parameters() if name.endswith("weight")]
    names = ["network.layers.0.weight", "network.layers.1.weight"]
    terms = [Sparsity(0.5, names), Roughness(2.0, names), TotalVariation(3.0, names[:1], share=1.0)]
    batch = Batch(torch.rand(5, 1, generator=seeded()), torch.zeros(5, 1))
    plain = Regression()(field, batch, StepContext(0, 0.0, seeded()))
    evaluation = Regularized(Regression(), terms)(field, batch, StepContext(0, 0.0, seeded()))
    sums = sparsity(tables), sum(roughness(table) for table in tables), total_variation(tables[0])
    expected = plain.loss + 0.5 * sums[0] + 2 * sums[1] + 3 * sums[2]
    torch.testing.assert_close(evaluation.loss, expected, rtol=1e-6, atol=0)  # float32 sums of a few numbers
    assert list(evaluation.metrics.values()) == pytest.approx([value.item() for value in sums], rel=1e-6)


def test_a_slab_s_variation_is_that_of_the_lattice_on_average() -> None:
    """Of a lattice that is the same everywhere along its first axis; each step takes another place."""
    table = torch.nn.Parameter(torch.rand(1, 5, 6, 2, generator=seeded()).expand(40, -1, -1, -1).clone())
    model = torch.nn.ParameterDict({"table": table})
    value = TotalVariation(1.0, ["table"], share=0.1)(model, StepContext(0, 0.0, seeded()))
    torch.testing.assert_close(value, total_variation(table), rtol=1e-5, atol=0)  # float32 means over 240 and 2,400
    generator, places = seeded(), set()
    for _ in range(20):
        table.grad = None
        TotalVariation(1.0, ["table"], share=0.1)(model, StepContext(0, 0.0, generator)).backward()
        touched = table.grad.abs().sum(dim=(1, 2, 3)).nonzero()[:, 0]
        assert len(touched) == 4
        places.add(int(touched[0]))
    assert len(places) > 5


def test_a_plan_is_data() -> None:
    for name in PLANNED:
        recipe = find(name, "radiance")(RadianceFacts(8)).recipe
        again = build(describe(recipe), PARTS, "recipe")
        assert describe(again) == describe(recipe)
        assert len(again.plan.stages) == len(recipe.plan.stages)


@pytest.mark.parametrize("ends", [[], [0.5], [0.5, 0.5, 1.0], [0.0, 1.0], [0.4, 1.1]], ids=str)
def test_stages_that_are_no_run_are_refused(ends: list[float]) -> None:
    with pytest.raises(ValueError, match=r"the stages end at .* must rise, and the last must be 1"):
        TrainingPlan([Stage(until) for until in ends])


def test_lattices_never_shrink() -> None:
    field = find("vm", "radiance")(RadianceFacts(32), seeded())
    before = dict(field.named_parameters())
    Upsample([4, 8, 8])(field)
    assert all(before[name] is parameter for name, parameter in field.named_parameters())
    Upsample([4, 10, 8])(field)
    assert field.resolution == [8, 10, 8]


def test_what_a_plan_cannot_do_is_said() -> None:
    field = small(TrainingPlan())
    with pytest.raises(ConfigError, match=r"upsamples to \[8, 8\], but a NeuralField has no lattices of 2 axes"):
        Upsample([8, 8])(field)
    with pytest.raises(ConfigError, match=r"freezes 'network.layer', but no .*did you mean 'network.layers"):
        Freeze(["network.layer"])(field)
    with pytest.raises(ConfigError, match=r"regularizes 'encoder', but no parameter's name starts so"):
        Sparsity(1.0, ["encoder"])(field, StepContext(0, 0.0, seeded()))


def test_a_state_of_a_stage_that_the_plan_does_not_have_is_refused() -> None:
    field = small(TrainingPlan([Stage(0.5), Stage()]))
    saved = fit(field, wave())
    other = small(TrainingPlan())
    with pytest.raises(DataError, match="is in stage 1, but the plan has 1"):
        start(other, other.recipe).restore(saved.tensors(), saved.facts())
    with pytest.raises(ConfigError, match=r"in stage 1 of a plan, counted from 0, but the recipe's has 1; give the"):
        fit(field, wave(), dataclasses.replace(field.recipe, plan=None), state=saved)


def test_one_stage_without_anything_is_a_run_without_a_plan() -> None:
    plain, planned = small(None), small(TrainingPlan([Stage(schedule=Constant())]))
    plain.recipe = dataclasses.replace(plain.recipe, schedule=Constant())
    first, second = (fit(field, wave()).tensors() for field in (plain, planned))
    assert all(torch.equal(first[key], second[key]) for key in first)
