"""Normalized device coordinates against the paper's closed form, and the spacings of samplers."""

import pytest
import torch
from render_cases import Ball, pose
from torch import Tensor

from neufield.core.rays import Rays
from neufield.renderers import NDC, Box, Contraction, ProposalSampler, Spacing, StratifiedSampler

FOCAL, WIDTH, HEIGHT, NEAR, FAR = 50.0, 64.0, 48.0, 1.5, 40.0
TANGENTS = [WIDTH / 2 / FOCAL, HEIGHT / 2 / FOCAL]
BOX = Box((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
# An eye that is the world's, and one that is not.
EYES = [torch.eye(4, dtype=torch.float64), pose(0.2, -0.1, 0.3, at=(0.4, -2.0, 3.0))]


def space(eye: Tensor, far: float = FAR) -> NDC:
    return NDC(eye[:3].tolist(), TANGENTS, NEAR, far)


def rays(eye: Tensor, n: int, generator: torch.Generator) -> Rays:
    """Of cameras around the eye that look nearly where it looks, in float64."""
    origins = torch.randn(n, 3, generator=generator, dtype=torch.float64) * torch.tensor([0.3, 0.3, 0.2])
    pixels = torch.rand(n, 2, generator=generator, dtype=torch.float64) * 0.8 - 0.4
    directions = torch.cat([pixels * torch.tensor(TANGENTS), -torch.ones(n, 1)], dim=1)
    directions = torch.nn.functional.normalize(directions, dim=1) @ eye[:3, :3].t()
    origins = origins @ eye[:3, :3].t() + eye[:3, 3]
    near, far = space(eye).near_far(origins, directions)
    return Rays(origins, directions, near, far)


def papers_rays(some: Rays, eye: Tensor) -> tuple[Tensor, Tensor]:
    """o' and d' of arXiv 2003.08934, appendix C, for rays that were first moved to the near plane; far is infinite."""
    o, d = ((t - shift) @ eye[:3, :3] for t, shift in ((some.origins, eye[:3, 3]), (some.directions, 0)))
    o = o - ((NEAR + o[:, 2]) / d[:, 2])[:, None] * d
    (ox, oy, oz), (dx, dy, dz) = o.unbind(1), d.unbind(1)
    a = [FOCAL / (WIDTH / 2), FOCAL / (HEIGHT / 2)]
    origin = torch.stack([-a[0] * ox / oz, -a[1] * oy / oz, 1 + 2 * NEAR / oz], dim=1)
    along = torch.stack([-a[0] * (dx / dz - ox / oz), -a[1] * (dy / dz - oy / oz), -2 * NEAR / oz], dim=1)
    return origin, along


@pytest.mark.parametrize("eye", EYES)
def test_points_at_even_disparities_are_the_paper_s_points(eye: Tensor, generator) -> None:
    """No ray is turned, yet o' + s d' is met at s; the far plane stands in for infinity."""
    far = 1e9
    some = rays(eye, 50, generator)
    own = space(eye, far)
    some = Rays(some.origins, some.directions, *own.near_far(some.origins, some.directions))
    inside = (
        own.to_unit(some.origins + some.near[:, None] * some.directions)[:, 2] < 1e-9
    )  # they enter at the near plane
    assert int(inside.sum()) > 30
    s = torch.tensor([0.0, 0.1, 0.5, 0.9, 0.99], dtype=torch.float64).expand(50, 5)
    t = Spacing("disparity").distances(s, some, own)
    found = own.to_unit((some.origins[:, None] + t[:, :, None] * some.directions[:, None]).view(-1, 3)).view(50, 5, 3)
    origin, along = papers_rays(some, eye)
    expected = (origin[:, None] + s[:, :, None] * along[:, None] + 1) / 2
    stays = inside & (expected.amin(dim=(1, 2)) > -1e-9) & (expected.amax(dim=(1, 2)) < 1 + 1e-9)
    assert int(stays.sum()) > 20
    # The far plane moves the last coordinate by near / far, 1.5e-9.
    torch.testing.assert_close(found[stays], expected[stays], rtol=0, atol=1e-8)


def test_ndc_by_hand() -> None:
    own = space(EYES[0])
    w, h = TANGENTS
    points = torch.tensor([[0, 0, -NEAR], [0, 0, -FAR], [w * NEAR, -h * NEAR, -NEAR], [-w * FAR, h * FAR, -FAR]])
    expected = torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 1], [1, 0, 0], [0, 1, 1]])
    torch.testing.assert_close(own.to_unit(points), expected)
    torch.testing.assert_close(own.to_unit(torch.tensor([own.center])), torch.full((1, 3), 0.5))
    assert bool(own.to_unit(torch.tensor([[1.0, 2.0, 3.0]])).isfinite().all())  # behind the eye


@pytest.mark.parametrize("eye", EYES)
def test_rays_are_clipped_where_they_enter_and_leave_the_box(eye: Tensor, generator) -> None:
    own, some = space(eye), rays(eye, 200, generator)
    met = some.far > some.near
    assert bool(met.all())
    for ends in (some.near, some.far):
        x = own.to_unit(some.origins + ends[:, None] * some.directions)
        on_a_face = torch.minimum(x.abs(), (1 - x).abs()).amin(dim=1)
        inside = (x - x.clamp(0, 1)).abs().amax(dim=1)
        assert float(inside.max()) < 1e-9
        assert float(on_a_face.max()) < 1e-9


def test_rays_that_do_not_meet_the_box_and_rays_that_begin_in_it() -> None:
    own = space(EYES[0])
    origins = torch.tensor([[0.0, 0, 0], [0, 0, -3], [0, 0, -3], [9, 0, 0], [0, 0, -3], [9, 0, -1], [0, 0, 0]])
    directions = torch.tensor([[0.0, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, -1], [0, 0, -1], [0, 0, 1], [0, 1, 0]])
    near, far = own.near_far(origins, directions)
    expected = [None, (0, 3 - NEAR), (0, 3 * TANGENTS[0]), (9 / TANGENTS[0], FAR), (0, FAR - 3), None, None]
    for i, ends in enumerate(expected):
        if ends is None:
            assert float(far[i]) <= float(near[i])
        else:
            assert [float(near[i]), float(far[i])] == pytest.approx(ends, rel=1e-6)
    for spacing in ("distance", "disparity", "piecewise"):
        met = [1, 3, 4] if spacing == "piecewise" else [1, 2, 3, 4]  # from afar, all is far: no even pieces in float32
        some = Rays(origins[met], directions[met], near[met], far[met])
        edges = Spacing(spacing).distances(torch.linspace(0, 1, 9).expand(len(met), 9), some, own)
        assert bool((edges.diff(dim=1) > 0).all())
        # The ray along the plane of the eye counts from 3000 units away, where float32 has steps of 2e-4.
        torch.testing.assert_close(edges[:, [0, -1]], torch.stack([some.near, some.far], dim=1), rtol=1e-5, atol=2e-4)


def test_wrong_numbers_are_refused() -> None:
    good = torch.eye(4)[:3].tolist()
    with pytest.raises(ValueError, match="near is 2"):
        NDC(good, TANGENTS, 2.0, 1.0)
    with pytest.raises(ValueError, match="tangents are"):
        NDC(good, [1.0, 0.0], 1.0, 2.0)
    with pytest.raises(ValueError, match="three rows of four"):
        NDC(good[:2], TANGENTS, 1.0, 2.0)


def from_afar(near: float, far: float) -> Rays:
    return Rays(torch.tensor([[0.0, 0, 0]]), torch.tensor([[0.0, 0, 1]]), torch.tensor([near]), torch.tensor([far]))


@pytest.mark.parametrize(
    ("spacing", "unit", "expected"),
    [
        ("distance", 1.0, [0.5, 2.375, 4.25, 6.125, 8.0]),
        ("disparity", 1.0, [0.5, 16 / 24.5, 16 / 17, 16 / 9.5, 8.0]),
        # g(0.5) = 1/8 and g(8) = 1 - 1/8 with a unit of 2: even steps of 3/16, the middle one at the unit.
        ("piecewise", 2.0, [0.5, 4 * 5 / 16, 2.0, 1 / (1 - 11 / 16), 8.0]),
    ],
)
def test_spacings_by_hand(spacing: str, unit: float, expected: list[float]) -> None:
    world = Contraction((0.0, 0.0, 0.0), 1.0, 0.5, 8.0)
    s = torch.linspace(0, 1, 5)
    found = Spacing(spacing, unit).distances(s[None], from_afar(0.5, 8.0), world)
    assert found[0].tolist() == pytest.approx(expected, rel=1e-6)
    again = Spacing(spacing, unit).normalized(found[0], 0.5, 8.0)
    torch.testing.assert_close(again, s, rtol=0, atol=1e-6)  # float32
    starts = StratifiedSampler(world, 4, spacing, unit).sample(from_afar(0.5, 8.0), Ball(), None).intervals.starts
    assert starts.tolist() == pytest.approx(expected[:-1], rel=1e-6)


def test_an_unknown_spacing_is_refused() -> None:
    with pytest.raises(ValueError, match="'log'"):
        StratifiedSampler(BOX, 4, "log")
    with pytest.raises(ValueError, match="unit is 0"):
        Spacing("piecewise", 0.0)
    with pytest.raises(ValueError, match="give one number for each"):
        ProposalSampler(BOX, [])
