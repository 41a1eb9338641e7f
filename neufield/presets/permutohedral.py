"""Permutohedral grids."""

import math
from collections.abc import Sequence

import torch

from neufield.core.recipe import Cosine, Recipe
from neufield.encodings import Permutohedral
from neufield.fields import NeuralField
from neufield.networks import MLP
from neufield.presets.baselines import growth
from neufield.presets.registry import preset
from neufield.presets.sizes import GRID

__all__ = ["permuto"]


@preset("permuto", sizes=GRID)
def permuto(
    dim: int = 2, out_dim: int = 3, shape: Sequence[int] | None = None, generator: torch.Generator | None = None
) -> NeuralField:
    """Hashed permutohedral lattices (PermutoSDF, arXiv 2211.12562) under ``ngp``'s small network, for any dimension.

    16 levels from 16 edges per box to, with a ``shape``, one edge per cell of the longest side; 2048 without. The paper
    has 24 levels of 2^18 rows over scales from 1 to 1e-4 in 3-D. The table has as many rows as the lattice has cells,
    within 2^14 .. 2^18.
    """
    finest = max(shape) if shape else 2048
    cells = math.prod(shape) if shape else 2**18
    encoding = Permutohedral(
        dim,
        log2_hashmap_size=min(18, max(14, (cells - 1).bit_length())),
        per_level_scale=growth(16, finest, 16),
        generator=generator,
    )
    network = MLP(encoding.out_dim, out_dim, bias=False, generator=generator)
    recipe = Recipe(lr=1e-2, beta2=0.95, l2_reg=1e-6, schedule=Cosine(), steps=1500, batch_size=16_384)
    return NeuralField(encoding, network, recipe)
