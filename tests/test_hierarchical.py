"""Coarse and fine: draws by inverse transform against arithmetic, eq. 6 by hand, who learns from what, and files."""

import dataclasses
import math

import pytest
import torch
from ball import write_ball
from cases import seeded
from render_cases import BOX, Ball, camera, pose, towards
from torch import Tensor

import neufield as nf
from neufield.core.edits import Edit
from neufield.core.interfaces import RadianceField
from neufield.core.rays import RenderOutput, Target
from neufield.core.records import Batch, Event, StepContext
from neufield.fitting import Penalty, Photometric, adam, fit, grown
from neufield.formats.scene import read_scene
from neufield.functional import LOSSES
from neufield.presets import radiance
from neufield.presets.scene import choose_views, plan_memory, radiance_scene, sampling, scene_images
from neufield.renderers import (
    AppearanceEmbedding,
    Box,
    Cameras,
    Exposure,
    HierarchicalSampler,
    RadianceScene,
    StratifiedSampler,
    inverse_transform,
    render_rays,
)

pytestmark = pytest.mark.usefixtures("one_thread")

WHITE = torch.ones(1, 3)
# A ball of density 3 between 3.5 and 4.5 on a ray from 3 to 5, in four intervals of 1/2: the light of the inner two.
FIRST, SECOND = 1 - math.exp(-1.5), math.exp(-1.5) * (1 - math.exp(-1.5))


def nerf(seed: int) -> RadianceField:
    return radiance.nerf(16, width=8, depth=2, generator=seeded(seed))


def posed(field: RadianceField, coarse: RadianceField, *numbers: int, **parts) -> RadianceScene:
    straight = camera(to_world=pose(at=(0.0, 0.0, 4.0)), cx=32.0, cy=24.0)
    return RadianceScene(
        field, Cameras.of([straight, straight]), BOX, HierarchicalSampler(BOX, coarse, *numbers), **parts
    )


def white(rgb: Tensor) -> Target:
    return Target(rgb, torch.ones_like(rgb), LOSSES["l2"])


def test_draws_are_the_inverse_of_the_cumulative_sum() -> None:
    edges = torch.tensor([[0.0, 0.25, 0.5, 1.0]], dtype=torch.float64)
    weights = torch.tensor([[1.0, 0.0, 3.0]], dtype=torch.float64)
    shares = torch.tensor([[0.0, 0.125, 0.25, 0.5, 1.0]], dtype=torch.float64)
    # A quarter of the weight lies evenly in [0, 0.25], the rest evenly in [0.5, 1].
    assert inverse_transform(edges, weights, shares).tolist() == [[0.0, 0.125, 0.5, 0.5 + 0.25 / 0.75 * 0.5, 1.0]]
    nothing = inverse_transform(edges, torch.zeros_like(weights), shares)
    assert nothing.tolist() == shares.tolist()
    assert inverse_transform(edges[:0], weights[:0], shares[:0]).shape == (0, 5)


def test_drawn_places_have_the_distribution_of_the_weights(generator) -> None:
    edges = torch.rand(200, 7, generator=generator, dtype=torch.float64).sort(dim=1).values
    weights = torch.rand(200, 6, generator=generator, dtype=torch.float64)
    weights[:, 2] = 0.0
    sampler = HierarchicalSampler(BOX, nerf(0), 6, 50)
    for jitter in (None, generator):
        drawn = inverse_transform(edges, weights, sampler._shares(weights, jitter))
        inside = (drawn[:, :, None] >= edges[:, None, :-1]) & (drawn[:, :, None] < edges[:, None, 1:])
        counts, expected = inside.sum(dim=1), 50 * weights / weights.sum(dim=1, keepdim=True)
        # One draw in each fiftieth: an interval misses or gains at most what its two ends cut off.
        assert float((counts - expected).abs().max()) < 2
        assert int(counts[:, 2].sum()) == 0
    within = sampler._shares(torch.zeros(2000, 1), generator) * 50 - torch.arange(50)
    assert 0 <= float(within.min()) < 1e-3
    assert 1 - 1e-3 < float(within.max()) <= 1 + 1e-5  # float32 numbers up to 50
    assert float(within.mean()) == pytest.approx(0.5, abs=0.005)  # 100,000 of deviation 0.29: five of theirs
    assert torch.equal(sampler._shares(torch.zeros(1, 1), None)[0], (torch.arange(50) + 0.5) / 50)


@pytest.mark.parametrize("jittered", [False, True])
def test_the_fine_field_gets_the_sorted_union(jittered: bool) -> None:
    """Coarse light by hand, and in the union the coarse edges and as many draws inside as that light demands."""
    sampler = HierarchicalSampler(BOX, Ball(3.0), 4, 100)
    made = sampler.sample(towards(0.0, 3), Ball(), seeded() if jittered else None)
    assert (made.intervals.n_rays, len(made.intervals.starts)) == (3, 3 * 104)
    assert made.coarse is not None
    assert made.coarse.samples.intervals.starts.tolist() == [3.0, 3.5, 4.0, 4.5] * 3
    if not jittered:  # jittered, the coarse points at the ball's borders stay within it all the same
        assert made.coarse.samples.x[:4, 2].tolist() == [0.875, 0.625, 0.375, 0.125]
    light = made.coarse.weights.view(3, 4).tolist()
    assert light[0] == pytest.approx([0.0, FIRST, SECOND, 0.0], abs=1e-6)  # float32
    starts, ends = made.intervals.starts.view(3, 104), made.intervals.ends.view(3, 104)
    assert bool((ends >= starts).all())
    assert torch.equal(starts[:, 1:], ends[:, :-1])
    edges = torch.cat([starts, ends[:, -1:]], dim=1)
    assert bool(torch.isin(torch.tensor([3.0, 3.5, 4.0, 4.5, 5.0]), edges).all())
    inner = edges[0][(edges[0] > 3.5) & (edges[0] < 4.0)]
    assert len(inner) == pytest.approx(100 * FIRST / (FIRST + SECOND), abs=2)  # of 100, one in each hundredth
    assert int(((edges > 3.5) & (edges < 4.5)).sum()) == 3 * 101  # all draws, and the coarse edge at 4
    place = 5 - 2 * made.x[:, 2]  # the box is 2 high and its top at 3
    at = made.intervals
    assert bool(((place > at.starts - 1e-6) & (place < at.ends + 1e-6)).all())  # float32 numbers up to 5
    middles = 0.5 * (at.starts + at.ends)
    assert jittered != torch.allclose(place, middles, rtol=0, atol=1e-6)  # as above


def test_equation_six_by_hand() -> None:
    """A coarse ball of density 3 and a fine one of 5, each over an exact chord of 1, on white; the target is black."""
    coarse, fine = Ball(3.0), Ball(5.0)
    coarse.color_.data = torch.tensor([0.9, 0.1, 0.4])
    model = posed(fine, coarse, 4, 16)
    penalty = Penalty("coarse", 1.0, lambda model, *seen: model.sampler.penalty(*seen))
    batch = Batch(torch.tensor([[0.0, 32.0, 24.0]]), torch.tensor([[0.0, 0.0, 0.0, 1.0]]))
    evaluation = Photometric("l2", "white", [penalty])(model, batch, StepContext(0, 0.0, seeded()))
    errors = []
    for ball in (coarse, fine):
        through = math.exp(-ball.thickness)
        errors.append(sum((c * (1 - through) + through) ** 2 for c in ball.color_.tolist()) / 3)
    assert abs(errors[0] - errors[1]) > 0.01
    assert evaluation.metrics["coarse"] == pytest.approx(errors[0], rel=1e-5)  # float32
    assert evaluation.loss.item() == pytest.approx(sum(errors), rel=1e-5)  # float32
    assert evaluation.metrics["marched"] == 4 + (4 + 16)  # what both were asked is what a step costs


def test_each_field_learns_from_its_own_loss_only() -> None:
    field, sampler = nerf(0), HierarchicalSampler(BOX, nerf(1), 16, 16)
    for part in (field, sampler.coarse):
        part.backbone.network.layers[-1].bias.data[0] = 1.0  # light everywhere, or a ReLU density has no gradient
    view = render_rays(field, sampler, towards(0.1, 5), WHITE, seeded())
    assert float(view.opacity.detach().min()) > 0
    assert not view.samples.intervals.starts.requires_grad
    assert not view.samples.x.requires_grad
    view.rgb.sum().backward(retain_graph=True)
    assert all(p.grad is None for p in sampler.parameters())
    assert all(p.grad is not None for p in field.parameters())
    field.zero_grad()
    penalty = sampler.penalty(view, white(torch.zeros(5, 3)))
    assert penalty is not None
    penalty.backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in sampler.parameters())
    assert all(p.grad is None for p in field.parameters())


def test_the_penalty_is_a_mean_over_rays_and_none_without_a_coarse_view() -> None:
    sampler = HierarchicalSampler(BOX, Ball(3.0), 4, 4)
    one, four = (
        sampler.penalty(render_rays(Ball(), sampler, towards(0.0, n), WHITE), white(torch.zeros(n, 3))) for n in (1, 4)
    )
    assert one.item() > 0.01
    assert four.item() == pytest.approx(one.item(), rel=1e-6)  # float32
    assert (
        sampler.penalty(render_rays(Ball(), StratifiedSampler(BOX, 4), towards(0.0), WHITE), white(torch.zeros(1, 3)))
        is None
    )


def test_without_a_generator_it_is_always_the_same_and_with_one_it_is_not() -> None:
    sampler = HierarchicalSampler(BOX, Ball(), 8, 8)
    first, again = (render_rays(Ball(), sampler, towards(0.1, 3), WHITE) for _ in range(2))
    assert torch.equal(first.samples.intervals.starts, again.samples.intervals.starts)
    assert torch.equal(first.samples.x, again.samples.x)
    assert torch.equal(first.rgb, again.rgb)
    jittered, other, same = (render_rays(Ball(), sampler, towards(0.1, 3), WHITE, seeded(i)) for i in (1, 2, 1))
    assert torch.equal(jittered.samples.x, same.samples.x)
    assert not torch.equal(jittered.samples.x, other.samples.x)
    assert not torch.equal(*jittered.samples.x.split(16)[:2])  # each ray for itself


@pytest.mark.parametrize("n", [0, 3])
def test_rays_that_miss_have_no_intervals_and_show_the_background(n: int) -> None:
    sampler = HierarchicalSampler(BOX, nerf(1), 8, 8)
    view = render_rays(nerf(0), sampler, towards(5.0, n), WHITE, seeded())
    assert view.n_marched == 0
    assert torch.equal(view.rgb.detach(), torch.ones(n, 3))
    penalty = sampler.penalty(view, white(torch.zeros(n, 3)))
    assert float(penalty.detach()) == (1.0 if n else 0.0)  # it shows white, too, before black
    penalty.backward()
    assert all(not bool(p.grad.any()) for p in sampler.parameters())


def test_codes_and_exposures_reach_the_coarse_field() -> None:
    """With code and exposure of each photograph, both renderings differ between the two; the loss teaches both."""
    fields = [radiance.ngp(16, seeded(i), code_dim=2) for i in (0, 1)]
    model = posed(*fields, 8, 8, appearance=AppearanceEmbedding(2, 2), exposure=Exposure(2))
    x = torch.tensor([[0.0, 32.0, 24.0], [1.0, 32.0, 24.0]])

    def shown() -> RenderOutput:
        seen = model.render(x).samples.coarse
        assert seen is not None
        return seen

    assert torch.equal(*shown().rgb)
    model.exposure.log_gain.data[0] = math.log(4.0)  # about their mean: 2 and 1/2
    bright, dark = shown().rgb
    torch.testing.assert_close(bright, 4 * dark)
    assert torch.equal(*shown().opacity)
    model.exposure.log_gain.data[0] = 0.0
    model.appearance.codes.data[0] = 1.0
    assert not torch.equal(*shown().rgb)
    model.sampler.penalty(model.render(x), white(torch.zeros(2, 3))).backward()
    assert bool(model.appearance.codes.grad.any())
    assert bool(model.exposure.log_gain.grad.any())


def test_the_coarse_field_hears_what_the_fine_one_hears() -> None:
    heard: list[Event] = []

    class Listening(Ball):
        def on_step(self, event: Event) -> None:
            heard.append(event)

    model = posed(Listening(), Listening(), 4, 4)
    x = torch.rand(3, 3, generator=seeded()).requires_grad_()
    model.on_step(Event(7, 0.5, x, torch.zeros(3)))
    assert len(heard) == 2
    assert all(event.step == 7 and torch.equal(event.x, x) and not event.x.requires_grad for event in heard)


@pytest.mark.parametrize("preset", ["nerf", "vm"])
def test_the_coarse_field_is_trained_counted_and_kept(preset: str, tmp_path) -> None:
    scene = read_scene(write_ball(tmp_path, train=3, test=1))
    split = choose_views(scene, 0)
    space = Box([-1.0] * 3, [1.0] * 3)
    narrow = [Edit("width", 16), Edit("depth", 2)] if preset == "nerf" else []
    edits = [Edit("recipe.batch_size", 1000), *narrow]
    alone = radiance_scene(scene, preset, views=split, bounds=space, sampler="stratified", resolution=16, edits=edits)
    model = radiance_scene(scene, preset, views=split, bounds=space, sampler="coarse-fine", resolution=16, edits=edits)
    field, coarse = model.field, model.sampler.coarse
    assert all(torch.equal(p, q) for p, q in zip(field.parameters(), alone.field.parameters(), strict=True))
    drawn = [not torch.equal(p, q) for p, q in zip(field.parameters(), coarse.parameters(), strict=True)]
    assert any(drawn)
    learned = 4 * sum(p.numel() for p in grown(field, field.recipe.plan).parameters())  # each is as fine in the end
    extra = plan_memory(split.train, model).model - plan_memory(split.train, alone).model
    assert extra == 5 * learned + sum(b.nbytes for b in coarse.buffers())
    rates = {id(p): group["lr"] for group in adam(model, model.recipe).param_groups for p in group["params"]}
    pairs = list(zip(field.parameters(), coarse.parameters(), strict=True))
    assert all(rates[id(p)] == rates[id(q)] for p, q in pairs)
    assert len(set(rates.values())) == (1 if preset == "nerf" else 2)  # TensoRF's networks have another
    assert [penalty.name for penalty in sampling.penalties(model, 0.0)] == ["coarse"]

    before = [p.clone() for p in coarse.parameters()]
    fit(
        model, scene_images(split), dataclasses.replace(model.recipe, steps=3),
        objective=Photometric("l2", penalties=sampling.penalties(model, 0.0)),
    )  # fmt: skip
    assert all(not torch.equal(p, q) for p, q in zip(before, coarse.parameters(), strict=True))
    nf.save(model, tmp_path / "field.safetensors")
    loaded = nf.load(tmp_path / "field.safetensors")
    assert isinstance(loaded.sampler, HierarchicalSampler)
    x = torch.tensor([[0.0, 12.0, 12.0], [1.0, 9.0, 15.0]])
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))
    assert loaded.sampler.n_fine == model.sampler.n_fine


def test_wrong_sizes_are_refused() -> None:
    for numbers in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match="must be"):
            HierarchicalSampler(BOX, Ball(), *numbers)
