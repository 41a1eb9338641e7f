"""Kills commands at random moments, runs them to the end, and looks for other bits and for what was left behind.

    python tests/kills.py [kills [command ...]]    # by hand: 100 over all six commands, half an hour on 2 busy cores

``tests/test_resume.py`` is the small part of it.
"""

import csv
import dataclasses
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
from ball import write_ball
from PIL import Image as Pillow
from safetensors.torch import load_file

from neufield.apps import cli

_KILLED = -9
_PATIENCE = 300.0  # seconds
_ROOM = ".neufield-*/"  # is there while something is written
_TRAIN = ["--save-every", "0.01", "--seed", "5"]
_SMALL = ["encoding.n_levels=6", "encoding.log2_hashmap_size=12", "recipe.batch_size=1024"]
_NERF = ["--resolution", "16", "--box", "1", *_TRAIN, "--set", "encoding.log2_hashmap_size=10", "recipe.batch_size=512"]
_MODULES = ("apps.fit", "apps.compare", "apps.render", "apps.nerf.train", "apps.nerf.export", "apps.nerf.render_path")
# What says how long something took, or is drawn of that.
_TIMED = {"result.json", "compare.json", "compare.md", "compare.png", "curve.png", "log.csv", "state.safetensors"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A command: its words from a folder of inputs and where it writes to; ``resume`` is what goes on after a kill."""

    words: Callable[[Path, Path], list[str]]
    resume: tuple[str, ...] = ()


CASES = {
    "fit": Case(
        lambda inputs, out: ["fit", f"{inputs}/waves.png", "--out", f"{out}/run", "--steps", "150", *_TRAIN,
                             "--set", *_SMALL, "recipe.ema=0.9"],
        ("--resume",),
    ),
    "compare": Case(
        lambda inputs, out: ["compare", f"{inputs}/waves.png", "--out", f"{out}/runs", "--presets", "ngp,siren",
                             "--seeds", "1", "--steps", "60", "--save-every", "0.01",
                             "--set", "recipe.batch_size=512", "ngp:encoding.n_levels=4", "siren:network.width=16"],
        ("--resume",),
    ),
    "nerf train": Case(
        lambda inputs, out: ["nerf", "train", f"{inputs}/ball", "--out", f"{out}/run", "--steps", "60", *_NERF],
        ("--resume",),
    ),
    "nerf export": Case(
        lambda inputs, out: ["nerf", "export", f"{inputs}/trained", f"{out}/mesh.ply", "--resolution", "64",
                             "--threshold", "0.15"],
    ),
    "nerf render": Case(
        lambda inputs, out: ["nerf", "render", f"{inputs}/trained", f"{out}/frames", "--frames", "8",
                             "--size", "48x48"],
        ("--resume",),
    ),
    "render": Case(
        lambda inputs, out: ["render", f"{inputs}/fitted", "-o", f"{out}/large.png", "--size", "900x700"],
    ),
}  # fmt: skip


@dataclasses.dataclass
class Count:
    """How many processes were killed, and how many of these while a file was being written."""

    kills: int = 0
    in_write: int = 0


def make_inputs(folder: Path) -> None:
    """A picture and a scene, and what is drawn from: a field of each."""
    y, x = np.mgrid[0:48, 0:64]
    Pillow.fromarray(np.stack([x * 4, y * 5, (x * y) % 256], -1).astype(np.uint8)).save(folder / "waves.png")
    write_ball(folder / "ball", train=6, test=1)
    fitted = ["fit", f"{folder}/waves.png", "--out", f"{folder}/fitted", "--steps", "20", "--set", *_SMALL]
    trained = ["nerf", "train", f"{folder}/ball", "--out", f"{folder}/trained", "--steps", "40", *_NERF]
    for words in (fitted, trained):
        assert wait(start(words)) == 0


def start(words: list[str]) -> ForkServerProcess:
    """A process that runs the command.

    It is forked from a server that has imported everything and run nothing: OpenMP's threads, which this process may
    have by now, do not survive a fork.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["neufield.apps.cli", *(f"neufield.{module}" for module in _MODULES)])
    process = context.Process(target=cli.main, args=(words,))
    process.start()
    return process


def wait(process: ForkServerProcess) -> int:
    """The exit code."""
    process.join(_PATIENCE)
    assert process.exitcode is not None, f"still running after {_PATIENCE} s"
    return process.exitcode


def survives(case: Case, inputs: Path, folder: Path, kills: int, dice: random.Random) -> Count:
    """Kill the command so often, every other time while it writes; it must end in what it writes unharmed."""
    whole, broken = folder / "whole", folder / "broken"
    whole.mkdir()
    broken.mkdir()
    began = time.perf_counter()
    assert wait(start(case.words(inputs, whole))) == 0
    duration = time.perf_counter() - began
    count, tries = Count(), 0
    while count.kills < kills:
        tries += 1
        assert tries <= 20 * kills, f"of {tries} blows only {count.kills} fell before the end"
        child = start([*case.words(inputs, broken), *case.resume])
        writes = False
        if tries % 2 == 0:
            child.join(dice.uniform(0.0, duration))  # not always the first write; no longer than it lives
            while not (writes := any(broken.rglob(_ROOM))) and child.is_alive():
                time.sleep(0.0005)
        else:
            child.join(dice.uniform(0.02, 1.0) * duration)
        child.kill()
        if wait(child) == _KILLED:
            count.kills += 1
            count.in_write += writes
        else:  # it finished before the blow: begin anew
            shutil.rmtree(broken)
            broken.mkdir()
    assert wait(start([*case.words(inputs, broken), *case.resume])) == 0
    assert differences(whole, broken) == []
    return count


def differences(whole: Path, broken: Path) -> list[str]:
    """What is not the same, or should not be there."""
    one, other = ({p.relative_to(f).as_posix(): p for p in f.rglob("*") if p.is_file()} for f in (whole, broken))
    found = [f"only in one: {name}" for name in sorted(one.keys() ^ other.keys())]
    found += [f"left behind: {path}" for path in broken.rglob(".*")]
    for name in one.keys() & other.keys():
        a, b = one[name], other[name]
        if a.name == "state.safetensors":
            x, y = load_file(a), load_file(b)
            same = x.keys() == y.keys() and all(x[key].equal(y[key]) for key in x)
        elif a.name == "log.csv":
            same = _steps(a) == _steps(b)
        elif a.name == "result.json":
            x, y = json.loads(a.read_text()), json.loads(b.read_text())
            same = [x[key] for key in ("psnr", "ssim", "steps")] == [y[key] for key in ("psnr", "ssim", "steps")]
        else:
            same = a.name in _TIMED or a.read_bytes() == b.read_bytes()
        if not same:
            found.append(f"other bits: {name}")
    return found


def _steps(log: Path) -> list[tuple[str, str]]:
    with log.open(newline="") as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


def main() -> None:
    """So many kills over all commands, or those named, evenly."""
    kills, dice = int(sys.argv[1]) if len(sys.argv) > 1 else 100, random.Random(0)
    cases = {name: CASES[name] for name in sys.argv[2:] or CASES}
    total = Count()
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Path(temporary) / "inputs"
        inputs.mkdir()
        make_inputs(inputs)
        for i, (name, case) in enumerate(cases.items()):
            begun = time.perf_counter()
            own = kills // len(cases) + (i < kills % len(cases))
            folder = Path(temporary) / name
            folder.mkdir()
            count = survives(case, inputs, folder, own, dice)
            total.kills += count.kills
            total.in_write += count.in_write
            seconds = time.perf_counter() - begun
            print(f"{name}: {count.kills} kills, {count.in_write} of them in a write, {seconds:.0f} s", flush=True)
    print(f"{total.kills} kills, {total.in_write} in a write: the same bits, nothing left behind")


if __name__ == "__main__":
    main()
