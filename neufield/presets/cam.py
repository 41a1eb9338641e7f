"""Coordinate-aware modulation of Fourier features."""

import torch

from neufield.core.recipe import Recipe
from neufield.encodings import GaussianFourier
from neufield.fields import NeuralField
from neufield.networks import CAM, MLP
from neufield.presets.registry import preset

__all__ = ["cam"]


@preset("cam")
def cam(
    dim: int = 2,
    out_dim: int = 3,
    sigma: float = 10.0,
    resolution: int = 32,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """CAM (arXiv 2311.14993) in Tancik's network: 256 Gaussian frequencies, 256x3 ReLU, each layer with its grids.

    The paper's sizes for pictures: a grid of ``resolution`` nodes an axis and a layer, features normalized point by
    point. Weights start as PyTorch draws them, as in its code: Xavier's, larger, learn too slowly under the norm, which
    cost 3 dB in ``cam-crops``. Adam at 1e-3, grids at ten times that. The paper trains 2000 steps on all pixels and
    divides the rate by ten at 1000 and 1500 (``--set 'recipe.schedule={"type": "Step", "base": 0.1, "start": 1000,
    "interval": 500}'``, ``recipe.batch_size`` above the number of pixels); here it is a cosine.
    """
    encoding = GaussianFourier(dim, sigma=sigma, generator=generator)
    modulation = CAM([resolution] * dim, n_grids=3)
    network = MLP(
        encoding.out_dim,
        out_dim,
        256,
        3,
        output_activation="sigmoid",
        modulation=modulation,
        start="torch",
        generator=generator,
    )
    factors = {"network.modulation": 10.0}
    return NeuralField(encoding, network, Recipe(lr=1e-3, lr_factors=factors, beta2=0.999, epsilon=1e-8, steps=1000))
