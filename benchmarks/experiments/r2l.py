"""R2L's light fields against a perfect teacher: how many views, which skips, which rays."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.experiments.experiment import Check, Experiment, Rows, at_least
from benchmarks.experiments.table_scene import FAR, NEAR, trace, views
from neufield.core.interfaces import Source
from neufield.core.recipe import Recipe, WarmUp
from neufield.core.records import Batch
from neufield.fields import LightField
from neufield.fields.light_field import features_of_ray
from neufield.fitting import HardRays, RayRegression, fit
from neufield.metrics import psnr
from neufield.networks import ResidualMLP

_POINTS, _OCTAVES, _WIDTH, _BLOCKS, _BATCH = 8, 6, 96, 10, 2048


class Known(Source):
    """Rays whose colors are known, any of them alike."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.rgb = trace(x)

    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        """``n`` rays with repetition."""
        del step
        chosen = torch.randint(len(self.x), (n,), generator=generator)
        return Batch(self.x[chosen], self.rgb[chosen])


def _squares(source: Source, test: Known, seed: int, steps: int, residual: bool = True, hard: bool = False) -> Tensor:
    """The squared error of each of the ``test`` rays, after training."""
    network = ResidualMLP(
        features_of_ray(_POINTS, _OCTAVES), 3, _WIDTH, _BLOCKS, residual, generator=torch.Generator().manual_seed(seed)
    )
    recipe = Recipe(5e-4, beta2=0.999, epsilon=1e-8, schedule=WarmUp(), batch_size=_BATCH, steps=steps)
    field = LightField(network, NEAR, FAR, _POINTS, _OCTAVES, recipe=recipe)
    objective = HardRays(RayRegression(), capacity=25) if hard else RayRegression()
    fit(field, source, objective=objective, seed=seed, evaluate_every=10**9)
    with torch.no_grad():
        seen = torch.cat([field(x) for x in test.x.split(4096)])
    return (seen - test.rgb).square().mean(1)


def _mean_psnr(squares: Tensor) -> float:
    """The mean of the 8 test views' PSNR."""
    return sum(psnr(view.mean()) for view in squares.view(8, -1)) / 8


def _light_fields(seed: int, steps: int, pseudo: int) -> Rows:
    test = Known(views(8, torch.Generator().manual_seed(1)))
    few = Known(views(24, torch.Generator().manual_seed(0)))
    many = Known(views(pseudo, torch.Generator().manual_seed(seed + 100), zoomed=True))
    found = {
        "24 views": _squares(few, test, seed, steps),
        "pseudo views": _squares(many, test, seed, steps),
        "without skips": _squares(many, test, seed, steps, residual=False),
        "hard rays": _squares(many, test, seed, steps, hard=True),
    }
    worst = len(test.x) // 20
    rows = {name: _mean_psnr(squares) for name, squares in found.items()}
    rows |= {
        f"{name}, worst 5 %": psnr(found[name].topk(worst).values.mean()) for name in ("pseudo views", "hard rays")
    }
    return rows


def _claims(rows: Rows) -> Sequence[Check]:
    """The claims hold in sign; each bound is about two thirds of the least of three seeds at 1,500 steps."""
    worst = rows["hard rays, worst 5 %"] - rows["pseudo views, worst 5 %"]
    return [
        at_least("pseudo views over 24 real ones", rows["pseudo views"] - rows["24 views"], 1.0, " dB"),
        at_least("residual over plain", rows["pseudo views"] - rows["without skips"], 0.35, " dB"),
        at_least("hard rays, all pixels", rows["hard rays"] - rows["pseudo views"], -0.1, " dB"),
        at_least("hard rays, worst 5 %", worst, 0.1, " dB"),
    ]


EXPERIMENTS: Sequence[Experiment] = [
    Experiment(
        "r2l",
        "R2L's light field learns from a perfect teacher",
        "a scene traced exactly, 64 x 64, 8 test views; 400 pseudo views or 24; W96, 10 blocks, 8 points, 6 octaves, "
        "2,048 rays, 1,500 steps",
        "dB",
        functools.partial(_light_fields, steps=1500, pseudo=400),
        _claims,
        seeds=(0, 1, 2),
        seconds=1500,
        full=True,
    ),
]
