"""The commands know kinds of signals by their files alone: a new kind is three, and what a file holds decides."""

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from ball import write_ball
from PIL import Image as Pillow

from neufield.apps import cli, tasks
from neufield.apps import run as runs
from neufield.apps.tasks import kinds
from neufield.field_files import load_signal

_SIGNAL = '''
"""A tone: numbers, one a line, at even times."""

import numpy as np
import torch
from neufield.core.domain import Axis, Domain
from neufield.core.interfaces import Evaluator, Exporter, Source
from neufield.core.metrics import Metric, Metrics
from neufield.core.records import Batch
from neufield.core.signal_info import SignalInfo, digest_of

ERROR = Metric("rms", "RMS error", digits=3, higher_is_better=False)


class Tone(Source, Evaluator):
    headline = ERROR

    def __init__(self, path):
        self.path = path
        self.values = torch.from_numpy(np.loadtxt(path, dtype=np.float32)[:, None])
        n = len(self.values)
        self.x = (torch.arange(n)[:, None] + 0.5) / n
        domain = Domain((Axis("time", 0.0, n / 8000, "s", cells=n),))
        size = path.stat().st_size
        self.info = SignalInfo("tone", path.name, domain, 1, size, digest_of(self.values.numpy()))

    def sample(self, n, generator, step=0):
        chosen = torch.randint(len(self.x), (n,), generator=generator)
        return Batch(self.x[chosen], self.values[chosen])

    def evaluate(self, predict, limit=None):
        with torch.no_grad():
            error = predict(self.x) - self.values
        return Metrics({ERROR.name: float(error.square().mean().sqrt())}, ERROR)


class ToneExporter(Exporter):
    def __init__(self, n):
        self.n = n

    def write(self, path, predict, size=None):
        np.savetxt(path, self._values(predict, size), fmt="%.6f")

    def preview(self, predict, size=None):
        heights = np.clip(self._values(predict, size)[:, 0] * 20 + 20, 0, 39).astype(int)
        return np.repeat(np.uint8(np.arange(40)[:, None] == heights)[:, :, None] * 255, 3, axis=2)

    def _values(self, predict, size):
        n = (size or [self.n])[0]
        with torch.no_grad():
            return predict((torch.arange(n)[:, None] + 0.5) / n).numpy()
'''
_REPORT = '''
"""What is said of a tone."""

from neufield.apps.load_field import predictor
from neufield.apps.tasks import Report
from neufield.apps.tasks.tone_signal import ToneExporter


class ToneReport(Report):
    unit = "samples"

    def __init__(self, tone):
        self.tone = tone

    def judge(self, written, folder, history, console):
        ToneExporter(len(self.tone.x)).write(folder.path / "again.tone", predictor(written))
        return self.tone.evaluate(predictor(written)).values

    def lines(self, result, folder):
        yield f"the tone is {result['rms']:.3f} off after {result['steps']} steps"
'''
_TASK = '''
"""Tones as tasks."""

import torch
from PIL import Image
from neufield import presets
from neufield.apps.tasks import Kind, Subject, Task, Wish
from neufield.apps.tasks.tone_report import ToneReport
from neufield.apps.tasks.tone_signal import Tone, ToneExporter
from neufield.core.edits import Edit


class ToneSubject(Subject):
    def __init__(self, path, options, device):
        self.tone, self.options, self.device = Tone(path), options, device
        self.name, self.size, self.headline = path.name, f"{len(self.tone.x)} samples", self.tone.headline
        self.contents, self.choices = {f"the tone {path.name}": self.tone.info.digest}, {}

    def wish(self, preset, edits=(), n_params=None):
        return Wish(preset, edits, presets.SignalFacts(1, 1, (len(self.tone.x),), self.tone.info.source_bytes))

    def task(self, wish, seed):
        generator = torch.Generator().manual_seed(seed)
        field = presets.find(wish.preset)(wish.facts, generator)
        steps = [] if self.options.steps is None else [Edit("recipe.steps", self.options.steps)]
        field = presets.customize(field, [*wish.edits, *steps], generator).to(self.device)
        report, info = ToneReport(self.tone), self.tone.info
        return Task(info, self.tone, field, None, self.tone, report, wish.preset, self.contents, 5, about="a tone")

    def picture(self, folders, histories):
        return Image.new("RGB", (10 * len(folders), 10))


class ToneKind(Kind):
    name, noun, presets = "tone", "a tone", "ngp,siren"

    def accepts(self, path):
        return path.suffix == ".tone"

    def open(self, path, options, device, console):
        return ToneSubject(path, options, device)

    def holds(self, info):
        return f"a tone of {info.domain.axes[0].extent:g} s"

    def exporter(self, info):
        return ToneExporter(info.domain.shape[0])


KINDS = (ToneKind(),)
'''


def pixels(path: Path) -> np.ndarray:
    """A picture's numbers, (h, w, channels)."""
    with Pillow.open(path) as picture:
        return np.asarray(picture)


_SMALL = ["--set", "recipe.batch_size=128", "network.width=16", "--steps", "10"]


def run(*arguments: object) -> None:
    cli.main([str(argument) for argument in arguments])


def sentence(capsys, *arguments: object) -> str:
    """What the command says on standard error: one sentence, with exit code 2."""
    with pytest.raises(SystemExit) as exit:
        run(*arguments)
    said = capsys.readouterr().err
    assert exit.value.code == 2
    assert said.startswith("neufield: ")
    assert said.count("\n") == 1
    return said


@pytest.fixture(scope="module")
def tone(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tones") / "a.tone"
    np.savetxt(path, np.sin(np.arange(200) / 9))
    return path


@pytest.fixture
def new_kind(tmp_path, monkeypatch) -> None:
    """Three files in a folder of which the room is told; nothing of neufield knows of tones."""
    folder = tmp_path / "kind"
    folder.mkdir()
    for name, text in {"tone_signal": _SIGNAL, "tone_report": _REPORT, "tone": _TASK}.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(folder)])
    yield
    for name in ("tone_signal", "tone_report", "tone"):
        sys.modules.pop(f"neufield.apps.tasks.{name}", None)
        vars(tasks).pop(name, None)


@pytest.mark.usefixtures("new_kind")
def test_a_new_kind_of_signal_is_three_files(tone, tmp_path, capsys):
    run("fit", tone, *_SMALL, "--out", tmp_path / "run")
    said = capsys.readouterr().out
    assert "a tone" in said
    assert "off after 10 steps" in said
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["steps"] == 10
    assert np.loadtxt(tmp_path / "run/again.tone").shape == (200,)
    assert load_signal(tmp_path / "run/field.safetensors").kind == "tone"

    run("fit", tone, *_SMALL[:-1], 15, "--out", tmp_path / "run", "--resume")
    assert "resumed at step 10" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/result.json").read_text())["steps"] == 15

    run("export", tmp_path / "run", tmp_path / "out.tone")
    exported, written = (np.loadtxt(tmp_path / name) for name in ("out.tone", "run/again.tone"))
    assert np.array_equal(exported, written)
    run("render", tmp_path / "run", "-o", tmp_path / "drawn.png")
    assert pixels(tmp_path / "drawn.png").shape[:2] == (40, 200)
    assert "holds a tone, but --frames is" in sentence(
        capsys, "render", tmp_path / "run", "-o", tmp_path / "x.png", "--frames", 3
    )
    assert "holds a tone, of which a page shows nothing" in sentence(capsys, "view", tmp_path / "run")
    run("info", tmp_path / "run")
    assert "a tone of 0.025 s" in capsys.readouterr().out

    run("compare", tone, *_SMALL, "--seeds", 1, "--out", tmp_path / "compared")
    assert "RMS error" in capsys.readouterr().out
    rows = json.loads((tmp_path / "compared/compare.json").read_text())["rows"]
    assert {row["preset"] for row in rows} == {"ngp", "siren"}
    assert rows[0]["rms"] <= rows[1]["rms"]  # the smaller error first


@pytest.fixture(scope="module")
def fields(finished_runs, tmp_path_factory) -> Path:
    """A folder with a picture, a scene, and a finished run of each."""
    folder = tmp_path_factory.mktemp("fields")
    finished_runs.picture(folder).rename(folder / "picture.png")
    finished_runs.ball(folder / "ball")
    finished_runs.fitted(folder / "drawn")
    finished_runs.trained(folder / "seen")
    return folder


def test_render_and_export_do_what_the_file_holds(fields, tmp_path, capsys):
    run("render", fields / "drawn", "-o", tmp_path / "large.png", "--scale", 2)
    assert pixels(tmp_path / "large.png").shape[:2] == (80, 120)
    run("export", fields / "drawn", tmp_path / "same.png")
    assert (pixels(tmp_path / "same.png") == pixels(fields / "drawn/reconstruction.png")).all()

    run("render", fields / "seen", "-o", tmp_path / "view.png", "--size", "20x10")
    run("nerf", "render", fields / "seen", tmp_path / "frames", "--size", "20x10", "--frames", 2)
    view, frame = (pixels(tmp_path / name) for name in ("view.png", "frames/frame_0000.png"))
    assert (view == frame).all()  # the first of the path
    run("render", fields / "seen", "-o", tmp_path / "more", "--size", "20x10", "--frames", 2)
    assert sorted(path.name for path in (tmp_path / "more").glob("*.png")) == ["frame_0000.png", "frame_0001.png"]
    run("export", fields / "seen", tmp_path / "cameras.json")
    assert len(json.loads((tmp_path / "cameras.json").read_text())["frames"]) == 12


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["render", "drawn", "-o", "x.png", "--frames", "3"], "holds a picture, but --frames is for radiance fields"),
        (["export", "drawn", "x.png", "--points", "9"], "holds a picture, but --points is for radiance fields"),
        (["view", "drawn"], "holds a picture, which any program shows"),
        (["render", "seen", "-o", "x.png", "--scale", "2"], "holds a radiance field, but --scale is for pictures"),
        (["fit", "ball"], "neufield nerf train"),
        (["compare", "ball", "--sampling", "continuous"], "is a scene, but --sampling is for pictures"),
        (["compare", "ball", "--budget-params", "1000"], "is a scene"),
        (["compare", "ball", "--presets", "siren"], "no radiance preset 'siren'"),
        (["compare", "picture.png", "--box", "2"], "is a picture, but --box is for scenes"),
        (["compare", "picture.png", "--test-every", "2"], "is a picture, but --test-every is for scenes"),
    ],
)
def test_what_a_kind_cannot_is_one_sentence(arguments, why, fields, monkeypatch, capsys):
    monkeypatch.chdir(fields)
    assert why in sentence(capsys, *arguments)
    assert not (fields / "x.png").exists()


def test_info_says_what_a_file_holds(fields, capsys):
    run("info", fields / "drawn")
    assert "a picture of 60 x 40, RGB uint8" in capsys.readouterr().out
    run("info", fields / "seen")
    assert "the radiance field of a scene (blender), seen by 12 cameras" in capsys.readouterr().out
    run("info", fields / "ball")
    assert "12 photographs to train on" in capsys.readouterr().out


def test_a_scene_is_compared_and_goes_on(tmp_path, capsys):
    scene = write_ball(tmp_path / "ball", train=4, test=2)
    small = ["--steps", "3", "--resolution", "16", "--box", "1", "--set", "recipe.batch_size=500"]
    few = ["density_rank=4", "color_rank=8", "width=32"]  # of TensoRF's products, of which there are hundreds
    common = ["compare", scene, "--presets", "ngp,vm", "--seeds", "1", *small, *(f"vm:{setting}" for setting in few)]
    run(*common, "--out", tmp_path / "all")
    said = capsys.readouterr().out
    assert "judged by 2 of 2 test views" in said
    done = json.loads((tmp_path / "all/compare.json").read_text())
    assert done["finished"]
    assert set(done["rows"][0]) >= {"preset", "psnr", "ssim", "seconds", "n_params", "field_bytes"}
    assert done["settings"] == {"ngp": ["recipe.batch_size=500"], "vm": ["recipe.batch_size=500", *few]}
    assert pixels(tmp_path / "all/compare.png").shape[1] > 500

    run(*common, "--out", tmp_path / "all", "--resume")
    assert "2 of 2 runs are finished already" in capsys.readouterr().out
    run("nerf", "train", scene, *small, "--out", tmp_path / "alone")
    alone = json.loads((tmp_path / "alone/result.json").read_text())
    assert alone["psnr"] == next(row["psnr"] for row in done["rows"] if row["preset"] == "ngp")  # one Run for both


def test_ctrl_c_in_a_comparison_of_scenes_keeps_what_is_done(fields, tmp_path, monkeypatch, capsys):
    """In the second preset's run, with a time for each; it goes on from the step where it was stopped."""
    common = ["compare", fields / "ball", "--presets", "ngp,vm", "--seeds", "1", "--time-budget", "0.2",
              "--resolution", "16", "--set", "recipe.batch_size=500", "--out", tmp_path / "all"]  # fmt: skip
    train, begun = runs.fit, []

    def pressed(*arguments, hooks, **options):
        begun.append(True)
        press = [lambda state: signal.raise_signal(signal.SIGINT)] if len(begun) == 2 else []
        return train(*arguments, hooks=[*press, *hooks], **options)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "fit", pressed)
        with pytest.raises(SystemExit) as stop:
            run(*common)
    assert stop.value.code == 130
    assert "neufield: stopped at step 1, which is saved; --resume and the same --out go on" in capsys.readouterr().err
    kept = json.loads((tmp_path / "all/compare.json").read_text())
    assert ([row["preset"] for row in kept["rows"]], kept["finished"]) == (["ngp"], False)
    first = (tmp_path / "all/ngp/seed0/field.safetensors").read_bytes()

    run(*common, "--resume")
    assert "1 of 2 runs are finished already" in capsys.readouterr().out
    done = json.loads((tmp_path / "all/compare.json").read_text())
    assert ({row["preset"] for row in done["rows"]}, done["finished"]) == ({"ngp", "vm"}, True)
    for row in done["rows"]:
        assert row["seconds"] > 0.15  # how long the last step was nobody knows who shares the machine
    assert (tmp_path / "all/ngp/seed0/field.safetensors").read_bytes() == first


def test_kinds_are_found_by_their_files():
    assert {"image", "lattice", "scene"} <= kinds().keys()
