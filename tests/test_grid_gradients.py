"""Derivatives of the grid encoding, in float64: first against the slow loop, second against finite differences."""

import pytest
import references
import torch
from cases import seeded
from torch import Tensor

from neufield.kernels.grid import GridSpec, TorchGrid

SMOOTH = ("linear", "smoothstep")
SPECS = {
    "1d": GridSpec(1, 2, 2, 3, 3, 1.7),
    "2d": GridSpec(2, 2, 2, 4, 2, 2.0),
    "3d": GridSpec(3, 2, 1, 3, 2, 1.5),
    "4d": GridSpec(4, 1, 1, 3, 2, 1.5),
    "tiled": GridSpec(2, 2, 1, 19, 3, 1.8, "tiled"),
}


def with_interpolation(name: str, interpolation: str) -> GridSpec:
    spec = SPECS[name]
    return GridSpec(
        spec.dim, spec.n_levels, spec.n_features_per_level, spec.log2_hashmap_size, spec.base_resolution,
        spec.per_level_scale, spec.storage, interpolation,
    )  # fmt: skip


def levels_of(spec: GridSpec) -> list[references.GridLevel]:
    return references.grid_levels(
        spec.dim, spec.n_levels, spec.log2_hashmap_size, spec.base_resolution, spec.per_level_scale, spec.storage
    )


def inputs(spec: GridSpec, n: int = 3) -> tuple[Tensor, Tensor]:
    """Points not within 1e-6 of a cell's edge, two of them equal, and a table of numbers around 1."""
    x = torch.rand(n, spec.dim, generator=seeded(8), dtype=torch.float64)
    x[-1] = x[0]
    table = torch.randn(spec.n_entries, spec.n_features_per_level, generator=seeded(9), dtype=torch.float64)
    return x.requires_grad_(), table.requires_grad_()


def mix_of(spec: GridSpec, n: int = 3) -> Tensor:
    return torch.randn(n, spec.out_dim, generator=seeded(10), dtype=torch.float64)


def slow_sum(x: Tensor, table: Tensor, spec: GridSpec, mix: Tensor) -> float:
    rows = references.grid_encode(x.tolist(), table.tolist(), levels_of(spec), spec.interpolation)
    total = 0.0
    for row, weights in zip(rows, mix.tolist(), strict=True):
        for value, weight in zip(row, weights, strict=True):
            total += value * weight
    return total


@pytest.mark.parametrize("interpolation", SMOOTH)
@pytest.mark.parametrize("name", SPECS)
def test_first_derivatives_are_those_of_the_slow_loop(name: str, interpolation: str) -> None:
    spec = with_interpolation(name, interpolation)
    x, table = inputs(spec)
    mix = mix_of(spec)
    (TorchGrid().encode(x, table, spec) * mix).sum().backward()
    x, by_x, by_table = x.detach(), x.grad, table.grad
    step = 1e-5
    for place in range(x.numel()):
        offset = torch.zeros(x.numel(), dtype=torch.float64)
        offset[place] = step
        ahead = slow_sum(x + offset.view_as(x), table, spec, mix)
        behind = slow_sum(x - offset.view_as(x), table, spec, mix)
        # Central differences: step^2 times a third derivative of order 1e2, plus 1e-16 / step.
        assert float(by_x.view(-1)[place]) == pytest.approx((ahead - behind) / (2 * step), rel=1e-6, abs=1e-6)
    expected = [[0.0] * spec.n_features_per_level for _ in range(spec.n_entries)]
    for i, level in enumerate(levels_of(spec)):
        for point, weights in zip(x.tolist(), mix.tolist(), strict=True):
            for row, weight in references.grid_corners(point, level, interpolation):
                for f in range(spec.n_features_per_level):
                    expected[level.offset + row][f] += weight * weights[i * spec.n_features_per_level + f]
    # Float64 sums of at most 3 x 16 terms of order 1.
    torch.testing.assert_close(by_table, torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("interpolation", SMOOTH)
@pytest.mark.parametrize("name", SPECS)
def test_first_and_second_derivatives_by_points_and_table_together(name: str, interpolation: str) -> None:
    spec = with_interpolation(name, interpolation)

    def encode(x: Tensor, table: Tensor) -> Tensor:
        return TorchGrid().encode(x, table, spec)

    assert torch.autograd.gradcheck(encode, inputs(spec))
    assert torch.autograd.gradgradcheck(encode, inputs(spec))


@pytest.mark.parametrize("interpolation", SMOOTH)
def test_the_curvature_along_an_axis_vanishes_only_for_linear_interpolation(interpolation: str) -> None:
    spec = with_interpolation("2d", interpolation)
    x, table = inputs(spec)
    (slope,) = torch.autograd.grad((TorchGrid().encode(x, table, spec) * mix_of(spec)).sum(), x, create_graph=True)
    (along_and_across,) = torch.autograd.grad(slope[:, 0].sum(), x, create_graph=True)
    along, across = along_and_across.unbind(-1)
    assert bool((along == 0).all()) == (interpolation == "linear")
    assert bool((across != 0).all())
    (by_table,) = torch.autograd.grad(slope.square().sum(), table)
    assert bool((by_table != 0).any())


def test_third_derivatives_exist() -> None:
    spec = with_interpolation("1d", "smoothstep")
    x, table = inputs(spec, 1)
    values = TorchGrid().encode(x, table, spec).sum()
    for _ in range(3):
        (values,) = torch.autograd.grad(values.sum(), x, create_graph=True)
    # 3 u^2 - 2 u^3 has third derivative -12, times scale^3, times the difference of the two corners.
    expected = 0.0
    for level in levels_of(spec):
        (first, _), (second, _) = references.grid_corners([x.item()], level)
        rise = table[level.offset + second].sum() - table[level.offset + first].sum()
        expected += -12 * level.scale**3 * float(rise.detach())
    assert values.item() == pytest.approx(expected, rel=1e-12)


def test_nearest_has_no_slope_but_still_trains_its_table() -> None:
    spec = with_interpolation("2d", "nearest")
    x, table = inputs(spec)
    values = TorchGrid().encode(x, table, spec).sum()
    by_x, by_table = torch.autograd.grad(values, (x, table), allow_unused=True, materialize_grads=True)
    assert bool((by_x == 0).all())
    assert float(by_table.sum()) == spec.out_dim * len(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_two_backward_runs_give_the_same_bits(dtype: torch.dtype) -> None:
    spec = GridSpec(2, 4, 2, 8, 4, 1.6)
    x = torch.rand(4000, 2, generator=seeded(1)).to(dtype)
    table = torch.randn(spec.n_entries, 2, generator=seeded(2)).to(dtype)
    mix = torch.randn(4000, spec.out_dim, generator=seeded(3)).to(dtype)

    def gradients() -> list[Tensor]:
        leaves = x.clone().requires_grad_(), table.clone().requires_grad_()
        return list(torch.autograd.grad((TorchGrid().encode(*leaves, spec) * mix).sum(), leaves))

    for first, second in zip(gradients(), gradients(), strict=True):
        assert torch.equal(first, second)
