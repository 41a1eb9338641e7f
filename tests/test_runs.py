"""A run is known by what it learns from; it goes on where it may, and says what there is to say."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import write_ball
from commands import run
from PIL import Image as Pillow
from safetensors.torch import load_file

import neufield as nf
from neufield.apps.stopping import saved_on_ctrl_c
from neufield.core.errors import DataError
from neufield.fitting.files import read_header

_TINY = ["--set", "encoding.n_levels=2", "encoding.log2_hashmap_size=8", "recipe.batch_size=64"]
_BARE = ["--resolution", "16", "--box", "1", "--set", "recipe.batch_size=64"]


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """The one sentence."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        run(*arguments)
    assert exit.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def picture(path: Path, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Pillow.fromarray(values).save(path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_picture_of_the_same_name_and_size_is_refused(tmp_path: Path, capsys) -> None:
    file = picture(tmp_path / "a.bmp", 1)
    size = file.stat().st_size
    out = tmp_path / "run"
    run("fit", file, "--out", out, "--steps", 3, *_TINY)
    before = contents(out)
    assert picture(file, 2).stat().st_size == size
    said = refused(capsys, "fit", file, "--out", out, "--resume", "--steps", 3, *_TINY)
    assert "because since it was started the picture a.bmp has changed" in said
    assert "--overwrite" in said
    assert contents(out) == before
    picture(file, 1)
    run("fit", file, "--out", out, "--resume", "--steps", 3, *_TINY)


def test_another_picture_in_the_place_of_a_comparisons_is_refused(tmp_path: Path, capsys) -> None:
    file = picture(tmp_path / "a.bmp", 1)
    options = ["--presets", "ngp", "--seeds", 1, "--out", tmp_path / "run", "--steps", 2, *_TINY]
    run("compare", file, *options)
    picture(file, 2)
    assert "the picture a.bmp has changed" in refused(capsys, "compare", file, *options, "--resume")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("nerf")
    scene = write_ball(folder / "ball", train=5, test=1)
    run("nerf", "train", scene, "--out", folder / "run", "--steps", 2, *_BARE)
    return scene, folder / "run"


def change_photographs(scene: Path) -> None:
    for i in range(5):
        with Pillow.open(scene / f"train/r_{i}.png") as photograph:
            turned = photograph.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
        turned.save(scene / f"train/r_{i}.png")


def change_a_pose(scene: Path) -> None:
    file = scene / "transforms_train.json"
    described = json.loads(file.read_text())
    described["frames"][2]["transform_matrix"][0][3] += 1e-6
    file.write_text(json.dumps(described))


def remove_a_photograph(scene: Path) -> None:
    file = scene / "transforms_train.json"
    described = json.loads(file.read_text())
    del described["frames"][4]
    file.write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_photographs, "the photograph train/r_0.png has changed, the photograph train/r_1.png has changed, the "
         "photograph train/r_2.png has changed (and 2 more)"),
        (change_a_pose, "since it was started the camera of train/r_2.png has changed; bring"),
        (remove_a_photograph, "the photograph train/r_4.png is gone, the camera of train/r_4.png is gone"),
    ],
)  # fmt: skip
def test_other_photographs_and_poses_are_refused(change, said: str, trained, tmp_path: Path, capsys) -> None:
    scene = shutil.copytree(trained[0], tmp_path / "ball")
    out = shutil.copytree(trained[1], tmp_path / "run")
    change(scene)
    before = contents(out)
    assert said in refused(capsys, "nerf", "train", scene, "--out", out, "--resume", "--steps", 2, *_BARE)
    assert contents(out) == before


def test_a_finished_run_goes_on_to_more_steps(tmp_path: Path, capsys) -> None:
    file, out = picture(tmp_path / "a.png"), tmp_path / "run"
    run("fit", file, "--out", out, "--steps", 3, *_TINY)
    run("fit", file, "--out", out, "--resume", "--steps", 5, *_TINY)
    said = capsys.readouterr().out
    assert "resumed at step 3\nbegun for 3 steps, it now goes on to 5 steps\n" in said
    assert json.loads((out / "result.json").read_text())["steps"] == 5
    seconds = round(read_header(out / "state.safetensors", "state")["facts"]["seconds"] + 0.3, 1)
    run("fit", file, "--out", out, "--resume", "--time-budget", seconds, *_TINY)
    said = capsys.readouterr().out
    assert f"resumed at step 5\nbegun for 5 steps, it now goes on to {seconds:g} s\n" in said
    assert json.loads((out / "result.json").read_text())["stopped_by"] == "time-budget"
    steps = read_header(out / "state.safetensors", "state")["facts"]["step"]
    assert steps > 5
    assert f"{steps} steps already, more than 5" in refused(
        capsys, "fit", file, "--out", out, "--resume", "--steps", 5, *_TINY
    )
    assert "already, more than 0.01 s" in refused(
        capsys, "fit", file, "--out", out, "--resume", "--time-budget", 0.01, *_TINY
    )
    assert "steps=None, but now steps=" in refused(capsys, "fit", file, "--out", out, "--resume", *_TINY)


def test_a_finished_comparison_and_a_finished_training_go_on_to_more_steps(trained, tmp_path: Path, capsys) -> None:
    file = picture(tmp_path / "a.png")
    options = ["--presets", "ngp", "--seeds", 1, "--out", tmp_path / "compared", *_TINY]
    run("compare", file, *options, "--steps", 2)
    run("compare", file, *options, "--steps", 2, "--resume")
    assert "1 of 1 runs are finished already" in capsys.readouterr().out
    run("compare", file, *options, "--steps", 4, "--resume")
    assert json.loads((tmp_path / "compared/compare.json").read_text())["rows"][0]["steps"] == 4

    out = shutil.copytree(trained[1], tmp_path / "run")
    run("nerf", "train", trained[0], "--out", out, "--resume", "--steps", 4, *_BARE)
    assert "begun for 2 steps, it now goes on to 4 steps" in capsys.readouterr().out
    assert json.loads((out / "result.json").read_text())["steps"] == 4


def test_fit_goes_on_from_a_state_with_a_longer_recipe_and_not_with_the_same() -> None:
    signal = nf.signals.Array(torch.rand(8, 8, 3))
    field = nf.presets.ngp(dim=2, out_dim=3, shape=(8, 8))

    def fit(state, steps: int, **how):
        return nf.fit(field, signal, nf.Recipe(steps=steps, batch_size=16), state=state, **how)

    state = fit(None, 3)
    assert (state.step, state.stopped) == (3, "steps")
    assert fit(state, 3).step == 3
    with pytest.raises(nf.NeufieldError, match=r"has 3 steps already, more than the recipe's 2; give a recipe of more"):
        fit(state, 2)
    assert (state.step, state.stopped) == (3, "steps")
    assert fit(state, 5).step == 5
    state = fit(state, 10**6, time_budget=state.seconds + 0.05)
    assert state.stopped == "time-budget"
    steps = state.step
    assert fit(state, 10**6, time_budget=state.seconds).step == steps
    state = fit(state, 10**6, target=-100.0, evaluate_every=1)  # which every field reaches
    assert (state.stopped, state.step) == ("target", steps)
    state.stopped = "because a hook said so"
    assert fit(state, steps + 2).step == steps + 2


def test_a_hook_ends_a_run_by_saying_why() -> None:
    def enough(state) -> None:
        if state.step == 2:
            state.stopped = "enough"

    signal = nf.signals.Array(torch.rand(8, 8, 3))
    field = nf.presets.ngp(dim=2, out_dim=3, shape=(8, 8))
    state = nf.fit(field, signal, nf.Recipe(steps=9, batch_size=16), hooks=[enough])
    assert (state.step, state.stopped) == (2, "enough")


def test_without_anything_to_resume_a_line_says_so(tmp_path: Path, capsys) -> None:
    run("fit", picture(tmp_path / "a.png"), "--out", tmp_path / "run", "--resume", "--steps", 2, *_TINY)
    assert f"nothing to resume in {tmp_path / 'run'}: the run begins anew\n" in capsys.readouterr().out


def test_another_environment_is_said_and_allowed(tmp_path: Path, capsys) -> None:
    file, out = picture(tmp_path / "a.png"), tmp_path / "run"
    options = ["--out", out, "--steps", 2, *_TINY]
    run("fit", file, *options, "--backend", "torch")
    run("fit", file, *options, "--backend", "torch", "--resume")
    assert "note: saved with" not in capsys.readouterr().out
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        run("fit", file, *options, "--resume", "--backend", "torch")
    finally:
        torch.set_num_threads(before)
    said = capsys.readouterr().out
    assert f"note: saved with threads {before}, it goes on with threads {before + 1}; its last bits may differ" in said
    run("fit", file, *options, "--resume")
    assert "note: saved with backend torch, it goes on with backend " in capsys.readouterr().out


def in_a_process(*arguments: object) -> subprocess.Popen:
    """The command, begun: Python's own start is over."""
    code = "from neufield.apps.cli import main; print(flush=True); main()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline()
    return child


def test_ctrl_c_is_answered_at_any_moment(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    command = ["fit", file, "--out", tmp_path / "run", "--time-budget", 500, "--save-every", 0.01, *_TINY]
    for moment in (0.01, 0.2, 1.0, 2.0):  # seconds: in or after the imports, as the machine has it
        child = in_a_process(*command)
        time.sleep(moment)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=100)
        assert child.returncode == 130, said
        assert "Traceback" not in said
        assert said.strip().startswith("neufield: stopp")
        shutil.rmtree(tmp_path / "run", ignore_errors=True)


def test_ctrl_c_saves_in_a_training_that_has_begun(tmp_path: Path) -> None:
    file, out = picture(tmp_path / "a.png"), tmp_path / "run"
    child = in_a_process("fit", file, "--out", out, "--time-budget", 500, "--save-every", 0.01, *_TINY)
    while not (out / "state.safetensors").exists():
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=100)
    assert child.returncode == 130
    stopping, stopped = said.strip().split("\n")
    assert stopping == "neufield: stopping after this step"
    step = read_header(out / "state.safetensors", "state")["facts"]["step"]
    assert stopped == f"neufield: stopped at step {step}, which is saved; --resume and the same --out go on"
    assert not list(out.glob(".*"))


def test_the_state_that_ctrl_c_leaves_is_that_of_a_step(tmp_path: Path, capsys) -> None:
    file = picture(tmp_path / "a.png")
    options = [*_TINY, "--steps", 40, "--save-every", 1000]
    run("fit", file, "--out", tmp_path / "whole", *options)
    capsys.readouterr()

    def press(steps: int):
        def hook(state) -> None:
            if state.step == steps:
                os.kill(os.getpid(), signal.SIGINT)

        return hook

    with pytest.MonkeyPatch.context() as patch:
        from neufield.apps import run as runs

        before = runs.fit
        patch.setattr(runs, "fit", lambda *a, hooks, **k: before(*a, hooks=[press(7), *hooks], **k))
        with pytest.raises(SystemExit) as exit:
            run("fit", file, "--out", tmp_path / "broken", *options)
    assert exit.value.code == 130
    assert "stopped at step 7, which is saved" in capsys.readouterr().err
    header = read_header(tmp_path / "broken/state.safetensors", "state")
    assert (header["facts"]["step"], header["facts"]["stopped"]) == (7, "")
    run("fit", file, "--out", tmp_path / "broken", "--resume", *options)
    a, b = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "broken"))
    assert a.keys() == b.keys()
    assert [key for key in a if not a[key].equal(b[key])] == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_stops_at_once_and_a_late_one_is_not_lost() -> None:
    field = nf.presets.ngp(dim=2, out_dim=3, shape=(8, 8))
    state = nf.fitting.start(field, field.recipe)
    saved: list[int] = []

    def twice() -> None:
        with saved_on_ctrl_c(state, lambda state: saved.append(state.step)):
            signal.raise_signal(signal.SIGINT)
            assert state.stopped != ""
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert saved == []
    state.stopped = "steps"  # it has come to its end, and its last save is being written

    def late() -> None:
        with saved_on_ctrl_c(state, lambda state: saved.append(state.step)):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        late()
    assert state.stopped == "steps"
    assert saved == []


def test_of_two_runs_into_one_folder_one_wins(tmp_path: Path, capsys) -> None:
    file, out = picture(tmp_path / "a.png"), tmp_path / "run"
    child = in_a_process("fit", file, "--out", out, "--time-budget", 500, "--save-every", 1000, *_TINY)
    while not (out / ".neufield-lock").exists():
        time.sleep(0.01)
    for flag in ([], ["--resume"], ["--overwrite"]):
        said = refused(capsys, "fit", file, "--out", out, "--steps", 2, *flag, *_TINY)
        assert f"another neufield (process {child.pid} on " in said
        assert f"is writing {out}; wait" in said
    said = refused(capsys, "compare", file, "--out", out, "--presets", "ngp", "--steps", 2, *_TINY)
    assert f"another neufield (process {child.pid} on " in said
    child.kill()
    child.communicate()
    assert (out / ".neufield-lock").exists()
    run("fit", file, "--out", out, "--steps", 2, *_TINY)  # a killed one keeps nobody out
    assert not list(out.glob(".*"))


def test_runs_without_a_folder_each_get_their_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = set()
    threads = [threading.Thread(target=lambda: made.add(cli_folder())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert all(path.is_dir() for path in made)


def cli_folder() -> Path:
    from neufield.apps.run_folder import default_folder

    return default_folder("photo.png")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").touch()
    with pytest.raises(DataError, match="choose a folder with --out"):
        cli_folder()


def test_a_level_of_no_size_is_one_sentence(tmp_path: Path, capsys) -> None:
    settings = ["--set", "encoding.per_level_scale=1e-9", "encoding.n_levels=4"]
    said = refused(capsys, "fit", picture(tmp_path / "a.png"), "--out", tmp_path / "run", *settings)
    assert "per_level_scale" in said
    assert not (tmp_path / "run").exists()
