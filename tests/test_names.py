"""Names come from outside: they are shown as they are, and one that is not UTF-8 is refused before anything runs."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from ball import write_ball
from commands import run
from PIL import Image as Pillow
from rich.table import Table

from neufield.apps.console import Terminal, track

_QUICK = ["--set", "encoding.n_levels=2", "encoding.log2_hashmap_size=8", "recipe.batch_size=64", "--steps", "2"]
_BARE = ["--resolution", "16", "--box", "1", "--set", "recipe.batch_size=64", "--steps", "2"]
_ODD = "x[/o] [red]y[bold]:smile:"  # a tag that closes nothing is an error of rich's markup, others are eaten


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(path)
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ball(tmp_path_factory.mktemp("scenes") / "ball [1]", train=3, test=1)


def test_fit_render_and_info_print_names_as_they_are(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("photo [edited].png"))
    run("fit", "photo [edited].png", "--out", _ODD, *_QUICK)
    out = capsys.readouterr().out
    assert "photo [edited].png: 8 x 8" in out
    assert f"in {_ODD}: " in out
    assert f"neufield render '{_ODD}/field.safetensors'" in out
    run("render", _ODD, "-o", f"{_ODD}.png")
    run("info", "photo [edited].png")
    run("info", _ODD)
    out = capsys.readouterr().out
    assert f"{_ODD}.png: 8 x 8" in out
    assert "photo [edited].png\n" in out
    assert "name: photo [edited].png" in out


def test_compare_prints_names_as_they_are(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("photo [edited].png"))
    run("compare", "photo [edited].png", "--presets", "ngp", "--seeds", 1, "--out", _ODD, *_QUICK)
    out = capsys.readouterr().out
    assert f"in {_ODD}: compare.png" in out
    assert "photo [edited].png, 8 x 8" in out
    with pytest.raises(SystemExit):
        run("fit", picture(Path("a.png")), "--out", f"{_ODD}/ngp/seed0", *_QUICK)
    assert f"neufield: --out {_ODD}/ngp/seed0 already holds a run" in capsys.readouterr().err


def test_every_command_of_scenes_prints_names_as_they_are(scene: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    run("nerf", "train", scene, "--out", _ODD, *_BARE)
    out = capsys.readouterr().out
    assert f"{scene}: blender" in out
    assert f"in {_ODD}: " in out
    run("nerf", "eval", _ODD, scene)
    run("nerf", "render", _ODD, f"{_ODD} frames", "--frames", 1, "--size", "8x8")
    run("nerf", "export", _ODD, f"{_ODD}.json")
    run("nerf", "doctor", scene, "--out", f"{_ODD}.png")
    run("nerf", "convert", scene, f"{_ODD} as")
    out = "".join(line.strip("\n") for line in capsys.readouterr().out)
    said = (f"{_ODD}/eval.json", f"{_ODD} frames: 1 frame", f"{_ODD}.json: 3", f"{_ODD}.png", f"{_ODD} as")
    assert [text for text in said if text not in out] == []


def test_nothing_that_is_printed_can_command_a_terminal(capsys) -> None:
    console = Terminal()
    table = Table("[b]", title="[i]")
    table.add_row("[red]x\x1b[31m")
    console.print(table)
    console.print("a\x1b]0;title\x07b\r\x9bc\ud800")
    assert list(track([1], "[/x]", console)) == [1]
    out = capsys.readouterr().out
    assert "[b]" in out
    assert "[i]" in out
    assert "[red]x\\x1b[31m" in out
    assert "a\\x1b]0;title\\x07b\\x0d\\x9bc\\x00" in out


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are not bytes")
@pytest.mark.parametrize(
    "command",
    [
        ["fit", b"caf\xe9.png"],
        ["fit", "a.png", "--out", b"caf\xe9"],
        ["compare", b"caf\xe9.png"],
        ["render", "field.safetensors", "-o", b"caf\xe9.png"],
        ["info", b"caf\xe9.png"],
        ["nerf", "train", b"caf\xe9"],
        ["nerf", "eval", b"caf\xe9", "scene"],
        ["nerf", "process", b"caf\xe9", "--out", "scene"],
        ["nerf", "render", "run", b"caf\xe9"],
        ["nerf", "export", "run", b"caf\xe9.ply"],
        ["nerf", "convert", "scene", b"caf\xe9"],
    ],
    ids=lambda command: " ".join(map(str, command)),
)
def test_a_name_that_is_not_utf8_is_refused_at_once(command: list, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path(os.fsdecode(b"caf\xe9.png")))
    picture(Path("a.png"))
    before = sorted(os.listdir(os.fsencode(tmp_path)))
    with pytest.raises(SystemExit) as exit:
        run(*(os.fsdecode(word) for word in command))
    assert exit.value.code == 2
    said = capsys.readouterr().err
    assert "\\xe9" in said
    assert "is not UTF-8" in said
    assert said.count("\n") == 1
    assert sorted(os.listdir(os.fsencode(tmp_path))) == before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are not bytes")
def test_a_photograph_whose_name_is_not_utf8_is_refused(scene: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(scene / "train", tmp_path / "photos")
    picture(tmp_path / "photos" / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(SystemExit) as exit:
        run("nerf", "process", tmp_path / "photos", "--out", tmp_path / "scene")
    assert exit.value.code == 2
    assert "the name caf\\xe9.png is not UTF-8" in capsys.readouterr().err


def test_a_path_to_a_field_may_be_a_folder_without_one(tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut" / "state.safetensors").parent.mkdir()
    (tmp_path / "cut" / "state.safetensors").touch()
    of_compare = tmp_path / "compared" / "ngp" / "seed0"
    of_compare.mkdir(parents=True)
    (of_compare / "field.safetensors").touch()
    hints = {"empty": "is not the folder of a run", "cut": "--resume", "compared": str(of_compare)}
    for name, hint in hints.items():
        with pytest.raises(SystemExit) as exit:
            run("render", tmp_path / name, "-o", tmp_path / "a.png")
        assert exit.value.code == 2
        assert hint in capsys.readouterr().err


def test_json_of_info_is_json(tmp_path: Path, capsys) -> None:
    run("info", picture(tmp_path / "[b].png"), "--json")
    assert json.loads(capsys.readouterr().out)["picture"]["width"] == 8
