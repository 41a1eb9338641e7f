"""What is seen of a run while it goes on: the live line, a picture of a watched view, and the memory it will take."""

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import SIDE, write_ball
from cases import field_cases
from PIL import Image as Pillow

from neufield.apps import cli
from neufield.apps.console import Terminal
from neufield.apps.nerf import view_logger
from neufield.apps.nerf.view_logger import Throttled, ViewLogger
from neufield.apps.progress import ProgressLine
from neufield.apps.report import scene as report
from neufield.core.errors import ConfigError, DataError
from neufield.core.recipe import Recipe
from neufield.fitting import FitState, start
from neufield.formats.scene import read_scene
from neufield.metrics import PSNR
from neufield.presets.scene import Views, choose_views, radiance_scene, scene_images
from neufield.renderers import Box
from neufield.signals.posed_images import read_photograph

pytestmark = pytest.mark.usefixtures("one_thread")


def state_at(step: int, seconds: float, **row: float) -> FitState:
    """As far as hooks look at it."""
    field = next(iter(field_cases().values()))()
    state = start(field, Recipe())
    state.step, state.seconds, state.history = step, seconds, [{"step": step, **row}]
    return state


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("cost", [0.01, 0.5, 3.0])
def test_drawing_takes_no_more_than_its_share(cost: float) -> None:
    clock, drawn = Clock(), []
    state = state_at(0, 0.0)

    def draw(state: FitState) -> None:
        drawn.append(state.seconds)
        clock.now += cost

    hook = Throttled(draw, share=0.02, first=5.0, clock=clock)
    for tenth in range(1000, 6000):  # a run that was resumed at 100 s
        state.seconds = tenth / 10
        hook(state)
    # Before each drawing those before it had taken less than the share of the time, and the first came soon.
    assert drawn[0] == pytest.approx(105)
    assert all(i * cost <= 0.02 * (seconds - 100) + 1e-9 for i, seconds in enumerate(drawn))
    assert len(drawn) > min(4000, 0.02 * 400 / cost)  # nor much less


def test_nothing_is_drawn_at_the_end() -> None:
    state = state_at(10, 50.0)
    state.stopped = "steps"
    Throttled(lambda _: pytest.fail("drawn"), first=0.0)(state)


# Live


def live(steps: int, time_budget: float | None, states: list[FitState]) -> list[str]:
    shown = ProgressLine(Terminal(file=io.StringIO()), steps, time_budget, PSNR, lambda row: row["rays"], "rays")
    lines = []
    for state in states:
        shown.show(state)
        lines.append(shown.describe(state))
    return lines


def test_the_live_line_has_step_psnr_speed_and_what_is_left() -> None:
    states = [state_at(1, 2.0, rays=9e9), state_at(2, 4.0, rays=3000, psnr=21.319), state_at(3, 6.0, rays=5000)]
    assert live(103, None, states) == [
        "step 1/103",
        "step 2/103  21.32 dB  1.5 k rays/s  ETA 3:22",
        "step 3/103  21.32 dB  2.0 k rays/s  ETA 3:20",
    ]
    assert live(10**6, 4000.0, states)[-1] == "step 3  21.32 dB  2.0 k rays/s  ETA 1:06:34"


def test_a_resumed_run_counts_its_speed_from_where_it_began() -> None:
    states = [state_at(500, 100.0, rays=1), state_at(510, 110.0, rays=40), state_at(520, 120.0, rays=2e7)]
    first, second, third = live(1000, None, states)
    assert first == "step 500/1000"
    assert second.endswith("4 rays/s  ETA 8:10")
    assert third.endswith("1.00 M rays/s  ETA 8:00")


def test_a_terminal_sees_the_line_and_a_pipe_does_not() -> None:
    for terminal in (True, False):
        file = io.StringIO()
        with ProgressLine(
            Terminal(file=file, force_terminal=terminal, width=100), 9, None, PSNR, lambda row: row["rays"], "rays"
        ) as it:
            it.show(state_at(1, 1.0, rays=10))
            it.show(state_at(2, 2.0, rays=10, psnr=20.0))
            it.progress.refresh()
        assert ("20.00 dB  10 rays/s  ETA 0:07" in file.getvalue()) is terminal


def test_what_holds_the_training_stands_behind_the_step() -> None:
    for terminal, shown in ((True, "step 7  paused in the viewer"), (False, "paused in the viewer\n")):
        file = io.StringIO()
        console = Terminal(file=file, force_terminal=terminal, width=100)
        with ProgressLine(console, 9, None, PSNR, lambda row: row["rays"], "rays") as it:
            it.show(state_at(7, 1.0, rays=10))
            it.say("paused in the viewer")
        assert shown in file.getvalue()


# The watched view


def test_test_views_are_never_watched(tmp_path: Path) -> None:
    with_val = read_scene(write_ball(tmp_path / "a", train=8, test=2, val=5))
    chosen = choose_views(with_val, 2)
    assert (len(chosen.train), len(chosen.test)) == (8, 2)
    assert [frame.name for frame in chosen.watched] == ["val/r_0.png", "val/r_1.png", "val/r_2.png"]
    without = read_scene(write_ball(tmp_path / "b", train=8, test=2))
    assert choose_views(without, 0).watched == ()
    kept_out = choose_views(without, 2)
    assert [frame.name for frame in kept_out.watched] == ["train/r_2.png", "train/r_6.png"]
    assert len(kept_out.train) == 6
    assert not set(kept_out.train) & set(kept_out.watched)
    with pytest.raises(ConfigError, match="--hold-out is -1"):
        choose_views(without, -1)
    with pytest.raises(DataError, match="has 1 photographs to train on"):
        choose_views(without, 7)


def test_the_picture_is_of_the_watched_view(tmp_path: Path) -> None:
    scene = read_scene(write_ball(tmp_path, train=4, test=1, val=1))
    split = choose_views(scene, 0)
    model = radiance_scene(scene, "voxels", views=split, bounds=Box([-1.0] * 3, [1.0] * 3), resolution=8)
    state = start(model, model.recipe)
    state.step, state.history = 7, [{"step": 7}]
    before = state.generator.get_state()
    drawing = ViewLogger(model, split, scene_images(split), tmp_path / "views.png")
    drawing.draw(state)
    assert torch.equal(before, state.generator.get_state())
    assert drawing.name == "val/r_0.png"
    assert drawing.kind == "kept out"
    assert math.isfinite(state.history[0]["psnr"])
    truth = read_photograph(scene.split("val")[0]).float() / 255
    on_white = truth[..., :3] * truth[..., 3:] + 1 - truth[..., 3:]
    with Pillow.open(tmp_path / "views.png") as drawn:
        shown = np.asarray(drawn)[28 : 28 + 256, 8 : 8 + 256]  # the first of three panels
    small = np.asarray(Pillow.fromarray(shown).resize((SIDE, SIDE), Pillow.Resampling.BOX)) / 255
    assert np.abs(small - on_white.numpy()).mean() < 0.02  # rings beside edges; another view is 0.1 off


def test_a_large_view_is_drawn_small(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(view_logger, "_PIXELS", 100)
    scene = read_scene(write_ball(tmp_path, train=2, test=1))
    frames = scene.frames
    frame = frames[0]
    split = Views(frames[:2], frames[:1], ())
    model = radiance_scene(scene, "voxels", views=split, bounds=Box([-1.0] * 3, [1.0] * 3), resolution=8)
    drawn = ViewLogger(model, split, scene_images(split), tmp_path / "views.png")
    camera, photograph = drawn.camera, drawn.photograph
    assert (camera.width, camera.height) == (10, 10)
    assert camera.fx == pytest.approx(frame.camera.fx * 10 / SIDE)
    assert photograph.shape == (10, 10, 4)
    premultiplied = read_photograph(frame).float() / 255
    premultiplied[..., :3] *= premultiplied[..., 3:]
    mean = photograph[..., :3] * photograph[..., 3:]
    assert float(mean.mean()) == pytest.approx(
        float(premultiplied[..., :3].mean()), abs=0.01
    )  # windows of 2 or 3 pixels


def test_looking_changes_nothing(tmp_path: Path, monkeypatch) -> None:
    """The same bits with a picture after every step and with none, and no picture's time counts as training."""
    scene = write_ball(tmp_path / "scene", train=4, test=1, val=1)
    options = ["--steps", "12", "--resolution", "16", "--box", "1", "--set", "recipe.batch_size=512"]
    drawn = []
    original = ViewLogger.draw
    monkeypatch.setattr(ViewLogger, "draw", lambda self, state: (drawn.append(state.step), original(self, state)))
    for name, first in (("looked", 0.0), ("alone", math.inf)):
        monkeypatch.setattr(report, "Throttled", lambda draw, first=first: Throttled(draw, math.inf, first))
        cli.main(["nerf", "train", str(scene), "--out", str(tmp_path / name), *options])
    assert drawn == list(range(1, 12))
    looked, alone = (tmp_path / name for name in ("looked", "alone"))
    assert (looked / "field.safetensors").read_bytes() == (alone / "field.safetensors").read_bytes()
    with (looked / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["psnr"]) > 0 for row in rows)
