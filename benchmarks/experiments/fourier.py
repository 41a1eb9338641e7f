"""Fourier features by their frequencies: none, one octave, log-linear axes, Gaussian (arXiv 2006.10739, table 1)."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.experiments.experiment import Check, Experiment, Rows, at_least
from benchmarks.experiments.small_pictures import area_mean, astronaut, full_batch
from neufield.core.interfaces import Encoding
from neufield.core.lattice import lattice
from neufield.core.metrics import psnr
from neufield.core.recipe import Constant
from neufield.encodings import GaussianFourier, Identity
from neufield.fields import MLP, NeuralField
from neufield.fitting import fit
from neufield.signals.array import Array

_SETS = Path(__file__).resolve().parents[3] / "shared" / "data" / "natural_text"


def _with_matrix(rows: Tensor) -> GaussianFourier:
    """Sin and cos of 2 pi B x for the ``rows (n, 2)`` of B."""
    encoding = GaussianFourier(2, len(rows))
    encoding.matrix.copy_(rows)
    return encoding


def _log_linear(octaves: float, per_axis: int) -> Tensor:
    """The paper's "positional encoding": 2^linspace(0, ``octaves``) - 1 cycles along each axis alone."""
    cycles = 2 ** torch.linspace(0, octaves, per_axis) - 1
    return torch.cat([cycles[:, None] * torch.eye(2)[axis] for axis in range(2)])


def _halves(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Where to train (even rows and columns) and to test (odd ones), as masks (H, W)."""
    row, column = (torch.arange(size) % 2 for size in picture.shape[:2])
    return (row[:, None] == 0) & (column == 0), (row[:, None] == 1) & (column == 1)


def _score(encoding: Encoding, picture: Tensor, width: int, lr: float, steps: int, seed: int) -> float:
    """PSNR in dB on the odd pixels after training on the even ones."""
    train, test = _halves(picture)
    generator = torch.Generator().manual_seed(seed)
    network = MLP(encoding.out_dim, picture.shape[-1], width, 3, output_activation="sigmoid", generator=generator)
    recipe = full_batch(lr, steps, Constant(), int(train.sum()))
    field = NeuralField(encoding, network, recipe)
    fit(field, Array(picture, train), seed=seed, evaluate_every=steps)
    with torch.no_grad():
        return psnr((field(lattice(picture.shape[:2])[test]) - picture[test]).square().mean())


def _order(picture: Tensor, sigma: float, octaves: float, width: int, steps: int, rate: float, seed: int) -> Rows:
    gaussian = GaussianFourier(2, 256, sigma, generator=torch.Generator().manual_seed(seed))
    return {
        "none": _score(Identity(2), picture, width, rate, steps, seed),
        "basic": _score(_with_matrix(torch.eye(2)), picture, width, 1e-3, steps, seed),
        "PE": _score(_with_matrix(_log_linear(octaves, 128)), picture, width, 1e-3, steps, seed),
        "Gaussian": _score(gaussian, picture, width, 1e-3, steps, seed),
    }


def _small(name: str, seed: int) -> Rows:
    """128 x 128: 64 samples per axis, a quarter of the paper's, and so a quarter of its sigma, and two octaves less."""
    if name == "astronaut":
        return _order(astronaut(), 2.5, 4.0, 128, 400, 1e-2, seed)
    pictures = [area_mean(_pixels(path), 128) for path in sorted((_SETS / name).glob("*.png"))[:2]]
    sigma, octaves, rate = (2.5, 4.0, 1e-2) if name == "natural" else (3.5, 3.5, 1e-3)
    return _mean([_order(picture, sigma, octaves, 128, 400, rate, seed) for picture in pictures])


def _paper(name: str, seed: int) -> Rows:
    sigma, octaves, rate = (10.0, 6.0, 1e-2) if name == "natural" else (14.0, 5.0, 1e-3)
    pictures = [area_mean(_pixels(path), 512) for path in sorted((_SETS / name).glob("*.png"))]
    return _mean([_order(picture, sigma, octaves, 256, 2000, rate, seed) for picture in pictures])


def _pixels(path: Path) -> np.ndarray:
    from imageio.v3 import imread

    return imread(path)


def _mean(tables: Sequence[Rows]) -> Rows:
    return {name: sum(table[name] for table in tables) / len(tables) for name in tables[0]}


def _check(rows: Rows) -> Sequence[Check]:
    return [
        at_least("basic over none", rows["basic"] - rows["none"], 0.5, " dB"),
        at_least("PE over basic", rows["PE"] - rows["basic"], 2.5, " dB"),
        at_least("Gaussian over PE", rows["Gaussian"] - rows["PE"], -0.5, " dB"),
        at_least("Gaussian over none", rows["Gaussian"] - rows["none"], 4.0, " dB"),
    ]


def _check_order(rows: Rows) -> Sequence[Check]:
    pairs = [("none", "basic"), ("basic", "PE"), ("PE", "Gaussian")]
    return [at_least(f"{b} over {a}", rows[b] - rows[a], 0.0, " dB") for a, b in pairs]


_NATURAL = {"none": 19.32, "basic": 21.72, "PE": 24.95, "Gaussian": 25.57}
_TEXT = {"none": 18.40, "basic": 20.48, "PE": 27.57, "Gaussian": 30.47}

EXPERIMENTS: Sequence[Experiment] = [
    Experiment(
        "fourier-astronaut",
        "Fourier features by their frequencies, a portrait",
        "skimage's astronaut, 128 x 128 area means, trained on even pixels, tested on odd ones, width 128, 400 steps",
        "dB",
        functools.partial(_small, "astronaut"),
        _check,
        seeds=(0, 1, 2),
        seconds=90,
    ),
    *[
        Experiment(
            f"fourier-{name}",
            f"Fourier features by their frequencies, {name.title()}",
            "shared/data/natural_text, its first 2 pictures at 128 x 128, the rest as for the astronaut; published: "
            "the 16 test pictures at 512 x 512",
            "dB",
            functools.partial(_small, name),
            _check_order,
            published=published,
            source="arXiv 2006.10739, table 1",
            seconds=60,
        )
        for name, published in (("natural", _NATURAL), ("text", _TEXT))
    ],
    *[
        Experiment(
            f"fourier-{name}-full",
            f"Fourier features by their frequencies, {name.title()}, at the paper's size",
            "shared/data/natural_text, its 8 training pictures, 512 x 512, width 256, 2000 full-batch steps",
            "dB",
            functools.partial(_paper, name),
            _check_order,
            published=published,
            source="arXiv 2006.10739, table 1",
            seconds=20_000,
            full=True,
        )
        for name, published in (("natural", _NATURAL), ("text", _TEXT))
    ],
]
