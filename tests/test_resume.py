"""A run survives kill -9 at any moment, also in the middle of a save."""

import json
import multiprocessing
import random
import shutil
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from ball import write_ball
from PIL import Image as Pillow
from safetensors.torch import load_file

from neufield.apps import cli

_KILLED = -9
_PATIENCE = 120.0  # seconds
_COMMON = ["--save-every", "0.01", "--seed", "5"]


class Case(NamedTuple):
    """A command with its options, the input that ``make`` leaves in a folder, and how often it is killed."""

    command: list[str]
    make: Callable[[Path], Path]
    options: list[str]
    steps: int
    kills: int
    in_save: int


def waves(folder: Path) -> Path:
    y, x = np.mgrid[0:48, 0:64]
    Pillow.fromarray(np.stack([x * 4, y * 5, (x * y) % 256], -1).astype(np.uint8)).save(folder / "waves.png")
    return folder / "waves.png"


def ball(folder: Path) -> Path:
    return write_ball(folder / "ball", train=6, test=1)


CASES = {
    "fit": Case(
        ["fit"], waves,
        ["--set", "encoding.n_levels=6", "encoding.log2_hashmap_size=12", "recipe.batch_size=1024", "recipe.ema=0.9"],
        steps=150, kills=12, in_save=3,
    ),
    "nerf": Case(
        ["nerf", "train"], ball,
        ["--resolution", "16", "--box", "1", "--set", "encoding.log2_hashmap_size=10", "recipe.batch_size=512"],
        steps=60, kills=4, in_save=1,
    ),
}  # fmt: skip


def start(case: Case, source: Path, folder: Path, *more: str) -> ForkServerProcess:
    """A process that runs the command.

    It is forked from a server that has imported everything and run nothing: OpenMP's threads, which pytest's own
    process has by now, do not survive a fork.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["neufield.apps.cli", "neufield.apps.fit", "neufield.apps.nerf.train"])
    arguments = [*case.command, str(source), "--out", str(folder), "--steps", str(case.steps), *_COMMON]
    process = context.Process(target=cli.main, args=([*arguments, *case.options, *more],))
    process.start()
    return process


def wait(process: ForkServerProcess) -> int:
    process.join(_PATIENCE)
    assert process.exitcode is not None, f"still running after {_PATIENCE} s"
    return process.exitcode


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="fork servers are POSIX")
@pytest.mark.parametrize("name", CASES)
def test_killed_at_random_moments_a_run_ends_in_the_same_bits(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source = case.make(tmp_path)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    began = time.perf_counter()
    assert wait(start(case, source, whole)) == 0
    duration = time.perf_counter() - began

    dice = random.Random(0)
    kills = in_save = tries = 0
    while kills < case.kills or in_save < case.in_save:
        tries += 1
        assert tries <= 10 * case.kills, f"of {tries} blows only {kills} fell before the end and {in_save} into a save"
        child = start(case, source, broken, "--resume")
        if tries % 2 == 0:
            # Between creation and renaming of a temporary file: during a save. A busy machine may let it slip.
            while not (caught := any(broken.glob(".neufield-*"))) and child.is_alive():
                pass
            in_save += caught
        else:
            time.sleep(dice.uniform(0.02, 0.4) * duration)
        child.kill()
        if wait(child) == _KILLED:
            kills += 1
        if (broken / "result.json").exists():  # it finished before the blow: begin anew
            shutil.rmtree(broken)
    assert wait(start(case, source, broken, "--resume")) == 0

    assert (whole / "field.safetensors").read_bytes() == (broken / "field.safetensors").read_bytes()
    a, b = (load_file(folder / "state.safetensors") for folder in (whole, broken))
    assert a.keys() == b.keys()
    assert all(a[key].equal(b[key]) for key in a)
    steps = [line.split(",")[0] for line in (broken / "log.csv").read_text().splitlines()[1:]]
    assert steps == [str(i) for i in range(1, case.steps + 1)]
    one, other = (json.loads((folder / "result.json").read_text()) for folder in (whole, broken))
    assert (one["psnr"], one["ssim"]) == (other["psnr"], other["ssim"])
    assert not list(broken.glob(".neufield-*"))
