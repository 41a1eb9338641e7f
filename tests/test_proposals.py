"""Proposal sampling: resampling against a cumulative sum written out, where intervals go, and what is learned."""

import copy

import pytest
import torch
from cases import seeded
from render_cases import BOX, Ball, camera, pose, towards
from torch import Tensor

import neufield as nf
from neufield.core.errors import ConfigError
from neufield.core.interfaces import Field
from neufield.core.rays import Rays, Target
from neufield.core.records import Batch, StepContext
from neufield.encodings import Grid
from neufield.fields import DensityActivation, DensityField
from neufield.fitting import Penalty, Photometric, adam
from neufield.functional import LOSSES
from neufield.networks import MLP
from neufield.presets import radiance
from neufield.presets.scene import sampling
from neufield.renderers import (
    Cameras,
    Distortion,
    ProposalSampler,
    RadianceScene,
    Spacing,
    StratifiedSampler,
    render_rays,
    resample,
)

pytestmark = pytest.mark.usefixtures("one_thread")

ANYTHING = Target(torch.zeros(1, 3), torch.ones(1, 3), LOSSES["l2"])  # a density has no colors to compare with it


class Truth(Field):
    """The ball's density, as a network would know it."""

    def __init__(self, sigma: float = 3.0) -> None:
        super().__init__()
        self.ball = Ball(sigma)

    def forward(self, x: Tensor) -> Tensor:
        return self.ball.geometry(x).sigma[:, None]

    def on_step(self, event: object) -> None:
        del event


def small(seed: int = 0) -> DensityField:
    grid = Grid(3, 3, 2, 12, 4, 1.5, generator=seeded(seed))
    return DensityField(grid, MLP(6, 1, 8, 1, generator=seeded(seed)), DensityActivation("trunc_exp"))


def test_resampling_is_the_inverse_of_the_cumulative_sum(generator) -> None:
    edges = torch.rand(40, 8, generator=generator, dtype=torch.float64).sort(dim=1).values
    weights = torch.rand(40, 7, generator=generator, dtype=torch.float64)
    weights[torch.rand(40, 7, generator=generator) < 0.4] = 0.0
    weights[:, 3] += 0.1
    found = resample(edges, weights, 9)
    assert found.shape == (40, 10)
    for row, e, w in zip(found.tolist(), edges.tolist(), weights.tolist(), strict=True):
        total = sum(w)
        assert (row[0], row[-1]) == (e[0], e[-1])
        for i in range(1, 9):
            below = sum(v * min(max((row[i] - a) / (b - a), 0.0), 1.0) for v, a, b in zip(w, e, e[1:], strict=False))
            assert below / total == pytest.approx(i / 9, abs=1e-12)  # float64
        assert row == sorted(row)


def test_resampling_where_there_is_little_to_go_by() -> None:
    line = torch.tensor([[0.0, 0.25, 0.5, 1.0]])
    even = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert resample(line, torch.zeros(1, 3), 4)[0].tolist() == even
    assert resample(torch.tensor([[0.0, 1.0]]), torch.ones(1, 1), 4)[0].tolist() == even
    assert resample(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 1), 1)[0].tolist() == [0.0, 1.0]
    # All in the middle: the outer edges stay, so that no part of the ray goes unseen.
    assert resample(line, torch.tensor([[0.0, 2.0, 0.0]]), 4)[0].tolist() == [0.0, 0.3125, 0.375, 0.4375, 1.0]
    # An empty bin between two full ones is passed over.
    assert resample(line, torch.tensor([[1.0, 0.0, 1.0]]), 2)[0].tolist() == [0.0, 0.5, 1.0]
    assert resample(line, torch.tensor([[1e-45, 0.0, 0.0]]), 2)[0].tolist() == [
        0.0,
        0.125,
        1.0,
    ]  # the smallest there is
    assert resample(line, torch.tensor([[0.0, 2.0, 0.0]]), 4, even=1.0)[0].tolist() == even
    assert resample(line[:0], torch.zeros(0, 3), 5).shape == (0, 6)


def test_resampling_never_turns_back_and_has_no_gradient(generator) -> None:
    """In float32, with shares from 1 down to 1e-30: an interval of negative length would have a negative weight."""
    edges = torch.rand(500, 65, generator=generator).sort(dim=1).values
    weights = 10 ** (-30 * torch.rand(500, 64, generator=generator))
    for jitter in (None, generator):
        found = resample(edges, weights.requires_grad_(), 48, 0.01, jitter)
        assert bool((found.diff(dim=1) >= 0).all())
        assert torch.equal(found[:, [0, -1]], edges[:, [0, -1]])
        assert not found.requires_grad


def test_jitter_moves_each_inner_edge_by_up_to_half_a_share(generator) -> None:
    flat = torch.tensor([[0.0, 1.0]])
    moved = torch.cat([resample(flat, torch.ones(1, 1), 4, 0.0, generator) for _ in range(300)])
    off = (moved - torch.linspace(0, 1, 5)) * 4
    assert float(off[:, [0, -1]].abs().max()) == 0.0
    assert 0.49 < float(off.abs().max()) <= 0.5
    assert float(off[:, 1:-1].mean()) == pytest.approx(0.0, abs=0.03)  # 900 of deviation 0.29


def looks(sampler: ProposalSampler, rays: Rays, generator: torch.Generator | None = None):
    return sampler.sample(rays, Ball(), generator)


@torch.no_grad()
def test_intervals_gather_where_the_light_is() -> None:
    """Of a ball between 3.5 and 4.5, on a way from 3 to 5, most light comes from its first half."""
    sampler = ProposalSampler(BOX, [Truth(20.0), Truth(20.0)], (64, 32), 16, "distance", anneal_steps=0, even=0.0)
    made = looks(sampler, towards(0.0))
    assert [len(guess.weights) for guess in made.proposals] == [64, 32]
    inner = (made.intervals.starts >= 3.4) & (made.intervals.ends <= 4.0)
    assert int(inner.sum()) >= 14  # all but the first, which comes from the box, and the last, which goes on through it
    assert (float(made.intervals.starts[0]), float(made.intervals.ends[-1])) == (3.0, 5.0)
    assert torch.equal(made.intervals.starts[1:], made.intervals.ends[:-1])
    lengths = made.intervals.ends - made.intervals.starts
    assert float(lengths[1:8].max()) < 0.3 * 2 / 16
    first = made.proposals[0]
    assert torch.equal(first.intervals.starts, 3 + torch.arange(64) / 32)  # the first round knows nothing yet


@torch.no_grad()
def test_few_intervals_in_the_right_place_see_what_many_see() -> None:
    """All light comes from the first 0.03 of a dense ball; 32 even intervals are 0.06 long, the chosen ones 0.004."""
    ball, background = Ball(100.0), torch.ones(1, 3)
    sampler = ProposalSampler(BOX, [Truth(100.0), Truth(100.0)], (64, 64), 32, "distance", anneal_steps=0)
    few, plain = 0.0, 0.0
    for offset in (0.0, 0.1, 0.2, 0.3, 0.4):
        truth = render_rays(ball, StratifiedSampler(BOX, 20_000), towards(offset), background).distance
        few += float((render_rays(ball, sampler, towards(offset), background).distance - truth).abs())
        plain += float(
            (render_rays(ball, StratifiedSampler(BOX, 32), towards(offset), background).distance - truth).abs()
        )
    assert few < 0.25 * plain


@torch.no_grad()
def test_annealing_goes_from_even_to_the_guess() -> None:
    sampler = ProposalSampler(BOX, [Truth(20.0)], (64,), 16, "distance", anneal_steps=100, slope=10.0, even=0.0)
    assert looks(sampler, towards(0.0)).intervals.starts.tolist() == pytest.approx((3 + torch.arange(16) / 8).tolist())
    shares = []
    for step in (0, 10, 50, 100, 200):
        sampler.update(step, Ball(), seeded())
        made = looks(sampler, towards(0.0))
        shares.append(float(((made.intervals.starts > 3.4) & (made.intervals.ends < 4.6)).float().mean()))
    assert shares == sorted(shares)
    assert shares[0] < 0.6
    assert shares[-2:] == [shares[-1]] * 2
    assert float(sampler._power()) == 1.0
    sampler.update(10, Ball(), seeded())
    assert float(sampler._power()) == pytest.approx(10 * 0.1 / (9 * 0.1 + 1))  # the paper's b x / ((b - 1) x + 1)


def test_without_a_generator_it_is_always_the_same_and_with_one_it_is_not() -> None:
    sampler = ProposalSampler(BOX, [small()], (16,), 8)
    first, again = (looks(sampler, towards(0.1, 3)) for _ in range(2))
    assert torch.equal(first.intervals.starts, again.intervals.starts)
    jittered, other = (looks(sampler, towards(0.1, 3), seeded(i)) for i in (1, 2))
    assert torch.equal(jittered.intervals.starts, looks(sampler, towards(0.1, 3), seeded(1)).intervals.starts)
    assert not torch.equal(jittered.intervals.starts, other.intervals.starts)
    assert not torch.equal(jittered.intervals.starts[:8], jittered.intervals.starts[8:16])  # each ray for itself


@pytest.mark.parametrize("n", [0, 3])
def test_rays_that_miss_have_no_intervals_and_no_penalty(n: int) -> None:
    sampler = ProposalSampler(BOX, [small(), small(1)], (8, 8), 4)
    view = render_rays(Ball(), sampler, towards(5.0, n), torch.ones(1, 3))
    assert view.n_marched == 0
    assert torch.equal(view.rgb.detach(), torch.ones(n, 3))
    assert float(sampler.penalty(view, ANYTHING).detach()) == 0.0
    distorted = Distortion(Spacing(), 0.0, 4.0)(view, ANYTHING)
    assert float(distorted.detach()) == 0.0


def test_one_interval_everywhere() -> None:
    view = render_rays(Ball(), ProposalSampler(BOX, [small()], (1,), 1, "distance"), towards(0.0, 2), torch.ones(1, 3))
    assert view.samples.intervals.starts.tolist() == [3.0, 3.0]
    assert view.samples.intervals.ends.tolist() == [5.0, 5.0]


def test_positions_have_no_gradient_and_each_learns_from_its_own_loss() -> None:
    """The field's colors teach the field; the penalty teaches the networks, and never the field."""
    field = radiance.ngp(16, seeded())
    sampler = ProposalSampler(BOX, [small(), small(1)], (16, 16), 8, "distance")
    view = render_rays(field, sampler, towards(0.1, 5), torch.ones(1, 3), seeded())
    assert not view.samples.intervals.starts.requires_grad
    assert not view.samples.x.requires_grad
    view.rgb.sum().backward(retain_graph=True)
    assert all(p.grad is None for p in sampler.parameters())
    assert all(p.grad is not None for p in field.parameters())
    field.zero_grad()
    dense = ProposalSampler(BOX, [Truth(0.01)], (16,), 8, "distance")  # leaves too little room for anything
    assert float(dense.penalty(render_rays(field, dense, towards(0.1, 5), torch.ones(1, 3)), ANYTHING)) > 0
    (sampler.penalty(view, ANYTHING) + sum(g.weights.sum() for g in view.samples.proposals)).backward()
    assert all(p.grad is not None for p in sampler.parameters())
    assert all(p.grad is None for p in field.parameters())


def test_the_penalty_is_zero_where_the_last_guess_is_what_was_found() -> None:
    """The field is the network's own density, and one round of even intervals finds the same light as the last."""
    ball = Ball(3.0)
    sampler = ProposalSampler(BOX, [Truth(3.0)], (64,), 64, "distance", anneal_steps=1, even=1.0)
    view = render_rays(ball, sampler, towards(0.0, 3), torch.ones(1, 3))
    assert float(sampler.penalty(view, ANYTHING).detach()) < 1e-12  # weights to 1e-7, squared


def test_the_penalty_is_a_mean_over_rays() -> None:
    sampler = ProposalSampler(BOX, [Truth(0.5)], (16,), 8, "distance")  # too little light for what is there
    one, four = (
        sampler.penalty(render_rays(Ball(3.0), sampler, towards(0.0, n), torch.ones(1, 3)), ANYTHING) for n in (1, 4)
    )
    assert float(one) > 0.01
    assert float(four) == pytest.approx(float(one), rel=1e-6)  # float32


def test_it_learns_where_a_ball_is() -> None:
    """A hundred steps of the penalty alone: then the light has room, and intervals gather in the ball."""
    sampler = ProposalSampler(BOX, [small()], (32,), 16, "distance", anneal_steps=50)
    ball, heights = Ball(20.0), torch.linspace(-0.7, 0.7, 40)
    parts = [towards(float(h)) for h in heights]
    rays = Rays(*[torch.cat([getattr(p, k) for p in parts]) for k in ("origins", "directions", "near", "far")])
    optimizer = torch.optim.Adam(sampler.parameters(), lr=1e-2)
    losses = []
    for step in range(120):
        view = render_rays(ball, sampler, rays, torch.ones(1, 3), seeded(step))
        loss = sampler.penalty(view, ANYTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sampler.update(step + 1, Ball(), seeded())
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.1 * sum(losses[:10])
    with torch.no_grad():
        made = looks(sampler, towards(0.0))
    assert int(((made.intervals.starts > 3.3) & (made.intervals.ends < 4.3)).sum()) >= 10  # of 16; even ones would be 8


def posed(sampler: ProposalSampler) -> RadianceScene:
    straight = camera(to_world=pose(at=(0.0, 0.0, 4.0)), cx=32.0, cy=24.0)
    return RadianceScene(radiance.ngp(16, seeded()), Cameras.of([straight]), BOX, sampler)


def test_a_posed_field_trains_its_sampler_too_and_keeps_it(tmp_path) -> None:
    model = posed(
        ProposalSampler(BOX, radiance.proposal_networks(resolutions=(16, 32), generator=seeded()), (16, 8), 8)
    )
    optimizer = adam(model, model.recipe)
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert all(id(p) in known for p in model.sampler.parameters())
    penalties = [
        Penalty("proposals", 2.0, lambda model, *seen: model.sampler.penalty(*seen)),
        Penalty("three", 0.5, lambda model, view, target: 3.0 + 0.0 * view.opacity.sum() * target.rgb.sum()),
        Penalty("nothing", 1.0, lambda *_: None),
    ]
    x = torch.tensor([[0.0, 32.5, 24.5], [0.0, 30.5, 20.5]])
    batch = Batch(x, torch.ones(2, 4))
    plain = Photometric(background="white")(model, batch, StepContext(0, 0.0, seeded()))
    evaluation = Photometric(background="white", penalties=penalties)(model, batch, StepContext(0, 0.0, seeded()))
    assert set(evaluation.metrics) - set(plain.metrics) == {"proposals", "three"}
    assert evaluation.metrics["three"] == 3.0
    added = float(evaluation.loss.detach() - plain.loss.detach())
    assert added == pytest.approx(1.5 + 2 * evaluation.metrics["proposals"], abs=1e-6)  # float32 losses of order 1
    model.sampler.update(7, Ball(), seeded())
    nf.save(model, tmp_path / "field.safetensors")
    loaded = nf.load(tmp_path / "field.safetensors")
    assert int(loaded.sampler.step) == 7
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


def test_distortion_is_the_paper_s_in_normalized_distances() -> None:
    """The ball fills the middle two of four intervals of length 1/2: by hand, in s = t / 4, and a mean over rays."""
    for n in (1, 2):
        view = render_rays(Ball(3.0), StratifiedSampler(BOX, 4), towards(0.0, n), torch.ones(1, 3))
        first, a, b, last = view.weights[:4].tolist()
        assert (first, last) == (0.0, 0.0)
        assert min(a, b) > 0.1
        expected = 2 * a * b * 0.125 + (a * a + b * b) * 0.125 / 3
        found = Distortion(Spacing(), 0.0, 4.0)(view, ANYTHING)
        assert float(found.detach()) == pytest.approx(expected, rel=1e-5)  # float32


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="1 networks and 2 n_proposals"):
        ProposalSampler(BOX, [small()], (8, 8))
    with pytest.raises(ValueError, match=r"even is 1\.5"):
        ProposalSampler(BOX, [small()], (8,), even=1.5)
    with pytest.raises(ValueError, match="build it with out_dim=1"):
        DensityField(Grid(3, 2), MLP(4, 2))


def test_the_model_that_is_given_is_the_one_that_learns() -> None:
    """An objective that was made for one model trains another: a copy, a student."""
    model = posed(ProposalSampler(BOX, radiance.proposal_networks(resolutions=(16,), generator=seeded()), (16,), 8))
    objective = Photometric(penalties=sampling.penalties(model, 0.01))
    copied = copy.deepcopy(model)
    batch = Batch(torch.tensor([[0.0, 32.5, 24.5]]), torch.ones(1, 4))
    objective(copied, batch, StepContext(0, 0.0, seeded())).loss.backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    for part in (copied.field, copied.sampler):
        assert any(parameter.grad is not None for parameter in part.parameters())


def test_a_parameter_that_nobody_declares_is_refused() -> None:
    model = posed(ProposalSampler(BOX, radiance.proposal_networks(resolutions=(16,), generator=seeded()), (16,), 8))
    model.sampler.forgotten = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ConfigError, match=r"^sampler\.forgotten is in no group of parameters; declare it in its"):
        adam(model, model.recipe)
