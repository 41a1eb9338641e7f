"""The permutohedral lattice by its own laws, and the grid on it."""

import itertools
import math

import pytest
import torch
from cases import seeded

from neufield.encodings import Permutohedral
from neufield.encodings.permutohedral import _elevation, simplex, spatial_hash

every_dim = pytest.mark.parametrize("dim", [1, 2, 3, 4, 6])


def points(dim: int, n: int = 500) -> torch.Tensor:
    return torch.randn(n, dim, generator=seeded(), dtype=torch.float64) * 5


@every_dim
def test_the_vertices_belong_to_the_lattice_and_blend_to_the_point(dim):
    x = points(dim)
    vertices, weights = simplex(x)
    assert torch.equal(vertices.sum(-1), torch.zeros(len(x), dim + 1, dtype=torch.int64))
    remainders = torch.remainder(vertices, dim + 1)
    assert torch.equal(remainders, torch.arange(dim + 1).view(1, -1, 1).expand_as(remainders))  # (k, ..., k)
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(x), dtype=torch.float64))
    assert float(weights.min()) >= -1e-12
    assert float(weights.max()) > 0.6  # and not all alike
    blend = (weights.unsqueeze(-1) * vertices).sum(1)
    torch.testing.assert_close(blend, x @ _elevation(dim))


@every_dim
def test_lengths_are_kept_and_the_shortest_edge_is_one(dim):
    elevation = _elevation(dim)
    torch.testing.assert_close(elevation.sum(1), torch.zeros(dim, dtype=torch.float64))
    torch.testing.assert_close(elevation @ elevation.t(), torch.eye(dim, dtype=torch.float64) * dim * (dim + 1))
    vertices, _ = simplex(points(dim))
    pairs = itertools.combinations(range(dim + 1), 2)
    edges = torch.stack([(vertices[:, a] - vertices[:, b]).double().norm(dim=-1) for a, b in pairs])
    torch.testing.assert_close(edges.min() / math.sqrt(dim * (dim + 1)), torch.tensor(1.0, dtype=torch.float64))


@every_dim
def test_at_a_vertex_there_is_only_that_vertex(dim):
    vertices, _ = simplex(points(dim, 50))
    basis = _elevation(dim)
    here = vertices.double() @ basis.t() / (dim * (dim + 1))  # back into the space of points, (50, v, d)
    again, weights = simplex(here + 1e-9)
    found = again.gather(2, weights.argmax(-1)[..., None, None].expand(-1, -1, 1, dim + 1)).squeeze(2)
    assert torch.equal(found, vertices)
    torch.testing.assert_close(weights.max(-1).values, torch.ones(50, dim + 1, dtype=torch.float64))


def test_in_one_dimension_it_is_a_line_of_knots():
    x = torch.tensor([[0.25], [1.75], [-0.4]], dtype=torch.float64)
    vertices, weights = simplex(x)
    places = vertices[..., 0] / 2  # (2k, -2k) and (2k+1, -2k-1) are one edge apart
    torch.testing.assert_close(places.double().sort(-1).values.diff(dim=-1) * 2, torch.full((3, 1), 1.0).double())
    torch.testing.assert_close((weights * vertices[..., 0]).sum(-1), x[:, 0])


@every_dim
def test_the_features_are_continuous(dim):
    encoding = Permutohedral(dim, 1, 1, 14, 3.0, generator=seeded()).double()
    with torch.no_grad():
        encoding.table.normal_(generator=seeded(1))
    along = torch.linspace(0, 1, 20_001, dtype=torch.float64).unsqueeze(-1)
    path = torch.rand(1, dim, generator=seeded(2), dtype=torch.float64) + along * torch.randn(
        1, dim, generator=seeded(3), dtype=torch.float64
    )
    y = encoding(path).squeeze(-1).detach()
    second = y.diff(n=2).abs()
    assert float(y.diff().abs().max()) < 0.01  # steps of 1e-4 of a box with 3 edges; a jump would be of order 1
    assert int((second > 1e-9).sum()) < 200  # linear but where simplices meet


def test_rows_are_spread_and_within_the_table():
    axis = torch.arange(-40, 40)
    vertices = torch.cartesian_prod(axis, axis, axis)[:100_000]
    rows = spatial_hash(vertices, 14)
    assert int(rows.min()) >= 0
    assert int(rows.max()) < 2**14
    counts = torch.bincount(rows, minlength=2**14).double()
    # Balls thrown at random have variance = mean = 6.1; a pattern in the hash would show as a multiple.
    assert float(counts.var() / counts.mean()) < 1.5
    assert len(spatial_hash(torch.cartesian_prod(axis, axis), 18).unique()) > 0.97 * len(axis) ** 2


def test_levels_have_their_own_rows_and_grow():
    encoding = Permutohedral(2, 3, 2, 10, 4.0, 2.0, generator=seeded())
    assert encoding.table.shape == (3 << 10, 2)
    assert encoding.resolutions == [4.0, 8.0, 16.0]
    assert encoding.frequencies.tolist() == [2, 2, 4, 4, 8, 8]
    x = torch.rand(50, 2, generator=seeded(1))
    before = encoding(x)
    with torch.no_grad():
        encoding.table[1 << 10 : 2 << 10] += 1
    moved = encoding(x) - before
    torch.testing.assert_close(moved, torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]).expand(50, 6), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_dim": 0}, r"in_dim is 0"),
        ({"log2_hashmap_size": 31}, r"log2_hashmap_size is 31, but it must be in 1..30"),
        ({"per_level_scale": -1.0}, r"per_level_scale is -1.0"),
    ],
)
def test_impossible_lattices_are_refused_with_the_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        Permutohedral(**{"in_dim": 2, **arguments})
