"""Sample, cull, shade and integrate: what each does, and that together they are render_rays."""

import dataclasses

import pytest
import torch
from cases import seeded
from radiance_cases import of_density
from render_cases import BOX, Ball, towards

from neufield.core.rays import Conditioning, Intervals, Rays, Shaded
from neufield.fields.radiance import RadianceFunction
from neufield.presets import radiance
from neufield.renderers import StratifiedSampler, cull, integrate, render_rays, sample, shade

RAYS = Rays(*(torch.cat([getattr(towards(x), name) for x in (0.0, 0.3, 5.0)])
              for name in ("origins", "directions", "near", "far")))  # fmt: skip


def test_intervals() -> None:
    made = Intervals(torch.tensor([0, 0, 2]), 3, torch.tensor([1.0, 2.0, 5.0]), torch.tensor([2.0, 2.5, 7.0]))
    assert made.mid.tolist() == [1.5, 2.25, 6.0]
    assert made.lengths.tolist() == [1.0, 0.5, 2.0]
    for chosen in (torch.tensor([False, True, True]), torch.tensor([1, 2])):
        some = made.select(chosen)
        assert (some.ray_ids.tolist(), some.n_rays, some.starts.tolist(), some.ends.tolist()) == (
            [0, 2], 3, [2.0, 5.0], [2.5, 7.0],
        )  # fmt: skip
        assert len(some) == 2


def test_what_is_known_of_rays_reaches_their_samples() -> None:
    known = Conditioning(torch.tensor([4, 5, 6]), torch.tensor([0.0, 0.5, 1.0]), torch.rand(3, 2), torch.rand(3, 2, 3))
    samples = StratifiedSampler(BOX, 5).sample(dataclasses.replace(RAYS, cond=known), Ball(), None)
    ids = samples.intervals.ray_ids
    assert ids.tolist() == [0] * 5 + [1] * 5  # the third meets nothing
    assert torch.equal(samples.d, RAYS.directions[ids])
    for name in ("camera", "time", "code", "exposure"):
        assert torch.equal(getattr(samples.cond, name), getattr(known, name)[ids])
    assert samples.select(ids == 1).cond.time.tolist() == [0.5] * 5
    assert StratifiedSampler(BOX, 5).sample(RAYS, Ball(), None).cond is None


@pytest.mark.parametrize("make", [radiance.nerf, radiance.vm])
def test_the_four_are_render_rays(make) -> None:
    field, sampler = make(16, generator=seeded()), StratifiedSampler(BOX, 40)
    background = torch.tensor([[0.2, 0.4, 0.6]])
    whole = render_rays(field, sampler, RAYS, background, seeded(1))
    samples = cull(field, sample(field, sampler, RAYS, seeded(1)))
    parts = integrate(samples, shade(field, samples), background)
    for a, b in zip(whole.sums, parts.sums, strict=True):
        assert torch.equal(a, b)
    assert whole.n_marched == parts.n_marched == 80
    later = integrate(samples, shade(field, samples))
    assert torch.equal(later.over(background).rgb, parts.rgb)
    assert torch.equal(later.rgba, torch.cat([later.rgb, later.opacity[:, None]], dim=1))


def test_culling_leaves_out_what_is_hidden_and_counts_it() -> None:
    wall = of_density(lambda x: 100.0 * (x[:, 2] < 0.5))  # the ray comes from above
    made = sample(wall, StratifiedSampler(BOX, 100), towards(0.0))
    kept = cull(wall, made)
    # 50 are before the wall, and one step of 0.02 in it takes exp(-2) of the light: 1e-4 is left after 4.6.
    assert (len(made), len(kept), kept.n_culled) == (100, 55, 45)
    assert len(cull(wall, made, early_stop_eps=0.5)) == 51
    again = cull(wall, kept)
    assert (len(again), again.n_culled) == (55, 45)
    assert integrate(kept, shade(wall, kept)).n_marched == 100
    assert not kept.x.requires_grad


def test_two_fields_are_asked_on_the_same_samples() -> None:
    """As a student is that learns from a teacher: by features, densities, colors, or what is seen."""
    teacher, student = (radiance.nerf(16, 32, 2, generator=seeded(i)) for i in (0, 1))
    samples = cull(teacher, sample(teacher, StratifiedSampler(BOX, 30), RAYS))
    taught, own = shade(teacher, samples), shade(student, samples)
    assert taught.rgb.shape == own.rgb.shape == (len(samples), 3)
    (taught.geometry.features - own.geometry.features).square().mean().backward()
    assert all(p.grad is not None for p in student.backbone.parameters())
    mixed = integrate(samples, Shaded(taught.geometry, own.rgb))  # one's geometry in the other's colors
    assert torch.equal(mixed.opacity, integrate(samples, taught).opacity)


def test_a_view_without_samples_says_so() -> None:
    view = dataclasses.replace(render_rays(Ball(), StratifiedSampler(BOX, 4), towards(0.0)), samples=None)
    with pytest.raises(ValueError, match="this view keeps no samples; take what RadianceScene"):
        _ = view.interval_weights


def test_a_field_of_functions_sees_what_its_rays_are_known_by() -> None:
    seen = []

    def geometry(x, cond):
        seen.append(cond)
        return Ball().geometry(x)

    field = RadianceFunction(geometry, lambda features, d, cond: cond.time[:, None].expand(-1, 3))
    rays = dataclasses.replace(towards(0.0, 2), cond=Conditioning(time=torch.tensor([0.25, 0.75])))
    view = render_rays(field, StratifiedSampler(BOX, 8), rays)
    torch.testing.assert_close(view.rgb, view.opacity[:, None] * torch.tensor([[0.25], [0.75]]).expand(-1, 3))
    assert [len(cond.time) for cond in seen] == [16, 16]  # to cull, and to shade
