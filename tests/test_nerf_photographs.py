"""``neufield nerf`` on photographs as they are: of different colors and exposures, with wrong poses, half masked."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import ANGLE, looking_at_origin, photograph
from commands import run
from PIL import Image as Pillow

import neufield as nf
from neufield.apps.nerf.views import render_view
from neufield.apps.run_folder import RunFolder
from neufield.core.rays import Conditioning
from neufield.formats.scene import read_scene
from neufield.renderers import RadianceScene

pytestmark = pytest.mark.usefixtures("one_thread")
_SMALL = ["--resolution", 16, "--box", "1.0", "--set", "recipe.batch_size=1024"]
_ALL = [*_SMALL, "--appearance", 3, "--exposure", "--refine-cameras"]
COUNT = 4


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """A ball in four photographs, and a fifth to judge by."""
    folder = tmp_path_factory.mktemp("four")
    for split, count in (("train", COUNT), ("test", 1)):
        frames = []
        for i in range(count):
            pose = looking_at_origin(2 * math.pi * (i + 0.4 * (split == "test")) / COUNT, 0.4)
            Pillow.fromarray(photograph(pose)).save(folder / f"{split}_{i}.png")
            frames.append({"file_path": f"./{split}_{i}", "transform_matrix": pose.tolist()})
        text = json.dumps({"camera_angle_x": ANGLE, "frames": frames})
        (folder / f"transforms_{split}.json").write_text(text)
    return folder


@pytest.fixture(scope="module")
def finished(scene, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "all"
    torch.set_num_threads(1)
    run("nerf", "train", scene, "--out", folder, "--steps", 12, *_ALL,
        "--set", "refinement.lr=0.004", "appearance.lr=0.5")  # fmt: skip
    return folder


def trained(folder: Path) -> RadianceScene:
    model = nf.load(folder / "field.safetensors")
    assert isinstance(model, RadianceScene)
    return model


def test_everything_that_was_asked_for_learns_and_is_in_the_file(finished, scene) -> None:
    model = trained(finished)
    assert (model.appearance.count, model.appearance.dim, model.field.code_dim) == (COUNT, 3, 3)
    assert (model.exposure.count, model.cameras.refinement.count) == (COUNT, COUNT)
    assert (model.cameras.refinement.lr, model.appearance.lr, model.exposure.lr) == (0.004, 0.5, 0.001)
    scale = model.cameras.refinement.scale
    assert scale == pytest.approx(3.0)  # the cameras' distance from the box's middle
    for parameter in (model.appearance.codes, model.exposure.log_gain, model.exposure.offset):
        assert bool((parameter != 0).all())
    assert int((model.cameras.refinement.twists != 0).sum()) == COUNT * 6
    result = json.loads((finished / "result.json").read_text())
    turned, moved = model.cameras.refinement.moved()
    assert (result["cameras_turned_degrees"], result["cameras_moved"]) == pytest.approx((turned, moved))
    assert 0.05 < turned < math.degrees(12 * 0.004 * 2)  # steps of about the rate, in three coordinates


def test_by_default_none_of_it_is_there(scene, tmp_path) -> None:
    run("nerf", "train", scene, "--out", tmp_path / "plain", "--steps", 2, *_SMALL)
    model = trained(tmp_path / "plain")
    assert (model.appearance, model.exposure, model.cameras.refinement) == (None, None, None)
    assert "cameras_moved" not in json.loads((tmp_path / "plain" / "result.json").read_text())


def test_exported_cameras_are_the_refined_ones(finished, scene, tmp_path) -> None:
    model = trained(finished)
    run("nerf", "export", finished / "field.safetensors", tmp_path / "cameras.json")
    document = json.loads((tmp_path / "cameras.json").read_text())
    exported = torch.tensor([frame["transform_matrix"] for frame in document["frames"]], dtype=torch.float64)
    assert torch.equal(exported[:, :3], model.cameras.poses().detach().double())
    given = torch.stack([frame.camera.to_world for frame in read_scene(scene).split("train")])
    apart = (exported - given).flatten(1).norm(dim=1)
    assert bool((apart > 1e-3).all())
    assert bool((apart < 0.5).all())
    torch.testing.assert_close(model.cameras.to_world.double(), given[:, :3], rtol=1e-6, atol=1e-6)  # float32


def test_a_surface_has_the_mean_appearances_colors(finished, tmp_path, generator) -> None:
    model = trained(finished)
    with torch.no_grad():
        level = float(
            model.field.geometry(torch.rand(1000, 3, generator=generator)).sigma.median()
        )  # something lies on either side
    options = ["--resolution", 8, "--threshold", level]
    run("nerf", "export", finished / "field.safetensors", tmp_path / "surface.ply", *options)
    mesh = nf.formats.read_mesh(tmp_path / "surface.ply")
    assert len(mesh.faces) > 10

    def seen(code: torch.Tensor) -> torch.Tensor:
        features = model.field.geometry(model.space.to_unit(mesh.vertices)).features
        return model.field.color(features, -mesh.normals, Conditioning(code=code.expand(len(mesh.vertices), -1)))

    with torch.no_grad():
        mean, first = seen(model.appearance.codes.mean(0)), seen(model.appearance.codes[0])
    found = mesh.colors.float() / 255
    assert float((found - mean).abs().max()) < 0.003  # half an eighth bit, and float32 vertices
    assert float((found - first).abs().max()) > 0.02


def test_a_view_is_rendered_with_the_mean_or_one_photographs_appearance(finished, scene, tmp_path) -> None:
    model = trained(finished)
    camera = read_scene(scene).split("test")[0].camera
    mean, first, second = (render_view(model, camera, like).rgba for like in (None, 0, 1))
    assert float((first - second).abs().max()) > 1e-3
    with torch.no_grad():
        model.appearance.codes.copy_(model.appearance.codes.mean(0).expand(COUNT, -1))
    torch.testing.assert_close(render_view(model, camera, 1).rgba, mean)
    field = finished / "field.safetensors"
    for name, like in (("a", ["--like", 0]), ("b", ["--like", 1]), ("c", [])):
        run("nerf", "render", field, tmp_path / name, "--frames", 1, *like)
    assert len({(tmp_path / name / "frame_0000.png").read_bytes() for name in "abc"}) == 3


def test_a_run_that_was_stopped_goes_on(scene, tmp_path, monkeypatch) -> None:
    """Save every step, stop after 4 of 9, go on: the same bits as without the stop, codes and poses too."""
    common = [*_ALL, "--steps", 9, "--save-every", 1e-9]
    run("nerf", "train", scene, "--out", tmp_path / "whole", *common)

    class StoppedError(Exception):
        pass

    original = RunFolder.save_state

    def stop_at_four(folder, state, identity):
        original(folder, state, identity)
        if state.step == 4:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_state", stop_at_four)
        with pytest.raises(StoppedError):
            run("nerf", "train", scene, "--out", tmp_path / "parts", *common)
    run("nerf", "train", scene, "--out", tmp_path / "parts", "--resume", *common)
    whole, parts = (trained(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert {"appearance.codes", "exposure.offset", "cameras.refinement.twists"} < whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    without = [option for option in common if option != "--exposure"]
    with pytest.raises(SystemExit):  # another run than the one that was begun
        run("nerf", "train", scene, "--out", tmp_path / "parts", "--resume", *without)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--appearance", "-1"], "--appearance is -1"),
        (["--appearance", "4", "--preset", "vm"], "--preset vm take no codes; those of ngp and triplane do"),
        (["--set", "exposure.lr=1"], "--set exposure.lr=1 needs --exposure"),
        (["--set", "refinement.prior_weight=1"], "needs --refine-cameras"),
        (["--refine-cameras", "--set", "refinement.prior_weigt=1"], "did you mean 'prior_weight'"),
        (["--refine-cameras", "--set", "refinement.lr=0"], "lr is 0"),
        (["--appearance", "2", "--set", "code_dim=3", "color_network.in_dim=35"], "but the appearance has 2"),
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


@pytest.mark.parametrize(("like", "said"), [("9", "photographs are 0 to 3"), ("-1", "photograph -1 was asked for")])
def test_a_photograph_that_is_not_there(like: str, said: str, finished, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        run("nerf", "render", finished / "field.safetensors", tmp_path / "out", "--like", like)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


GREEN, MAGENTA = (20, 200, 20), (230, 20, 230)


def masked_scene(folder: Path, dialect: str) -> Path:
    """Photographs of a green world; in what their masks ignore, the upper half, they are magenta."""
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    values = np.full((8, 8, 3), GREEN, np.uint8)
    values[:4] = MAGENTA
    ignored = np.zeros((8, 8), np.uint8)
    ignored[:4] = 255
    frames = []
    for i in range(COUNT):
        Pillow.fromarray(values).save(folder / f"images/{i}.png")
        frame = {"file_path": f"images/{i}.png", "transform_matrix": looking_at_origin(math.pi * i / 2, 0.3).tolist()}
        if dialect == "nerfstudio":  # black is ignored
            Pillow.fromarray(255 - ignored).save(folder / f"masks/{i}.png")
            frame["mask_path"] = f"masks/{i}.png"
        else:  # white is ignored
            Pillow.fromarray(ignored).save(folder / f"images/dynamic_mask_{i}.png")
        frames.append(frame)
    focal = {"fl_x": 8.0, "fl_y": 8.0, "cx": 4.0, "cy": 4.0, "w": 8, "h": 8}
    (folder / "transforms.json").write_text(json.dumps(focal | {"frames": frames}))
    return folder


@pytest.mark.parametrize("dialect", ["nerfstudio", "instant-ngp"])
def test_masks_of_both_polarities_decide_what_is_learnt(dialect: str, tmp_path, capsys) -> None:
    folder = masked_scene(tmp_path, dialect)
    # Before a green backdrop nothing would be left to learn.
    run("nerf", "train", folder, "--out", tmp_path / "run", "--steps", 60, "--background", "random", *_SMALL)
    assert dialect in capsys.readouterr().out
    with torch.no_grad():
        x = torch.tensor([[float(i), 4.0, row] for i in range(2) for row in (2.0, 6.0)])  # ignored, and counting
        seen = trained(tmp_path / "run").render(x)
    there = seen.opacity > 0.1
    color = seen.rgb / seen.opacity.clamp(min=0.1)[:, None]
    away = (color - torch.tensor(GREEN) / 255).norm(dim=1)
    # Where it counts there is green (measured 0.2 away), elsewhere perhaps nothing; magenta, where seen, is 1.36 away.
    assert bool(there[[1, 3]].all())
    assert bool((away[there] < 0.5).all()), color
