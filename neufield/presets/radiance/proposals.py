"""The small densities that guess where a ray has something to show."""

from collections.abc import Sequence

import torch

from neufield.core.recipe import Recipe
from neufield.encodings import Grid
from neufield.fields import DensityActivation, DensityField
from neufield.networks import MLP
from neufield.presets.baselines import growth


def proposal_networks(
    unit: float = 1.0, resolutions: Sequence[int] = (128, 256), generator: torch.Generator | None = None
) -> list[DensityField]:
    """Nerfacto's densities for :class:`neufield.renderers.ProposalSampler`, one for each of ``resolutions``.

    Hash grids of 5 levels from 16 on, 2^17 entries of 2 features, 16x1 networks, exp; they start at about 1 per
    ``unit`` world units. Adam 1e-2, and 1e-6 of L2 as in instant-ngp.
    """
    networks, recipe = [], Recipe(lr=1e-2, l2_reg=1e-6)
    for resolution in resolutions:
        encoding = Grid(
            3, n_levels=5, log2_hashmap_size=17, per_level_scale=growth(16, resolution, 5), generator=generator
        )
        network = MLP(encoding.out_dim, 1, 16, 1, generator=generator)
        networks.append(DensityField(encoding, network, DensityActivation("trunc_exp", scale=1 / unit), recipe))
    return networks
