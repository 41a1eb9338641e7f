"""Fourier features against raw coordinates and octaves: who interpolates a picture's unseen pixels best.

Tancik et al. 2020 (arXiv 2006.10739), tables 1 and 2 of its supplement, in the small: train on the even pixels, test on
those with both coordinates odd. The published frequencies belong to 256 training samples an axis; with 64 of them
everything must shrink by four (sigma 10 becomes 2.5, 2^6 cycles 2^4), or the encodings only alias.
Pictures: scikit-image's astronaut (NASA, public domain) and ../shared/data/natural_text, the *train* halves of the
paper's sets, while its numbers are means over the test halves.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from benchmarks.experiments.experiment import Check, Experiment, Rows, at_least
from neufield import Recipe, fit
from neufield.core.interfaces import Encoding
from neufield.core.recipe import Constant
from neufield.encodings import GaussianFourier, Identity
from neufield.fields import NeuralField
from neufield.networks import MLP
from neufield.signals import Array

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "natural_text"
_ROWS = 256  # frequencies


@dataclasses.dataclass(frozen=True)
class Setting:
    """How large everything is: pixels a side (half of them trained), the network's width, steps, and pictures."""

    size: int
    width: int
    steps: int

    @property
    def shrink(self) -> float:
        """Of the published frequencies, which belong to 512 pixels a side."""
        return self.size / 512


def _fixed(matrix: Tensor) -> GaussianFourier:
    """Sin and cos of 2 pi B x for a given B (F, 2) instead of a drawn one."""
    encoding = GaussianFourier(2, len(matrix))
    encoding.matrix.copy_(matrix)
    return encoding


def _octaves(rows: int, highest: float) -> Tensor:
    """Log-linear positional encoding (rows, 2): 2^linspace(0, highest) - 1 cycles along each axis, as in the code."""
    ladder = torch.exp2(torch.linspace(0, highest, rows // 2)) - 1
    nothing = torch.zeros_like(ladder)
    return torch.cat([torch.stack([ladder, nothing], 1), torch.stack([nothing, ladder], 1)])


def _psnr(encoding: Encoding, picture: Tensor, setting: Setting, lr: float, generator: torch.Generator) -> float:
    """Train on the even pixels of ``picture (N, N, C)``, score those with both coordinates odd, in dB."""
    network = MLP(
        encoding.out_dim, picture.shape[-1], setting.width, 3, output_activation="sigmoid", generator=generator
    )
    recipe = Recipe(lr, beta2=0.999, epsilon=1e-8, schedule=Constant(), steps=setting.steps, batch_size=setting.size**2)
    field = NeuralField(encoding, network, recipe)
    # The published code reads pixel i at i / N. Ours lie at (i + 0.5) / N: the same up to a shift of all phases.
    even = torch.zeros(picture.shape[:-1], dtype=torch.bool)
    even[::2, ::2] = True
    fit(field, Array(picture, train=even), evaluate_every=10**9)
    whole = Array(picture)
    with torch.no_grad():
        predicted = field(whole.sample(setting.size**2, generator).x).view_as(picture)
    mse = (predicted - picture)[1::2, 1::2].double().square().mean()
    return -10 * math.log10(float(mse))


def _encodings(setting: Setting, sigma: float, octaves: float, generator: torch.Generator) -> dict[str, Encoding]:
    """The paper's four, with their frequencies shrunk to the picture; ``sigma`` and ``octaves`` are those of 512."""
    return {
        "none": Identity(2),
        "basic": _fixed(torch.eye(2)),
        "PE": _fixed(_octaves(_ROWS, octaves + math.log2(setting.shrink))),
        "Gaussian": GaussianFourier(2, _ROWS, sigma * setting.shrink, generator=generator),
    }


def _small(picture: Tensor, size: int) -> Tensor:
    """(N, N, C) in [0, 1] to ``size`` pixels a side, each the mean of a square."""
    planes = picture.permute(2, 0, 1)[None]
    return torch.nn.functional.adaptive_avg_pool2d(planes, size)[0].permute(1, 2, 0).contiguous()


def _order(pictures: Sequence[Tensor], setting: Setting, sigma: float, octaves: float, seed: int) -> Rows:
    """Mean test PSNR of each encoding over the pictures."""
    total: dict[str, float] = {}
    for picture in pictures:
        generator = torch.Generator().manual_seed(seed)
        for name, encoding in _encodings(setting, sigma, octaves, generator).items():
            lr = 1e-2 if name == "none" else 1e-3
            value = _psnr(encoding, _small(picture, setting.size), setting, lr, generator)
            total[name] = total.get(name, 0.0) + value / len(pictures)
    return total


def _astronaut(seed: int, setting: Setting) -> Rows:
    from skimage import data

    picture = torch.from_numpy(data.astronaut()).float() / 255
    return _order([picture], setting, 10.0, 6.0, seed)


def _set(name: str, count: int) -> list[Tensor]:
    files = sorted((_DATA / name).glob("*.png"))[:count]
    return [torch.from_numpy(np.array(Pillow.open(file))[..., :3]).float() / 255 for file in files]


def _astronaut_holds(rows: Rows) -> Sequence[Check]:
    """Thresholds of the calibration (one seed: +1.2, +4.4, +0.5, +6.1 dB)."""
    return [
        at_least("basic over none", rows["basic"] - rows["none"], 0.5, " dB"),
        at_least("PE over basic", rows["PE"] - rows["basic"], 2.5, " dB"),
        at_least("Gaussian over PE", rows["Gaussian"] - rows["PE"], -0.5, " dB"),
        at_least("Gaussian over none", rows["Gaussian"] - rows["none"], 4.0, " dB"),
    ]


def _small_astronaut_holds(rows: Rows) -> Sequence[Check]:
    """Of three seeds the least were +0.54, +3.06, +0.82 and +4.47 dB."""
    return [
        at_least("basic over none", rows["basic"] - rows["none"], 0.25, " dB"),
        at_least("PE over basic", rows["PE"] - rows["basic"], 2.0, " dB"),
        at_least("Gaussian over PE", rows["Gaussian"] - rows["PE"], 0.0, " dB"),
        at_least("Gaussian over none", rows["Gaussian"] - rows["none"], 3.0, " dB"),
    ]


def _order_holds(rows: Rows) -> Sequence[Check]:
    """The published order, which is what a smaller size can keep."""
    return [
        at_least("basic over none", rows["basic"] - rows["none"], 0.0, " dB"),
        at_least("PE over basic", rows["PE"] - rows["basic"], 0.0, " dB"),
        at_least("Gaussian over PE", rows["Gaussian"] - rows["PE"], -0.5, " dB"),
    ]


_HOW = (
    "Test PSNR on the odd-odd pixels after training on the even ones, {size}x{size} (means of squares of the 512x512 "
    "pictures), 3 hidden layers of {width}, sigmoid, {steps} full-batch Adam steps, 1e-3 (none: 1e-2); sigma and "
    "octaves scaled by {size}/512."
)
_NATURAL = {"none": 19.32, "basic": 21.72, "PE": 24.95, "Gaussian": 25.57}
_TEXT = {"none": 18.40, "basic": 20.48, "PE": 27.57, "Gaussian": 30.47}
_SOURCE = "arXiv 2006.10739: 512x512, width 256, 2000 steps, mean of 16 test pictures"


def _table(name: str, published: Rows, sigma: float, octaves: float) -> list[Experiment]:
    """A set of the paper in the small, and at its size."""
    small, large = Setting(128, 128, 400), Setting(512, 256, 2000)
    shared = {"unit": "dB", "check": _order_holds, "published": published, "source": _SOURCE}
    return [
        Experiment(
            name=f"fourier_{name}",
            title=f"Fourier features, {name} pictures in the small",
            protocol=_HOW.format(**dataclasses.asdict(small)) + " Mean of 2 pictures of the train half.",
            run=lambda seed: _order(_set(name, 2), small, sigma, octaves, seed),
            seconds=60,
            **shared,
        ),
        Experiment(
            name=f"fourier_{name}_full",
            title=f"Fourier features, {name} pictures",
            protocol=_HOW.format(**dataclasses.asdict(large)) + " Mean of the 8 pictures of the train half.",
            run=lambda seed: _order(_set(name, 8), large, sigma, octaves, seed),
            seconds=100_000,
            full=True,
            **shared,
        ),
    ]


EXPERIMENTS: Sequence[Experiment] = (
    Experiment(
        name="fourier_order",
        title="Fourier features: none < basic < octaves, Gaussian",
        protocol=_HOW.format(size=128, width=128, steps=400) + " scikit-image's astronaut.",
        unit="dB",
        run=lambda seed: _astronaut(seed, Setting(size=128, width=128, steps=400)),
        check=_astronaut_holds,
        seconds=110,
    ),
    Experiment(
        name="fourier_order_short",
        title="Fourier features: none < basic < octaves < Gaussian, of a smaller picture",
        protocol=_HOW.format(size=64, width=64, steps=200) + " scikit-image's astronaut.",
        unit="dB",
        run=lambda seed: _astronaut(seed, Setting(size=64, width=64, steps=200)),
        check=_small_astronaut_holds,
        seconds=7,
        in_ci=True,
    ),
    *_table("natural", _NATURAL, 10.0, 6.0),
    *_table("text", _TEXT, 14.0, 5.0),
)
