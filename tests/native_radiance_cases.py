"""Specs of the fused radiance op, and numbers for them."""

import dataclasses
import math

import torch
from cases import seeded
from torch import Tensor

from neufield.core.rays import Rays
from neufield.kernels.field import FieldSpec
from neufield.kernels.grid import GridSpec
from neufield.kernels.radiance import RadianceSpec
from neufield.kernels.volume import MarchSpec

MARCH = MarchSpec((-1.0, -0.5, 0.0), (1.0, 1.5, 2.0), 1 / 32)
GRID = GridSpec(3, 3, log2_hashmap_size=6, base_resolution=2)


def spec(
    march: MarchSpec = MARCH,
    density: str = "trunc_exp",
    out: int = 16,
    width: int = 32,
    hidden: int = 2,
    activation: str = "relu",
    bias: bool = False,
    color: str = "sigmoid",
    early_stop_eps: float = 1e-4,
    degree: int = 2,
) -> RadianceSpec:
    geometry = FieldSpec(GRID.n_levels * 2, out, width, 1, activation, bias, GRID)
    colors = FieldSpec(out + degree**2 + 5, 3, width, hidden, activation, bias)
    return RadianceSpec(march, geometry, colors, degree, density, 0.5, 1.5, color, early_stop_eps)


CASES = {
    "ngp": spec(),
    "levels": spec(dataclasses.replace(MARCH, cone_angle=0.05, cascades=3)),
    "contracted": spec(MarchSpec((-0.5, 0.0, 0.5), (0.5, 1.0, 1.5), 1 / 32, 0.02, contracted=True)),
    "softplus, biases": spec(density="softplus", out=5, bias=True, color="none"),
    "relu, sine": spec(density="relu", activation="sine"),
    "one layer": spec(out=1, hidden=0, width=16),
    "opaque": spec(early_stop_eps=0.05, degree=8),
    "no direction": spec(degree=0),
}


def numbers(n: int, of: RadianceSpec) -> tuple[tuple[Rays, Tensor, Tensor], dict[str, Tensor]]:
    """What is not learned: rays, shifts, cells; and what is."""
    g = seeded(7)
    origins = torch.randn(n, 3, generator=g) + torch.tensor([0.0, 0.5, 1.0])
    directions = torch.nn.functional.normalize(torch.randn(n, 3, generator=g), dim=1)
    near = torch.rand(n, generator=g) * 0.3 + 0.05
    rays = Rays(origins, directions, near, near + torch.rand(n, generator=g) * 4 - 0.5)
    occupied = torch.rand(of.march.cascades, 8, 8, 8, generator=g) > 0.4

    def params(chain: FieldSpec) -> Tensor:
        parts = [(torch.randn(o, i, generator=g) / math.sqrt(i)).flatten() for o, i in chain.shapes]
        biases = [torch.randn(o, generator=g) * 0.1 for o, _ in chain.shapes] if chain.bias else []
        pairs = zip(parts, biases, strict=True) if biases else ((part,) for part in parts)
        return torch.cat([t for pair in pairs for t in pair])

    learned = {
        "seen": torch.randn(n, 5, generator=g),
        "table": torch.randn(GRID.n_entries, 2, generator=g),
        "params": params(of.geometry),
        "color_params": params(of.color),
    }
    return (rays, torch.rand(n, generator=g) - 1, occupied), learned
