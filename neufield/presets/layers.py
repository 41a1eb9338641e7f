"""Networks of other layers than linear maps and ReLUs, each on an encoding that suits it."""

import torch

from neufield.core.recipe import Recipe
from neufield.encodings import GaussianFourier
from neufield.fields import NeuralField
from neufield.networks import FAN, GRKAN, KAN
from neufield.presets.registry import preset
from neufield.presets.sizes import ArgumentKnob

__all__ = ["fan", "grkan", "kan"]


@preset("kan")
def kan(dim: int = 2, out_dim: int = 3, sigma: float = 10.0, generator: torch.Generator | None = None) -> NeuralField:
    """A Kolmogorov-Arnold network (arXiv 2404.19756) of width 32 on 64 random Fourier features, which are in [-1, 1].

    The paper feeds coordinates themselves and moves the grids: ``--set encoding.type=Identity --set encoding.scale=2
    --set encoding.offset=-1``, with many more intervals (``network.grid_size``) for anything that oscillates.
    """
    encoding = GaussianFourier(dim, 64, sigma, generator)
    network = KAN(encoding.out_dim, out_dim, 32, 1, generator=generator)
    recipe = Recipe(lr=5e-3, beta2=0.999, epsilon=1e-8, steps=1000, batch_size=8192)
    return NeuralField(encoding, network, recipe)


@preset(  # groups must divide the width
    "grkan",
    sizes=[ArgumentKnob("network.width", multiple=8), ArgumentKnob("network.width", multiple=4)],
)
def grkan(dim: int = 2, out_dim: int = 3, sigma: float = 10.0, generator: torch.Generator | None = None) -> NeuralField:
    """Group-rational activations (arXiv 2409.10594), 8 groups, width 128, on 128 random Fourier features."""
    encoding = GaussianFourier(dim, 128, sigma, generator)
    network = GRKAN(encoding.out_dim, out_dim, 128, 3, generator=generator)
    recipe = Recipe(lr=1e-3, beta2=0.999, epsilon=1e-8, steps=1000, batch_size=8192)
    return NeuralField(encoding, network, recipe)


@preset("fan", sizes=[ArgumentKnob("network.width", least=4)])
def fan(dim: int = 2, out_dim: int = 3, sigma: float = 10.0, generator: torch.Generator | None = None) -> NeuralField:
    """A Fourier analysis network (arXiv 2410.02675), width 256, on 128 random Fourier features.

    The paper's layers start at low frequencies, and feed the coordinates; without the features, or an
    ``Identity`` of large scale, a picture stays a blur.
    """
    encoding = GaussianFourier(dim, 128, sigma, generator)
    network = FAN(encoding.out_dim, out_dim, 256, 3, generator=generator)
    recipe = Recipe(lr=1e-3, beta2=0.999, epsilon=1e-8, steps=1000, batch_size=8192)
    return NeuralField(encoding, network, recipe)
