"""Coordinate networks by their activation: FINER, Gaussians, multiplicative filters, BACON."""

from collections.abc import Sequence

import torch

from neufield.core.recipe import Exponential, Recipe
from neufield.encodings import Identity
from neufield.fields import NeuralField
from neufield.networks import ActivationNetwork, Bacon, Finer, FourierNet, GaborNet, Gauss
from neufield.presets.fresh import Axis, evenly
from neufield.presets.registry import preset

__all__ = ["bacon", "finer", "fourier_net", "gabor_net", "gauss"]


@preset("finer", fresh=Axis("network.activation.first_bias", evenly(0, 30, 0.1)))
def finer(
    dim: int = 2,
    out_dim: int = 3,
    omega_0: float = 30.0,
    first_bias: float | None = None,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """FINER (arXiv 2312.02434): SIREN with sin(omega (|z| + 1) z), targets read as [-1, 1], the rate falls to a tenth.

    The official code starts at 5e-4 and takes 5000 steps; for shapes it has ``first_bias`` 1.
    """
    network = ActivationNetwork(
        dim, out_dim, Finer(omega_0, first_bias=first_bias), output_activation="signed_to_unit", generator=generator
    )
    return NeuralField(Identity(dim), network, _recipe(1e-3))


@preset("gauss")
def gauss(
    dim: int = 2,
    out_dim: int = 3,
    scale: float = 30.0,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """Gaussian activations (arXiv 2111.15135): exp(-(30 z)^2) after each of four layers of 256.

    FINER's code starts at 5e-3, WIRE's authors advise 1e-3 to 2e-3. Scale 30 wants long runs: after 200 steps of 1024
    pixels on a 96 x 96 picture it had 15.7 dB, at either rate no more, and scale 10 had 35.0
    (``--set network.activation.scale=10``).
    """
    network = ActivationNetwork(dim, out_dim, Gauss(scale), output_activation="signed_to_unit", generator=generator)
    return NeuralField(Identity(dim), network, _recipe(2e-3))


@preset("fourier_net")
def fourier_net(dim: int = 2, out_dim: int = 3, generator: torch.Generator | None = None) -> NeuralField:
    """A multiplicative filter network of sines (Fathony et al., ICLR 2021): four filters of 256, rate 1e-2.

    ``scale`` 256 is the paper's, for a picture of 256 x 256; ``--set network.scale=...`` for what is finer or coarser.
    """
    network = FourierNet(dim, out_dim, output_activation="signed_to_unit", generator=generator)
    return NeuralField(Identity(dim), network, _recipe(1e-2))


@preset("gabor_net")
def gabor_net(dim: int = 2, out_dim: int = 3, generator: torch.Generator | None = None) -> NeuralField:
    """A multiplicative filter network of sines, each under its own Gaussian window (Fathony et al., ICLR 2021)."""
    network = GaborNet(dim, out_dim, output_activation="signed_to_unit", generator=generator)
    return NeuralField(Identity(dim), network, _recipe(1e-2))


@preset("bacon")
def bacon(
    dim: int = 2,
    out_dim: int = 3,
    shape: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """BACON (arXiv 2112.04645): five filters of 256, read-outs of a quarter, a half and the whole bandwidth; rate 5e-3.

    The bandwidth is what the lattice of ``shape`` can hold, half its cells along each axis (as if it had 256, without).
    """
    bandwidths = [size / 2 for size in shape or [256] * dim]
    network = Bacon(dim, out_dim, bandwidths, output_activation="signed_to_unit", generator=generator)
    return NeuralField(Identity(dim), network, _recipe(5e-3))


def _recipe(lr: float) -> Recipe:
    return Recipe(lr=lr, beta2=0.999, epsilon=1e-8, schedule=Exponential(), steps=1000)
