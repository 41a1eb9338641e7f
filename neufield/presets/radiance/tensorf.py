"""TensoRF's two decompositions."""

import torch

from neufield.core.recipe import Exponential, Recipe
from neufield.fields import DensityActivation, TensoRFCP, TensoRFVM
from neufield.presets.radiance.samples import SAMPLES
from neufield.presets.registry import preset

__all__ = ["cp", "vm"]


@preset("vm", "radiance")
def vm(resolution: int = 128, generator: torch.Generator | None = None) -> TensoRFVM:
    """TensoRF VM-192 (arXiv 2203.09517): ranks 16 and 48 per plane, 27 features, 128x2 colour network.

    300 is the paper's last, from 128 on with ``upsampled`` at steps 2000, 3000, 4000, 5500 and 7000, each time with a
    new optimiser. Adam (0.9, 0.99), 0.02 for factors and 0.001 for the networks, falling tenfold. Its loss adds 8e-5 of
    ``fields.radiance.sparsity`` of the density's factors (4e-5 after step 2000). Mean of 8 synthetic scenes: 33.1 dB.

    The paper's density starts at softplus(-10), and a few hundred steps pass before anything can be seen; here it is
    softplus(-5), which is worth 2 dB after 30 seconds on a CPU.
    """
    return TensoRFVM(
        [resolution] * 3, density_activation=_tensorf_density(), recipe=_tensorf_recipe(), generator=generator
    )


@preset("cp", "radiance")
def cp(resolution: int = 256, generator: torch.Generator | None = None) -> TensoRFCP:
    """TensoRF CP-384 (arXiv 2203.09517): 96 and 288 products of three lines, 27 features, 128x2 colour network.

    500 is the paper's. Density and rates as for ``vm``, 1e-5 of ``fields.radiance.sparsity``. Mean of 8
    synthetic scenes: 31.6 dB.
    """
    return TensoRFCP(
        [resolution] * 3, density_activation=_tensorf_density(), recipe=_tensorf_recipe(), generator=generator
    )


def _tensorf_density() -> DensityActivation:
    return DensityActivation("softplus", shift=-5.0, scale=25.0)


def _tensorf_recipe() -> Recipe:
    factors = {"basis": 0.05, "color_network": 0.05}
    return Recipe(lr=0.02, lr_factors=factors, epsilon=1e-8, schedule=Exponential(0.1), batch_size=SAMPLES, steps=4000)
