"""Shifted bases, their products, blends and closed forms: the exact facts of Zheng et al., and the traps."""

import math

import pytest
import torch
from cases import seeded

from neufield.core.lattice import lattice
from neufield.encodings import (
    GaussianFourier,
    InterpolatedKronecker,
    Kronecker,
    ShiftedBasis,
    distance_preservation,
    line,
    separable,
    stable_rank,
)

FAMILIES = ("gaussian", "triangle", "impulse", "square", "sine")


def centers(n: int, offset: float = 0.5) -> torch.Tensor:
    return (torch.arange(n, dtype=torch.float64) + offset) / n


@pytest.mark.parametrize(
    ("family", "width", "expected"),
    [
        ("gaussian", 0.1, math.exp(-0.5)),
        ("triangle", 0.2, 0.5),
        ("impulse", 0.11, 1.0),
        ("impulse", 0.09, 0.0),
        ("square", 0.47, 1.0),
        ("sine", 0.4, 1.0),
    ],
)
def test_each_family_at_a_displacement_of_a_tenth(family, width, expected):
    """Shift 4 of 10, at 0.45, seen from 0.35; c is undone by the row at the middle shift, 0.55."""
    encoding = ShiftedBasis(1, family, 10, width)
    middle = ShiftedBasis(1, family, 10, width)(torch.tensor([0.55], dtype=torch.float64))
    assert float(middle.norm()) == pytest.approx(1.0, rel=1e-12)
    raw = {
        "gaussian": lambda u: math.exp(-0.5 * (u / width) ** 2),
        "triangle": lambda u: max(0.0, 1 - abs(u) / width),
        "impulse": lambda u: float(abs(u) <= width),
        "square": lambda u: float(torch.sign(torch.sin(2 * math.pi / width * torch.tensor(u, dtype=torch.float64)))),
        "sine": lambda u: math.sin(2 * math.pi / width * u),
    }[family]
    longest = math.sqrt(sum(raw((j + 0.5) / 10 - 0.55) ** 2 for j in range(10)))
    value = float(encoding(torch.tensor([0.35], dtype=torch.float64))[4])
    assert value * longest == pytest.approx(expected, abs=1e-12)


def test_a_circulant_basis_has_no_edges_and_a_direct_one_has():
    x = centers(8).float().unsqueeze(-1)
    wrapped, direct = (ShiftedBasis(1, "gaussian", 8, 0.1, circulant)(x) for circulant in (True, False))
    for turn in range(8):  # every row is the first one, turned
        torch.testing.assert_close(wrapped[turn], wrapped[0].roll(turn))
    assert float(direct[0, 7]) < 1e-8 < float(wrapped[0, 7])


def test_a_point_s_row_does_not_depend_on_its_batch():
    """The official code's trap: tents between the shifts, alone in a batch, would be scaled by sqrt 2 an axis."""
    encoding = ShiftedBasis(1, "triangle", 16, 1 / 16)
    between = centers(16, 1.0)[:-1].unsqueeze(-1)
    norms = encoding(between).norm(dim=-1)
    torch.testing.assert_close(norms, torch.full_like(norms, math.sqrt(0.5)))


def test_diagonals_are_the_official_four_directions():
    encoding = ShiftedBasis(2, "gaussian", 5, 0.1, directions="diagonals")
    one = ShiftedBasis(1, "gaussian", 5, 0.1)
    x, y = torch.rand(2, 7, 1, generator=seeded())
    expected = torch.cat([one(x), one(y), one((x + y) / 2), one((x - y + 1) / 2)], dim=-1)
    torch.testing.assert_close(encoding(torch.cat([x, y], dim=-1)), expected)


@pytest.mark.parametrize("width", [0.1, 0.03, 0.01, 0.003])
def test_stable_rank_of_a_circulant_gaussian(width):
    rank = stable_rank(line(ShiftedBasis(1, "gaussian", 1000, width, circulant=True)).double())
    assert rank == pytest.approx(1 / (2 * math.sqrt(math.pi) * width), rel=1e-4)  # float32 features


def test_without_wrapping_a_wide_gaussian_misses_its_edges():
    """Measured +2.1 % at 0.1: the closed form is that of the circulant one."""
    rank = stable_rank(line(ShiftedBasis(1, "gaussian", 1000, 0.1)))
    assert rank * 2 * math.sqrt(math.pi) * 0.1 == pytest.approx(1.021, abs=0.002)


@pytest.mark.parametrize(
    ("family", "width", "rank", "tolerance"),
    # sgn(0) = 0 lowers the square's 2.467 to 2.465 on a grid of 1000.
    [("square", 1.0, math.pi**2 / 4, 0.01), ("sine", 1.0, 2.0, 1e-5), ("impulse", 1e-4, 1000.0, 1e-6)],
)
def test_stable_rank_of_the_other_families(family, width, rank, tolerance):
    assert stable_rank(line(ShiftedBasis(1, family, 1000, width))) == pytest.approx(rank, rel=tolerance)


@pytest.mark.parametrize("width", [0.03, 0.01, 0.005, 0.003])
def test_stable_rank_times_distance_preservation_is_a_constant(width):
    features = line(ShiftedBasis(1, "gaussian", 1000, width, circulant=True))
    product = stable_rank(features) * distance_preservation(features)
    assert product == pytest.approx(math.sqrt(math.log(10) / math.pi), rel=0.05)  # DP comes in steps of 1 / 2000


def test_random_fourier_features_have_the_equivalent_gaussian_s_kernel():
    """sigma_f = 1 / (2 sqrt 2 pi width): deviations of 10,000 draws measured up to 0.028 over 5 seeds."""
    shifted = ShiftedBasis(1, "gaussian", 1000, 0.02, circulant=True)
    sigma = float(shifted.frequencies[0])
    assert sigma == pytest.approx(1 / (2 * math.sqrt(2) * math.pi * 0.02))
    kernels = []
    for encoding in (shifted, GaussianFourier(1, 5000, sigma, seeded())):
        features = line(encoding)
        product = features @ features[500]
        kernels.append(product / product[500])
    assert float((kernels[0] - kernels[1]).abs().max()) < 0.045


def test_stable_rank_of_random_fourier_features_is_the_closed_form_only_for_many_draws():
    features = line(GaussianFourier(1, 5000, 5.0, seeded()))
    assert stable_rank(features) == pytest.approx(math.sqrt(2 * math.pi) * 5, rel=0.10)  # measured within 1 %
    few = line(GaussianFourier(1, 128, 40.0, seeded()))
    assert stable_rank(few) < 0.6 * math.sqrt(2 * math.pi) * 40  # measured half and less


def explicit(encoding: Kronecker, x: torch.Tensor) -> torch.Tensor:
    """The product itself, formed."""
    product = torch.ones(len(x), 1, dtype=x.dtype)
    for i, axis in enumerate(encoding.axes):
        product = (product.unsqueeze(-1) * axis(x[:, i : i + 1]).unsqueeze(1)).flatten(1)
    return product @ encoding.weight.to(x.dtype).flatten(0, -2)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_kronecker_is_the_explicit_product(dim):
    axes = [ShiftedBasis(1, "gaussian", 8 - i, 0.1 + 0.05 * i) for i in range(dim)]  # unlike: an order mixed up shows
    encoding = Kronecker(axes, 3, generator=seeded()).double()
    x = torch.rand(20, dim, generator=seeded(1), dtype=torch.float64)
    expected = explicit(encoding, x)
    torch.testing.assert_close(encoding(x), expected)
    torch.testing.assert_close(encoding(x.requires_grad_()), expected)


def test_points_of_a_lattice_and_points_at_random_have_one_function():
    encoding = Kronecker([ShiftedBasis(1, "gaussian", 9, 0.1), ShiftedBasis(1, "gaussian", 7, 0.2)], 3).double()
    points = lattice((30, 20)).double().view(-1, 2)
    chosen = points[torch.randperm(600, generator=seeded())[:200]]
    called = []
    handle = encoding.axes[0].register_forward_hook(lambda module, inputs, output: called.append(len(output)))
    found = encoding(chosen)
    handle.remove()
    torch.testing.assert_close(found, explicit(encoding, chosen))
    assert called == [30]  # only as many as there are different coordinates
    axes = [centers(30).float().double(), centers(20).float().double()]  # as exact as the lattice's points
    torch.testing.assert_close(encoding.on_lattice(axes).view(600, 3), encoding(points))
    assert encoding(chosen.view(4, 50, 2)).shape == (4, 50, 3)


def test_the_closed_form_is_exact_where_there_are_as_many_shifts_as_samples():
    values = torch.rand(12, 9, 2, generator=seeded(), dtype=torch.float64)
    axes = [ShiftedBasis(1, "gaussian", n, 0.6 / n) for n in (12, 9)]
    encoding = Kronecker(axes, 2).double()
    encoding.solve([centers(12), centers(9)], values)
    torch.testing.assert_close(encoding.on_lattice([centers(12), centers(9)]), values)


def test_the_closed_form_is_least_squares_where_there_are_fewer_shifts():
    values = torch.rand(12, 9, 1, generator=seeded(), dtype=torch.float64)
    encoding = Kronecker([ShiftedBasis(1, "gaussian", 5, 0.2), ShiftedBasis(1, "gaussian", 4, 0.2)], 1).double()
    encoding.solve([centers(12), centers(9)], values)
    error = encoding(lattice((12, 9)).double()) - values
    gradient = torch.autograd.grad(error.square().sum(), encoding.weight)[0]
    assert float(gradient.abs().max()) < 1e-6  # points in float32 and solved in float64
    assert float(error.detach().abs().max()) > 0.1


def test_the_closed_form_cuts_off_what_only_rounding_holds():
    """Gaussians twice as wide as their spacing: numpy's usual cut-off inverts singular values of 1e-9.

    A weight of 1e6 is where float32 sums, of terms that cancel, keep a tenth.
    """
    side = ShiftedBasis(1, "gaussian", 256, 2 / 256)(centers(256).unsqueeze(-1))
    values = torch.rand(256, 1, generator=seeded(), dtype=torch.float64)
    assert float(separable([side], values).abs().max()) < 1e6 < float(separable([side], values, 1e-15).abs().max())


def test_tents_as_wide_as_their_spacing_interpolate_linearly_but_for_the_last_half_cell():
    n, offset = 16, 0.25  # the even ones of 32 pixels
    values = torch.rand(n, n, 1, generator=seeded(), dtype=torch.float64)
    encoding = Kronecker([ShiftedBasis(1, "triangle", n, 1 / n, offset=offset)] * 2, 1).double()
    nodes = centers(n, offset)
    encoding.solve([nodes, nodes], values)
    torch.testing.assert_close(encoding.weight.detach(), values)  # Psi is the identity
    between = centers(n, offset + 0.5)  # the odd pixels
    found = encoding.on_lattice([between, between]).detach()
    padded = torch.nn.functional.pad(values.squeeze(-1), (0, 1, 0, 1))  # beyond the last node there is nothing
    expected = (padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]) / 4
    torch.testing.assert_close(found.squeeze(-1), expected)
    assert float(found[-1, -1] / values[-1, -1]) == pytest.approx(0.25)


def blended(family: str, width: float, n: int = 8) -> InterpolatedKronecker:
    axes = [ShiftedBasis(1, family, n, width / n) for _ in range(2)]
    return InterpolatedKronecker(Kronecker(axes, 2, generator=seeded()), [n, n]).double()


@pytest.mark.parametrize(("family", "width"), [("gaussian", 0.8), ("triangle", 1.7)])
def test_a_blend_is_the_field_at_its_nodes(family, width):
    encoding = blended(family, width)
    nodes = torch.cartesian_prod(centers(8), centers(8))
    torch.testing.assert_close(encoding(nodes), encoding.encoding(nodes))


def test_a_blend_s_shares_solve_the_two_by_two_system_and_sum_to_one():
    encoding = blended("gaussian", 0.8)
    x = torch.tensor([[0.4, 0.5625]], dtype=torch.float64)  # the second on node 4, the first between 2 and 3
    axis = encoding.encoding.axes[0]
    here, low, high = (axis(torch.tensor([v], dtype=torch.float64)) for v in (0.4, 2.5 / 8, 3.5 / 8))
    gram = torch.stack([torch.stack([low @ low, low @ high]), torch.stack([low @ high, high @ high])])
    shares = torch.linalg.solve(gram, torch.stack([low @ here, high @ here]))
    shares = shares / shares.sum()
    table = encoding.encoding.on_lattice([centers(8), centers(8)])
    torch.testing.assert_close(encoding(x)[0], shares[0] * table[2, 4] + shares[1] * table[3, 4])


def test_a_blend_of_tents_as_wide_as_their_spacing_is_linear_and_goes_on_as_it_ended():
    encoding = blended("triangle", 1.0)
    table = encoding.encoding.on_lattice([centers(8), centers(8)])
    x = torch.tensor([[(1.75 + 0.5) / 8, 4.5 / 8], [0.99, 0.99]], dtype=torch.float64)
    expected = torch.stack([0.25 * table[1, 4] + 0.75 * table[2, 4], table[7, 7]])
    torch.testing.assert_close(encoding(x), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShiftedBasis(2, "gauss"), r"family is 'gauss'.*'gaussian'"),
        (lambda: ShiftedBasis(2, width=0.0), r"width is 0.0"),
        (lambda: ShiftedBasis(2, directions="all"), r"directions is 'all'"),
        (lambda: Kronecker([ShiftedBasis(2)], 1), r"axes have \[2\] dimensions.*ShiftedBasis\(1\)"),
        (lambda: Kronecker([], 1), r"axes have \[\]"),
        (lambda: Kronecker([ShiftedBasis(1)], 1, "gelu"), r"activation is 'gelu'"),
        (
            lambda: InterpolatedKronecker(Kronecker([ShiftedBasis(1)], 1), [4, 4]),
            r"n_nodes is \[4, 4\].*1 numbers of 2 or more",
        ),
        (lambda: InterpolatedKronecker(Kronecker([ShiftedBasis(1)], 1), [1]), r"n_nodes is \[1\]"),
    ],
)
def test_impossible_bases_are_refused_with_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
