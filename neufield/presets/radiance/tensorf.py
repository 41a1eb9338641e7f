"""TensoRF's two decompositions."""

from collections.abc import Sequence

import torch

from neufield.core.recipe import Exponential, Recipe, TrainingPlan
from neufield.fields import DensityActivation, Sparsity, TensoRFCP, TensoRFVM
from neufield.presets.radiance.growing import coarse, growing
from neufield.presets.radiance.samples import SAMPLES
from neufield.presets.registry import preset

__all__ = ["cp", "vm"]


@preset("vm", "radiance")
def vm(resolution: int = 128, generator: torch.Generator | None = None) -> TensoRFVM:
    """TensoRF VM-192 (arXiv 2203.09517): ranks 16 and 48 per plane, 27 features, 128x2 color network.

    300 is the paper's last, from 128 on in five steps even in their logarithms, each time with a new optimizer and the
    rates of the beginning. Adam (0.9, 0.99), 0.02 for factors and 0.001 for the networks, falling tenfold in a run. Its
    loss adds 8e-5 of the L1 norm of the density's factors, and 4e-5 once it grew. Mean of 8 synthetic scenes: 33.1 dB.

    The paper has grown after a quarter of its 30,000 steps. For the few thousand of a CPU the growth takes longer and
    begins coarser: at 15, 30, 45, 60 and 75 % of the run (benchmarks/README.md).

    The paper's density starts at softplus(-10), and a few hundred steps pass before anything can be seen; here it is
    softplus(-5), which is worth 2 dB after 30 seconds on a CPU.
    """
    recipe = _tensorf_recipe(_tensorf_plan(resolution, 8e-5, 4e-5, ["density_planes", "density_lines"]))
    cells = [coarse(resolution)] * 3
    return TensoRFVM(cells, density_activation=_tensorf_density(), recipe=recipe, generator=generator)


@preset("cp", "radiance")
def cp(resolution: int = 256, generator: torch.Generator | None = None) -> TensoRFCP:
    """TensoRF CP-384 (arXiv 2203.09517): 96 and 288 products of three lines, 27 features, 128x2 color network.

    500 is the paper's. Density, rates and growth as for ``vm``, 1e-5 of the L1 norm of the density's lines. Mean of 8
    synthetic scenes: 31.6 dB.
    """
    recipe = _tensorf_recipe(_tensorf_plan(resolution, 1e-5, 1e-5, ["density_lines"]))
    cells = [coarse(resolution)] * 3
    return TensoRFCP(cells, density_activation=_tensorf_density(), recipe=recipe, generator=generator)


def _tensorf_density() -> DensityActivation:
    return DensityActivation("softplus", shift=-5.0, scale=25.0)


def _tensorf_recipe(plan: TrainingPlan) -> Recipe:
    return Recipe(
        lr=0.02,
        lr_factors={"basis": 0.05, "color_network": 0.05},
        epsilon=1e-8,
        schedule=Exponential(0.1),
        batch_size=SAMPLES,
        steps=4000,
        plan=plan,
    )


def _tensorf_plan(resolution: int, first: float, then: float, factors: Sequence[str]) -> TrainingPlan:
    """Five steps of growth, and the L1 norm of the density's ``factors`` with one weight before them and one after."""
    ends = (0.15, 0.3, 0.45, 0.6, 0.75)
    return growing(resolution, ends, [[Sparsity(weight, factors)] for weight in (first, *[then] * len(ends))])
