"""Progressive Volume Distillation: every trap of the method, and every ordered pair of architectures."""

import dataclasses
import math

import pytest
import torch
from cases import seeded
from distill_cases import ARCHITECTURES, cameras, lesson_of, teacher
from render_cases import BOX

import neufield as nf
from neufield.core.errors import ConfigError
from neufield.core.interfaces import RadianceField
from neufield.core.recipe import TrainingPlan
from neufield.core.records import StepContext
from neufield.fields import Headed, head_of
from neufield.fitting import Distill, Terms, common_logit, start
from neufield.presets.scene import Distillation, choose_poses, distillation
from neufield.renderers import (
    NDC,
    Contraction,
    Forward,
    HierarchicalSampler,
    Nearby,
    OccupancyGrid,
    RadianceScene,
    Rings,
    StratifiedSampler,
    integrate,
)
from neufield.signals import SampledViews

pytestmark = pytest.mark.usefixtures("one_thread")


def evaluate(taught: Distillation, stage: int, step: int = 0):
    batch = taught.source.sample(32, seeded(3), step)
    return taught.objective(taught.student, batch, StepContext(step, 0.0, seeded(4), stage))


@pytest.fixture(scope="module", params=ARCHITECTURES)
def taught_by(request) -> RadianceScene:
    return teacher(request.param)


@pytest.mark.parametrize("to", ARCHITECTURES)
def test_every_ordered_pair_goes_through_all_stages(to: str, taught_by: RadianceScene) -> None:
    made = lesson_of(taught_by, to, steps=12)
    before = float(evaluate(made, 2).loss.detach())
    plan = made.student.recipe.plan
    ends = zip(plan.stages, (1 / 3, 2 / 3, 1.0), strict=True)
    thirds = TrainingPlan([dataclasses.replace(stage, until=until) for stage, until in ends])
    recipe = dataclasses.replace(made.student.recipe, plan=thirds)
    state = nf.fit(made.student, made.source, recipe, objective=made.objective, hooks=[lambda state: None])
    after = evaluate(made, 2)
    assert state.stage == 2
    assert all(math.isfinite(row["loss"]) for row in state.history)
    assert float(after.loss.detach()) <= 1.5 * before  # twelve steps: measured 0 to 1.2 times; a copy begins at 0


@pytest.mark.parametrize("preset", ["ngp", "vm"])
def test_a_copy_of_the_teacher_has_nothing_to_learn(preset: str) -> None:
    """All numbers are inherited: the first stage's loss is 0, not nearly, and so is its gradient."""
    source = teacher(preset)
    if preset == "vm":  # as large as it will be: a student does not grow
        source.field.upsample([8] * 3)
        made = distillation(source, preset, resolution=8)
    else:
        made = lesson_of(source, preset)
    assert made.skipped == ""
    found = evaluate(made, 0)
    assert float(found.loss.detach()) == 0
    found.loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in made.student.parameters())


class Spy(RadianceField, Headed):
    """Any field, and what it was asked."""

    def __init__(self, inner: RadianceField) -> None:
        super().__init__()
        self.inner, self.recipe = inner, inner.recipe
        self.points, self.directions = [], []

    def color_block(self):
        return head_of(self.inner)

    def geometry(self, x, cond=None):
        self.points.append(x)
        return self.inner.geometry(x, cond)

    def color(self, features, d, cond=None):
        self.directions.append(d)
        return self.inner.color(features, d, cond)


def test_both_are_asked_at_the_same_points_and_shown_on_the_same_background() -> None:
    made = lesson_of(teacher("ngp"), "vm")
    spies = Spy(made.student.field), Spy(made.teacher.field)
    made.student.field, made.teacher.field = spies
    batch = made.source.sample(32, seeded(3))
    lesson = made.objective.lesson(made.student, batch, made.objective.stages[2], seeded(4))
    assert spies[0].points[0] is spies[1].points[0]
    assert torch.equal(spies[0].directions[0], spies[1].directions[0])
    own, taught = lesson.views
    assert own.samples is taught.samples
    assert own.samples.n_culled == 0  # what is hidden is compared, too
    alike = integrate(lesson.samples, lesson.taught)
    behind = (taught.rgb - alike.rgb) / (1 - alike.opacity)[:, None]
    beside = integrate(lesson.samples, lesson.own)
    torch.testing.assert_close(own.rgb - beside.rgb, (1 - beside.opacity)[:, None] * behind, atol=1e-4, rtol=0)
    assert (behind - behind[:1]).abs().max() > 0.1  # random, ray by ray


def test_compared_logits_are_clamped_and_have_gradients_within() -> None:
    sigma = torch.tensor([0.0, 1e-38, 0.01, 1.0, 50.0, 1e6], requires_grad=True)
    logit = common_logit(sigma, unit=2.0)
    expected = [-2.0, -2.0, -2.0, math.log(2), math.log(100), 7.0]
    torch.testing.assert_close(logit, torch.tensor(expected))
    assert logit.min() >= -2
    assert logit.max() <= 7
    logit.sum().backward()
    torch.testing.assert_close(sigma.grad, torch.tensor([0.0, 0, 0, 1, 1 / 50, 0]))


@pytest.mark.parametrize("preset", ["ngp", "vm", "voxels", "nerf"])
def test_densities_of_all_activations_are_compared_alike(preset: str) -> None:
    """Two fields of one density have one logit, whatever comes before their activations."""
    made = lesson_of(teacher(preset), "vm")
    x = torch.rand(64, 3, generator=seeded(5))
    sigma = made.teacher.field.density(x).detach()
    torch.testing.assert_close(
        common_logit(made.teacher.field.geometry(x).sigma, 1.0), sigma.clamp(min=1e-9).log().clamp(-2, 7)
    )


def test_a_difference_is_a_norm_whose_gradient_keeps_its_length() -> None:
    """Neither squared nor averaged: twice as far apart is twice the loss, and the gradient is of length 1."""
    made = lesson_of(teacher("ngp"), "vm")
    batch = made.source.sample(32, seeded(3))
    lesson = made.objective.lesson(made.student, batch, Terms(rgb=1.0), seeded(4))
    found = evaluate(only(made, Terms(rgb=1.0)), 0)
    own, taught = lesson.views
    torch.testing.assert_close(found.loss, (own.rgb - taught.rgb).square().sum().sqrt())
    (gradient,) = torch.autograd.grad((own.rgb - taught.rgb).square().sum().sqrt(), own.rgb)
    torch.testing.assert_close(gradient.norm(), torch.tensor(1.0))


def only(made: Distillation, *stages: Terms) -> Distillation:
    return dataclasses.replace(made, objective=Distill(made.teacher, stages))


def test_the_weight_of_features_falls_and_what_weighs_nothing_is_not_asked() -> None:
    made = lesson_of(teacher("ngp"), "vm")
    spies = Spy(made.student.field), Spy(made.teacher.field)
    first = only(made, Terms(feature=2e-3))
    at_once, later = evaluate(first, 0), evaluate(first, 0, step=2000)
    torch.testing.assert_close(float(at_once.loss.detach()), 2e-3 * at_once.metrics["feature"])
    assert float(later.loss.detach()) / later.metrics["feature"] == pytest.approx(8.85e-8, rel=1e-2)  # the paper's code
    assert at_once.metrics.keys() == {"rays", "marched", "feature"}
    made.student.field, made.teacher.field = spies
    evaluate(made, 0)
    assert not spies[0].directions
    assert not spies[1].directions


def test_what_is_inherited() -> None:
    source = teacher("ngp")
    for to in ("triplane", "nerf", "vm", "cp"):
        made = lesson_of(source, to)
        assert made.skipped == ""
        own, there = head_of(made.student.field).state_dict(), head_of(source.field).state_dict()
        assert own.keys() == there.keys()
        assert all(torch.equal(own[name], there[name]) for name in own)
        assert made.student.field.density_activation == source.field.density_activation
        assert torch.equal(made.student.sampler.occupied, source.sampler.occupied)
        anew = lesson_of(source, to, inherit=False)
        assert "features" in anew.skipped
    assert "colors" in lesson_of(source, "voxels").skipped or "features" in lesson_of(source, "voxels").skipped
    assert lesson_of(teacher("vm"), "cp").skipped == ""  # TensoRF's own head
    assert "features" in lesson_of(teacher("vm"), "ngp").skipped
    back = lesson_of(lesson_of(source, "vm").student, "ngp")
    assert back.skipped == ""  # a student that ends in its teacher's head hands that on


def test_neither_occupancy_nor_teacher_change() -> None:
    source = teacher("ngp")
    before = {name: value.clone() for name, value in source.state_dict().items()}
    made = lesson_of(source, "vm", steps=20)  # an occupancy grid is looked at again every 16 steps
    nf.fit(made.student, made.source, objective=made.objective)
    assert all(torch.equal(value, before[name]) for name, value in source.state_dict().items())
    assert torch.equal(made.student.sampler.occupied, before["sampler.occupied"])


@pytest.mark.parametrize("kind", ["even", "coarse-fine"])
def test_a_teacher_without_an_occupancy_grid_is_looked_at(kind: str) -> None:
    source = teacher("ngp", StratifiedSampler(BOX, 8))
    if kind == "coarse-fine":
        source.sampler = HierarchicalSampler(BOX, source.field, 4, 4)
    made = lesson_of(source, "vm")
    assert isinstance(made.student.sampler, OccupancyGrid)
    seen = made.student.sampler.opacity > 0
    assert seen.all()  # of an untrained field each cell has some density
    assert math.isfinite(float(evaluate(made, 2).loss.detach()))


def test_a_stopped_run_goes_on_to_the_bit() -> None:
    def halves(*steps: int) -> dict[str, torch.Tensor]:
        made, state = lesson_of(teacher("ngp"), "vm", steps=12), None
        for until in steps:
            made = dataclasses.replace(made, source=SampledViews(made.source.poses, made.student.cameras))
            if state is not None:
                saved = state.tensors(), state.facts()
                made = lesson_of(teacher("ngp"), "vm", steps=12)
                state = start(made.student, made.student.recipe)
                state.restore(*saved)
                state.stopped = ""
            stop = lambda found, at=until: setattr(found, "stopped", "here" if found.step == at else found.stopped)  # noqa: E731
            state = nf.fit(made.student, made.source, objective=made.objective, state=state, hooks=[stop])
        return made.student.state_dict()

    whole, parts = halves(12), halves(5, 12)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_rings_are_the_paper_s() -> None:
    rings = Rings((0.1, 0.2, 0.3), (3.5, 4.5))
    poses = rings.draw(seeded(1))
    assert rings.count == len(poses) == 312
    out = poses[:, :3, 3] - torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    radius = out.norm(dim=1)
    assert 3.5 <= radius.min() < 3.6
    assert 4.4 < radius.max() <= 4.5
    elevation = torch.rad2deg((out[:, 2] / radius).asin())
    assert elevation.min() >= -1e-6
    assert (elevation < 40).float().mean() > 0.6  # denser near the horizon
    torch.testing.assert_close(poses[:, :3, 2], out / radius[:, None])  # all look at the middle
    assert not torch.equal(poses, rings.draw(seeded(2)))


def test_poses_suit_the_scene() -> None:
    source = teacher("ngp")
    around = choose_poses(source)
    assert isinstance(around, Rings)
    assert around.lowest == 0
    assert around.up == (0.0, 0.0, 1.0)
    below = choose_poses(source.seen_by(cameras(height=-1.0)))
    assert isinstance(below, Rings)
    assert below.lowest == -19  # the cameras' own
    whole = RadianceScene(source.field, cameras(), Contraction((0.0, 0.0, 0.0), 3.0, 0.1, 30.0), source.sampler)
    near = choose_poses(whole)
    assert isinstance(near, Nearby)
    drawn = near.draw(seeded(3))
    assert drawn[:, :3, 3].norm(dim=1).max() < 3.2  # never farther out than the cameras were
    angle = (drawn[:, :3, 2] * torch.nn.functional.normalize(drawn[:, :3, 3], dim=1)).sum(1)
    assert angle.min() > 0.8  # and towards what they looked at
    ndc = NDC(torch.eye(4)[:3].tolist(), (0.5, 0.5), 1.0, 10.0)
    assert isinstance(choose_poses(RadianceScene(source.field, cameras(), ndc, source.sampler)), Forward)
    ahead = Forward(torch.rand(5, 3, generator=seeded(1)), (0.0, 0.0, -5.0), (0.0, 1.0, 0.0)).draw(seeded(2))
    assert len(ahead) == 30
    assert ((ahead[:, :3, 3] >= 0) & (ahead[:, :3, 3] <= 1)).all()


def test_an_epoch_is_new_and_its_steps_see_each_pose_once() -> None:
    source = SampledViews(Rings((0.0, 0.0, 0.0), (3.0, 3.0), lowest=70), cameras(), seed=1)
    n = source.poses.count
    first = torch.stack([source.sample(2, seeded(1), step).x[0] for step in range(n)])
    assert len(first.unique(dim=0)) == n
    again = SampledViews(source.poses, cameras(), seed=1)
    assert torch.equal(again.sample(2, seeded(1), n - 1).x[0], first[-1])  # also without those before
    others = torch.stack([source.sample(2, seeded(1), n + step).x[0] for step in range(n)])
    assert not (others[:, None] == first[None]).all(-1).any()


def test_a_moving_teacher_is_refused() -> None:
    source = teacher("ngp")
    source.field.times = (0.0, 1.0)
    with pytest.raises(ConfigError, match="moves"):
        lesson_of(source, "vm")
