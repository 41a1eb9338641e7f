"""Names and papers -> radiance fields, each with the recipe that trains it.

Each takes a ``resolution``: how many details along an edge of the box the field is to hold, which scales its sizes. The
defaults are laptop sizes; each docstring says which one is the paper's. ``recipe.batch_size`` counts samples along
rays. Papers' rates are kept, their schedules where we have them; ``upsampled`` is for whoever runs the loop. Those in
``CODED`` also take the ``code_dim`` of photographs' codes, 0 by default.
"""

from collections.abc import Callable, Mapping, Sequence

import torch

from neufield.core import exact
from neufield.core.errors import ConfigError, nearest
from neufield.core.interfaces import Encoding, RadianceField
from neufield.core.recipe import Exponential, Recipe
from neufield.encodings import Frequency, Grid, KPlanes, SphericalHarmonics
from neufield.fields import (
    MLP,
    Density,
    DensityField,
    EncodedRadiance,
    NerfRadiance,
    Plenoxels,
    TensoRFCP,
    TensoRFVM,
)
from neufield.presets import growth

# Samples a step, for runs of minutes on a CPU: many small steps. The papers have 2^16 to 2^18.
_FUSED_SAMPLES = 2**13  # where a native operator goes along rays
_SAMPLES = 2**12  # where it does not
_VOXEL_SAMPLES = 2**15  # where moving all parameters takes most of a step


def radiance_ngp(resolution: int = 512, generator: torch.Generator | None = None, code_dim: int = 0) -> EncodedRadiance:
    """Instant-NGP (arXiv 2201.05989): hash grid, 64x1 density network to 16, 64x2 colour network, no biases, exp.

    2048 is the paper's: 16 levels from 16 to 2048, 2^19 entries of 2 features. Each halving takes two levels and half
    the entries, to 12 and 2^17 at 512: more for the time on a CPU. Spherical harmonics to degree 4, Huber loss, Adam
    1e-2 with an epsilon of 1e-15, 1e-6 of L2 on the networks. White-background pictures of 800x800, mean of 8 synthetic
    scenes: 32.2-33.2 dB.

    For runs of minutes on a CPU: 2^13 samples a step (the paper's 2^18 on a GPU); the rate is held for 40 % of the run
    and then falls to 0.03 (the paper's falls by 0.33 at steps 20,000, 30,000 ...); no averaged weights; and the density
    is exp(logit - 1), nerfacc's version, which begins with less fog.
    """
    octaves = max(5, round(exact.log2(resolution)))
    encoding = Grid(
        3,
        n_levels=2 * octaves - 6,
        log2_hashmap_size=octaves + 8,
        per_level_scale=growth(16, resolution, 2 * octaves - 6),
        generator=generator,
    )
    recipe = Recipe(
        lr=1e-2, l2_reg=1e-6, schedule=Exponential(0.03, hold=0.4), loss="huber", batch_size=_FUSED_SAMPLES, steps=6000
    )
    return _neural(encoding, generator, recipe, code_dim, Density("trunc_exp", shift=-1.0))


def radiance_triplane(
    resolution: int = 256, generator: torch.Generator | None = None, code_dim: int = 0
) -> EncodedRadiance:
    """Static K-Planes, hybrid (arXiv 2301.10241): three planes of 32 features at three scales, multiplied.

    512 is the paper's: planes of 128, 256 and 512 cells. Networks and density are instant-ngp's, as in the paper (whose
    colour network does not see the logit). Adam 1e-2 and a cosine; its loss adds 1e-4 of ``fields.radiance.roughness``.
    Mean of 8 synthetic scenes: 32.4 dB.
    """
    coarsest = max(1, round(resolution / 4))
    encoding = KPlanes([coarsest] * 3, 32, scales=[1, 2, 4], generator=generator)
    return _neural(encoding, generator, Recipe(lr=1e-2, batch_size=_SAMPLES, steps=4000), code_dim)


def radiance_nerf(
    resolution: int = 1024, width: int = 256, depth: int = 8, generator: torch.Generator | None = None
) -> NerfRadiance:
    """NeRF (arXiv 2003.08934): octaves of sines, 256x8 ReLU network, ReLU density.

    1024 is the paper's: ten octaves for points, and one more because our box is [0, 1] where the paper's is [-1, 1];
    so also four for directions. As in the paper's equation 4, and unlike its code, the coordinates themselves are not
    among the inputs. The paper trains two of them, coarse and fine: see
    :class:`neufield.renderers.HierarchicalSampler`. Adam 5e-4, falling tenfold. Mean of 8 synthetic scenes: 31.0 dB.
    """
    points = Frequency(3, max(1, int(resolution).bit_length()))
    recipe = Recipe(lr=5e-4, beta2=0.999, epsilon=1e-7, schedule=Exponential(0.1), batch_size=_SAMPLES, steps=10_000)
    return NerfRadiance(points, Frequency(3, 5), width, depth, recipe=recipe, generator=generator)


def radiance_vm(resolution: int = 128, generator: torch.Generator | None = None) -> TensoRFVM:
    """TensoRF VM-192 (arXiv 2203.09517): ranks 16 and 48 per plane, 27 features, 128x2 colour network.

    300 is the paper's last, from 128 on with ``upsampled`` at steps 2000, 3000, 4000, 5500 and 7000, each time with a
    new optimiser. Adam (0.9, 0.99), 0.02 for factors and 0.001 for the networks, falling tenfold. Its loss adds 8e-5 of
    ``fields.radiance.sparsity`` of the density's factors (4e-5 after step 2000). Mean of 8 synthetic scenes: 33.1 dB.

    The paper's density starts at softplus(-10), and a few hundred steps pass before anything can be seen; here it is
    softplus(-5), which is worth 2 dB after 30 seconds on a CPU.
    """
    return TensoRFVM([resolution] * 3, density=_tensorf_density(), recipe=_tensorf_recipe(), generator=generator)


def radiance_cp(resolution: int = 256, generator: torch.Generator | None = None) -> TensoRFCP:
    """TensoRF CP-384 (arXiv 2203.09517): 96 and 288 products of three lines, 27 features, 128x2 colour network.

    500 is the paper's. Density and rates as for ``radiance_vm``, 1e-5 of ``fields.radiance.sparsity``. Mean of 8
    synthetic scenes: 31.6 dB.
    """
    return TensoRFCP([resolution] * 3, density=_tensorf_density(), recipe=_tensorf_recipe(), generator=generator)


def radiance_voxels(resolution: int = 96, generator: torch.Generator | None = None) -> Plenoxels:
    """Plenoxels (arXiv 2112.05131): a density and nine harmonics per colour channel in every cell, no network.

    The paper's grid is sparse and of 256 cells an edge, then 512; this one is dense, 112 bytes a cell, three times that
    while training. The paper takes RMSProp with rates of 30, falling to 0.05, for densities and 1e-2 for colours, far
    apart because densities are; here it is Adam at 1e-2, with 100 times as much for densities. Its loss adds
    ``fields.radiance.total_variation``. Nothing is drawn: ``generator`` is there for the common signature. Mean of 8
    synthetic scenes: 31.7 dB.
    """
    del generator
    recipe = Recipe(
        lr=1e-2, lr_factors={"density_table": 100.0}, schedule=Exponential(0.1), batch_size=_VOXEL_SAMPLES, steps=2000
    )
    return Plenoxels([resolution] * 3, SphericalHarmonics(3), recipe=recipe)


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
        networks.append(DensityField(encoding, network, Density("trunc_exp", scale=1 / unit), recipe))
    return networks


def _neural(
    encoding: Encoding,
    generator: torch.Generator | None,
    recipe: Recipe,
    code_dim: int,
    density: Density | None = None,
) -> EncodedRadiance:
    """Instant-ngp's networks behind any encoding."""
    direction = SphericalHarmonics(4)
    network = MLP(encoding.out_dim, 16, 64, 1, bias=False, generator=generator)
    n_inputs = 16 + direction.out_dim + code_dim
    color_network = MLP(n_inputs, 3, 64, 2, output_activation="sigmoid", bias=False, generator=generator)
    return EncodedRadiance(encoding, network, direction, color_network, density, recipe, code_dim)


def _tensorf_density() -> Density:
    return Density("softplus", shift=-5.0, scale=25.0)


def _tensorf_recipe() -> Recipe:
    factors = {"basis": 0.05, "color_network": 0.05}
    return Recipe(lr=0.02, lr_factors=factors, epsilon=1e-8, schedule=Exponential(0.1), batch_size=_SAMPLES, steps=4000)


# All take ``resolution`` and ``generator`` by name.
RADIANCE_PRESETS: Mapping[str, Callable[..., RadianceField]] = {
    "ngp": radiance_ngp,
    "nerf": radiance_nerf,
    "vm": radiance_vm,
    "cp": radiance_cp,
    "voxels": radiance_voxels,
    "triplane": radiance_triplane,
}


# Their colours can take codes of photographs: a ``code_dim``.
CODED = ("ngp", "triplane")


def radiance_preset(name: str) -> Callable[..., RadianceField]:
    """The preset called ``name``, to be called with ``resolution=`` and ``generator=``, both optional."""
    if name not in RADIANCE_PRESETS:
        raise ConfigError(f"there is no radiance preset '{name}'{nearest(name, RADIANCE_PRESETS)}")
    return RADIANCE_PRESETS[name]


__all__ = [
    "CODED",
    "RADIANCE_PRESETS",
    "proposal_networks",
    "radiance_cp",
    "radiance_nerf",
    "radiance_ngp",
    "radiance_preset",
    "radiance_triplane",
    "radiance_vm",
    "radiance_voxels",
]
