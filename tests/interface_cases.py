"""One small instance of every sampler and objective; a new class adds its line here.

``test_interfaces`` finds the classes that have none and holds each of these to :mod:`neufield.core.interfaces`.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from cases import seeded
from radiance_cases import RADIANCE
from render_cases import BOX, ring
from torch import nn

import neufield
from neufield.core.interfaces import Objective, Sampler
from neufield.core.records import Batch
from neufield.core.sample_selection import INT, ConstantRatio
from neufield.encodings import Frequency, Grid
from neufield.fields import DensityActivation, DensityField, LightField, NeuralField
from neufield.fields.regularizers import Sparsity
from neufield.fitting import (
    Distill,
    HardRays,
    HardSampleObjective,
    Photometric,
    RayRegression,
    Regression,
    Regularized,
    Terms,
)
from neufield.networks import MLP, ResidualMLP
from neufield.renderers import (
    Cameras,
    HierarchicalSampler,
    OccupancyGrid,
    ProposalSampler,
    RadianceScene,
    StratifiedSampler,
)


def implementers(interface: type) -> set[type]:
    """The classes of ours that are an ``interface`` and can be made, in whatever file they stand."""
    root = Path(neufield.__file__).parent
    for path in root.rglob("*.py"):
        importlib.import_module(".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__"))
    found, left = set(), [interface]
    while left:
        below = left.pop().__subclasses__()
        left += below
        found |= {kind for kind in below if kind.__module__.startswith("neufield.") and not inspect.isabstract(kind)}
    return found


def _density(seed: int) -> DensityField:
    grid = Grid(3, 2, 2, 8, 4, 1.5, generator=seeded(seed))
    return DensityField(grid, MLP(4, 1, 8, 1, generator=seeded(seed)), DensityActivation("trunc_exp"))


SAMPLERS: Mapping[type, Callable[[], Sampler]] = {
    StratifiedSampler: lambda: StratifiedSampler(BOX, 6),
    OccupancyGrid: lambda: OccupancyGrid(BOX, 0.3, resolution=4, every=1, n_uniform=8, n_occupied=8),
    ProposalSampler: lambda: ProposalSampler(BOX, [_density(1), _density(2)], [8, 6], 5),
    HierarchicalSampler: lambda: HierarchicalSampler(BOX, RADIANCE["nerf"](), 4, 5),
}

Case = tuple[nn.Module, Batch]  # a model, and a batch that an objective may ask it about


def _field_case() -> Case:
    field = NeuralField(Frequency(2, 2), MLP(8, 3, 4, 1, generator=seeded()))
    return field, Batch(torch.rand(12, 2, generator=seeded(1)), torch.rand(12, 3, generator=seeded(2)))


def _light_case() -> Case:
    light = LightField(ResidualMLP(27, 3, 4, 1, generator=seeded()), 0.5, 2.0, 3, 1)
    origins = torch.rand(12, 3, generator=seeded(1))
    towards = nn.functional.normalize(torch.randn(12, 3, generator=seeded(2)), dim=1)
    return light, Batch(torch.cat([origins, towards], 1), torch.rand(12, 3, generator=seeded(3)))


def _scene_case() -> Case:
    scene = _scene("hash")
    pixels = 4 + 8 * torch.rand(12, 2, generator=seeded(1))
    return scene, Batch(torch.cat([torch.arange(12.0)[:, None] % 2, pixels], 1), torch.rand(12, 4, generator=seeded(2)))


def _scene(name: str) -> RadianceScene:
    return RadianceScene(RADIANCE[name](), Cameras.of(ring(2, 16)), BOX, StratifiedSampler(BOX, 6))


def _student_case() -> Case:
    student, batch = _scene_case()
    rays = student.rays(batch.x)
    return student, Batch(rays.origins, extras={"directions": rays.directions})


OBJECTIVES: Mapping[type, tuple[Callable[[], Objective], Callable[[], Case]]] = {
    Regression: (Regression, _field_case),
    HardSampleObjective: (lambda: HardSampleObjective(Regression(), INT(ConstantRatio(0.5))), _field_case),
    Regularized: (lambda: Regularized(Regression(), [Sparsity(0.1, ["network"])]), _field_case),
    RayRegression: (RayRegression, _light_case),
    HardRays: (lambda: HardRays(RayRegression(), 0.25, 1), _light_case),
    Photometric: (Photometric, _scene_case),
    Distill: (lambda: Distill(_scene("planes"), [Terms(color=1.0, density=1.0)]), _student_case),
}
