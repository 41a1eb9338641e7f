"""FreSh (arXiv 2410.05050): which omega it takes for a SIREN, what that is worth, and what choosing costs.

The paper's tables could not be read, so the bounds are those of our own calibration. Pictures are scikit-image's, at
128 x 128: camera reduced, the same blurred by 6 pixels, and the middle of gravel and of grass. A SIREN of a sine layer
and three more of width 64, with the bias of the authors' code.
"""

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

import neufield as nf
from benchmarks.experiments.experiment import Check, Experiment, Rows, at_least, at_most
from neufield.core.recipe import Constant, Recipe
from neufield.encodings import Identity
from neufield.fields import NeuralField
from neufield.fitting import FreSh
from neufield.networks import Siren
from neufield.presets import find
from neufield.signals import Array

_SIDE, _STEPS = 128, 500
_SHAPE = (_SIDE, _SIDE)
_GRID = (30, 60, 90, 120, 160)
_RECIPE = Recipe(1e-4, beta2=0.999, epsilon=1e-8, schedule=Constant(), steps=_STEPS, batch_size=_SIDE**2)


def _pictures() -> Mapping[str, Array]:
    from skimage import data, filters

    def gray(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32) / 255)

    def middle(values: np.ndarray) -> Tensor:
        top, left = ((size - _SIDE) // 2 for size in values.shape[:2])
        return gray(values[top : top + _SIDE, left : left + _SIDE])

    camera = gray(data.camera())[None, None]
    camera = torch.nn.functional.interpolate(camera, _SHAPE, mode="bilinear", antialias=True)[0, 0]
    blurred = torch.from_numpy(filters.gaussian(camera.numpy(), 6).astype(np.float32))
    found = {"blurred": blurred, "camera": camera, "gravel": middle(data.gravel()), "grass": middle(data.grass())}
    return {name: Array(values[..., None]) for name, values in found.items()}


def _siren(omega: float, generator: torch.Generator) -> NeuralField:
    network = Siren(2, 1, 64, 3, omega, bias="outside", output_activation="signed_to_unit", generator=generator)
    return NeuralField(Identity(2), network, _RECIPE)


def _choices(seed: int) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """The omega chosen for each picture and its distance; what the candidates give is the same for all."""
    omegas = {f"{omega:g}": omega for omega in find("siren").fresh.values}
    fresh = FreSh(seed=seed)
    made = {name: lambda generator, omega=omega: _siren(omega, generator) for name, omega in omegas.items()}
    spectra = fresh.of_candidates(_SHAPE, made)
    chosen = {name: fresh.compare(fresh.of_signal(signal, _SHAPE), spectra) for name, signal in _pictures().items()}
    distances = {name: selection.distances[selection.chosen] for name, selection in chosen.items()}
    return {name: omegas[selection.chosen] for name, selection in chosen.items()}, distances


def _select(seed: int) -> Rows:
    begun = time.process_time()  # not the clock: the machine may be busy
    omegas, distances = _choices(seed)
    selection = time.process_time() - begun
    signal, field = _pictures()["camera"], _siren(60.0, torch.Generator().manual_seed(seed))
    begun, steps = time.process_time(), 20
    nf.fit(field, signal, Recipe(1e-4, steps=steps, batch_size=_SIDE**2), evaluate_every=steps)
    step = (time.process_time() - begun) / steps
    rows = {f"omega, {name}": omega for name, omega in omegas.items()}
    rows |= {f"distance, {name}": distance for name, distance in distances.items()}
    return {**rows, "training steps that choosing costs": selection / step}


def _check_select(rows: Rows) -> Sequence[Check]:
    return [
        at_least("omega for camera", rows["omega, camera"], rows["omega, blurred"] + 30),
        at_least("omega for gravel", rows["omega, gravel"], rows["omega, camera"] + 10),
        at_least("omega for grass", rows["omega, grass"], rows["omega, camera"] + 30),
        at_most("training steps that choosing costs", rows["training steps that choosing costs"], 200),
    ]


def _psnr(signal: Array, omega: float, seed: int) -> float:
    """The median over the last 50 steps: at 45 dB Adam makes leaps."""
    field = _siren(omega, torch.Generator().manual_seed(seed))
    state = nf.fit(field, signal, evaluate_every=_STEPS)
    return float(np.median([-10 * math.log10(row["loss"]) for row in state.history[-50:]]))


def _train(seed: int) -> Rows:
    omegas, _ = _choices(seed)
    pictures = _pictures()
    rows = {}
    for name, grid in {"blurred": (30,), "camera": (30,), "grass": _GRID}.items():
        for omega in sorted({*grid, omegas[name]}):
            rows[f"{name}, omega {omega:g}"] = _psnr(pictures[name], omega, seed)
        rows[f"{name}, FreSh"] = rows[f"{name}, omega {omegas[name]:g}"]
    return rows


def _check_train(rows: Rows) -> Sequence[Check]:
    best = max(rows[f"grass, omega {omega}"] for omega in _GRID)
    return [
        at_least("grass", rows["grass, FreSh"], rows["grass, omega 30"] + 1.5, " dB"),
        at_least("camera", rows["camera, FreSh"], rows["camera, omega 30"] + 1.0, " dB"),
        at_least("camera blurred", rows["blurred, FreSh"], rows["blurred, omega 30"] - 0.5, " dB"),
        at_least("grass beside the best of the grid", rows["grass, FreSh"], best - 1.5, " dB"),
    ]


EXPERIMENTS: Sequence[Experiment] = (
    Experiment(
        name="fresh_choice",
        title="FreSh, the omega of a SIREN",
        protocol="128^2, 64x(1+3), omega 10 to 200, 10 draws, m up to 64; CPU time of choosing in steps on all pixels",
        unit="omega, or as said",
        run=_select,
        check=_check_select,
        seconds=10,
        in_ci=True,
    ),
    Experiment(
        name="fresh_training",
        title="FreSh, what the chosen omega is worth",
        protocol="128^2, 64x(1+3), rate 1e-4, 500 steps on all pixels, PSNR (median of the last 50 steps)",
        unit="dB",
        run=_train,
        check=_check_train,
        seconds=240,
    ),
)
