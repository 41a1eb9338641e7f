"""Networks of complex wavelets: WIRE, and a low-pass and a band-pass network side by side."""

import torch

from neufield.core.recipe import Exponential, Recipe
from neufield.encodings import Identity
from neufield.fields import NeuralField
from neufield.networks import SumOfNetworks, Wire
from neufield.presets.registry import preset
from neufield.presets.sizes import ArgumentKnob, TiedKnobs

__all__ = ["split_wavelet", "wire"]


@preset("wire")
def wire(
    dim: int = 2,
    out_dim: int = 3,
    omega: float = 20.0,
    scale: float = 10.0,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """WIRE (arXiv 2301.05187): 181 complex Gabor wavelets, twice more, and a real part; the rate falls to a tenth.

    The paper's pictures have scale 30 and rates of 5e-3 to 2e-2; scale 10 is what others found better. For noisy
    pictures omega and scale are 4 or 5. ``--set network.n_maps=2`` is the two-dimensional variant, and
    ``--set 'network.start={"type": "ModulusMaxima"}'`` places the first layer's atoms on the picture's edges.
    """
    network = Wire(dim, out_dim, omega=omega, scale=scale, generator=generator)
    return NeuralField(Identity(dim), network, _recipe())


@preset(
    "split_wavelet",
    sizes=[TiedKnobs({"network.low.width": 3, "network.band.width": 8}), ArgumentKnob("network.band.width")],
)
def split_wavelet(
    dim: int = 2,
    out_dim: int = 3,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """A Gaussian network for what is smooth and a network of nearly analytic wavelets for the rest (arXiv 2310.00545).

    The wavelets' omega is three times their scale, where 0.1 % of an atom's energy has a frequency below 0. Both have
    as many maps as there are dimensions, so that their templates are local in every direction.
    """
    low = Wire(dim, out_dim, 96, 1, omega=0.0, scale=2.0, n_maps=dim, generator=generator)
    band = Wire(dim, out_dim, 256, 1, omega=18.0, scale=6.0, n_maps=dim, generator=generator)
    return NeuralField(Identity(dim), SumOfNetworks(low, band), _recipe())


def _recipe() -> Recipe:
    return Recipe(lr=5e-3, beta2=0.999, epsilon=1e-8, schedule=Exponential(), steps=1000)
