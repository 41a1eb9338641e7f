"""The native grid, on every instruction set of this machine, against the float64 reference."""

import dataclasses
import math

import pytest
import references
import torch
from cases import seeded
from native_cases import (
    SIZES,
    assert_near,
    exact_points,
    grid_case,
    grid_derivatives,
    grid_inputs,
    normal,
    relative,
    small_grid,
)
from torch import Tensor

from neufield.functional.grid import INTERPOLATIONS
from neufield.functional.grid_levels import STORAGES
from neufield.kernels.grid import CpuGrid, GridSpec, TorchGrid

# Threads are the matter of test_native_bits.
pytestmark = pytest.mark.usefixtures("one_thread")
TOLERANCE = CpuGrid.tolerance[torch.float32]  # which says where it comes from
every_interpolation = pytest.mark.parametrize("interpolation", INTERPOLATIONS)


def assert_parity(spec: GridSpec, n: int, tolerance: float = TOLERANCE) -> None:
    inputs, truth = grid_case(spec, n)
    assert_near(grid_derivatives(CpuGrid(), spec, inputs, torch.float32), truth, tolerance, spec)


@pytest.mark.parametrize("storage", STORAGES)
@every_interpolation
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_values_and_both_orders_of_derivatives(isa: str, dim: int, interpolation: str, storage: str) -> None:
    for features in (1, 2, 4, 8):
        assert_parity(small_grid(dim, features, storage, interpolation), 83)


@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("n", SIZES)
def test_any_number_of_points(isa: str, n: int, features: int) -> None:
    # Sums of n / 8 terms into one table entry, in float32: their error grows like sqrt(n / 8) * 2^-24 at most.
    assert_parity(small_grid(2, features), n, max(TOLERANCE, math.sqrt(n / 8) * 2**-24))


@pytest.mark.parametrize(
    ("dim", "interpolation"),
    [
        (1, "linear"),
        (2, "linear"),
        (2, "smoothstep"),
        (3, "smoothstep"),
    ],
)
def test_third_derivatives(isa: str, dim: int, interpolation: str) -> None:
    """Those of the Hessian along a direction are left to the reference, in float32."""
    spec = small_grid(dim, interpolation=interpolation)
    inputs, found = grid_inputs(spec, 40), []
    for kernel, dtype in ((CpuGrid(), torch.float32), (TorchGrid(), torch.float64)):
        leaves = [inputs[name].to(dtype).detach().requires_grad_() for name in ("x", "table", "mix", "along")]
        x, table, mix, along = leaves
        (slope,) = torch.autograd.grad(kernel.encode(x, table, spec), x, mix, create_graph=True)
        hessian = torch.autograd.grad(slope, (x, table, mix), along, create_graph=True, materialize_grads=True)
        total = sum((part * normal(*part.shape, seed=20).to(dtype)).sum() for part in hessian)
        found.append(torch.autograd.grad(total, leaves, materialize_grads=True))
    # One order more than the kernel's tolerance is for, and a third factor of the scale to cancel: 10 times as much.
    assert max(map(relative, *found)) <= 10 * TOLERANCE


@pytest.mark.parametrize("features", [3, 5])
def test_an_unusual_number_of_features(isa: str, features: int) -> None:
    assert_parity(small_grid(3, features, interpolation="smoothstep"), 21)


def test_the_cases_cover_hashed_dense_and_repeating_levels() -> None:
    levels = [level for dim in (1, 2, 3, 4) for s in STORAGES for level in small_grid(dim, storage=s).levels]
    assert {level.hashed for level in levels} == {True, False}
    for dim in (1, 2, 3, 4):
        assert small_grid(dim).levels[-1].hashed
        tiled = small_grid(dim, storage="tiled").levels[-1]
        assert tiled.size < tiled.resolution**dim


@every_interpolation
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_any_points_to_the_rounding_of_their_position(isa: str, dim: int, interpolation: str) -> None:
    """A position below r is rounded to float32 at steps of r * 2^-24: that much of a cell, in each axis."""
    spec = GridSpec(dim, 6, 2, 9, 5, 1.447, interpolation=interpolation)
    x = torch.rand(300, dim, generator=seeded(6))
    table = normal(spec.n_entries, 2, seed=7)
    truth = TorchGrid().encode(x.double(), table.double(), spec)
    rounding = dim * spec.levels[-1].resolution * 2**-24
    # Neighbors differ by sqrt(2) if the table's deviation is 1; smoothstep is up to 1.5 times as steep. Values are
    # about 1.
    assert relative(CpuGrid().encode(x, table, spec), truth) <= TOLERANCE + 1.5 * math.sqrt(2) * rounding


def edges(dim: int) -> Tensor:
    """All corners of the unit box and points on its faces, then points of [-3, 4]."""
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * dim).view(-1, dim)
    faces = exact_points(40, dim, seed=8)
    faces[torch.arange(40), torch.arange(40) % dim] = (torch.arange(40) // dim % 2).float()
    return torch.cat([corners, faces, exact_points(40, dim, seed=9, low=-3, high=4)])


@every_interpolation
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_on_the_edges_of_the_box_and_outside(isa: str, dim: int, storage: str, interpolation: str) -> None:
    spec = small_grid(dim, 2, storage, interpolation)
    x = edges(dim)
    inputs = grid_inputs(spec, len(x)) | {"x": x}
    truth = grid_derivatives(TorchGrid(), spec, inputs, torch.float64)
    assert_near(grid_derivatives(CpuGrid(), spec, inputs, torch.float32), truth, TOLERANCE, spec)


STRANGE = (math.nan, math.inf, -math.inf, 3e38, -3e38, 1e9, 3e9, -3e9, 1e-42)


@every_interpolation
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("features", [1, 2])
def test_nan_infinity_and_huge_coordinates(isa: str, interpolation: str, axis: int, features: int) -> None:
    """Finite where the float32 reference is, then the same; and no other point notices."""
    spec = small_grid(2, features, interpolation=interpolation)
    x = torch.full((len(STRANGE) + 30, 2), 0.3)
    x[10 : 10 + len(STRANGE), axis] = torch.tensor(STRANGE)
    table = normal(spec.n_entries, features, seed=7)
    values, truth = CpuGrid().encode(x, table, spec), TorchGrid().encode(x, table, spec)
    assert torch.equal(values.isfinite(), truth.isfinite())
    fine = truth.isfinite().all(1)
    assert relative(values[fine], truth[fine]) <= TOLERANCE
    assert torch.equal(values[:10], values[:1].expand(10, -1))
    assert torch.equal(values[-20:], values[:1].expand(20, -1))


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_gradients_at_nan_and_infinity_stay_within_the_table(isa: str, dim: int) -> None:
    """Every index is in bounds (.ci/sanitize watches the reads), and the gradient by a sound point is sound."""
    for storage in STORAGES:
        spec = small_grid(dim, 2, storage)
        x = torch.full((len(STRANGE) + 1, dim), 0.3)
        x[1:, dim - 1] = torch.tensor(STRANGE)
        inputs = grid_inputs(spec, len(x)) | {"x": x}
        found = grid_derivatives(CpuGrid(), spec, inputs, torch.float32)
        assert all(bool(found[name][0].isfinite().all()) for name in ("values", "by x", "by x, by x", "by x, by mix"))


@pytest.mark.parametrize("features", [1, 2, 4])
def test_non_contiguous_inputs(isa: str, features: int) -> None:
    spec = small_grid(3, features)
    plain = grid_inputs(spec, 70)
    # Columns of wider rows, and transposes: the same numbers, other strides.
    strided = {name: torch.cat([value, value], 1)[:, : value.shape[1]] for name, value in plain.items()}
    turned = {name: value.t().contiguous().t() for name, value in plain.items()}
    text, op = spec.text, torch.ops.neufield
    expected = None
    for tensors in (plain, strided, turned):
        assert tensors is plain or not tensors["x"].is_contiguous()
        x, table, mix, along = [tensors[name] for name in ("x", "table", "mix", "along")]
        found = [
            op.grid_gather(x, table, along, text),
            op.grid_scatter(x, mix, along, text),
            op.grid_contract(x, table, mix, along, text),
        ]
        expected = expected or found
        assert all(map(torch.equal, found, expected))
    x = plain["x"].clone().requires_grad_()
    CpuGrid().encode(x, plain["table"], spec).sum().backward()  # its gradient is one number, expanded
    ones = torch.ones(70, spec.out_dim)
    assert torch.equal(x.grad, op.grid_contract(plain["x"], plain["table"], ones, None, text))


LEVELS = GridSpec(1, 16, 1, 19, 16, 1.447, "dense")  # the scales of the usual 3-D grid, up to 4084


def two_roundings(x: Tensor, scale: float) -> Tensor:
    return x * torch.tensor(scale) + 0.5


def places_that_differ(scale: float) -> Tensor:
    """Points of the box that two roundings would move: scale * x just below a power of two, scale * x + 1/2 above."""
    powers = 2.0 ** torch.arange(1, int(math.log2(scale)) + 1)
    x = ((powers[:, None] - 0.5 * torch.rand(len(powers), 50, generator=seeded(3))) / scale).flatten()
    once = torch.tensor([references.grid_position(value, scale, single=True) for value in x.tolist()])
    return x[once != two_roundings(x, scale)]


@pytest.mark.parametrize("level", [8, 15])
def test_positions_are_rounded_once(isa: str, level: int) -> None:
    """The table alternates between 0 and 1, so that the value is the place within the cell, without a rounding."""
    scale = LEVELS.levels[level].scale
    x = places_that_differ(scale)
    assert len(x) > 32  # two vectors of any instruction set, or the test shows little
    table = torch.cat([torch.arange(v.size) % 2.0 for v in LEVELS.levels])[:, None]
    values = CpuGrid().encode(x[:, None], table, LEVELS)[:, level]
    for value, point in zip(values.tolist(), x.tolist(), strict=True):
        position = references.grid_position(point, scale, single=True)
        place = position - math.floor(position)
        assert value == (place if math.floor(position) % 2 == 0 else 1 - place)


def test_just_below_the_box_one_rounding_is_another_cell(isa: str) -> None:
    """At scale * x = -1/2 - tiny the product alone rounds to -1/2 and lands in cell 0; the point lies in cell -1."""
    spec = dataclasses.replace(LEVELS, interpolation="nearest")
    table = torch.cat([torch.arange(level.size) for level in spec.levels]).float()[:, None]
    tried = 0
    for index, level in enumerate(spec.levels):
        x = torch.unique(-(0.5 / level.scale) * (1 + torch.arange(-40, 40) * 2.0**-26))
        once = torch.tensor([references.grid_position(value, level.scale, single=True) for value in x.tolist()])
        x = x[once.floor() != two_roundings(x, level.scale).floor()]
        rows = CpuGrid().encode(x[:, None].repeat(40, 1), table, spec)[:, index]
        assert bool((rows == (2**32 - 1) % level.size).all())
        tried += len(x)
    assert tried >= 3  # else no scale has such a point, and the test shows nothing
