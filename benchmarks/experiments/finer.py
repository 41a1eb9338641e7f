"""FINER beside SIREN."""

import functools
from collections.abc import Sequence

import torch

from benchmarks.experiments.experiment import Check, Experiment, Rows, at_least
from benchmarks.experiments.small_pictures import astronaut, full_batch, psnr_after
from neufield.core.recipe import Exponential
from neufield.networks import ActivationNetwork, Finer, Siren


def _astronaut(seed: int, side: int, width: int, steps: int, decay: int) -> Rows:
    picture = astronaut(side)
    recipe = full_batch(5e-4, steps, Exponential(0.1 ** (steps / decay)), 1)
    siren = Siren(2, 3, width, output_activation="signed_to_unit", generator=torch.Generator().manual_seed(seed))
    finer = ActivationNetwork(
        2,
        3,
        Finer(),
        width,
        output_activation="signed_to_unit",
        generator=torch.Generator().manual_seed(seed),
    )
    return {
        "SIREN": psnr_after(siren, picture, recipe, seed),
        "FINER": psnr_after(finer, picture, recipe, seed),
    }


def _gains(bound: float, rows: Rows) -> Sequence[Check]:
    return [at_least("FINER over SIREN", rows["FINER"] - rows["SIREN"], bound, " dB")]


EXPERIMENTS: Sequence[Experiment] = [
    Experiment(
        "finer-astronaut-short",
        "FINER and SIREN, early",
        "skimage's astronaut, 128 x 128 area means, width 64, 250 full-batch steps, 5e-4 x 0.1^(t/1000)",
        "dB",
        functools.partial(_astronaut, side=128, width=64, steps=250, decay=1000),
        functools.partial(_gains, 0.8),
        seeds=(0, 1, 2),
        seconds=50,
    ),
    Experiment(
        "finer-astronaut",
        "FINER and SIREN",
        "as before, 1000 steps",
        "dB",
        functools.partial(_astronaut, side=128, width=64, steps=1000, decay=1000),
        functools.partial(_gains, 0.4),
        seeds=(0,),
        seconds=67,
    ),
    Experiment(
        "finer-full",
        "FINER and SIREN at the paper's size",
        "astronaut 512 x 512, width 256, 5000 steps, 5e-4 x 0.1^(t/5000); published: one picture of DIV2K",
        "dB",
        functools.partial(_astronaut, side=512, width=256, steps=5000, decay=5000),
        functools.partial(_gains, 1.0),
        published={"SIREN": 39.78, "FINER": 42.27},
        source="FINER's project page (arXiv 2312.02434)",
        seconds=50_000,
        full=True,
    ),
]
