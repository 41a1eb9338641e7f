"""Radiance fields of a grid and instant-ngp's two small networks."""

import torch

from neufield.core import exact
from neufield.core.interfaces import Encoding
from neufield.core.recipe import Exponential, Recipe, Stage, TrainingPlan
from neufield.encodings import Grid, KPlanes, SphericalHarmonics
from neufield.fields import DensityActivation, EncodedRadiance, Roughness
from neufield.networks import MLP
from neufield.presets.baselines import growth
from neufield.presets.radiance.samples import FUSED_SAMPLES, SAMPLES
from neufield.presets.registry import preset

__all__ = ["ngp", "triplane"]


@preset("ngp", "radiance", by_images=True)
def ngp(resolution: int = 512, generator: torch.Generator | None = None, code_dim: int = 0) -> EncodedRadiance:
    """Instant-NGP (arXiv 2201.05989): hash grid, 64x1 density network to 16, 64x2 color network, no biases, exp.

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
        lr=1e-2, l2_reg=1e-6, schedule=Exponential(0.03, hold=0.4), loss="huber", batch_size=FUSED_SAMPLES, steps=6000
    )
    return _neural(encoding, generator, recipe, code_dim, DensityActivation("trunc_exp", shift=-1.0))


@preset("triplane", "radiance", by_images=True)
def triplane(resolution: int = 256, generator: torch.Generator | None = None, code_dim: int = 0) -> EncodedRadiance:
    """Static K-Planes, hybrid (arXiv 2301.10241): three planes of 32 features at three scales, multiplied.

    512 is the paper's: planes of 128, 256 and 512 cells. Networks and density are instant-ngp's, as in the paper (whose
    color network does not see the logit). Adam 1e-2 and a cosine. Its loss adds 1e-4 of the planes' total variation,
    which in its code is twice our roughness. It does not grow: its scales are there at once. Mean of 8 synthetic
    scenes: 32.4 dB.
    """
    coarsest = max(1, round(resolution / 4))
    encoding = KPlanes([coarsest] * 3, 32, scales=[1, 2, 4], generator=generator)
    plan = TrainingPlan([Stage(regularizers=[Roughness(2e-4, ["backbone.encoding.planes"])])])
    return _neural(encoding, generator, Recipe(lr=1e-2, batch_size=SAMPLES, steps=4000, plan=plan), code_dim)


def _neural(
    encoding: Encoding,
    generator: torch.Generator | None,
    recipe: Recipe,
    code_dim: int,
    density: DensityActivation | None = None,
) -> EncodedRadiance:
    """Instant-ngp's networks behind any encoding."""
    direction = SphericalHarmonics(4)
    network = MLP(encoding.out_dim, 16, 64, 1, bias=False, generator=generator)
    n_inputs = 16 + direction.out_dim + code_dim
    color_network = MLP(n_inputs, 3, 64, 2, output_activation="sigmoid", bias=False, generator=generator)
    return EncodedRadiance(encoding, network, direction, color_network, density, recipe, code_dim)
