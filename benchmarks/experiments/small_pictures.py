"""scikit-image's pictures made small, and a few fields trained on them."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from neufield.core.recipe import Recipe, Schedule
from neufield.encodings import Identity
from neufield.fields import NeuralField
from neufield.fitting import fit
from neufield.signals.array import Array


def camera(side: int = 128) -> Tensor:
    """The cameraman (side, side, 1), area means of the 512 x 512, from 0 to 1."""
    from skimage import data

    small = area_mean(data.camera(), side)
    return (small - small.min()) / (small.max() - small.min())


def astronaut(side: int = 128) -> Tensor:
    """Eileen Collins (side, side, 3) in [0, 1], area means of the 512 x 512."""
    from skimage import data

    return area_mean(data.astronaut(), side)


def area_mean(pixels: np.ndarray, side: int) -> Tensor:
    """8-bit ``pixels (H, W)`` or ``(H, W, C)`` as (side, side, C) in [0, 1], each the mean of a whole block."""
    values = torch.from_numpy(pixels.copy()).double() / 255
    height, width, channels = values.shape if values.ndim == 3 else (*values.shape, 1)
    blocks = values.view(side, height // side, side, width // side, channels)
    return blocks.mean(dim=(1, 3)).float()


def full_batch(lr: float, steps: int, schedule: Schedule, cells: int) -> Recipe:
    """PyTorch's own Adam on all ``cells`` at every step."""
    return Recipe(lr=lr, beta2=0.999, epsilon=1e-8, schedule=schedule, steps=steps, batch_size=cells)


def psnr_after(network: torch.nn.Module, values: Tensor, recipe: Recipe, seed: int) -> float:
    """PSNR in dB of ``network`` on all of ``values (*shape, C)`` after training on them."""
    signal = Array(values)
    field = NeuralField(Identity(signal.dim), network, dataclasses.replace(recipe, batch_size=values.numel()))
    fit(field, signal, seed=seed, evaluate_every=recipe.steps)
    return signal.evaluate(field).value
