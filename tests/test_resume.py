"""A run survives kill -9 at any moment, also in the middle of a save."""

import multiprocessing
import random
import sys
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from safetensors.torch import load_file

from neufield.apps import cli

_KILLS = 12
_KILLED = -9
_PATIENCE = 120.0  # seconds
_OPTIONS = [
    "--steps", "150", "--save-every", "0.01", "--seed", "5",
    "--set", "encoding.n_levels=6", "encoding.log2_hashmap_size=12", "recipe.batch_size=1024", "recipe.ema=0.9",
]  # fmt: skip


def start(picture: Path, folder: Path, *more: str) -> ForkServerProcess:
    """A process that runs ``neufield fit``.

    It is forked from a server that has imported everything and run nothing: OpenMP's threads, which pytest's own
    process has by now, do not survive a fork.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["neufield.apps.cli", "neufield.apps.fit"])
    process = context.Process(target=cli.main, args=(["fit", str(picture), "--out", str(folder), *_OPTIONS, *more],))
    process.start()
    return process


def wait(process: ForkServerProcess) -> int:
    process.join(_PATIENCE)
    assert process.exitcode is not None, f"still running after {_PATIENCE} s"
    return process.exitcode


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="fork servers are POSIX")
def test_killed_at_random_moments_a_run_ends_in_the_same_bits(tmp_path):
    y, x = np.mgrid[0:48, 0:64]
    picture = tmp_path / "waves.png"
    Pillow.fromarray(np.stack([x * 4, y * 5, (x * y) % 256], -1).astype(np.uint8)).save(picture)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    began = time.perf_counter()
    assert wait(start(picture, whole)) == 0
    duration = time.perf_counter() - began

    dice = random.Random(0)
    kills = in_save = 0
    while kills < _KILLS:
        child = start(picture, broken, "--resume")
        if kills % 2:
            # Between creation and renaming of a temporary file: during a save.
            deadline = time.perf_counter() + duration
            while not (caught := any(broken.glob(".neufield-*"))) and time.perf_counter() < deadline:
                pass
            in_save += caught
        else:
            time.sleep(dice.uniform(0.02, 0.4) * duration)
        child.kill()
        if wait(child) == _KILLED:
            kills += 1
        if (broken / "result.json").exists():  # it finished before the blow: begin anew
            for file in broken.iterdir():
                file.unlink()
    assert in_save >= 3
    assert wait(start(picture, broken, "--resume")) == 0

    assert (whole / "field.safetensors").read_bytes() == (broken / "field.safetensors").read_bytes()
    a, b = (load_file(folder / "state.safetensors") for folder in (whole, broken))
    assert a.keys() == b.keys()
    assert all(a[name].equal(b[name]) for name in a)
    steps = [line.split(",")[0] for line in (broken / "log.csv").read_text().splitlines()[1:]]
    assert steps == [str(i) for i in range(1, 151)]
    assert not list(broken.glob(".neufield-*"))
