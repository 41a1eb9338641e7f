"""A scene that moves, by a field that the library does not know: a closure of a few lines, and a class of twenty.

The rest is the public way to train and render any radiance field, an occupancy grid that skips empty space included.
"""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import looking_at_origin, write_ball
from cases import seeded
from commands import run
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional as F

import neufield as nf
from neufield import parts
from neufield.apps.nerf.moments import check_moment, moments
from neufield.apps.nerf.views import render_view
from neufield.core.cameras import Camera
from neufield.core.errors import ConfigError
from neufield.core.interfaces import RadianceField
from neufield.core.rays import Conditioning, Geometry
from neufield.core.recipe import Constant, Recipe
from neufield.encodings import Grid
from neufield.fields.radiance import RadianceFunction
from neufield.fitting import Photometric, fit
from neufield.formats.scene import read_scene
from neufield.networks import MLP
from neufield.presets import radiance
from neufield.presets.scene import radiance_scene
from neufield.renderers import Box, Cameras, OccupancyGrid, RadianceScene, StratifiedSampler
from neufield.signals.posed_images import PosedImages

pytestmark = pytest.mark.usefixtures("one_thread")

BOX = Box([-1.0] * 3, [1.0] * 3)
PLACES = torch.tensor([[0.25, 0.5, 0.5], [0.75, 0.5, 0.5]])  # of the ball at times 0 and 1, in the unit box
RECIPE = Recipe(lr=1e-2, schedule=Constant(), steps=150, batch_size=2**12, loss="huber")


def ball(x: Tensor, cond: Conditioning | None) -> Geometry:
    """What is photographed: a red ball of radius 0.3 world units, which goes from one place to the other."""
    place = PLACES[0] + cond.time[:, None] * (PLACES[1] - PLACES[0])
    inside = ((x - place).norm(dim=-1) < 0.15).float()
    return Geometry(inside, 50 * inside, x)


def red(features: Tensor, d: Tensor, cond: Conditioning | None) -> Tensor:
    return torch.tensor([0.9, 0.2, 0.1]).expand_as(d)


def by_closure() -> RadianceField:
    """T-NeRF (arXiv 2011.13961, section 5): one network that is told of the time."""
    encoding = Grid(4, 4, 2, 12, 4, 1.5, generator=seeded())
    network = MLP(encoding.out_dim, 4, 32, 1, generator=seeded(1))

    def geometry(x: Tensor, cond: Conditioning | None) -> Geometry:
        at = torch.cat([x, cond.time[..., None]], dim=-1)
        h = network(encoding(at), at)
        return Geometry(h[..., 0], 20 * F.softplus(h[..., 0] - 3), h[..., 1:])

    return RadianceFunction(
        geometry, lambda features, d, cond: torch.sigmoid(features), [encoding, network], times=(0.0, 1.0)
    )


class Keyframes(RadianceField):
    """Two fields at rest, at times 0 and 1, and between them what lies between."""

    times = (0.0, 1.0)

    def __init__(self, first: RadianceField, last: RadianceField) -> None:
        super().__init__()
        self.first, self.last, self.recipe = first, last, first.recipe

    def geometry(self, x: Tensor, cond: Conditioning | None = None) -> Geometry:
        a, b, t = self.first.geometry(x, cond), self.last.geometry(x, cond), cond.time
        features = torch.lerp(a.features, b.features, t[..., None])
        return Geometry(torch.lerp(a.logit, b.logit, t), torch.lerp(a.sigma, b.sigma, t), features)

    def color(self, features: Tensor, d: Tensor, cond: Conditioning | None = None) -> Tensor:
        return self.first.color(features, d, cond)


class Balls(RadianceField):
    """The ball of :func:`ball` with a soft surface, which has normals, in a class that a file can name."""

    times = (0.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.recipe = RECIPE

    def geometry(self, x: Tensor, cond: Conditioning | None = None) -> Geometry:
        place = PLACES[0] + cond.time[:, None] * (PLACES[1] - PLACES[0])
        sigma = 50 * torch.sigmoid(60 * (0.15 - (x - place).norm(dim=-1)))
        return Geometry(sigma, sigma, x)

    def color(self, features: Tensor, d: Tensor, cond: Conditioning | None = None) -> Tensor:
        return red(features, d, cond)


def by_class() -> RadianceField:
    return Keyframes(radiance.ngp(16, seeded()), radiance.ngp(16, seeded(1)))


def cameras() -> list[Camera]:
    """Eight around the scene; the even ones look at time 0, the odd ones at time 1."""
    found = []
    for i in range(8):
        to_world = torch.from_numpy(looking_at_origin(2 * math.pi * i / 8, 0.4 * math.sin(3 * i)))
        found.append(Camera(to_world, 16, 16, 22.0, 22.0, 8.0, 8.0))
    return found


def grid() -> OccupancyGrid:
    return OccupancyGrid(BOX, 0.05, 16, threshold=0.02, every=4, dense_until=40, n_uniform=512, n_occupied=512)


TRUTH = RadianceScene(RadianceFunction(ball, red, times=(0.0, 1.0)), Cameras.of(cameras()), BOX, grid())


def psnr(model: RadianceScene, camera: Camera, time: float, shown: float) -> float:
    """Of what ``camera`` sees at a ``time``, against what is ``shown`` at another."""
    found, truth = render_view(model, camera, time=time).rgba, render_view(TRUTH, camera, time=shown).rgba
    return float(-10 * (found - truth).square().mean().log10())


@pytest.mark.parametrize("make", [by_closure, by_class])
def test_a_field_that_moves_trains_and_renders_like_any_other(make) -> None:
    times = [0.0, 1.0] * 4
    views = [render_view(TRUTH, one, time=time) for one, time in zip(cameras(), times, strict=True)]
    straight = [torch.cat([v.rgb / v.opacity[..., None].clamp(min=1e-6), v.opacity[..., None]], dim=-1) for v in views]
    photographs = PosedImages([(picture * 255).round().byte() for picture in straight])
    model = RadianceScene(make(), Cameras.of(cameras(), times=times), BOX, grid())
    before = [psnr(model, cameras()[0], time, time) for time in (0.0, 1.0)]
    fit(model, photographs, RECIPE, objective=Photometric(), evaluate_every=1000)
    aside = dataclasses.replace(cameras()[0], to_world=torch.from_numpy(looking_at_origin(0.4, 0.1)))
    for time, start in zip((0.0, 1.0), before, strict=True):
        right, wrong = psnr(model, aside, time, time), psnr(model, aside, time, 1 - time)
        assert right > start + 5, (right, start)
        assert right > wrong + 3, (right, wrong)
    occupied = model.sampler.occupied[0]
    for place in PLACES:  # whatever time the grid happened to ask last
        assert bool(occupied[tuple((place * 16).long())])
    assert 0.02 < float(occupied.float().mean()) < 0.5  # two balls are 0.028 of the box


def test_a_bound_of_the_density_is_over_the_times() -> None:
    """Of a point that only one of many times would find occupied; a field at rest is asked once."""
    x = PLACES.repeat(200, 1)
    bound = TRUTH.field.density_bound(x, seeded()).view(200, 2)
    # At each place the ball is for 0.3 of the time, and four times are drawn: 1 - 0.7^4 = 0.76.
    assert bound.unique().tolist() == [0.0, 50.0]
    assert (bound > 0).float().mean(dim=0).tolist() == pytest.approx([0.76, 0.76], abs=0.1)  # three deviations of 200
    field, generator = radiance.ngp(16, seeded()), seeded()
    state = generator.get_state()
    assert torch.equal(field.density_bound(x, generator), field.density(x))
    assert torch.equal(generator.get_state(), state)


def test_the_times_of_frames_reach_the_rays(tmp_path) -> None:
    write_ball(tmp_path, train=3, test=1)
    path = tmp_path / "transforms_train.json"
    content = json.loads(path.read_text())
    for i, frame in enumerate(content["frames"]):
        frame["time"] = 0.5 * i
    for asked, expected in ((content, [1.0, 0.0]), (content | {"frames": without_one(content["frames"])}, None)):
        path.write_text(json.dumps(asked))
        model = radiance_scene(read_scene(tmp_path), "ngp", bounds=BOX, resolution=16)
        time = model.rays(torch.tensor([[2.0, 12.0, 12.0], [0.0, 3.0, 3.0]])).cond.time
        assert (None if time is None else time.tolist()) == expected


def without_one(frames: list[dict]) -> list[dict]:
    """Where one frame has no time, nobody knows when the others' began."""
    return [{key: value for key, value in frame.items() if key != "time"} if not i else frame
            for i, frame in enumerate(frames)]  # fmt: skip


def test_cameras_keep_their_times_in_a_file(tmp_path) -> None:
    model = RadianceScene(radiance.ngp(16, seeded()), Cameras.of(cameras(), times=[0.5, 2.0] * 4), BOX, grid())
    nf.save(model, tmp_path / "field.safetensors")
    loaded = nf.load(tmp_path / "field.safetensors")
    assert loaded.cameras.times.tolist() == [0.5, 2.0] * 4
    pixels = torch.tensor([[1.0, 8.0, 8.0], [2.0, 3.0, 3.0]])
    assert loaded.rays(pixels).cond.time.tolist() == [2.0, 0.5]
    assert loaded.seen_by(Cameras.of(cameras()[:1])).rays(torch.tensor([[0.0, 8.0, 8.0]])).cond.time is None


@pytest.fixture
def moving(tmp_path, monkeypatch) -> Path:
    """The file of a field that moves: a red ball that goes from place to place, of parts that the process knows."""
    monkeypatch.setattr(parts.PARTS, "_given", dict(parts.PARTS._given))
    nf.register(Balls)
    model = RadianceScene(Balls(), Cameras.of(cameras(), times=[0.0, 1.0] * 4), BOX, StratifiedSampler(BOX, 32))
    info = PosedImages([torch.zeros(16, 16, 4, dtype=torch.uint8)]).info
    nf.save(model, tmp_path / "field.safetensors", signal=info)
    return tmp_path / "field.safetensors"


def test_a_moment_is_drawn_and_a_film_runs_from_the_first_to_the_last(moving, tmp_path, capsys) -> None:
    def drawn(name: str, *arguments: object) -> list[np.ndarray]:
        run("render", moving, "-o", tmp_path / name, "--path", "orbit", *arguments)
        found = sorted((tmp_path / name).glob("frame_*.png")) if (tmp_path / name).is_dir() else [tmp_path / name]
        return [np.asarray(Pillow.open(path)) for path in found]

    film = drawn("film", "--frames", 3, "--normals")
    for i, time in enumerate((0, 0.5, 1)):
        still = drawn(f"at{i}", "--frames", 3, "--time", time)
        assert [bool((a == b).all()) for a, b in zip(film, still, strict=True)] == [j == i for j in range(3)]
    assert (drawn("first.png")[0] == film[0]).all()
    for command in ("render", "view"):
        with pytest.raises(SystemExit):
            run(command, moving, "--time", 1.5, *(["-o", tmp_path / "no.png"] if command == "render" else []))
        assert "--time is 1.5, but this field moves from 0 to 1; choose between" in capsys.readouterr().err
    assert not (tmp_path / "no.png").exists()


def test_a_time_of_a_field_at_rest_is_refused() -> None:
    model = RadianceScene(radiance.ngp(16, seeded()), Cameras.of(cameras()), BOX, grid())
    check_moment(model, None)
    with pytest.raises(ConfigError, match=r"--time is 0\.5, but this field does not move; leave it out"):
        check_moment(model, 0.5)
    assert moments(TRUTH, None, [None, 0.25, None]) == [0.0, 0.25, 1.0]


def test_functions_are_refused_in_a_file(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"the function geometry .* no file can hold one; to save"):
        nf.save(by_closure(), tmp_path / "field.safetensors")
    assert not list(tmp_path.iterdir())
