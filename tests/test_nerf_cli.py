"""``neufield nerf`` from end to end, on a ball whose picture is known from every side."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import neufield as nf
from neufield.apps import cli
from neufield.fitting.photometric import Photometric
from neufield.signals.photographs import Photographs, read_photograph
from neufield.signals.scene import read_scene

SIDE, ANGLE = 24, 0.7
_STEPS = 250
_QUICK = ["--resolution", 32, "--box", "1.0", "--set", "recipe.batch_size=4096"]


pytestmark = pytest.mark.usefixtures("one_thread")


def run(*arguments: object) -> None:
    cli.main([str(argument) for argument in arguments])


def looking_at_origin(azimuth: float, height: float, distance: float = 3.0) -> np.ndarray:
    back = np.array([math.cos(azimuth) * math.cos(height), math.sin(azimuth) * math.cos(height), math.sin(height)])
    right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    pose[:3, 3] = distance * back
    return pose


def photograph(pose: np.ndarray) -> np.ndarray:
    """A ball of radius 0.6, coloured by where it is hit, on a transparent ground."""
    focal = 0.5 * SIDE / math.tan(0.5 * ANGLE)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    local = np.stack([(columns - SIDE / 2) / focal, -(rows - SIDE / 2) / focal, -np.ones_like(rows)], -1)
    d = local @ pose[:3, :3].T
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    o = pose[:3, 3]
    b = d @ o
    discriminant = b * b - (o @ o - 0.36)
    hit = o + (-b - np.sqrt(np.maximum(discriminant, 0)))[..., None] * d
    rgba = np.concatenate([0.5 + 0.5 * np.sin(4 * hit), (discriminant > 0)[..., None]], -1)
    return (np.where(discriminant[..., None] > 0, rgba, 0) * 255 + 0.5).astype(np.uint8)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ball")
    for split, count, shift in (("train", 12, 0.0), ("test", 3, 0.4)):
        frames = []
        for i in range(count):
            pose = looking_at_origin(2 * math.pi * i / count + shift, 0.5 * math.sin(3 * i + shift))
            (folder / split).mkdir(exist_ok=True)
            Pillow.fromarray(photograph(pose)).save(folder / split / f"r_{i}.png")
            frames.append({"file_path": f"./{split}/r_{i}", "transform_matrix": pose.tolist()})
        text = json.dumps({"camera_angle_x": ANGLE, "frames": frames})
        (folder / f"transforms_{split}.json").write_text(text)
    return folder


@pytest.fixture(scope="module")
def finished(scene, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ball"
    torch.set_num_threads(1)
    run("nerf", "train", scene, "--out", folder, "--steps", _STEPS, *_QUICK)
    return folder


def test_it_learns_views_it_has_not_seen(finished, scene) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert result["steps"] == _STEPS
    assert (result["views"], result["n_views"], result["protocol"]) == ("test", 3, "nerf")
    # A white picture of the ball scores 10 dB, one of its mean colour 13 dB.
    assert result["psnr"] > 17
    assert result["rays_per_second"] > 0
    assert all(not isinstance(value, (dict, list)) for value in result.values())
    for name in ("views.png", "curve.png", "renders/test-r_0.png"):
        with Pillow.open(finished / name) as drawn:
            drawn.load()
    with (finished / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == _STEPS
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    marched = [float(row["marched"]) for row in rows[20:]]
    assert 0.5 * 4096 < np.mean(marched) < 1.5 * 4096  # the rays follow the budget of samples


def test_the_file_is_the_whole_model(finished) -> None:
    model = nf.load(finished / "field.safetensors")
    with Pillow.open(finished / "renders" / "test-r_0.png") as drawn:
        assert drawn.mode == "RGBA"
    x = torch.tensor([[0.0, SIDE / 2, SIDE / 2], [0.0, 0.5, 0.5]])
    with torch.no_grad():
        middle, corner = model(x)
    assert float((corner - 1).abs().max()) < 0.1  # white ground beside the ball
    assert float((middle - 1).abs().max()) > 0.2


def test_a_run_that_was_stopped_goes_on(finished, scene, tmp_path) -> None:
    """Save every step, stop after 10 of 25, go on: the same bits as without the stop."""
    common = [*_QUICK, "--steps", 25, "--save-every", 1e-9]
    run("nerf", "train", scene, "--out", tmp_path / "whole", *common)

    class StoppedError(Exception):
        pass

    from neufield.apps.run_folder import RunFolder

    original = RunFolder.save_state

    def stop_at_ten(folder, state, identity):
        original(folder, state, identity)
        if state.step == 10:
            raise StoppedError

    RunFolder.save_state = stop_at_ten
    try:
        with pytest.raises(StoppedError):
            run("nerf", "train", scene, "--out", tmp_path / "parts", *common)
    finally:
        RunFolder.save_state = original
    run("nerf", "train", scene, "--out", tmp_path / "parts", "--resume", *common)
    whole, parts = (nf.load(tmp_path / name / "field.safetensors").state_dict() for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    with pytest.raises(SystemExit):  # another run than the one that was begun
        run("nerf", "train", scene, "--out", tmp_path / "parts", "--resume", *common, "--background", "white")


@pytest.mark.parametrize("preset", ["nerf", "vm", "cp", "voxels", "triplane"])
def test_every_architecture_trains(preset: str, scene, tmp_path) -> None:
    small = ["--set", "width=16", "depth=3"] if preset == "nerf" else []
    run("nerf", "train", scene, "--preset", preset, "--out", tmp_path / "run", "--steps", 8, "--resolution", 16,
        "--box", 1, "--set", "recipe.batch_size=1024", *small)  # fmt: skip
    assert json.loads((tmp_path / "run" / "result.json").read_text())["psnr"] > 3


def test_doctor_and_convert(scene, tmp_path, capsys) -> None:
    run("nerf", "doctor", scene, "--out", tmp_path / "cameras.png")
    said = capsys.readouterr().out
    assert "blender, 15 photographs (12 train, 3 test)" in said
    with Pillow.open(tmp_path / "cameras.png") as drawn:
        assert drawn.width > 1000
    run("nerf", "convert", scene, tmp_path / "there", "--dialect", "nerfstudio", "--copy")
    before, after = read_scene(scene), read_scene(tmp_path / "there")
    assert after.dialect == "nerfstudio"
    for a, b in zip(before.frames, after.frames, strict=True):
        assert torch.equal(a.camera.to_world, b.camera.to_world)
        assert a.split == b.split
        assert torch.equal(read_photograph(a), read_photograph(b))


def test_render_along_paths(finished, tmp_path) -> None:
    field = finished / "field.safetensors"
    run("nerf", "render", field, tmp_path / "a", "--frames", 3, "--size", "20x16", "--depth", "--background", "none")
    run("nerf", "render", field, tmp_path / "b", "--frames", 2, "--path", "orbit", "--background", "black")
    frames = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert frames == [f"{kind}_{i:04d}.png" for kind in ("depth", "frame") for i in range(3)]
    with Pillow.open(tmp_path / "a" / "frame_0000.png") as drawn:
        assert (drawn.size, drawn.mode) == ((20, 16), "RGBA")
    with Pillow.open(tmp_path / "b" / "frame_0001.png") as drawn:
        values = np.asarray(drawn)
    assert values.shape == (SIDE, SIDE, 3)
    assert values[SIDE // 2, SIDE // 2].max() > 60  # the ball in the middle,
    assert values[0].max() < 60  # and black around it


def test_a_camera_path_is_rendered(finished, tmp_path) -> None:
    path = tmp_path / "camera_path.json"
    pose = looking_at_origin(0.0, 0.0).flatten().tolist()
    camera = {"camera_to_world": pose, "fov": math.degrees(ANGLE), "aspect": 1.0}
    whole = {"camera_type": "perspective", "render_height": SIDE, "render_width": SIDE, "camera_path": [camera]}
    path.write_text(json.dumps(whole))
    run("nerf", "render", finished / "field.safetensors", tmp_path / "out", "--path", path, "--background", "none")
    with Pillow.open(tmp_path / "out" / "frame_0000.png") as drawn:
        alpha = np.asarray(drawn)[..., 3] / 255
    truth = photograph(looking_at_origin(0.0, 0.0))[..., 3] / 255
    assert np.abs(alpha - truth).mean() < 0.12  # a field of 250 steps: a soft rim; nothing at all is 0.28


def test_exports_lie_where_the_scene_lies(finished, scene, tmp_path) -> None:
    field = finished / "field.safetensors"
    run("nerf", "export", field, tmp_path / "ball.ply", "--resolution", 40, "--threshold", 3)
    mesh = nf.signals.read_mesh(tmp_path / "ball.ply")
    assert len(mesh.faces) > 500
    distance = mesh.vertices.norm(dim=1)
    assert float(distance.median()) == pytest.approx(0.6, abs=0.1)  # the ball's radius in the scene's units
    run("nerf", "export", field, tmp_path / "points.ply", "--resolution", 20, "--threshold", 3, "--points", 50)
    assert len(nf.signals.read_mesh(tmp_path / "points.ply").vertices) == 50
    run("nerf", "export", field, tmp_path / "cameras.json")
    poses = [frame["transform_matrix"] for frame in json.loads((tmp_path / "cameras.json").read_text())["frames"]]
    given = torch.stack([frame.camera.to_world for frame in read_scene(scene).split("train")])
    torch.testing.assert_close(torch.tensor(poses, dtype=torch.float64), given, rtol=1e-6, atol=1e-6)  # float32


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["render", "FIELD", "OUT", "--path", "nowhere"], "nowhere"),
        (["render", "FIELD", "OUT", "--size", "8"], "WIDTHxHEIGHT"),
        (["render", "FIELD", "OUT", "--frames", "0"], "at least 1"),
        (["export", "FIELD", "mesh.stl"], ".ply, .obj or .json"),
        (["export", "FIELD", "mesh.ply", "--threshold", "1e9"], "lower --threshold"),
    ],
)
def test_bad_outputs(arguments: list[str], said: str, finished, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"FIELD": finished / "field.safetensors", "OUT": tmp_path / "out"}
    with pytest.raises(SystemExit) as ended:
        run("nerf", *[names.get(argument, argument) for argument in arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not any(path.suffix in (".ply", ".png", ".stl") for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--box", "1,2"], "--box is '1,2'"),
        (["--box", "1,1,1,0,0,0"], "is empty"),
        (["--preset", "ngpp"], "did you mean 'ngp'"),
        (["--protocol", "nerv"], "did you mean 'nerf'"),
        (["--steps", "0"], "at least 1"),
        (["--resume"], "--resume needs --out"),
        (["--resume", "--overwrite", "--out", "x"], "contradict each other"),
        (["--set", "encoding.n_level=3"], "n_levels"),
        (["--viewer-port", "8080"], "needs --viewer"),
    ],
)
def test_bad_options(arguments: list[str], said: str, scene, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run("nerf", "train", scene, *arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").rglob("*.json"))


def test_a_scene_of_one_photograph(scene, tmp_path, capsys) -> None:
    document = json.loads((scene / "transforms_train.json").read_text())
    document["frames"] = document["frames"][:1]
    (tmp_path / "transforms_train.json").write_text(json.dumps(document))
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "r_0.png").write_bytes((scene / "train" / "r_0.png").read_bytes())
    with pytest.raises(SystemExit) as ended:
        run("nerf", "train", tmp_path)
    assert ended.value.code == 2
    assert "photograph" in capsys.readouterr().err


def images(generator: torch.Generator) -> list[torch.Tensor]:
    return [torch.randint(256, size, generator=generator, dtype=torch.uint8) for size in ((4, 6, 4), (3, 5, 4))]


def test_samples_are_pixels_at_their_centres(generator) -> None:
    pictures = images(generator)
    batch = Photographs(pictures).sample(500, generator)
    for (image, column, row), target in zip(batch.x.tolist(), batch.target, strict=True):
        pixel = pictures[int(image)][int(row - 0.5), int(column - 0.5)]
        assert torch.equal(target, pixel.float() / 255)
    assert len({tuple(x) for x in batch.x.tolist()}) == 4 * 6 + 3 * 5


def test_masked_and_held_out_pixels_are_never_sampled(generator) -> None:
    pictures = [*images(generator), *images(generator)]
    masks = [torch.zeros(4, 6, dtype=torch.bool), None, None, None]
    masks[0][1, 2] = True
    photographs = Photographs(pictures, masks, held_out=1)
    seen = {tuple(x) for x in photographs.sample(2000, generator).x.tolist()}
    assert {x for x in seen if x[0] == 0} == {(0.0, 2.5, 1.5)}
    assert {x[0] for x in seen} == {0.0, 1.0, 2.0}

    asked = []
    photographs.score(lambda x: asked.append(x) or torch.zeros(len(x), 3))
    assert set(asked[0][:, 0].tolist()) == {3.0}
    with pytest.raises(ValueError, match="held_out is 4"):
        Photographs(pictures, held_out=4)


def test_rays_follow_the_budget() -> None:
    objective = Photometric(lambda *_: None)
    assert objective.batch_size(6400, {}) == 100
    assert objective.batch_size(6400, {"rays": 100, "marched": 6400}) == 100
    assert objective.batch_size(6400, {"rays": 100, "marched": 1600}) == 200
    assert objective.batch_size(6400, {"rays": 1000, "marched": 640_000}) == 500
    assert objective.batch_size(6400, {"rays": 1000, "marched": 0}) == 2000
