"""Cameras against arithmetic written out, spaces, samplers, and a scene whose picture is known in closed form."""

import math
from collections.abc import Callable

import pytest
import torch
from cases import seeded, without_type_checks
from native_cases import relative
from radiance_cases import of_density
from render_cases import BOX, Ball, camera, pose, towards

from neufield.core.errors import ArgumentError
from neufield.core.rays import Rays
from neufield.core.records import Event
from neufield.presets import radiance
from neufield.renderers import Box, Cameras, Contraction, OccupancyGrid, RadianceScene, StratifiedSampler, render_rays


def test_a_pinhole_by_hand() -> None:
    """Looking along -z, x right, y up; pixel (cx, cy) is the axis, and rows go down."""
    cameras = Cameras.of([camera(to_world=pose(at=(1.0, 2.0, 3.0)))])
    pixels = torch.tensor([[30.0, 25.0], [80.0, 25.0], [30.0, 80.0], [30.5, 25.5]])
    origins, directions = cameras.rays(torch.zeros(4, dtype=torch.long), pixels)
    assert torch.equal(origins, torch.tensor([[1.0, 2.0, 3.0]]).expand(4, 3))
    half = math.sqrt(0.5)
    expected = torch.tensor([[0, 0, -1], [half, 0, -half], [0, -half, -half]])
    torch.testing.assert_close(directions[:3], expected)
    torch.testing.assert_close(directions[3] / -directions[3, 2], torch.tensor([0.5 / 50, -0.5 / 55, -1.0]))


@pytest.mark.parametrize(
    ("lens", "distortion"),
    [
        ("pinhole", (0.0,) * 6),
        ("opencv", (0.03, -0.02, 0.004, 0.001, 0.002, -0.003)),
        ("opencv", (-0.0578, 0.0805, -0.0, 0.0, -0.00098, 0.00016)),  # of the size of the fox's
        ("fisheye", (0.05, -0.01, 0.003, -0.001, 0.0, 0.0)),
        ("fisheye", (0.0,) * 6),
    ],
)
def test_projecting_a_ray_gives_its_pixel(lens: str, distortion: tuple[float, ...], generator) -> None:
    cameras = Cameras.of([camera(), camera(lens, distortion)])
    pixels = torch.rand(200, 2, generator=generator) * torch.tensor([64.0, 48.0])
    origins, directions = cameras.rays(torch.ones(200, dtype=torch.long), pixels)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(200))
    back, before = camera(lens, distortion).project((origins + 3 * directions).double())
    assert bool(before.all())
    assert not bool(camera(lens, distortion).project((origins - 3 * directions).double())[1].any())
    # float32 directions: 6e-8 times a focal length of 50 and a depth of 3, doubled by the lens.
    torch.testing.assert_close(back.float(), pixels, rtol=0, atol=2e-4)
    if any(distortion):
        plain, _ = camera().project((origins + 3 * directions).double())
        assert float((plain - pixels).abs().max()) > 0.05  # the lens does something


def test_a_fisheye_sees_behind_itself() -> None:
    wide = Cameras.of([camera("fisheye", to_world=pose(at=(0.0, 0.0, 0.0)))])
    _, d = wide.rays(torch.zeros(1, dtype=torch.long), torch.tensor([[30.0 + 50 * 2.0, 25.0]]))
    torch.testing.assert_close(d, torch.tensor([[math.sin(2.0), 0.0, -math.cos(2.0)]]))


def test_cameras_come_out_as_they_went_in() -> None:
    given = camera("opencv", (0.03, -0.02, 0.004, 0.001, 0.002, -0.003))
    found = Cameras.of([camera(), given]).camera(1)
    torch.testing.assert_close(found.to_world, given.to_world, rtol=1e-7, atol=1e-7)  # float32 inside
    numbers = [(c.width, c.height, c.fx, c.fy, c.cx, c.cy, *c.distortion) for c in (found, given)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-7)
    assert (found.lens, Cameras.of([camera("fisheye")]).camera(0).lens) == ("opencv", "fisheye")


def test_a_resized_camera_sees_the_same() -> None:
    small = camera().resized(32, 12)
    both = Cameras.of([camera(), small])
    _, d = both.rays(torch.tensor([0, 1]), torch.tensor([[10.0, 20.0], [5.0, 5.0]]))
    torch.testing.assert_close(d[0], d[1])


def test_the_box_clips_rays() -> None:
    origins = torch.tensor([[0.0, 0.0, 4.0], [0.0, 0.0, 0.0], [0.0, 3.0, 4.0], [1.0, 0.0, 4.0], [0.0, 0.0, -4.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0]]).repeat(5, 1)
    near, far = BOX.near_far(origins, directions)
    assert near[:2].tolist() == pytest.approx([3.0, BOX.near])
    assert far[:2].tolist() == pytest.approx([5.0, 1.0])
    assert float(far[2]) <= float(near[2])  # passes beside it
    assert float(far[4]) <= float(near[4])  # it lies behind the camera
    torch.testing.assert_close(BOX.to_unit(torch.tensor([[-1.0, 0.0, 1.0]])), torch.tensor([[0.0, 0.5, 1.0]]))
    with pytest.raises(ValueError, match="is empty"):
        Box((0.0, 0.0, 0.0), (1.0, 0.0, 1.0))


def test_the_contraction() -> None:
    space = Contraction((1.0, 0.0, 0.0), 2.0, 0.1, 100.0)
    points = torch.tensor([[1.0, 0, 0], [3.0, 0, 0], [1.0, 4.0, 0], [1e6, 0, 0]])
    expected = torch.tensor([[0.5, 0.5, 0.5], [0.75, 0.5, 0.5], [0.5, 0.5 + 1.5 / 4, 0.5], [1.0, 0.5, 0.5]])
    torch.testing.assert_close(space.to_unit(points), expected)


@torch.no_grad()
def test_a_ball_looks_as_it_must(generator) -> None:
    """Opacity 1 - exp(-sigma chord), expected distance from the same integral."""
    ball, background = Ball(), torch.tensor([[1.0, 1.0, 1.0]])
    for sampler in (StratifiedSampler(BOX, 4000), OccupancyGrid(BOX, 2 / 4000, resolution=16)):
        for offset in (0.0, 0.3, 0.6):
            view = render_rays(ball, sampler, towards(offset), background)
            chord = 2 * math.sqrt(max(0.0, 0.25 - offset * offset))
            opacity = 1 - math.exp(-3 * chord)
            assert float(view.opacity) == pytest.approx(opacity, abs=2e-3)  # two borders of 5e-4, times sigma
            expected = ball.color_.detach() * opacity + 1 - opacity
            torch.testing.assert_close(view.rgb[0].detach(), expected, rtol=0, atol=2e-3)
        assert float(view.distance) == 0.0
    view = render_rays(ball, StratifiedSampler(BOX, 4000), towards(0.0), background)
    mean = 3.5 + 1 / 3 - math.exp(-3) / (1 - math.exp(-3))  # of an exponential cut off after a chord of 1
    assert float(view.distance / view.opacity) == pytest.approx(mean, abs=2e-3)


def test_what_is_hidden_costs_no_color() -> None:
    ball = Ball(thickness=1000.0)
    view = render_rays(ball, StratifiedSampler(BOX, 400), towards(0.0), torch.zeros(1, 3))
    assert view.n_marched == 400
    assert len(view.samples) < 120  # the first hundred are before the ball
    torch.testing.assert_close(
        view.rgb[0].detach(), ball.color_.detach(), rtol=0, atol=1e-3
    )  # 1e-4 of the light is left out
    view.rgb.sum().backward()
    torch.testing.assert_close(ball.color_.grad, torch.ones(3), rtol=0, atol=1e-3)


def test_rays_that_miss_show_the_background() -> None:
    empty = Rays(*(getattr(towards(5.0, 3), name) for name in ("origins", "directions", "near", "far")))
    for sampler in (StratifiedSampler(BOX, 8), OccupancyGrid(BOX, 0.1)):
        view = render_rays(Ball(), sampler, empty, torch.tensor([[0.25, 0.5, 1.0]]))
        assert torch.equal(view.rgb.detach(), torch.tensor([[0.25, 0.5, 1.0]]).expand(3, 3))
        assert view.n_marched == 0


@torch.no_grad()
def test_occupancy_skips_what_is_empty_and_shows_the_same(generator) -> None:
    ball = Ball(thickness=30.0)
    sampler = OccupancyGrid(BOX, 0.01, resolution=16, every=1, dense_until=4, n_uniform=500, n_occupied=500)
    offsets = torch.linspace(-0.9, 0.9, 60)
    rays = [torch.cat(parts) for parts in zip(*[[*vars(towards(float(o))).values()][:4] for o in offsets], strict=True)]
    before = render_rays(ball, sampler, Rays(*rays), torch.ones(1, 3))
    for step in range(1, 9):  # dense updates, then sampled ones
        sampler.update(step, ball, torch.Generator().manual_seed(step))
    after = render_rays(ball, sampler, Rays(*rays), torch.ones(1, 3))
    share = float(sampler.occupied.float().mean())
    assert 0.05 < share < 0.2  # the ball is 0.065 of the box, and its border cells count
    assert after.n_marched < 0.4 * before.n_marched
    assert relative(after.rgb, before.rgb) < 1e-3  # cells that a random point in the ball's rim missed


def test_occupancy_forgets() -> None:
    sampler = OccupancyGrid(BOX, 0.1, resolution=4, every=2, dense_until=100, decay=0.5)
    generator = torch.Generator().manual_seed(0)
    sampler.update(1, of_density(lambda x: torch.full_like(x[:, 0], 50.0)), generator)
    assert float(sampler.opacity.max()) == 0.0  # only every second step
    sampler.update(2, of_density(lambda x: torch.full_like(x[:, 0], 50.0)), generator)
    full = 1 - math.exp(-5.0)
    assert float(sampler.opacity.min()) == pytest.approx(full)
    for step in range(4, 18, 2):
        sampler.update(step, of_density(lambda x: torch.zeros_like(x[:, 0])), generator)
    assert float(sampler.opacity.max()) == pytest.approx(full / 2**7)
    assert not bool((sampler.opacity > 0.01).any())


def test_jitter_covers_every_place_of_a_step(generator) -> None:
    places = []
    for _ in range(200):
        made = OccupancyGrid(BOX, 0.5, resolution=1).sample(towards(0.0), Ball(), generator)
        places.append(float(made.intervals.starts[0]) + 0.25)
    assert min(places) < 3.03
    assert 3.4 < max(places) <= 3.5 + 1e-5  # never a gap of more than a step behind the box's face
    made = [StratifiedSampler(BOX, 4).sample(towards(0.0), Ball(), generator).x[:, 2] for _ in range(200)]
    heights = torch.stack(made)
    assert bool(((heights * 4).floor() == torch.tensor([3.0, 2.0, 1.0, 0.0])).all())
    assert float(heights[:, 0].max() - heights[:, 0].min()) > 0.2


def test_a_posed_field_is_a_field_of_pixels() -> None:
    straight = camera(to_world=pose(at=(0.0, 0.0, 4.0)), cx=32.0, cy=24.0)
    model = RadianceScene(Ball(100.0), Cameras.of([straight]), BOX, StratifiedSampler(BOX, 500), (0.0, 0.0, 0.0))
    rows, columns = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    with torch.no_grad():
        picture = model(torch.stack([torch.zeros(48, 64), columns, rows], dim=-1))
    assert picture.shape == (48, 64, 3)
    lit = picture[..., 2] > 0.45
    # A ball of radius 0.5, 4 away: its outline is a circle of tan(asin(1/8)) focal lengths.
    radius = math.tan(math.asin(1 / 8))
    area = math.pi * (radius * 50) * (radius * 55)
    assert int(lit.sum()) == pytest.approx(area, rel=0.05)
    model.on_step(Event(1, 0.0, torch.zeros(0, 3), torch.zeros(0)))


@pytest.mark.parametrize("by", ["rays", "rays, differentiated", "parameters"])
def test_vmap_over_a_rendering_is_refused_in_a_sentence(by: str) -> None:
    space = Box([-1.0] * 3, [1.0] * 3)
    field, sampler = radiance.ngp(resolution=8, generator=seeded()), StratifiedSampler(space, 4)
    origins = torch.tensor([[0.0, 0.1, 3.0], [0.1, 0.0, 3.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0]]).repeat(2, 1)

    def red(origin: torch.Tensor) -> torch.Tensor:
        rays = Rays(origin[None], directions[:1], torch.tensor([2.0]), torch.tensor([4.0]))
        return render_rays(field, sampler, rays, torch.ones(1, 3)).rgb[0, 0]

    def of_parameters(shift: torch.Tensor) -> torch.Tensor:
        moved = {f"field.{name}": value + shift for name, value in field.named_parameters()}
        return torch.func.functional_call(_Red(field, lambda: red(origins[0])), moved, ())

    mapped, over = {
        "rays": (red, origins),
        "rays, differentiated": (torch.func.grad(red), origins),
        "parameters": (of_parameters, torch.tensor([0.0, 0.1])),
    }[by]
    with without_type_checks(), pytest.raises(ArgumentError, match=r"^torch.func.vmap was .*; render all rays in one"):
        torch.func.vmap(mapped)(over)


class _Red(torch.nn.Module):
    """``red`` of a ``field``, as a function of its parameters."""

    def __init__(self, field: torch.nn.Module, red: Callable[[], torch.Tensor]) -> None:
        super().__init__()
        self.field, self.red = field, red

    def forward(self) -> torch.Tensor:
        return self.red()
