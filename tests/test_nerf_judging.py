"""What a trained radiance field is said to be worth, and by whose rules: ``nerf train``'s report and ``nerf eval``."""

import contextlib
import io
import itertools
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ball import SIDE, write_ball
from commands import run
from finished_runs import NERF_OPTIONS, NERF_STEPS
from lpips_stub import StandIn

import neufield as nf
from neufield.apps.console import Terminal
from neufield.apps.counting import Counting
from neufield.apps.nerf import effort, eval_result, evaluation
from neufield.formats.scene import read_scene
from neufield.metrics.protocols import PROTOCOLS, average, score
from neufield.signals.posed_images import read_photograph

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def scene(finished_runs, tmp_path_factory) -> Path:
    return finished_runs.ball(tmp_path_factory.mktemp("ball") / "scene")


@pytest.fixture(scope="module")
def trained(finished_runs, tmp_path_factory) -> tuple[Path, str]:
    """A run's folder, and what was printed."""
    return finished_runs.trained(tmp_path_factory.mktemp("runs") / "ball"), finished_runs.said


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
    assert 'pip install "neufield[metrics]"' in printed  # rich would take [metrics] for a color
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
            rgba = evaluation.render_view(model, frame.camera).rgba
            scores.append(score(rgba, read_photograph(frame).float() / 255, one))
        found = json.loads((folder / "result.json").read_text())["protocols"][name]
        assert found == pytest.approx(average(scores, one), rel=1e-9)  # the same operations on the same bits


def test_eval_says_the_same_without_training(trained, scene, tmp_path, capsys, monkeypatch) -> None:
    without_lpips(monkeypatch)
    folder, _ = trained
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    calls = []
    original = evaluation.render_view
    monkeypatch.setattr(
        evaluation, "render_view", lambda *given, **named: calls.append(given) or original(*given, **named)
    )
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


class Slow:
    """A clock that only rendering moves: by so many seconds a ray; ``stop`` presses Ctrl-C in that view."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds_a_ray: float, stop: int = -1) -> None:
        self.now = 0.0
        self.sizes: list[tuple[int, int]] = []
        original = evaluation.render_view

        def probe(model, camera, time=None):
            self.now += seconds_a_ray * camera.width * camera.height
            return original(model, camera, time=time)

        def render(model, camera, time=None):
            if len(self.sizes) == stop:
                raise KeyboardInterrupt
            self.sizes.append((camera.width, camera.height))
            return probe(model, camera, time)

        monkeypatch.setattr(effort, "render_view", probe)
        monkeypatch.setattr(evaluation, "render_view", render)

    def __call__(self) -> float:
        return self.now


def judged(trained, tmp_path: Path, clock: Slow, seconds: float, views: int = 11, keep=None):
    frames = read_scene(write_ball(tmp_path / "many", train=2, test=views)).split("test")
    model = nf.load(trained[0] / "field.safetensors")
    kept: list[int] = []
    found = evaluation.judge(
        model,
        evaluation.EvalViews(frames, "test", 1, seconds),
        Terminal(),
        lambda place, *_: kept.append(place),
        clock,
    )
    return found, kept, [frame.name for frame in frames]


def test_what_fits_is_judged_as_without_a_budget(trained, tmp_path, monkeypatch) -> None:
    without_lpips(monkeypatch)
    found, kept, names = judged(trained, tmp_path, Slow(monkeypatch, 0.8 / SIDE**2), 10.0)
    assert sorted(kept) == list(range(11))  # 8.8 s of views, and the probes
    assert [frame.name for frame in found.frames] == names
    assert (found.views, found.ended, found.reduction) == ("11 test views", "", 1)
    whole, _, _ = judged(trained, tmp_path / "whole", Slow(monkeypatch, 100.0), float("inf"))
    assert whole.scores == found.scores
    record = found.record("nerf")
    assert (record["n_views"], record["n_views_there"], record["judged"]) == (11, 11, names)
    assert (record["judged_at"], record["judging_ended"]) == ("full size", "with the last view")


def test_a_budget_takes_fewer_views_spread_over_all(trained, tmp_path, monkeypatch, capsys) -> None:
    without_lpips(monkeypatch)
    clock = Slow(monkeypatch, 2.0 / SIDE**2)
    found, kept, names = judged(trained, tmp_path, clock, 10.0)
    assert clock.sizes == [(SIDE, SIDE)] * len(kept)
    assert kept == [0, 8, 4]  # 2.9 s of probes and 2 s a view: a fourth would end at 10.9
    assert clock.now <= 10
    assert found.views == "3 of 11 test views"
    record = found.record("nerf")
    assert record["judged"] == [names[0], names[4], names[8]]
    assert record["judging_ended"] == "all would have taken longer than 10 s (--eval-budget)"
    for place, name in enumerate(record["judged"]):  # in the scene's order
        assert found.each[place] == judged_alone(trained, tmp_path, name)
    eval_result.print_eval_result(found, Terminal())
    assert "judged by 3 of 11 test views: all would have taken longer than 10 s" in capsys.readouterr().out


def judged_alone(trained, tmp_path: Path, name: str):
    (frame,) = (one for one in read_scene(tmp_path / "many").split("test") if one.name == name)
    model = nf.load(trained[0] / "field.safetensors")
    return evaluation.judge(model, evaluation.EvalViews((frame,), "test", 1), Terminal()).each[0]


def test_a_budget_takes_smaller_views_where_three_are_too_many(trained, tmp_path, monkeypatch) -> None:
    without_lpips(monkeypatch)
    clock = Slow(monkeypatch, 8.0 / SIDE**2)
    found, kept, _ = judged(trained, tmp_path, clock, 10.0)
    assert set(clock.sizes) == {(SIDE // 2, SIDE // 2)}
    assert found.reduction == 2
    assert 1 <= len(kept) < 11
    assert found.views == f"{len(kept)} of 11 test views at 1/2 size"
    assert found.record("nerf")["judged_at"] == "1/2 size"
    assert found.scores["nerf"]["psnr"] > 10  # of the same picture: noise or a shifted photograph would be below


def test_at_least_one_view_is_judged(trained, tmp_path, monkeypatch) -> None:
    without_lpips(monkeypatch)
    found, kept, _ = judged(trained, tmp_path, Slow(monkeypatch, 1e6), 1e-3)
    assert kept == [0]
    assert found.views == "1 of 11 test views at 1/8 size"


@pytest.mark.parametrize(("stop", "views"), [(0, None), (2, "2 of 11 test views")])
def test_ctrl_c_keeps_what_is_judged(stop: int, views: str | None, trained, tmp_path, monkeypatch) -> None:
    without_lpips(monkeypatch)
    found, kept, _ = judged(trained, tmp_path, Slow(monkeypatch, 0.0, stop), float("inf"))
    assert kept == [0, 8][:stop]
    assert (found.views if found else None) == views
    assert found is None or (found.stopped and found.ended == "stopped by Ctrl-C")


def test_ctrl_c_while_judging_loses_no_training(scene, tmp_path, monkeypatch, capsys) -> None:
    without_lpips(monkeypatch)
    for stop in (0, 1):
        Slow(monkeypatch, 0.0, stop)
        folder = tmp_path / f"run{stop}"
        with pytest.raises(SystemExit) as ended:
            run("nerf", "train", scene, "--out", folder, "--eval-budget", "inf", *NERF_OPTIONS, "--steps", 5)
        assert ended.value.code == 130
        result = json.loads((folder / "result.json").read_text())
        assert result["steps"] == 5
        assert result.get("n_views") == (stop or None)
        assert nf.load(folder / "field.safetensors").cameras.count == 12
        monkeypatch.undo()
        without_lpips(monkeypatch)
    out = capsys.readouterr().out
    assert "not judged, stopped by Ctrl-C before the first view" in out
    assert "1 of 3 test views: stopped by Ctrl-C" in out


def test_a_run_that_is_not_judged_says_who_could(scene, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(evaluation, "judge", None)
    run("nerf", "train", scene, "--out", tmp_path / "run", "--no-eval", *NERF_OPTIONS, "--steps", 5)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["steps"] == 5
    assert not {"psnr", "n_views", "protocols"} & result.keys()
    assert not (tmp_path / "run" / "renders").exists()
    assert "not judged, as --no-eval says, after 5 steps" in capsys.readouterr().out


def test_progress_without_a_terminal_is_a_line_now_and_then() -> None:
    moments = iter([0.0, 0.0, 4.0, 11.0, 12.0, 21.5])
    terminal = Terminal(file=io.StringIO())
    with Counting(terminal, "judging", lambda: next(moments)) as counting:
        for done in range(5):
            counting.show(done, 8)
    assert terminal.file.getvalue().splitlines() == ["judging  0/8", "judging  2/8  ETA 0:33", "judging  4/8  ETA 0:22"]


@pytest.mark.parametrize("stop", [None, KeyboardInterrupt])
def test_progress_without_a_terminal_ends_with_the_last_count(stop: type[BaseException] | None) -> None:
    moments = iter([0.0, 0.0, 1.0, 2.0])
    terminal = Terminal(file=io.StringIO())
    with contextlib.suppress(KeyboardInterrupt), Counting(terminal, "judging", lambda: next(moments)) as counting:
        for done in range(3):
            counting.show(done, 2)
        if stop:
            raise stop
    assert terminal.file.getvalue().splitlines() == ["judging  0/2", "judging  2/2  ETA 0:00"]


def test_progress_on_a_terminal_has_what_is_left() -> None:
    file = io.StringIO()
    moments = iter([0.0, 0.0, 10.0])
    terminal = Terminal(file=file, force_terminal=True, width=100)
    with Counting(terminal, "judging", lambda: next(moments)) as counting:
        counting.show(0, 8)
        counting.show(2, 8)
        counting.progress.refresh()
    assert "2/8  ETA 0:30" in file.getvalue()


@pytest.mark.parametrize("count", [1, 2, 3, 8, 11])
def test_every_beginning_of_the_order_is_spread(count: int) -> None:
    order = list(effort.evenly(count))
    assert sorted(order) == list(range(count))
    for n in range(2, count + 1):
        gaps = [b - a for a, b in itertools.pairwise([*sorted(order[:n]), count])]
        assert max(gaps) <= 4 * count / n  # twice what even gaps are, twice for what is left out beyond the count


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

    monkeypatch.setattr(evaluation, "load_lpips", lambda network: too_small)
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
    (folder / "renders/.neufield-left").mkdir()
    (folder / "renders/.neufield-left/half.png").touch()
    run("nerf", "train", scene, "--out", folder, "--resume", *NERF_OPTIONS)
    result = json.loads((folder / "result.json").read_text())
    assert result["protocols"] == finished["protocols"]
    assert result["steps"] == NERF_STEPS
    assert sorted(path.name for path in (folder / "renders").iterdir()) == [f"test-r_{i}.png" for i in range(3)]
    assert (folder / "views.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "SCENE", "--protocol", "nerv"], "did you mean 'nerf'"),
        (["RUN", "SCENE", "--test-every", "0"], "--test-every is 0"),
        (["RUN", "SCENE", "--eval-budget", "0"], "--eval-budget is 0"),
        (["RUN", "SCENE", "--eval-budget", "nan"], "--eval-budget is nan"),
        (["NOWHERE", "SCENE"], "does not exist"),
        (["RUN", "NOWHERE"], "no file or folder"),
        (["SCENE", "SCENE"], "not the folder of a run"),
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
