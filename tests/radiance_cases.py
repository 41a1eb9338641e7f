"""One small instance of every radiance field; a new class adds its line here. What holds for all of them is tested in
``test_radiance_contract``.
"""

import dataclasses
from collections.abc import Callable, Mapping

import torch
from cases import seeded
from torch import Tensor, nn

from neufield.core.interfaces import RadianceField
from neufield.core.rays import Conditioning, Geometry
from neufield.core.recipe import Exponential, Recipe
from neufield.encodings import Frequency, Grid, SphericalHarmonics, TriPlane
from neufield.fields import (
    DensityActivation,
    DirectionalHead,
    EncodedRadiance,
    NerfRadiance,
    Plenoxels,
    TensoRFCP,
    TensoRFVM,
)
from neufield.fields.radiance import RadianceFunction
from neufield.networks import MLP

_RECIPE = Recipe(lr=0.5, lr_factors={"color_network": 2.0}, schedule=Exponential(0.5), steps=3)


def of_density(sigma: Callable[[Tensor], Tensor]) -> RadianceFunction:
    """A black field of this density, unit-box points (N, 3) -> (N,)."""

    def geometry(x: Tensor, cond: Conditioning | None) -> Geometry:
        found = sigma(x)
        return Geometry(found, found, x)

    return RadianceFunction(geometry, lambda features, d, cond: torch.zeros_like(d))


def neural(encoding, activation: str = "tanh", code_dim: int = 0) -> EncodedRadiance:
    return EncodedRadiance(
        encoding,
        MLP(encoding.out_dim, 3, 4, 1, activation, bias=False, generator=seeded(1)),
        SphericalHarmonics(2),
        MLP(3 + 4 + code_dim, 3, 4, 1, activation, "sigmoid", bias=False, generator=seeded(2)),
        DensityActivation("trunc_exp", -1.0),
        _RECIPE,
        code_dim,
    )


RADIANCE: Mapping[str, Callable[[], RadianceField]] = {
    "hash": lambda: neural(Grid(3, 2, 2, 3, 2, 1.5, generator=seeded())),
    "planes": lambda: neural(TriPlane([4, 3, 4], 2, [1], generator=seeded())),
    "coded": lambda: neural(Grid(3, 2, 2, 3, 2, 1.5, generator=seeded()), code_dim=2),
    "nerf": lambda: NerfRadiance(
        Frequency(3, 2), Frequency(3, 1), 4, 4, DensityActivation("softplus", -1.0), _RECIPE, generator=seeded()
    ),
    "vm": lambda: TensoRFVM([4, 3, 3], 1, 2, 2, 4, recipe=_RECIPE, generator=seeded()),
    "headed": lambda: TensoRFVM(
        [4, 3, 3],
        1,
        2,
        2,
        4,
        recipe=dataclasses.replace(_RECIPE, lr_factors={"head": 2.0}),
        generator=seeded(),
        head=DirectionalHead(
            SphericalHarmonics(2), MLP(3 + 4, 3, 4, 1, "tanh", "sigmoid", bias=False, generator=seeded(2))
        ),
    ),
    "cp": lambda: TensoRFCP([4, 3, 5], 2, 3, 2, 4, recipe=_RECIPE, generator=seeded()),
    "voxels": lambda: Plenoxels([3, 4, 3], SphericalHarmonics(2), initial_density=0.2, recipe=Recipe(lr=0.5)),
}


def positions(*shape: int, seed: int = 1) -> Tensor:
    """Points (*shape, 3), uniform in (0.2, 0.8): between the outermost numbers of lattices of 3 and more."""
    return torch.rand(*shape, 3, generator=seeded(seed)) * 0.6 + 0.2


def directions(*shape: int, seed: int = 2) -> Tensor:
    """Unit vectors (*shape, 3)."""
    return torch.nn.functional.normalize(torch.randn(*shape, 3, generator=seeded(seed)), dim=-1)


def seen(field: RadianceField, features: Tensor, d: Tensor) -> Tensor:
    """The field's color; a field that takes codes gets one and the same for all points."""
    code = torch.linspace(-1, 1, field.code_dim, dtype=d.dtype).expand(*d.shape[:-1], -1) if field.code_dim else None
    return field.color(features, d, Conditioning(code=code))


def shaken(field: RadianceField, size: float = 0.3) -> RadianceField:
    """``field`` with normal noise on every number: tables that start at 1e-4 or at one value then say something."""
    generator = seeded(7)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
    return field


class Everything(nn.Module):
    """All that a radiance field says of points and directions, side by side (..., 5 + F)."""

    def __init__(self, field: RadianceField) -> None:
        super().__init__()
        self.field = field

    def forward(self, x: Tensor, d: Tensor) -> Tensor:
        logit, sigma, features = self.field.geometry(x)
        return torch.cat([torch.stack([logit, sigma], -1), seen(self.field, features, d), features], dim=-1)
