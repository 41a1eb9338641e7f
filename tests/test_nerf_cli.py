"""``neufield nerf`` from end to end, on a ball whose picture is known from every side."""

import csv
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import ANGLE, SIDE, looking_at_origin, photograph, write_ball
from commands import run
from finished_runs import NERF_OPTIONS, NERF_STEPS
from PIL import Image as Pillow

import neufield as nf
from neufield.apps.nerf import render_path, scenes, views
from neufield.core.cameras import Camera
from neufield.core.records import Counts
from neufield.formats.scene import read_scene, write_scene
from neufield.formats.video import evenly_spaced_frames
from neufield.renderers import Cameras, Contraction, RadianceScene
from neufield.signals.posed_images import PosedImages, read_photograph

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def scene(finished_runs, tmp_path_factory) -> Path:
    return finished_runs.ball(tmp_path_factory.mktemp("ball") / "scene")


@pytest.fixture(scope="module")
def finished(finished_runs, tmp_path_factory) -> Path:
    return finished_runs.trained(tmp_path_factory.mktemp("runs") / "ball")


def test_it_learns_views_it_has_not_seen(finished, scene) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert result["steps"] == NERF_STEPS
    assert (result["views"], result["n_views"], result["protocol"]) == ("test", 3, "nerf")
    # A white picture of the ball scores 10 dB, one of its mean color 13 dB.
    assert result["psnr"] > 17
    assert result["rays_per_second"] > 0
    for name in ("views.png", "curve.png", "renders/test-r_0.png"):
        with Pillow.open(finished / name) as drawn:
            drawn.load()
    with (finished / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == NERF_STEPS
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
    common = [*NERF_OPTIONS, "--steps", 25, "--save-every", 1e-9]
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


_FEW = ["density_rank=4", "color_rank=8", "width=32"]  # of TensoRF's products, of which there are hundreds


@pytest.mark.parametrize("preset", ["nerf", "vm", "cp", "voxels", "triplane"])
def test_every_architecture_trains(preset: str, scene, tmp_path) -> None:
    small = {"nerf": ["width=16", "depth=3"], "vm": _FEW, "cp": _FEW}.get(preset, [])
    run("nerf", "train", scene, "--preset", preset, "--out", tmp_path / "run", "--steps", 4, "--resolution", 16,
        "--box", 1, "--test-every", 3, "--set", "recipe.batch_size=128", *small)  # fmt: skip
    assert json.loads((tmp_path / "run" / "result.json").read_text())["psnr"] > 3


def test_doctor_and_convert(scene, tmp_path, capsys) -> None:
    run("nerf", "doctor", scene, "--out", tmp_path / "cameras.png")
    said = capsys.readouterr().out
    assert "blender, 15 photographs (12 train, 3 test)" in said
    with Pillow.open(tmp_path / "cameras.png") as drawn:
        assert drawn.width > 1000
    run("nerf", "convert", scene, tmp_path / "there", "--dialect", "nerfstudio", "--copy")
    assert "neufield nerf train would cover: a box from (-1.5, -1.5, -1.5)" in said
    before, after = read_scene(scene), read_scene(tmp_path / "there")
    assert after.dialect == "nerfstudio"
    for a, b in zip(before.frames, after.frames, strict=True):
        assert torch.equal(a.camera.to_world, b.camera.to_world)
        assert a.split == b.split
        assert torch.equal(read_photograph(a), read_photograph(b))


def test_doctor_speaks_of_a_contracted_world_in_short_numbers() -> None:
    said = scenes.describe(Contraction([8 / 3, 6.067076646911117, -0.1], 7.547404025784463, 0.03, 1e4))
    assert said == "all of the world, as it is within 7.55 of (2.67, 6.07, -0.1), contracted beyond"


def test_another_folder_of_photographs_is_converted_and_tested_by(finished, tmp_path) -> None:
    """Half as large, as COLMAP's tools name it; --dialect is of what is written."""
    scene, half = tmp_path / "scene", tmp_path / "scene" / "images_2"
    write_scene(read_scene(write_ball(tmp_path / "ball")), scene, "colmap", lossy=True, copy_images=True)
    for path in sorted((scene / "images").rglob("*.png")):
        small = half / path.relative_to(scene / "images")
        small.parent.mkdir(parents=True, exist_ok=True)
        with Pillow.open(path) as picture:
            picture.reduce(2).save(small)
    run("nerf", "convert", scene, tmp_path / "there", "--images", "images_2")
    assert {frame.camera.width for frame in read_scene(tmp_path / "there").frames} == {SIDE // 2}
    run("nerf", "render", finished, tmp_path / "out", "--path", "test", "--scene", scene, "--images", "images_2")
    sizes = set()
    for path in (tmp_path / "out").iterdir():
        with Pillow.open(path) as drawn:
            sizes.add(drawn.size)
    assert sizes == {(SIDE // 2, SIDE // 2)}


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


def test_normals_are_drawn(finished, tmp_path) -> None:
    run("nerf", "render", finished / "field.safetensors", tmp_path, "--frames", 1, "--normals")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frame_0000.png", "normal_0000.png"]
    with Pillow.open(tmp_path / "normal_0000.png") as drawn:
        values = np.asarray(drawn).astype(float) / 127.5 - 1
    assert values[0, 0].tolist() == [-1, -1, -1]  # black, where nothing is
    hit = photograph(looking_at_origin(0.0, 0.0), normals=True)
    on_ball = np.linalg.norm(hit, axis=-1) > 0
    cosine = (hit * values).sum(-1)[on_ball] / np.linalg.norm(values, axis=-1)[on_ball]
    assert np.mean(cosine) > 0.5  # 0.67: after 250 steps the ball is soft


def decoded(film: Path) -> list[np.ndarray]:
    return [values for _, values in evenly_spaced_frames(film, 1000)]


def test_a_film_is_its_frames(finished, tmp_path, capsys) -> None:
    field, common = finished / "field.safetensors", ["--frames", 4, "--size", "33x25", "--depth"]
    run("nerf", "render", field, tmp_path / "frames", *common)
    (tmp_path / "films").mkdir()
    run("nerf", "render", field, tmp_path / "films" / "a.mp4", "--fps", 10, *common)
    assert "4 frames of 32 x 24 (a film's sides are even" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "films").iterdir()) == ["a-depth.mp4", "a.mp4"]
    brightness = np.array([0.2126, 0.7152, 0.0722])  # BT.709's; the colors are halved
    for film, name in (("a.mp4", "frame"), ("a-depth.mp4", "depth")):
        frames = decoded(tmp_path / "films" / film)
        assert len(frames) == 4
        for i, values in enumerate(frames):
            with Pillow.open(tmp_path / "frames" / f"{name}_{i:04d}.png") as drawn:
                wanted = np.asarray(drawn)[:24, :32].astype(float)
            assert values.shape == wanted.shape
            # At crf 18 x264 rounds brightness in steps of 5 to 8 (qp 18 to 22): at worst half a step everywhere.
            assert np.abs((values - wanted) @ brightness).mean() < 4


def test_a_film_that_is_stopped_is_not_there(finished, tmp_path, monkeypatch) -> None:
    class StoppedError(Exception):
        pass

    original, done = views.render_view, []

    def stop_at_the_third(*arguments):
        done.append(arguments)
        if len(done) == 3:
            raise StoppedError
        return original(*arguments)

    monkeypatch.setattr(views, "render_view", stop_at_the_third)
    with pytest.raises(StoppedError):
        run("nerf", "render", finished / "field.safetensors", tmp_path / "a.mp4", "--frames", 4)
    assert list(tmp_path.iterdir()) == []


def test_the_test_cameras_are_rendered_as_training_did(finished, scene, tmp_path) -> None:
    run("nerf", "render", finished / "field.safetensors", tmp_path / "out", "--path", "test", "--scene", scene,
        "--background", "none")  # fmt: skip
    for i in range(3):
        with (
            Pillow.open(tmp_path / "out" / f"frame_{i:04d}.png") as drawn,
            Pillow.open(finished / "renders" / f"test-r_{i}.png") as before,
        ):
            assert np.array_equal(np.asarray(drawn), np.asarray(before))
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_spiral_around_cameras_that_look_the_same_way(finished, tmp_path) -> None:
    model = nf.load(finished / "field.safetensors")
    poses = [looking_at_origin(azimuth, height) for azimuth in (-0.2, 0.2) for height in (-0.2, 0.2)]
    focal = 0.5 * SIDE / math.tan(0.5 * ANGLE)
    facing = [Camera(torch.from_numpy(pose), SIDE, SIDE, focal, focal, SIDE / 2, SIDE / 2) for pose in poses]
    model = RadianceScene(model.field, Cameras.of(facing), model.space, model.sampler)
    near, far = render_path.seen_depths(model, facing)
    # The ball of radius 0.6 is seen from 3 away: from 2.4 to sqrt(9 - 0.36) = 2.94; its rim is soft after 250 steps.
    assert 2.2 < near < far < 3.2
    nf.save(model, tmp_path / "facing.safetensors")
    run("nerf", "render", tmp_path / "facing.safetensors", tmp_path / "out", "--path", "spiral", "--frames", 5,
        "--background", "black")  # fmt: skip
    drawn = [np.asarray(Pillow.open(tmp_path / "out" / f"frame_{i:04d}.png")).astype(int) for i in range(5)]
    for values in drawn:
        assert values[SIDE // 2, SIDE // 2].max() > 60
        assert values[0].max() < 60
    assert all(np.abs(a - b).max() > 30 for a, b in itertools.pairwise(drawn))  # it moves


def test_frames_that_are_there_are_kept(finished, tmp_path, capsys) -> None:
    command = ["nerf", "render", finished / "field.safetensors", tmp_path / "a", "--frames", 4, "--depth"]
    run(*command)
    files = sorted((tmp_path / "a").iterdir())
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}
    (tmp_path / "a" / "frame_0001.png").unlink()
    (tmp_path / "a" / "depth_0002.png").write_bytes(b"half a picture")
    capsys.readouterr()
    run(*command, "--resume")
    assert "2 of them kept" in capsys.readouterr().out
    after = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}
    for name, (time, content) in after.items():
        assert content == before[name][1]
        assert (time == before[name][0]) == (name[6:10] in ("0000", "0003"))
    run(*command, "--resume", "--background", "black")  # others of the same names
    assert "kept" not in capsys.readouterr().out
    assert (tmp_path / "a" / "frame_0000.png").read_bytes() != before["frame_0000.png"][1]
    run(*command[:-1], "--resume", "--background", "black", "--path", "orbit")
    assert "kept" not in capsys.readouterr().out


def test_exports_lie_where_the_scene_lies(finished, scene, tmp_path) -> None:
    field = finished / "field.safetensors"
    run("nerf", "export", field, tmp_path / "ball.ply", "--resolution", 40, "--threshold", 3)
    mesh = nf.formats.read_mesh(tmp_path / "ball.ply")
    assert len(mesh.faces) > 500
    distance = mesh.vertices.norm(dim=1)
    assert float(distance.median()) == pytest.approx(0.6, abs=0.1)  # the ball's radius in the scene's units
    run("nerf", "export", field, tmp_path / "points.ply", "--resolution", 20, "--threshold", 3, "--points", 50)
    assert len(nf.formats.read_mesh(tmp_path / "points.ply").vertices) == 50
    run("nerf", "export", field, tmp_path / "cameras.json")
    poses = [frame["transform_matrix"] for frame in json.loads((tmp_path / "cameras.json").read_text())["frames"]]
    given = torch.stack([frame.camera.to_world for frame in read_scene(scene).split("train")])
    torch.testing.assert_close(torch.tensor(poses, dtype=torch.float64), given, rtol=1e-6, atol=1e-6)  # float32


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["render", "FIELD", "OUT", "--path", "nowhere"], "nowhere"),
        (["render", "FIELD", "OUT", "--size", "8"], "WIDTHxHEIGHT"),
        (["render", "FIELD", "OUT", "--frames", "0"], "--frames is 0, but a path has from 1 to"),
        (["render", "FIELD", "OUT", "--frames", str(10**20)], "from 1 to 1,000,000"),
        (["render", "FIELD", "OUT", "--path", "test"], "--path test needs --scene"),
        (["render", "FIELD", "film.avi"], "ends in .avi, but a film ends in .mp4, .webm or .gif"),
        (["render", "FIELD", "film.mp4", "--fps", "0"], "--fps is 0"),
        (["render", "FIELD", "film.mp4", "--background", "none"], "cannot be transparent"),
        (["render", "FIELD", "film.mp4", "--resume"], "--resume needs a folder"),
        (["export", "FIELD", "mesh.off"], ".ply, .obj, .glb, .stl or .json"),
        (["export", "FIELD", "mesh.stl", "--points", "9"], "--points writes a .ply"),
        (["export", "FIELD", "mesh.ply", "--points", "0"], "at least 1"),
        (["export", "FIELD", "mesh.ply", "--box", "1,2"], "--box is '1,2'"),
        (["export", "FIELD", "mesh.ply", "--box", "0,0,0,1e400,1,1"], "is empty or endless"),
        (["export", "FIELD", "mesh.ply", "--resolution", "8", "--box", "7,7,7,8,8,8"], "give another --box"),
        (["export", "FIELD", "mesh.ply", "--smallest", "2"], "a share from 0 to 1"),
        (["export", "FIELD", "mesh.ply", "--threshold", "nan"], "a density above 0"),
        (["export", "FIELD", "mesh.ply", "--resolution", "100000"], "give a lower --resolution"),
        (["export", "FIELD", "mesh.ply", "--resolution", "8", "--threshold", "1e9"], "lower --threshold"),
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
    assert not any(path.suffix in (".ply", ".png", ".stl", ".off", ".mp4") for path in tmp_path.rglob("*"))


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


def test_samples_are_pixels_at_their_centers(generator) -> None:
    pictures = images(generator)
    batch = PosedImages(pictures).sample(500, generator)
    for (image, column, row), target in zip(batch.x.tolist(), batch.target, strict=True):
        pixel = pictures[int(image)][int(row - 0.5), int(column - 0.5)]
        assert torch.equal(target, pixel.float() / 255)
    assert len({tuple(x) for x in batch.x.tolist()}) == 4 * 6 + 3 * 5


def test_masked_and_held_out_pixels_are_never_sampled(generator) -> None:
    pictures = [*images(generator), *images(generator)]
    masks = [torch.zeros(4, 6, dtype=torch.bool), None, None, None]
    masks[0][1, 2] = True
    photographs = PosedImages(pictures, masks, held_out=1)
    seen = {tuple(x) for x in photographs.sample(2000, generator).x.tolist()}
    assert {x for x in seen if x[0] == 0} == {(0.0, 2.5, 1.5)}
    assert {x[0] for x in seen} == {0.0, 1.0, 2.0}

    asked = []
    photographs.evaluate(lambda x: asked.append(x) or torch.zeros(len(x), 3))
    assert set(asked[0][:, 0].tolist()) == {3.0}
    with pytest.raises(ValueError, match="held_out is 4"):
        PosedImages(pictures, held_out=4)


def test_rays_follow_the_budget() -> None:
    photographs = PosedImages([torch.zeros(2, 2, 4, dtype=torch.uint8)])
    for samples, points, expected in ((100, 6400, 100), (100, 1600, 200), (1000, 640_000, 500), (1000, 0, 2000)):
        assert photographs.batch_size(6400, Counts(samples, points)) == expected
    assert photographs.batch_size(6400, None) == 100
