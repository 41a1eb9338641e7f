"""``neufield distill`` from end to end: scenes and pictures, what it refuses, and a run that goes on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import write_ball
from commands import run
from PIL import Image as Pillow

import neufield as nf
from neufield.signals import Renderings

pytestmark = pytest.mark.usefixtures("one_thread")
_STEPS = 12
_SMALL = ["--resolution", 16, "--set", "recipe.batch_size=512"]
_FEW = ["density_rank=2", "color_rank=3"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    return write_ball(tmp_path_factory.mktemp("ball"), train=4, test=2)


@pytest.fixture(scope="module")
def radiance(scene, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ball"
    run("nerf", "train", scene, "--out", folder, "--steps", 20, "--box", 1, "--no-eval", *_SMALL)
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("picture")
    rows, columns = np.mgrid[0:24, 0:32]
    Pillow.fromarray(np.stack([rows * 8, columns * 8, rows + columns], -1).astype(np.uint8)).save(folder / "a.png")
    run("fit", folder / "a.png", "--out", folder / "run", "--steps", 60, "--set", "encoding.n_levels=4")
    return folder / "run"


def test_a_scene_becomes_another_architecture(radiance, scene, tmp_path, capsys) -> None:
    run("distill", radiance, "--to", "vm", "--out", tmp_path / "vm", "--steps", _STEPS, "--scene", scene,
        "--active", "camera", "ray", "point", *_SMALL, *_FEW)  # fmt: skip
    said = capsys.readouterr().out
    assert "of the teacher's views" in said
    assert "by photographs:" in said
    result = json.loads((tmp_path / "vm" / "result.json").read_text())
    assert result["steps"] == _STEPS
    assert result["teacher"] == str(radiance / "field.safetensors")
    assert result["psnr"] > 10  # an untrained one is some color of the teacher's at least
    assert {"views_psnr", "teacher_views_psnr", "teacher_bytes", "teacher_params"} <= result.keys()
    with Pillow.open(tmp_path / "vm" / "views.png") as drawn:
        drawn.load()
    student, teacher = nf.load(tmp_path / "vm" / "field.safetensors"), nf.load(radiance / "field.safetensors")
    assert type(student.field).__name__ == "TensoRFVM"
    assert torch.equal(student.sampler.occupied, teacher.sampler.occupied)
    run("render", tmp_path / "vm", "-o", tmp_path / "view.png", "--size", "16x16")  # it is a scene's like any other


def test_views_are_drawn_while_it_learns(radiance, tmp_path) -> None:
    from neufield.apps.report.distill import Origin, TaughtSceneReport
    from neufield.apps.run_folder import RunFolder
    from neufield.fitting import start

    scene = nf.load(radiance / "field.safetensors")
    report = TaughtSceneReport(scene, scene, Renderings(scene), Origin("teacher", 1, 1))
    (hook,) = report.hooks(RunFolder(tmp_path))
    hook.action(start(scene, scene.recipe))
    with Pillow.open(tmp_path / "views.png") as drawn:
        panels = np.asarray(drawn.convert("RGB"))
    assert len(np.unique(panels.reshape(-1, 3), axis=0)) > 50  # a picture of the ball, not an empty page


def test_the_reason_is_said_where_features_cannot_be_compared(radiance, tmp_path, capsys) -> None:
    run("distill", radiance, "--to", "voxels", "--out", tmp_path / "run", "--steps", 3, *_SMALL)
    assert "no stage of features: the teacher's features are 16 numbers, the student's 27" in capsys.readouterr().out


def test_a_stopped_run_goes_on(radiance, tmp_path) -> None:
    """Also with all that active learning remembers: the same bits as without the stop."""
    from neufield.apps.run_folder import RunFolder

    common = ["--to", "nerf", "--steps", 8, "--save-every", 1e-9, "--active", "camera", "ray", *_SMALL,
              "width=8", "depth=2"]  # fmt: skip
    run("distill", radiance, "--out", tmp_path / "whole", *common)

    class StoppedError(Exception):
        pass

    original = RunFolder.save_state

    def stop_at_four(folder, state, record):
        original(folder, state, record)
        if state.step == 4:
            raise StoppedError

    RunFolder.save_state = stop_at_four
    try:
        with pytest.raises(StoppedError):
            run("distill", radiance, "--out", tmp_path / "parts", *common)
    finally:
        RunFolder.save_state = original
    run("distill", radiance, "--out", tmp_path / "parts", "--resume", *common)
    whole, parts = (nf.load(tmp_path / name / "field.safetensors").state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_a_picture_becomes_another_architecture(picture, tmp_path, capsys) -> None:
    run("distill", picture, "--to", "siren", "--out", tmp_path / "run", "--steps", 150, "--set", "network.width=24",
        "recipe.batch_size=768")  # fmt: skip
    assert "of the teacher's picture" in capsys.readouterr().out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["psnr"] > 16  # the picture's mean color has 13.6 dB
    assert result["teacher_bytes"] > 0
    with Pillow.open(tmp_path / "run" / "reconstruction.png") as drawn:
        assert drawn.size == (32, 24)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["PICTURE", "--to", "nerf"], "holds a picture, but --to is 'nerf', which is no preset for one"),
        (["PICTURE", "--to", "siren", "--resolution", "8"], "holds a picture, but --resolution is for radiance fields"),
        (["PICTURE", "--to", "siren", "--budget-params", "3"], "parameters"),
        (["RADIANCE", "--to", "siren"], "holds a radiance field, but --to is 'siren'"),
        (["RADIANCE", "--to", "vm", "--budget-params", "9"], "--budget-params is for pictures"),
        (["RADIANCE", "--to", "vm", "--release-ranking"], "--release-ranking is a way of --active camera"),
        (["CUT", "--to", "vm"], "is not a whole safetensors file"),
        (["FOREIGN", "--to", "vm"], "not a whole safetensors file"),
        (["nowhere", "--to", "vm"], "does not exist"),
    ],
)
def test_what_is_refused(arguments, sentence: str, picture, radiance, tmp_path, capsys) -> None:
    content = (radiance / "field.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    (tmp_path / "foreign.safetensors").write_bytes(b"\x80\x02}q\x00.")
    places = {"PICTURE": picture, "RADIANCE": radiance, "CUT": tmp_path / "cut.safetensors",
              "FOREIGN": tmp_path / "foreign.safetensors"}  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        run("distill", *[places.get(word, word) for word in arguments], "--out", tmp_path / "out")
    assert stop.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
