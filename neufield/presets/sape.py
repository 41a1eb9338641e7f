"""Spatially-adaptive progressive encoding."""

import torch

from neufield.core.edits import Edit
from neufield.core.recipe import Constant, Recipe
from neufield.encodings import SAPE, RadialFourier
from neufield.fields import NeuralField
from neufield.networks import MLP
from neufield.presets.fresh import Axis, evenly
from neufield.presets.registry import preset

__all__ = ["sape"]

_RESOLUTIONS = {1: 128, 2: 128, 3: 64}


@preset("sape", fresh=Axis("encoding.encoding.sigma", evenly(1, 20, 2.0), [Edit("encoding.override", True)]))
def sape(
    dim: int = 2,
    out_dim: int = 3,
    sigma: float = 40.0,
    resolution: int | None = None,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """SAPE (arXiv 2104.09125): 256 radial Fourier frequencies opened cell by cell, 256x3 ReLU, no output activation.

    ``sigma`` is in cycles per unit box: the paper's 20 on [-1, 1]. The paper opens 257 blocks of two channels in the
    first half of 5000 full-batch steps at a constant rate of 1e-3; here it is 32 blocks of 16, in as many steps as the
    other presets take. Its cells are 128^2 for pictures up to 512 pixels a side, 64^3 in 3-D, half the samples in 1-D;
    a signal with few samples should have few cells (``--set encoding.resolution=12``).
    """
    inner = RadialFourier(dim, sigma=sigma, generator=generator)
    encoding = SAPE(inner, n_blocks=32, resolution=resolution or _RESOLUTIONS.get(dim, 16))
    network = MLP(encoding.out_dim, out_dim, 256, 3, generator=generator)
    return NeuralField(encoding, network, Recipe(lr=1e-3, beta2=0.999, epsilon=1e-8, schedule=Constant(), steps=1000))
