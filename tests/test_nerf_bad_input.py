"""Bad scenes from end to end: ``neufield nerf train`` says one sentence, exits with 2 and leaves nothing behind."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import ANGLE, SIDE, looking_at_origin, photograph, write_ball
from PIL import Image as Pillow
from scene_files import colmap, edit, llff, picture, poses, transforms

import neufield as nf
from neufield.apps import cli
from neufield.fitting.files import read_header
from neufield.signals.posed_images import PosedImages

pytestmark = pytest.mark.usefixtures("one_thread")

Spoil = Callable[[Path], object]
TINY = ["--resolution", "16", "--box", "1", "--set", "recipe.batch_size=512"]


def train(scene: Path, *options: object) -> None:
    cli.main(["nerf", "train", str(scene), *map(str, options)])


def frames(folder: Path, change: Callable[[list[dict]], object], split: str = "train") -> None:
    """The ball, with the frames of one split changed."""
    write_ball(folder, train=4, test=2)
    path = folder / f"transforms_{split}.json"
    document = json.loads(path.read_text())
    change(document["frames"])
    path.write_text(json.dumps(document))


def with_frames(change: Callable[[list[dict]], object], split: str = "train") -> Spoil:
    return lambda folder: frames(folder, change, split)


def with_file(change: Callable[[Path], object], name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        write_ball(folder, train=4, test=2)
        change(folder / name)

    return spoil


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def poses_of_other_pictures(folder: Path) -> None:
    """COLMAP's points are seen far from where the cameras put them."""
    seen = [(1.0, 1.0, i + 1) for i in range(4)]
    images = [(i + 1, [1.0, 0, 0, 0], [0.1 * i, 0.0, 0.0], 1, f"{i}.png", seen) for i in range(3)]
    points = [(i + 1, [2.0 + 0.1 * i, 1.5, 4.0], [9, 9, 9]) for i in range(4)]
    colmap(folder, [(1, "PINHOLE", 80, 60, [60.0, 60.0, 40.0, 30.0])], images, points)
    for i in range(3):
        picture(folder / f"images/{i}.png", 80, 60)


def masked_wrongly(folder: Path) -> None:
    path = transforms(folder, camera_model="OPENCV", fl_x=10.0, fl_y=10.0)
    document = json.loads(path.read_text())
    for frame in document["frames"]:
        frame["mask_path"] = "m.png"
    path.write_text(json.dumps(document | {"train_filenames": ["images/a.png", "images/b.png"]}))
    picture(folder / "m.png", 4, 3, value=255, mode="L")


def float_pictures(folder: Path) -> None:
    folder.mkdir()
    np.savez(folder / "t.npz", images=np.full((5, 6, 8, 3), 9.0, np.float32), poses=poses(5), focal=10.0)


def boxed(folder: Path, box: list[list[float]]) -> None:
    """instant-ngp's scene, whose box is all that is wrong."""
    edit(transforms(folder, names=[f"images/{i}.png" for i in range(4)], fl_x=10.0), aabb=box)


BAD: dict[str, tuple[Spoil, str]] = {
    "NaN pose": (
        with_frames(lambda all_: all_[1].update(transform_matrix=(np.eye(4) * np.nan).tolist())), "holds a NaN",
    ),
    "pose that is not rigid": (
        with_frames(lambda all_: all_[1].update(transform_matrix=np.diag([3.0, 1, 1, 1]).tolist())), "is not rigid",
    ),
    "mirrored pose": (
        with_frames(lambda all_: all_[1].update(transform_matrix=np.diag([-1.0, 1, 1, 1]).tolist())),
        "mirrors the world",
    ),
    "9 of 10 photographs missing": (
        lambda folder: [path.unlink() for path in sorted((write_ball(folder, 10, 0) / "train").iterdir())[1:]],
        "of the 10 photographs that the scene lists only train/r_0.png exists, .*put the others there: ./train/r_1, "
        "./train/r_2, ./train/r_3 and 6 more",
    ),
    "one photograph": (lambda folder: write_ball(folder, train=1, test=0), "has one photograph"),
    "one photograph to train on": (
        with_frames(lambda all_: all_.__delitem__(slice(1, None))), "has 1 photographs to train on",
    ),
    "no cameras": (
        lambda folder: (folder.mkdir(), (folder / "transforms.json").write_text('{"fl_x": 9, "frames": []}')),
        "'frames' is \\[\\], but a list with entries",
    ),
    "no cameras at all": (
        lambda folder: picture(folder / "images/a.png"),
        "holds 1 photograph without poses, .*find them with neufield nerf process",
    ),
    "nothing at all": (lambda folder: folder.mkdir(), "is no scene of posed photographs"),
    "a box that no ray meets": (
        lambda folder: boxed(folder, [[90.0, 90.0, 90.0], [91.0, 91.0, 91.0]]),
        "none of the photographs' rays meets the box from .90, 90, 90. to .91, 91, 91.: the cameras stand between",
    ),
    "only absent files": (
        with_frames(lambda all_: [frame.update(file_path=f"gone/{i}") for i, frame in enumerate(all_)]),
        "lists 4 photographs, none of which exists",
    ),
    "more poses than pictures": (
        lambda folder: (llff(folder), (folder / "images/03.png").unlink()), "9 poses, but images holds 8 pictures",
    ),
    "poses of other pictures": (poses_of_other_pictures, "poses contradict the photographs"),
    "a damaged photograph": (with_file(cut, "train/r_1.png"), "r_1.png is damaged|cannot read"),
    "a damaged test photograph": (with_file(cut, "test/r_1.png"), "r_1.png is damaged|cannot read"),
    "a text for a photograph": (with_file(lambda path: path.write_text("no"), "train/r_2.png"), "r_2.png"),
    "masks of another size": (masked_wrongly, "the mask .* is 4 x 3 pixels, but images/a.png is 8 x 6"),
    "a world of floats": (float_pictures, "from 9 to 9, but uint8, or floats"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_scene_is_one_sentence_and_leaves_nothing(name: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    spoil, pattern = BAD[name]
    spoil(tmp_path / "scene")
    before = sorted(tmp_path.rglob("*"))
    for out in ([], ["--out", "here"]):
        with pytest.raises(SystemExit) as ended:
            train(tmp_path / "scene", "--steps", 1, *out)
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert re.search(pattern, error), error
        assert error.count("\n") == 1
        assert not re.search(r"Traceback|[.!?] [A-Z]", error), error
        assert sorted(tmp_path.rglob("*")) == before


def test_a_budget_that_memory_cannot_hold(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    scene = write_ball(tmp_path / "scene", train=4, test=1)
    with pytest.raises(SystemExit) as ended:
        train(scene, "--set", "recipe.batch_size=10000000000")
    assert ended.value.code == 2
    said, error = capsys.readouterr()
    assert "memory: photographs" in said  # the budget is stated before
    assert re.search(r"a training step takes about [\d,]+\.\d GB in memory, but .* recipe.batch_size", error)
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_absent_files_are_named_and_left_out(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    frames(tmp_path / "scene", lambda all_: [frame.update(file_path="gone/x") for frame in all_[2:]])
    train(tmp_path / "scene", "--out", tmp_path / "run", "--steps", 2, *TINY)
    said = " ".join(capsys.readouterr().out.split())
    assert "note: file_path: The photograph does not exist and was left out. (2 frames, the first gone/x)" in said
    assert "2 photographs to train on" in said


def test_photographs_of_eight_sizes(tmp_path: Path, monkeypatch) -> None:
    """Each is trained on and judged at its own size."""
    monkeypatch.setitem(sys.modules, "lpips", None)
    scene = tmp_path / "scene"
    entries = []
    for i in range(10):
        pose = looking_at_origin(0.6 * i, 0.2)
        side = SIDE - max(0, i - 2)  # eight sizes among ten
        (scene / "images").mkdir(parents=True, exist_ok=True)
        drawn = Pillow.fromarray(photograph(pose)).resize((side, SIDE), Pillow.Resampling.BOX)
        drawn.save(scene / f"images/{i}.png")
        focal = 0.5 * SIDE / np.tan(0.5 * ANGLE)
        entries.append({"file_path": f"images/{i}.png", "transform_matrix": pose.tolist(), "w": side, "h": SIDE,
                        "fl_x": focal * side / SIDE, "fl_y": focal, "cx": side / 2, "cy": SIDE / 2})  # fmt: skip
    (scene / "transforms.json").write_text(json.dumps({"camera_model": "PINHOLE", "frames": entries}))
    train(scene, "--out", tmp_path / "run", "--steps", 20, *TINY)
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["n_views"] == 2  # the first and the ninth
    sizes = set()
    for path in (tmp_path / "run/renders").iterdir():
        with Pillow.open(path) as drawn:
            sizes.add(drawn.size)
    assert sizes == {(SIDE, SIDE), (SIDE - 6, SIDE)}


def test_memory_that_ends_in_training_loses_nothing(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    scene = write_ball(tmp_path / "scene", train=4, test=1)
    common = ["--steps", 8, "--save-every", 1e-9, *TINY]
    train(scene, "--out", tmp_path / "whole", *common)
    original = PosedImages.sample

    def sample(self: PosedImages, n: int, generator: torch.Generator, step: int = 0) -> object:
        if step == 5:
            torch.empty(2**50)
        return original(self, n, generator, step)

    monkeypatch.setattr(PosedImages, "sample", sample)
    with pytest.raises(SystemExit) as ended:
        train(scene, "--out", tmp_path / "broken", *common)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "the memory does not suffice" in error
    assert error.count("\n") == 1
    assert read_header(tmp_path / "broken/state.safetensors", "state")["facts"]["step"] == 5
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "lpips", None)
    train(scene, "--out", tmp_path / "broken", "--resume", *common)
    whole, broken = (nf.load(tmp_path / name / "field.safetensors").state_dict() for name in ("whole", "broken"))
    assert all(torch.equal(value, broken[key]) for key, value in whole.items())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits a process's memory by Linux's means")
def test_memory_that_really_ends(tmp_path: Path) -> None:
    """The plan is told that there is enough, the process that there is not: torch's own allocation fails."""
    scene = write_ball(tmp_path / "scene", train=4, test=1)
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from neufield.apps import cli\n"
        "from neufield.apps.nerf import train\n"
        "from neufield.presets.scene import memory_plan\n"
        "memory_plan.allowed_memory = lambda: None\n"
        "used = 4096 * int(Path('/proc/self/statm').read_text().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)\n"
        "cli.main(sys.argv[1:])\n"
    )
    arguments = ["nerf", "train", str(scene), "--preset", "nerf", "--set", "recipe.batch_size=4000000"]
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--out", str(tmp_path / "run")],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert result.returncode == 2, result.stderr
    *before, last = result.stderr.splitlines()
    assert last.startswith("neufield: the memory does not suffice")
    assert all("PyTorch does the work" in line for line in before)  # where the native kernels are not there
