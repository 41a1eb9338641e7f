"""Shifted basis functions: concatenated under a network, or multiplied and read out linearly."""

import math
from collections.abc import Sequence
from fractions import Fraction

import torch

from neufield.core import exact
from neufield.core.recipe import Cosine, Recipe
from neufield.encodings import Kronecker, ShiftedBasis
from neufield.fields import NeuralField
from neufield.networks import MLP, IdentityHead
from neufield.presets.registry import preset
from neufield.presets.sizes import LatticeKnob

__all__ = ["kronecker", "shifted_gaussian"]

_MOST_WEIGHTS = 1 << 20  # per feature, of a product of axes


@preset("shifted_gaussian")
def shifted_gaussian(dim: int = 2, out_dim: int = 3, generator: torch.Generator | None = None) -> NeuralField:
    """Shifted Gaussians along the axes, and in several dimensions along the diagonals too, and a 256x4 ReLU network.

    The "simple" encoding of Zheng et al. (arXiv 2107.02561, and ECCV 2022): 512 channels of width 0.006, Adam at 5e-3
    for 2000 full batches of 256 x 256 samples in the paper. Our steps are batches of 16,384.
    """
    directions = dim * dim  # the axes and both diagonals of every pair
    encoding = ShiftedBasis(dim, "gaussian", max(16, 512 // directions), 0.006, directions="diagonals")
    network = MLP(encoding.out_dim, out_dim, 256, 4, generator=generator)
    recipe = Recipe(lr=1e-3, beta2=0.999, epsilon=1e-8, steps=1000, batch_size=16_384)
    return NeuralField(encoding, network, recipe)


@preset("kronecker", sizes=[LatticeKnob()])
def kronecker(
    dim: int = 2, out_dim: int = 3, shape: Sequence[int] | None = None, generator: torch.Generator | None = None
) -> NeuralField:
    """All products of Gaussians along the axes, read out linearly (the "complex" encoding, Zheng et al., ECCV 2022).

    With a ``shape``, half as many Gaussians an axis as the lattice has cells, fewer where their product would exceed
    2^20; without, 256 an axis in the paper's 2-D. Their width is one spacing, the paper's 0.004 for 256. Adam at the
    paper's 0.1; the paper's 2000 steps do no more than 200 here. ``field.encoding.solve`` needs none at all where the
    samples are a lattice.
    """
    sizes = [max(2, math.ceil(size / 2)) for size in shape] if shape else [256] * dim
    shrink = min(1.0, exact.power(Fraction(_MOST_WEIGHTS, math.prod(sizes)), Fraction(1, dim)))
    counts = [max(2, int(size * shrink)) for size in sizes]
    axes = [ShiftedBasis(1, "gaussian", n, 1 / n) for n in counts]
    encoding = Kronecker(axes, out_dim, generator=generator)
    recipe = Recipe(lr=0.1, beta2=0.999, epsilon=1e-8, schedule=Cosine(), steps=200, batch_size=2**19)
    return NeuralField(encoding, IdentityHead(out_dim), recipe)
