"""PVD-AL: each of its three parts by itself, and the published code's ranking."""

import math

import pytest
import torch
from cases import seeded
from distill_cases import lesson_of, teacher

from neufield.core.records import Batch, StepContext
from neufield.fields import DensityActivation
from neufield.fitting import ActivePoints, ActivePoses, ActiveRays, Distill, Lesson, Terms
from neufield.presets.scene.teaching import ALL

pytestmark = pytest.mark.usefixtures("one_thread")


def lesson(attention=(), rays: int = 64) -> tuple[Lesson, Distill]:
    source = teacher("ngp")
    source.field.density_activation = DensityActivation("trunc_exp", 2.0)  # some rays end in it
    made = lesson_of(source, "vm")
    objective = Distill(made.teacher, [ALL], attention=attention)
    return objective.lesson(made.student, made.source.sample(rays, seeded(3)), ALL, seeded(4)), objective


def poses(n: int, seed: int) -> torch.Tensor:
    made = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
    made[:, :3, 3] = torch.rand(n, 3, generator=seeded(seed), dtype=torch.float64)
    return made


def test_the_worst_poses_of_an_epoch_come_again() -> None:
    part, generator = ActivePoses(begin=1, size=3, share=0.2), seeded(1)
    pools, n = [], 10
    for epoch in range(6):
        own = part.choose(epoch, poses(n, epoch), generator)
        assert torch.equal(part.choose(epoch, poses(n, 99), generator), own)  # a resumed run asks again
        part._error = torch.arange(n, dtype=torch.float64)
        assert torch.equal(part.worst(2), own[[9, 8]])
        pools.append(len(part.state_dict()["pool"]))
        fresh = [any(torch.equal(pose[:3, 3], old[:3, 3]) for old in poses(n, epoch)) for pose in own]
        again = n - sum(fresh)
        assert again == (2 if pools[-1] == 4 and epoch > 3 else 0)  # not before the pool is full
    assert pools == [0, 0, 2, 4, 4, 4]  # grows, and then stays


def test_turned_poses_stay_where_they_are() -> None:
    part, generator = ActivePoses(begin=0, size=0, share=1.0), seeded(1)
    first = part.choose(0, poses(3, 1), generator)
    part._error = torch.ones(3, dtype=torch.float64)
    part.choose(1, poses(3, 2), generator)
    part._error = torch.ones(3, dtype=torch.float64)
    again = part.choose(2, poses(3, 3), generator)
    assert sorted(again[:, 0, 3].tolist()) == sorted(first[:, 0, 3].tolist())
    turn = (again[:, :3, :3] - torch.eye(3, dtype=torch.float64)).abs()
    assert 0 < turn.max() < 3 * math.pi / 20


@pytest.mark.parametrize("as_released", [False, True])
def test_scores_belong_to_their_poses_or_as_the_release_pairs_them(as_released: bool) -> None:
    """Rightly paired, what is worst is worse than four fifths of the epoch; the release's are any."""
    part = ActivePoses(as_released=as_released)
    made = lesson_of(teacher("ngp"), "vm")
    source = made.source
    source.choose = part.choose
    found, _ = lesson()
    order = []
    for step in range(20):
        batch = source.sample(8, seeded(1), step)
        pose = int(batch.extras["pose"][0])
        order.append(pose)
        views = tuple(type(v)(torch.full((8, 3), float(i * pose)), v.opacity[:8], v.distance[:8])
                      for i, v in enumerate(found.views))  # fmt: skip
        part.learn(Lesson(batch, found.samples, found.own, found.taught, views), seeded(2))
    worst = part.worst(4)
    places = [int((part._poses == pose).all(-1).all(-1).nonzero()[0]) for pose in worst]
    truly = sorted(order)[-4:]
    assert (sorted(places) == truly) is not as_released
    if as_released:
        assert max(places) < 20  # the places in which they were looked from, taken for those in which they were drawn


def test_hard_rays_join_when_there_are_enough() -> None:
    part = ActiveRays(size=1, share=0.25)
    made = lesson_of(teacher("ngp"), "vm")
    objective = Distill(made.teacher, [ALL], attention=[part])
    lengths, joined = [], []
    for step in range(8):
        batch = made.source.sample(16, seeded(step), step)
        found = objective(made.student, batch, StepContext(step, 0.0, seeded(step), 0))
        lengths.append(len(part))
        joined.append(int(found.metrics["rays"]) - 16)
    assert lengths == [4, 8, 12, 16, 16, 16, 16, 16]
    assert joined == [0, 0, 0, 0, 4, 4, 4, 4]
    before = part.state_dict()["pool"].clone()
    batch = part.rays(made.source.sample(16, seeded(9)), seeded(9))
    drawn = part._drawn
    assert torch.equal(batch.x[16:], before[drawn, :3])
    assert (batch.extras["pose"][16:] == -1).all()
    part.learn(objective.lesson(made.student, batch, ALL, seeded(4)), seeded(4))
    changed = (part.state_dict()["pool"] != before).any(1).nonzero()[:, 0]
    assert set(changed.tolist()) <= set(drawn.tolist())  # only the drawn slots are written


def test_points_are_compared_where_the_light_is() -> None:
    found, _ = lesson(rays=256)
    chosen = ActivePoints().points(found)
    share = len(chosen) / len(found.samples)
    assert 0.05 < share < 0.65
    taught = found.views[1]
    assert taught.weights[chosen].mean() > 1.5 * taught.weights.mean()
    ids = found.samples.intervals.ray_ids
    dark = (taught.opacity < 0.5) & (found.views[0].opacity < 0.5)
    assert not dark[ids[chosen]].any()
    n = torch.bincount(ids, minlength=256)
    kept = torch.bincount(ids[chosen], minlength=256)
    bright = taught.opacity >= 0.5
    assert (kept[bright] >= (0.3 * n[bright]).floor() + 1).all()
    first = taught.weights[ids == int(ids[chosen][0])].argmax() + (ids == int(ids[chosen][0])).nonzero()[0]
    assert int(first) in chosen.tolist()


def test_only_the_last_stage_is_active() -> None:
    part = ActiveRays(size=1, share=1.0)
    made = lesson_of(teacher("ngp"), "vm")
    objective = Distill(made.teacher, [Terms(density=1.0)], attention=[part, ActivePoints()])
    batch: Batch = made.source.sample(16, seeded(1))
    objective(made.student, batch, StepContext(0, 0.0, seeded(1), 0))
    assert len(part) == 0
