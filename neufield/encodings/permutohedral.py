"""Trainable features on the simplices of permutohedral lattices."""

import functools
import math
from fractions import Fraction

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points, check_positive
from neufield.core.torch_transforms import in_portions
from neufield.functional.gather import gather

_POINTS = 131_072  # encoded at a time
_MULTIPLIER = 2_531_011  # of the hash: odd, and without a pattern in its bits


class Permutohedral(Encoding):
    """Features of ``n_levels`` hashed permutohedral lattices, interpolated in simplices (PermutoSDF, arXiv 2211.12562).

    A point has d + 1 vertices around it, where a cubic grid has 2^d: 5 for 16 in 4-D, 7 for 64 in 6-D. The lattice is
    the projection of the integers Z^(d+1) along (1, ..., 1), scaled by d + 1 so that its own points are integers: all
    (k, ..., k) modulo d + 1, with sum 0. Inside a simplex the features are linear in the point: continuous, with
    constant first derivatives by the point and no second ones (those by point and table together exist).

    ``base_resolution`` is one over the shortest edge at the coarsest level, in edges per box length, and
    ``per_level_scale`` its growth from level to level; a level's ``2^log2_hashmap_size`` rows are shared by whichever
    vertices hash to them. Every level is displaced by its own random vector, a buffer drawn from ``generator``, so that
    vertices of different levels do not meet. The table starts uniform in +-1e-4.

    Departures from the official code: resolutions count from coarse to fine in edges per box, where it takes the
    lattice's scale from 1 to 1e-4 world units; displacements are up to one edge, where they are normal with deviation
    10; positions are found in float64, which 2^17 edges a box need; the hash's last step mixes its high bits into the
    low ones that are used. Left out: its coarse-to-fine window, and the point itself, appended; a ``Composite`` with
    ``Identity`` does that.
    """

    shift: Tensor

    def __init__(
        self,
        in_dim: int,
        n_levels: int = 16,
        n_features_per_level: int = 2,
        log2_hashmap_size: int = 18,
        base_resolution: float = 16.0,
        per_level_scale: float = 1.5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(
            in_dim=in_dim,
            n_levels=n_levels,
            n_features_per_level=n_features_per_level,
            base_resolution=base_resolution,
            per_level_scale=per_level_scale,
        )
        if not 0 < log2_hashmap_size <= 30:
            raise ValueError(f"log2_hashmap_size is {log2_hashmap_size}, but it must be in 1..30")
        self.in_dim = in_dim
        self.n_levels = n_levels
        self.n_features_per_level = n_features_per_level
        self.log2_hashmap_size = log2_hashmap_size
        self.base_resolution = base_resolution
        self.per_level_scale = per_level_scale
        self.out_dim = n_levels * n_features_per_level
        self.register_buffer("shift", torch.rand(n_levels, in_dim, generator=generator))
        table = torch.rand(n_levels << log2_hashmap_size, n_features_per_level, generator=generator)
        self.table = nn.Parameter(table.mul_(2e-4).sub_(1e-4))

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box; channels are level-major, coarse to fine."""
        check_points(x, self.in_dim)
        return in_portions(self._encode, x.reshape(-1, self.in_dim), _POINTS).view(*x.shape[:-1], self.out_dim)

    @property
    def resolutions(self) -> list[float]:
        """Shortest edges per box length, level by level."""
        return _resolutions(self.base_resolution, self.per_level_scale, self.n_levels)

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """Half of each level's resolution, in cycles per box."""
        return (torch.tensor(self.resolutions) / 2).repeat_interleave(self.n_features_per_level)

    def _encode(self, x: Tensor) -> Tensor:
        resolutions = torch.tensor(self.resolutions, dtype=torch.float64, device=x.device)
        edges = x.double().unsqueeze(1) * resolutions.unsqueeze(-1) + self.shift.double()  # (N, L, d)
        vertices, weights = simplex(edges)
        offset = torch.arange(self.n_levels, device=x.device) << self.log2_hashmap_size
        rows = spatial_hash(vertices[..., :-1], self.log2_hashmap_size) + offset.unsqueeze(-1)
        features = gather(self.table, rows.flatten(0, 1), weights.to(self.table.dtype).flatten(0, 1))
        return features.view(x.shape[0], self.out_dim)


def simplex(x: Float[Tensor, "*points d"]) -> tuple[Int[Tensor, "*points v v"], Float[Tensor, "*points v"]]:
    """The d + 1 = v lattice vertices around points, as integers of sum 0, and their weights, which sum to 1.

    ``x`` is in shortest edges of the lattice. Adams, Baek, Davis, "Fast high-dimensional filtering using the
    permutohedral lattice" (Eurographics 2010), sections 3 and 4: round to the nearest vertex of remainder 0, mend its
    sum, and rank the d + 1 differences; vertex k of the simplex adds k to the d + 1 - k largest of them and
    k - (d + 1) to the others, and the weights are the gaps between one difference and the next. Differentiable.
    """
    d = x.shape[-1]
    y = x @ _elevation(d).to(x)
    origin = (y.detach() / (d + 1)).round()
    excess = origin.sum(-1, keepdim=True).long()  # how many of them have to come down, or, if negative, go up
    gap = y - origin * (d + 1)
    rank = gap.detach().argsort(stable=True, dim=-1, descending=True).argsort(-1) + excess
    turn = (rank < 0).long() - (rank > d).long()  # those with the smallest, or largest, difference
    origin, rank = origin.long() + turn, rank + turn * (d + 1)
    ordered = torch.zeros_like(gap).scatter(-1, rank, y - origin * (d + 1))  # largest first
    steps = (ordered[..., :-1] - ordered[..., 1:]).flip(-1) / (d + 1)
    weights = torch.cat([1 - steps.sum(-1, keepdim=True), steps], dim=-1)
    k = torch.arange(d + 1, device=x.device).unsqueeze(-1)
    added = torch.where(rank.unsqueeze(-2) <= d - k, k, k - (d + 1))
    return origin.unsqueeze(-2) * (d + 1) + added, weights


def spatial_hash(vertices: Int[Tensor, "*points d"], log2_size: int) -> Int[Tensor, "*points"]:
    """A row in [0, 2^log2_size) for each vertex, of which the last coordinate follows from the others."""
    key = torch.zeros_like(vertices[..., 0])
    for coordinate in vertices.unbind(-1):
        key = ((key + coordinate) * _MULTIPLIER) & 0xFFFFFFFF
    return (key ^ (key >> 15)) & ((1 << log2_size) - 1)


@functools.lru_cache(maxsize=64)
def _resolutions(base: float, growth: float, n_levels: int) -> list[float]:
    return [float(Fraction(base) * Fraction(growth) ** level) for level in range(n_levels)]


def _elevation(d: int) -> Float[Tensor, "d v"]:
    """Rows: an orthogonal basis of the hyperplane of sum 0, so long that the shortest edge of the lattice becomes 1."""
    rows = torch.zeros(d, d + 1, dtype=torch.float64)
    for i in range(d):
        rows[i, : i + 1] = 1 / math.sqrt((i + 1) * (i + 2))
        rows[i, i + 1] = -(i + 1) / math.sqrt((i + 1) * (i + 2))
    return rows * math.sqrt(d * (d + 1))
