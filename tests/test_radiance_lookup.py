"""Reading between a lattice's numbers against a slow loop, its derivatives and resampling; penalties on lattices."""

import itertools
import math

import pytest
import torch
from cases import seeded
from lattice_reference import slow
from torch import Tensor

from neufield.core.lattice import lattice
from neufield.encodings import KPlanes, TriPlane
from neufield.fields import roughness, sparsity, total_variation
from neufield.functional.interpolation import interpolate, resample

SHAPES = [(1,), (5,), (1, 4), (3, 5), (4, 3, 5), (2, 1, 3), (2, 3, 2, 3)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def table_of(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def points_of(n: int, dim: int) -> Tensor:
    """Inside the box and up to 0.2 outside of it, the corners of the box among them."""
    x = torch.rand(n, dim, generator=seeded(1), dtype=torch.float64) * 1.4 - 0.2
    x[0], x[1], x[2] = 0.0, 1.0, 0.5
    return x


@every_shape
def test_lookup_is_a_sum_of_hats(shape: tuple[int, ...]) -> None:
    table, x = table_of(*shape, 2), points_of(40, len(shape))
    expected = torch.tensor([slow(table, point) for point in x.tolist()], dtype=torch.float64)
    # Float64; positions of order 10 lose a digit.
    torch.testing.assert_close(interpolate(table, x), expected, rtol=1e-13, atol=1e-13)
    single = interpolate(table.float(), x.float()).double()
    torch.testing.assert_close(single, expected, rtol=1e-5, atol=1e-5)  # the same in float32: 6e-8 times that


@every_shape
def test_on_the_lattice_s_own_points_stand_its_own_numbers(shape: tuple[int, ...]) -> None:
    table = table_of(*shape, 3)
    x = lattice(shape)
    assert x.shape == (*shape, len(shape))
    # core.lattice rounds its points to float32: 6e-8 of the box, times 5 cells, times differences of order 4.
    torch.testing.assert_close(interpolate(table, x.double()), table, rtol=0, atol=2e-6)


def test_outside_of_the_box_and_of_numbers() -> None:
    table = table_of(3, 4, 2)
    x = torch.tensor([[-math.inf, 0.5], [math.inf, 0.5], [math.nan, 0.5], [1e30, 0.5]], dtype=torch.float64)
    values = interpolate(table, x)
    edges = interpolate(table, torch.tensor([[0.0, 0.5], [1.0, 0.5]], dtype=torch.float64))
    assert torch.equal(values[[0, 1, 3]], edges[[0, 1, 1]])
    assert bool(values[2].isnan().all())


def test_leading_axes_and_no_points_at_all() -> None:
    table, x = table_of(3, 4, 2), points_of(6, 2)
    assert torch.equal(interpolate(table, x.view(2, 3, 2)), interpolate(table, x).view(2, 3, 2))
    assert interpolate(table, x[0]).shape == (2,)
    assert interpolate(table, x[:0].view(0, 4, 2)).shape == (0, 4, 2)


@every_shape
def test_derivatives_of_first_and_second_order(shape: tuple[int, ...]) -> None:
    """Number by number; points of (0.25, 0.75) lie within all but the lattices of one cell, none near a cell's edge."""
    x = torch.rand(3, len(shape), generator=seeded(3), dtype=torch.float64) * 0.5 + 0.25
    inputs = (table_of(*shape, 2).requires_grad_(), x.requires_grad_())
    assert torch.autograd.gradcheck(interpolate, inputs)
    assert torch.autograd.gradgradcheck(interpolate, inputs)


def test_many_channels_get_the_gradients_that_few_get() -> None:
    """Rows longer than 16 are added up as rows, shorter ones column by column."""
    table, x, mix = table_of(4, 5, 20), points_of(60, 2), table_of(60, 20, seed=4)

    def gradients(channels: slice) -> Tensor:
        leaf = table[..., channels].clone().requires_grad_()
        return torch.autograd.grad(interpolate(leaf, x), leaf, mix[:, channels])[0]

    in_parts = torch.cat([gradients(slice(0, 10)), gradients(slice(10, 20))], dim=-1)
    # Float64, up to 60 numbers in another order.
    torch.testing.assert_close(gradients(slice(0, 20)), in_parts, rtol=1e-13, atol=1e-13)
    small = table_of(2, 17).requires_grad_(), torch.tensor([[0.4], [0.6]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(interpolate, small)
    assert torch.autograd.gradgradcheck(interpolate, small)


def test_mixed_second_derivatives_by_position_are_there_and_pure_ones_are_not() -> None:
    table, x = table_of(4, 5, 1), torch.tensor([0.4, 0.45], dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda at: interpolate(table, at).sum(), x)
    assert hessian[0, 1].abs() > 0.1
    assert hessian[0, 1].item() == pytest.approx(hessian[1, 0].item(), rel=1e-12)  # float64
    assert hessian.diagonal().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shape", [(5,), (3, 5), (4, 3, 2)], ids=str)
def test_resampling_reads_the_lattice_at_the_new_points(shape: tuple[int, ...]) -> None:
    table = table_of(*shape, 2)
    for larger in ([7, 6, 9][: len(shape)], [2, 2, 2][: len(shape)]):
        new = resample(table, larger)
        assert new.is_contiguous()
        torch.testing.assert_close(new, interpolate(table, lattice(larger).double()), rtol=0, atol=2e-6)  # as above


def test_tripling_keeps_every_old_number_and_doubling_an_eighth_of_curvature_off() -> None:
    table = table_of(9, 2)
    assert torch.equal(resample(table, [27])[1::3], table)
    padded = torch.cat([table[:1], table, table[-1:]])
    second = padded[2:] - 2 * table + padded[:-2]
    at_old = interpolate(resample(table, [18]), (torch.arange(9).double().unsqueeze(-1) + 0.5) / 9)
    torch.testing.assert_close(at_old, table + second / 8, rtol=0, atol=1e-14)  # float64, six operations
    assert second.abs().max() > 1


@pytest.mark.parametrize("kind", [KPlanes, TriPlane])
def test_planes_combine_one_plane_per_pair_of_axes_scale_by_scale(kind: type[KPlanes | TriPlane]) -> None:
    encoding = kind([3, 4, 2], 2, [1, 3], generator=seeded()).double()
    x = points_of(6, 3)
    expected = []
    for point in x.tolist():
        row = []
        for scale in range(2):
            pairs = zip(encoding.planes[3 * scale : 3 * scale + 3], [(0, 1), (0, 2), (1, 2)], strict=True)
            a, b, c = [slow(plane.detach(), [point[i], point[j]]) for plane, (i, j) in pairs]
            row += [p * q * r if kind is KPlanes else p + q + r for p, q, r in zip(a, b, c, strict=True)]
        expected.append(row)
    torch.testing.assert_close(encoding(x), torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=1e-13)
    assert [tuple(plane.shape) for plane in encoding.planes[3:]] == [(9, 12, 2), (9, 6, 2), (12, 6, 2)]
    assert encoding.frequencies.tolist() == [2, 2, 6, 6]


def test_planes_start_where_their_papers_say() -> None:
    product = torch.cat([p.flatten() for p in KPlanes([20] * 3, 8, generator=seeded()).planes])
    assert 0.1 <= product.min() < 0.101  # of 9600 uniform numbers
    assert 0.499 < product.max() <= 0.5
    total = torch.cat([p.flatten() for p in TriPlane([20] * 3, 8, generator=seeded()).planes])
    assert total.std().item() == pytest.approx(0.1, rel=0.03)  # 0.1 / sqrt(2 * 9600), four times


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": [4]}, r"resolution is \[4\] .*two axes or more"),
        ({"scales": []}, r"scales \[\]"),
        ({"resolution": [4, 0]}, r"resolution is 0"),
    ],
)
def test_impossible_planes_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KPlanes(**{"resolution": [4, 4], **arguments})


@pytest.mark.parametrize("resolution", [(3, 4, 2), (12, 4, 2)], ids=["whole", "slab"])
def test_total_variation_is_its_formula_cell_by_cell(resolution: tuple[int, ...]) -> None:
    """Plenoxels (arXiv 2112.05131), eq. 3 and the differences below it."""
    table = table_of(3, 4, 2, 2)
    total = 0.0
    for cell in itertools.product(range(3), range(4), range(2)):
        for channel in range(2):
            square = 0.0
            for axis, size in enumerate(resolution):
                after = list(cell)
                after[axis] = min(after[axis] + 1, table.shape[axis] - 1)
                difference = (table[(*after, channel)] - table[(*cell, channel)]).item()
                square += (difference * size / 256) ** 2
            total += math.sqrt(square + 1e-9) - math.sqrt(1e-9)
    given = None if resolution == (3, 4, 2) else resolution
    assert total_variation(table, given).item() == pytest.approx(total / 48, rel=1e-12)  # float64


def test_penalties_vanish_on_what_is_flat_and_have_a_gradient_there() -> None:
    flat = torch.full((3, 4, 2), 0.7, requires_grad=True)
    for penalty in (total_variation, roughness):
        value = penalty(flat)
        assert value.item() == 0
        (gradient,) = torch.autograd.grad(value, flat)
        assert torch.equal(gradient, torch.zeros_like(flat))
    assert sparsity([torch.zeros(3), torch.zeros(2, 2)]).item() == 0


def test_roughness_and_sparsity_by_hand() -> None:
    table = torch.tensor([[1.0, 2.0], [4.0, 4.0]]).unsqueeze(-1)
    assert roughness(table).item() == pytest.approx((9 + 4) / 2 + (1 + 0) / 2)
    assert roughness(torch.ones(1, 1, 3)).item() == 0
    assert sparsity([torch.tensor([1.0, -3.0]), torch.tensor([[-0.5]])]).item() == 2.5
