"""What a trained radiance field is said to be worth, and by whose rules: ``nerf train``'s report and ``nerf eval``."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ball import write_ball
from test_perceptual import StandIn

import neufield as nf
from neufield.apps import cli
from neufield.apps.nerf import judging
from neufield.core.protocol import PROTOCOLS, average, score
from neufield.signals.photographs import read_photograph
from neufield.signals.scene import read_scene

OPTIONS = ["--steps", 40, "--resolution", 32, "--box", 1, "--set", "recipe.batch_size=2048"]

pytestmark = pytest.mark.usefixtures("one_thread")


def run(*arguments: object) -> None:
    cli.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    return write_ball(tmp_path_factory.mktemp("ball"), train=6, test=3)


@pytest.fixture(scope="module")
def trained(scene, tmp_path_factory) -> tuple[Path, str]:
    """A run's folder, and what was printed."""
    folder = tmp_path_factory.mktemp("runs") / "ball"
    torch.set_num_threads(1)
    patch = pytest.MonkeyPatch()
    patch.setitem(sys.modules, "lpips", None)
    lines: list[str] = []
    patch.setattr("rich.console.Console.print", lambda _, *parts, **__: lines.append(" ".join(map(str, parts))))
    run("nerf", "train", scene, "--out", folder, *OPTIONS)
    patch.undo()
    return folder, "\n".join(lines)


def without_lpips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)


def test_a_run_is_judged_in_all_four_ways(trained) -> None:
    folder, printed = trained
    result = json.loads((folder / "result.json").read_text())
    assert result["protocols"].keys() == PROTOCOLS.keys()
    assert {"psnr": result["psnr"], "ssim": result["ssim"]} == result["protocols"]["nerf"]
    psnrs = [scores["psnr"] for scores in result["protocols"].values()]
    assert len({round(psnr, 4) for psnr in psnrs}) >= 3
    assert result["protocols_psnr_spread"] == max(psnrs) - min(psnrs) > 0
    assert result["protocol_background"] == "white"
    assert (result["protocol_split"], result["protocol_every"], result["n_views"]) == ("test", 1, 3)
    assert {"seconds", "rays_per_second", "seconds_per_view"} <= result.keys()
    for name, scores in result["protocols"].items():
        assert f"{scores['psnr']:6.2f}  {scores['ssim']:6.4f}" in next(
            line for line in printed.splitlines() if line.startswith(name + " ")
        )
    assert f"{result['protocols_psnr_spread']:.2f} dB apart" in printed
    assert "on black" in printed
    assert "rounded down" in printed
    assert 'pip install "neufield[metrics]"' in printed  # rich would take [metrics] for a colour
    assert result["notes"]
    assert "memory: photographs " in printed
    assert printed.index("memory: photographs ") < printed.index("parameters on")


def test_the_scores_are_those_of_what_the_file_renders(trained, scene) -> None:
    folder, _ = trained
    model = nf.load(folder / "field.safetensors")
    frames = read_scene(scene).split("test")
    for name, one in PROTOCOLS.items():
        scores = []
        for frame in frames:
            rgba = judging.render_view(model, frame.camera).rgba
            scores.append(score(rgba, read_photograph(frame).float() / 255, one))
        found = json.loads((folder / "result.json").read_text())["protocols"][name]
        assert found == pytest.approx(average(scores, one), rel=1e-9)  # the same operations on the same bits


def test_eval_says_the_same_without_training(trained, scene, tmp_path, capsys, monkeypatch) -> None:
    without_lpips(monkeypatch)
    folder, _ = trained
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    calls = []
    original = judging.render_view
    monkeypatch.setattr(judging, "render_view", lambda *given: calls.append(given) or original(*given))
    run("nerf", "eval", folder, scene, "--protocol", "ingp")
    assert len(calls) == 3  # once a view, whatever the number of protocols
    trained_result, result = (json.loads((folder / name).read_text()) for name in ("result.json", "eval.json"))
    assert result["protocols"] == trained_result["protocols"]
    assert (result["psnr"], result["protocol"]) == (trained_result["protocols"]["ingp"]["psnr"], "ingp")
    assert result["protocol_background"] == "black"
    (folder / "eval.json").unlink()
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert "nerfbaselines" in capsys.readouterr().out

    out = tmp_path / "some.json"
    run("nerf", "eval", folder / "field.safetensors", scene, "--test-every", 2, "--out", out)
    some = json.loads(out.read_text())
    assert (some["n_views"], some["protocol_every"]) == (2, 2)
    assert some["psnr"] != trained_result["psnr"]
    assert not (folder / "eval.json").exists()


def test_a_scene_without_test_views_is_judged_by_those_it_was_trained_on(trained, tmp_path, monkeypatch) -> None:
    without_lpips(monkeypatch)
    scene = write_ball(tmp_path / "scene", train=10, test=0)
    run("nerf", "eval", trained[0], scene, "--out", tmp_path / "e.json")
    result = json.loads((tmp_path / "e.json").read_text())
    assert (result["views"], result["protocol_split"], result["n_views"]) == ("train", "train", 8)


def test_lpips_where_there_is_one(trained, scene, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(StandIn, "made", [])
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=StandIn))
    run("nerf", "eval", trained[0], scene, "--out", tmp_path / "e.json")
    assert [model.net for model in StandIn.made] == ["vgg", "alex"]  # each is loaded once
    result = json.loads((tmp_path / "e.json").read_text())
    protocols = result["protocols"]
    assert protocols["nerf"]["lpips"] == result["lpips"] > 0
    assert protocols["nerf"]["lpips"] != protocols["nerfstudio"]["lpips"] > 0
    assert "lpips" not in protocols["ingp"]
    assert result["notes"] == []
    assert f"{result['lpips']:6.4f} vgg" in capsys.readouterr().out


def test_a_view_too_small_for_lpips_costs_only_lpips(trained, scene, tmp_path, monkeypatch) -> None:
    def too_small(*_: object) -> float:
        raise RuntimeError("Given input size: (192x1x1). Calculated output size: (192x0x0).\nmore")

    monkeypatch.setattr(judging, "load_lpips", lambda network: too_small)
    run("nerf", "eval", trained[0], scene, "--out", tmp_path / "e.json")
    result = json.loads((tmp_path / "e.json").read_text())
    assert all(scores.keys() == {"psnr", "ssim"} for scores in result["protocols"].values())
    (note,) = result["notes"]
    assert "test/r_0.png (Given input size" in note
    assert "\n" not in note


def test_a_run_killed_among_its_views_is_judged_to_the_end(trained, scene, tmp_path, monkeypatch) -> None:
    without_lpips(monkeypatch)
    folder = shutil.copytree(trained[0], tmp_path / "run")
    finished = json.loads((folder / "result.json").read_text())
    for name in ("result.json", "views.png", "renders/test-r_2.png"):
        (folder / name).unlink()
    (folder / "renders/.neufield-left.png").write_bytes(b"half")
    run("nerf", "train", scene, "--out", folder, "--resume", *OPTIONS)
    result = json.loads((folder / "result.json").read_text())
    assert result["protocols"] == finished["protocols"]
    assert result["steps"] == 40
    assert sorted(path.name for path in (folder / "renders").iterdir()) == [f"test-r_{i}.png" for i in range(3)]
    assert (folder / "views.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "SCENE", "--protocol", "nerv"], "did you mean 'nerf'"),
        (["RUN", "SCENE", "--test-every", "0"], "--test-every is 0"),
        (["NOWHERE", "SCENE"], "does not exist"),
        (["RUN", "NOWHERE"], "no file or folder"),
        (["SCENE", "SCENE"], "field.safetensors does not exist"),
    ],
)
def test_bad_options(arguments: list[str], said: str, trained, scene, tmp_path, capsys) -> None:
    names = {"RUN": trained[0], "SCENE": scene, "NOWHERE": tmp_path / "nowhere"}
    with pytest.raises(SystemExit) as ended:
        run("nerf", "eval", *[names.get(argument, argument) for argument in arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
