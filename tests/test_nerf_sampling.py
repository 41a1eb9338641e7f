"""``neufield nerf`` with every space and sampler: a scene seen from the front, and the ball of test_nerf_cli."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import write_ball
from commands import run
from PIL import Image as Pillow

import neufield as nf
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError
from neufield.fitting import adam
from neufield.formats.scene import read_scene
from neufield.presets.scene import Views, choose_bounds, radiance_scene, sampling
from neufield.presets.scene.ndc_bounds import ndc_bounds
from neufield.renderers import (
    NDC,
    Box,
    Contraction,
    HierarchicalSampler,
    OccupancyGrid,
    ProposalSampler,
    StratifiedSampler,
)

WIDTH, HEIGHT, FOCAL = 32, 24, 30.0
SCALE = 20.0  # of the world: nothing may hang on its unit
_SMALL = ["--resolution", 32, "--set", "recipe.batch_size=2048"]

pytestmark = pytest.mark.usefixtures("one_thread")


def photograph(position: np.ndarray) -> np.ndarray:
    """From ``position``, along -z: a ball of radius 0.7 at depth 3 before a wall of stripes at depth 6."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    d = np.stack([(columns - WIDTH / 2) / FOCAL, -(rows - HEIGHT / 2) / FOCAL, -np.ones_like(rows)], -1)
    wall = position + d * (6 + position[2])
    rgb = 0.5 + 0.4 * np.stack([np.sin(1.5 * wall[..., 0]), np.cos(wall[..., 1]), np.sin(wall[..., 0])], -1)
    o = position - np.array([0.0, 0.0, -3.0])
    size = np.linalg.norm(d, axis=-1)
    b = (d @ o) / size
    discriminant = b * b - (o @ o - 0.49)
    hit = o + ((-b - np.sqrt(np.maximum(discriminant, 0))) / size)[..., None] * d
    rgb = np.where(discriminant[..., None] > 0, 0.5 + 0.5 * hit / 0.7, rgb)
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    return write_ball(tmp_path_factory.mktemp("ball"))


@pytest.fixture(scope="module")
def front(tmp_path_factory) -> Path:
    """Ten cameras of LLFF, every eighth for testing, in a world twenty times as large as the arithmetic above."""
    folder = tmp_path_factory.mktemp("front")
    (folder / "images").mkdir()
    rows = []
    for i in range(10):
        position = np.array([0.5 * math.sin(2.4 * i), 0.4 * math.cos(1.7 * i), 0.05 * math.sin(i)])
        Pillow.fromarray(photograph(position)).save(folder / "images" / f"{i:02d}.png")
        right, up, back = np.eye(3)
        columns = np.stack([-up, right, back, SCALE * position, [HEIGHT, WIDTH, FOCAL]], axis=1)
        rows.append([*columns.ravel(), SCALE * 2.1, SCALE * 6.1])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return folder


@pytest.fixture(scope="module")
def finished(front, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "front"
    run("nerf", "train", front, "--out", folder, "--steps", 80, "--space", "ndc", "--distortion", 0.01, *_SMALL)
    return folder


def test_a_scene_from_the_front_is_learned_in_ndc_by_proposals(finished, front) -> None:
    model = nf.load(finished / "field.safetensors")
    assert isinstance(model.space, NDC)
    assert isinstance(model.sampler, ProposalSampler)
    assert int(model.sampler.step) == 80
    pictures = torch.stack([torch.from_numpy(f.samples()).double() / 255 for f in read_scene(front).split("test")])
    plain = -10 * math.log10((pictures - pictures.mean(dim=(0, 1, 2))).square().mean())
    assert json.loads((finished / "result.json").read_text())["psnr"] > plain + 3  # than the pictures' mean color
    header, *_, last = (finished / "log.csv").read_text().splitlines()
    row = dict(zip(header.split(","), last.split(","), strict=True))
    assert 0 < float(row["proposals"]) < 1
    assert 0 < float(row["distortion"]) < 1


def test_the_space_from_the_front_holds_what_the_cameras_see(front) -> None:
    found = read_scene(front)
    space = ndc_bounds(found)
    assert space.near == pytest.approx(0.75 * 2.1 * SCALE, rel=0.05)  # cameras stand up to 0.05 before their middle
    assert space.far == pytest.approx(10 * 6.1 * SCALE, rel=0.01)
    views = Views(found.frames, (), ())
    model = radiance_scene(found, "ngp", views=views, bounds=space, resolution=16)
    corners = torch.tensor([[0.01, 0.01], [WIDTH - 0.01, HEIGHT - 0.01]]).repeat(10, 1)
    rays = model.rays(torch.cat([torch.arange(10.0).repeat_interleave(2)[:, None], corners], dim=1))
    for share in (0.0, 0.5, 1.0):
        t = rays.near * (1 - share) + rays.far * share
        x = space.to_unit(rays.origins + t[:, None] * rays.directions)
        assert float((x - x.clamp(0, 1)).abs().max()) < 1e-5  # float32
    entered = space.to_unit(rays.origins + rays.near[:, None] * rays.directions)
    assert float(entered[:, 2].max()) < 0.05  # by the near plane: no picture is cut off at the sides


def test_densities_go_by_the_size_of_the_scene(front) -> None:
    """An untrained field lets light through to where the scene is, whatever the world's unit."""
    found = read_scene(front)
    views = Views(found.frames, (), ())
    for kind in ("ndc", "contraction"):
        space = choose_bounds(found, None, kind)
        model = radiance_scene(found, "ngp", views=views, bounds=space, sampler="proposal", resolution=16)
        unit = sampling.along(space).unit
        assert model.field.density_activation.scale == pytest.approx(1 / unit)
        assert model.sampler.networks[0].density_activation.scale == pytest.approx(1 / unit)
        with torch.no_grad():
            view = model.render(torch.tensor([[0.0, WIDTH / 2, HEIGHT / 2]]), torch.ones(1, 3))
        reached = float(view.distance / view.opacity) / SCALE
        assert 1.0 < reached < 12
    chosen = radiance_scene(
        found, "ngp", views=views, bounds=space, resolution=16, edits=[Edit("density_activation.scale", 3)]
    )
    assert chosen.field.density_activation.scale == 3.0
    assert (
        radiance_scene(
            found, "ngp", views=views, bounds=Box([-1.0] * 3, [1.0] * 3), resolution=16
        ).field.density_activation.scale
        == 1.0
    )


def test_what_is_chosen(front, scene) -> None:
    faced, around = read_scene(front), read_scene(scene)
    generator = torch.Generator()
    spaces = [
        choose_bounds(faced),
        choose_bounds(faced, None, "ndc"),
        choose_bounds(faced, Box([-2.0] * 3, [2.0] * 3)),
        choose_bounds(around),
        choose_bounds(around, None, "contraction"),
    ]
    assert [type(space) for space in spaces] == [Contraction, NDC, Box, Box, Contraction]
    samplers = [type(sampling.choose_sampler(space, 64, generator)) for space in spaces]
    assert samplers == [OccupancyGrid, ProposalSampler, OccupancyGrid, OccupancyGrid, OccupancyGrid]
    without, within = (
        sampling.choose_sampler(spaces[3], 64, generator, "auto", torch.full((3, 3), at)) for at in (4.0, 0.5)
    )
    assert (without.cascades, without.cone_angle) == (1, 0.0)
    assert (within.cascades, within.cone_angle, within.render_step_size) == (3, 1 / 64, without.render_step_size / 4)
    assert (without.n_uniform, without.n_occupied) == (64**3 / 32, 64**3 / 16)
    asked = [
        sampling.choose_sampler(spaces[3], 64, generator, kind) for kind in ("occupancy", "stratified", "proposal")
    ]
    assert [type(sampler) for sampler in asked] == [OccupancyGrid, StratifiedSampler, ProposalSampler]


@pytest.mark.parametrize("preset", ["nerf", "vm"])
def test_networks_keep_their_rate_whatever_the_field_s(preset: str, front) -> None:
    found = read_scene(front)
    model = radiance_scene(
        found, preset, views=Views(found.frames, (), ()), bounds=ndc_bounds(found), sampler="proposal", resolution=16
    )
    networks = {id(p) for p in model.sampler.parameters()}
    for group in adam(model, model.recipe).param_groups:
        if {id(p) for p in group["params"]} & networks:
            assert group["lr"] == pytest.approx(1e-2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--box", 1, "--sampler", "proposal", "--distortion", 0.01],
        ["--box", 1, "--sampler", "stratified"],
        ["--space", "contraction", "--sampler", "proposal", "--preset", "vm"],
        ["--space", "contraction", "--sampler", "stratified", "--distortion", 0.01],
        ["--space", "contraction", "--sampler", "coarse-fine", "--preset", "nerf", "--set", "width=16", "depth=2"],
    ],
    ids=lambda arguments: "-".join(str(a).strip("-") for a in arguments),
)
def test_every_space_and_sampler_trains_and_goes_on(arguments: list, scene, tmp_path) -> None:
    common = [*arguments, "--out", tmp_path / "run", "--resolution", 16, "--test-every", 3]
    common += ["--set", "recipe.batch_size=128"]
    run("nerf", "train", scene, *common, "--steps", 4, "--save-every", 1e-9)
    with pytest.raises(SystemExit):  # another loss is another run
        run("nerf", "train", scene, *common, "--steps", 4, "--resume", "--distortion", 0.5)
    assert math.isfinite(json.loads((tmp_path / "run" / "result.json").read_text())["psnr"])
    nf.load(tmp_path / "run" / "field.safetensors")


def test_a_coarse_and_a_fine_field_are_judged_drawn_and_exported_from_their_file(scene, tmp_path) -> None:
    folder, field = tmp_path / "run", tmp_path / "run" / "field.safetensors"
    run("nerf", "train", scene, "--out", folder, "--sampler", "coarse-fine", "--steps", 4, "--resolution", 16,
        "--box", 1, "--test-every", 3, "--set", "recipe.batch_size=128")  # fmt: skip
    header, row, *_ = (folder / "log.csv").read_text().splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert 0 < float(found["coarse"]) < float(found["loss"])
    # 32 intervals of the coarse field and 96 of the fine one, on each ray that meets the box.
    assert 0 < float(found["marched"]) <= float(found["rays"]) * 128
    assert float(found["marched"]) % 128 == 0
    model = nf.load(field)
    assert isinstance(model.sampler, HierarchicalSampler)
    run("nerf", "eval", folder, scene, "--test-every", 3)
    judged = [json.loads((folder / name).read_text())["psnr"] for name in ("result.json", "eval.json")]
    assert judged[0] == pytest.approx(judged[1], abs=1e-6)  # both of the file
    run("nerf", "render", field, tmp_path / "drawn", "--frames", 1, "--size", "20x16")
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 1
    with torch.no_grad():
        threshold = float(model.field.density(torch.rand(1000, 3, generator=torch.Generator().manual_seed(0))).median())
    run("nerf", "export", field, tmp_path / "mesh.ply", "--resolution", 12, "--threshold", threshold)
    assert (tmp_path / "mesh.ply").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--space", "box"], "add one, for instance --box 2"),
        (["--space", "ndc", "--box", "1"], "contradict each other"),
        (["--space", "ndc", "--sampler", "occupancy"], "the scene lies in neither"),
        (["--distortion", "-1"], "--distortion is -1"),
        (["--distortion", "nan"], "--distortion is nan"),
    ],
)
def test_bad_options(arguments: list[str], said: str, front, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run("nerf", "train", front, "--steps", 1, *arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_ndc_is_refused_where_it_has_no_meaning(front, scene) -> None:
    with pytest.raises(ConfigError, match="where the scene begins and ends"):
        choose_bounds(read_scene(scene), None, "ndc")
    found = read_scene(front)
    turned = found.frames[0].camera.to_world.clone()
    turned[:3, [0, 2]] *= -1
    camera = dataclasses.replace(found.frames[0].camera, to_world=turned)
    frames = (dataclasses.replace(found.frames[0], camera=camera), *found.frames[1:])
    with pytest.raises(ConfigError, match="look the same way"):
        ndc_bounds(dataclasses.replace(found, frames=frames))
