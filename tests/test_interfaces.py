"""What every sampler and every objective owes, whoever wrote it: found by walking the classes.

Encodings, networks, fields and radiance fields have ``test_contract`` and ``test_radiance_contract``, what samples and
judges signals ``test_signals``.
"""

import copy

import pytest
import torch
from cases import seeded
from interface_cases import OBJECTIVES, SAMPLERS, implementers
from radiance_cases import RADIANCE
from render_cases import BOX, Ball
from torch import Tensor

from neufield.core.interfaces import Objective, Sampler
from neufield.core.rays import Rays, Target
from neufield.core.records import Op, StepContext
from neufield.functional import LOSSES
from neufield.renderers import render_rays


def named(cases: dict) -> list:
    return [pytest.param(kind, id=kind.__name__) for kind in cases]


every_sampler = pytest.mark.parametrize("kind", named(SAMPLERS))
every_objective = pytest.mark.parametrize("kind", named(OBJECTIVES))


@pytest.mark.parametrize(
    ("interface", "cases"),
    [(Sampler, SAMPLERS), (Objective, OBJECTIVES)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_implementer_has_a_case(interface: type, cases: dict) -> None:
    without = sorted(kind.__name__ for kind in implementers(interface) - cases.keys())
    assert not without, f"add a small {', '.join(without)} to tests/interface_cases.py, as {interface.__name__}"
    assert all(issubclass(kind, interface) for kind in cases)


# Samplers


def rays(n: int = 7) -> Rays:
    """From above the box through it, the last one past it."""
    origins = torch.cat([torch.rand(n, 2, generator=seeded(3)) - 0.5, torch.full((n, 1), 4.0)], 1)
    origins[-1, 0] = 9.0
    directions = torch.nn.functional.normalize(torch.tensor([[0.05, -0.03, -1.0]]), dim=1).repeat(n, 1)
    return Rays(origins, directions, *BOX.near_far(origins, directions))


def found(sampler: Sampler, generator: torch.Generator | None = None) -> list[Tensor]:
    with torch.no_grad():
        samples = sampler.sample(rays(), RADIANCE["hash"](), generator)
    return [samples.intervals.ray_ids, samples.intervals.starts, samples.intervals.ends, samples.x]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(map(torch.equal, one, other))


@every_sampler
def test_samples_lie_in_order_on_the_rays_that_meet_the_box(kind: type) -> None:
    given = rays()
    samples = SAMPLERS[kind]().sample(given, RADIANCE["hash"](), seeded())
    at = samples.intervals
    assert at.n_rays == len(given.near)
    assert samples.x.shape == (len(at), 3)
    assert set(at.ray_ids.tolist()) == set(range(at.n_rays - 1))
    assert bool((at.ray_ids.diff() >= 0).all())
    assert bool((at.lengths > 0).all())
    follows = at.ray_ids.diff() == 0
    assert bool((at.starts[1:] >= at.ends[:-1] - 1e-5)[follows].all())  # float32 about 4
    place = (samples.x - 0.5) * 2 - given.origins[at.ray_ids]  # the box has a side of 2
    along = (place * given.directions[at.ray_ids]).sum(1)
    assert float((place - along[:, None] * given.directions[at.ray_ids]).abs().max()) < 1e-5
    assert bool(((along >= at.starts - 1e-5) & (along <= at.ends + 1e-5)).all())
    assert not at.starts.requires_grad
    assert not at.ends.requires_grad


@every_sampler
def test_chance_is_the_generators(kind: type) -> None:
    sampler = SAMPLERS[kind]()
    assert same(found(sampler), found(sampler))
    assert same(found(sampler, seeded(1)), found(sampler, seeded(1)))
    assert not same(found(sampler, seeded(1)), found(sampler, seeded(2)))


@every_sampler
def test_what_a_sampler_remembers_is_in_its_state(kind: type) -> None:
    one, field = SAMPLERS[kind](), RADIANCE["hash"]()
    for step in range(3):
        one.update(step, field, seeded(step))
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(0.1)
    other = SAMPLERS[kind]()
    other.load_state_dict(one.state_dict())
    assert same(found(one, seeded(4)), found(other, seeded(4)))
    for sampler in (one, other):
        sampler.update(3, field, seeded(5))
    assert same(found(one, seeded(4)), found(other, seeded(4)))


@every_sampler
def test_parameters_learn_by_the_penalty_at_rates_of_their_own(kind: type) -> None:
    sampler = SAMPLERS[kind]()
    groups = [id(parameter) for group in sampler.param_groups() for parameter in group.params]
    assert sorted(groups) == sorted(map(id, sampler.parameters()))
    background = torch.ones(7, 3)
    view = render_rays(Ball(50.0), sampler, rays(), background, seeded())  # its light is where no guess is yet
    penalty = sampler.penalty(view, Target(torch.zeros(7, 3), background, LOSSES["l2"]))
    assert (penalty is None) == (not groups)
    if penalty is not None:
        penalty.backward()
        assert any(p.grad is not None and bool((p.grad != 0).any()) for p in sampler.parameters())


@every_sampler
def test_what_can_be_fused_is_a_record(kind: type) -> None:
    assert isinstance(SAMPLERS[kind]().op(), Op | None)


# Objectives


def step(i: int = 0) -> StepContext:
    return StepContext(i, 0.1 * i, seeded(i))


@every_objective
def test_an_objective_trains_the_model_that_it_is_given(kind: type) -> None:
    make, case = OBJECTIVES[kind]
    objective, (model, batch) = make(), case()
    objective(model, batch, step())
    student = copy.deepcopy(model)
    evaluation = objective(student, batch, step(1))
    assert evaluation.loss.shape == ()
    assert bool(evaluation.loss.isfinite())
    assert len(evaluation.x) == len(evaluation.error)
    assert not evaluation.error.requires_grad
    evaluation.loss.backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert any(p.grad is not None and bool((p.grad != 0).any()) for p in student.parameters())


@every_objective
def test_what_an_objective_remembers_is_in_its_state(kind: type) -> None:
    make, case = OBJECTIVES[kind]
    model, batch = case()
    one, other = make(), make()
    for i in range(3):
        one(model, batch, step(i))
    kept = {name: value.clone() for name, value in one.state_dict().items()}
    losses = [one(model, batch, step(i)).loss for i in (3, 4)]
    other.load_state_dict(kept)
    assert [other(model, batch, step(i)).loss for i in (3, 4)] == losses
    fresh = make()
    first = fresh(model, batch, step()).loss
    other.load_state_dict({})
    assert other(model, batch, step()).loss == first
