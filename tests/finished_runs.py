"""Finished runs of tiny inputs, for whoever wants to see what a run leaves behind; conftest's ``finished_runs``.

Each is made once for all test processes, by the first that asks, and handed out as a copy, which may be spoilt.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from ball import write_ball
from commands import run
from PIL import Image as Pillow

from neufield.core.locks import Lock

FIT_STEPS, NERF_STEPS = 200, 250
FIT_OPTIONS = ["--steps", FIT_STEPS,
               "--set", "encoding.n_levels=5", "encoding.log2_hashmap_size=11", "recipe.batch_size=2048"]  # fmt: skip
NERF_OPTIONS = ["--steps", NERF_STEPS, "--resolution", 32, "--box", "1.0", "--set", "recipe.batch_size=4096"]
# Small, so that a run takes a fraction of a second.
COMPARE_OPTIONS = ["--presets", "ngp,siren", "--seeds", "2", "--steps", "6",
                   "--set", "recipe.batch_size=256", "network.width=16", "ngp:encoding.n_levels=4"]  # fmt: skip


class FinishedRuns:
    """``root`` is a folder that all processes of this test run share."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def picture(self, folder: Path) -> Path:
        """Waves, 60 x 40."""
        return Path(shutil.copy(self._made("pictures", _draw) / "waves.png", folder))

    def fitted(self, folder: Path) -> Path:
        """``neufield fit`` of the picture."""
        return shutil.copytree(self._made("fitted", self._fit), folder)

    def compared(self, folder: Path) -> Path:
        """``neufield compare`` of the picture."""
        return shutil.copytree(self._made("compared", self._compare), folder)

    def ball(self, folder: Path) -> Path:
        """A scene of 12 photographs and 3 to test by."""
        return shutil.copytree(self._made("ball", write_ball), folder)

    def trained(self, folder: Path) -> Path:
        """``neufield nerf train`` of the ball, where no lpips is installed."""
        return shutil.copytree(self._made("trained", self._train), folder)

    @property
    def said(self) -> str:
        """What that printed."""
        self._made("trained", self._train)
        return (self.root / "unfinished" / "trained.txt").read_text()

    def _made(self, name: str, make: Callable[[Path], object]) -> Path:
        path = self.root / f"{name}.lock"
        while (lock := Lock.take(path)) is None:  # another process makes it
            time.sleep(0.05)
        try:
            if not (self.root / name).exists():
                make(self.root / "unfinished" / name)
                (self.root / "unfinished" / name).rename(self.root / name)
        finally:
            lock.release()
        return self.root / name

    def _fit(self, folder: Path) -> None:
        run("fit", self._made("pictures", _draw) / "waves.png", "--out", folder, *FIT_OPTIONS)

    def _compare(self, folder: Path) -> None:
        run("compare", self._made("pictures", _draw) / "waves.png", "--out", folder, *COMPARE_OPTIONS)

    def _train(self, folder: Path) -> None:
        scene, lines = self._made("ball", write_ball), []
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        with (
            patch.dict("sys.modules", {"lpips": None}),
            patch("rich.console.Console.print", lambda _, *parts, **__: lines.append(" ".join(map(str, parts)))),
        ):
            run("nerf", "train", scene, "--out", folder, *NERF_OPTIONS)
        torch.set_num_threads(threads)
        (folder.parent / f"{folder.name}.txt").write_text("\n".join(lines))


def _draw(folder: Path) -> None:
    y, x = np.mgrid[0:40, 0:60]
    values = np.stack([x * 4, y * 6, 128 + 100 * np.sin(x / 5) * np.cos(y / 4)], -1)
    folder.mkdir(parents=True)
    Pillow.fromarray(values.astype(np.uint8)).save(folder / "waves.png")
