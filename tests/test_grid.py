"""The grid encoding against one slow loop: levels, rows, weights, edges of the box, and far outside it."""

import math

import pytest
import references
import torch
from cases import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neufield.encodings import Grid
from neufield.functional.grid import INTERPOLATIONS
from neufield.functional.grid_levels import STORAGES
from neufield.kernels.grid import GridSpec, TorchGrid

# name -> (dim, what else GridSpec takes). Together: every storage and dimension, tables that wrap and that do not.
CONFIGS = {
    "1d-hash": (1, {"n_levels": 6, "log2_hashmap_size": 4, "base_resolution": 3, "per_level_scale": 1.7}),
    "2d-hash": (2, {"n_levels": 8, "log2_hashmap_size": 7, "base_resolution": 4, "per_level_scale": 1.5}),
    "2d-hash-fine": (2, {"n_levels": 4, "log2_hashmap_size": 10, "base_resolution": 64, "per_level_scale": 9.3}),
    "2d-hash-shrinking": (2, {"n_levels": 3, "log2_hashmap_size": 6, "base_resolution": 20, "per_level_scale": 0.6}),
    "3d-hash": (3, {"n_levels": 4, "log2_hashmap_size": 8, "base_resolution": 4, "per_level_scale": 2.0}),
    "4d-hash": (4, {"n_levels": 3, "log2_hashmap_size": 6, "base_resolution": 2, "per_level_scale": 1.9}),
    "1d-dense": (1, {"n_levels": 5, "base_resolution": 5, "per_level_scale": 1.38, "storage": "dense"}),
    "2d-dense": (2, {"n_levels": 4, "base_resolution": 3, "per_level_scale": 1.6, "storage": "dense"}),
    "3d-dense": (3, {"n_levels": 3, "base_resolution": 3, "per_level_scale": 1.5, "storage": "dense"}),
    "4d-dense": (4, {"n_levels": 2, "base_resolution": 3, "per_level_scale": 1.3, "storage": "dense"}),
    "2d-tiled": (2, {"n_levels": 5, "base_resolution": 4, "per_level_scale": 1.8, "storage": "tiled"}),
    "2d-tiled-25": (2, {"n_levels": 5, "base_resolution": 5, "per_level_scale": 1.7, "storage": "tiled"}),
    "3d-tiled-27": (3, {"n_levels": 4, "base_resolution": 3, "per_level_scale": 2.1, "storage": "tiled"}),
    "4d-tiled-81": (4, {"n_levels": 3, "base_resolution": 3, "per_level_scale": 1.5, "storage": "tiled"}),
}
every_config = pytest.mark.parametrize("config", CONFIGS)
DTYPES = (torch.float32, torch.float64)


def spec_of(config: str, features: int = 2, interpolation: str = "linear") -> GridSpec:
    dim, numbers = CONFIGS[config]
    return GridSpec(dim, n_features_per_level=features, interpolation=interpolation, **numbers)


def levels_of(config: str) -> list[references.GridLevel]:
    dim, numbers = CONFIGS[config]
    return references.grid_levels(dim, **numbers)


def table_for(spec: GridSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.rand(spec.n_entries, spec.n_features_per_level, generator=seeded(5)) - 0.5).to(dtype)


def places(dim: int) -> Tensor:
    """Points inside, on the lower and upper faces and corners, just outside, and far outside."""
    inside = torch.rand(5, dim, generator=seeded(2))
    on_faces = inside.clone()
    on_faces[0, 0], on_faces[1, -1] = 0.0, 1.0
    corners = torch.stack([torch.zeros(dim), torch.ones(dim)])
    near = torch.tensor([[-1e-3], [1.002], [-0.07], [1.3]]).expand(4, dim)
    far = torch.tensor([[-123.456], [1000.25], [-7.0], [4321.9]]) * (1 + 0.1 * torch.arange(dim))
    return torch.cat([inside, on_faces[:2], corners, near, far])


def assert_agrees(config: str, x: Tensor, dtype: torch.dtype, features: int = 2, interpolation: str = "linear") -> None:
    spec = spec_of(config, features, interpolation)
    table = table_for(spec, dtype)
    kernel = TorchGrid()
    values = kernel.encode(x.to(dtype), table, spec)
    assert values.dtype == dtype
    truth = references.grid_encode(
        x.to(dtype).tolist(), table.tolist(), levels_of(config), interpolation, single=dtype == torch.float32
    )
    # The kernel states its tolerance with its origin. Far away a float64 position of 1e5 has an error of 1e-11.
    tolerance = kernel.tolerance[dtype] if x.abs().max() < 2 else max(1e-10, kernel.tolerance[dtype])
    assert references.relative_l2(values.tolist(), truth) <= tolerance


@every_config
def test_levels_are_those_of_the_slow_loop(config: str) -> None:
    levels = spec_of(config).levels
    for level, expected in zip(levels, levels_of(config), strict=True):
        # One unit in the last place: nobody promises a correctly rounded exp2 in float32.
        assert level.scale == pytest.approx(expected.scale, rel=2**-23)
        assert (level.resolution, level.size, level.offset, level.hashed) == expected[1:]


@every_config
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_are_those_of_the_slow_loop(config: str, interpolation: str, dtype: torch.dtype) -> None:
    dim = CONFIGS[config][0]
    inside = torch.cat([places(dim)[:9], torch.rand(4, dim, generator=seeded(3))])
    assert_agrees(config, inside, dtype, interpolation=interpolation)


@every_config
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_points_outside_wrap_around_in_32_bits(config: str, dtype: torch.dtype) -> None:
    assert_agrees(config, places(CONFIGS[config][0])[9:], dtype)


@pytest.mark.parametrize("features", [1, 2, 4, 8])
def test_any_number_of_features_is_level_major(features: int) -> None:
    assert_agrees("2d-hash", places(2), torch.float32, features)


def test_the_configs_cover_every_storage_dimension_and_kind_of_table() -> None:
    levels = [level for config in CONFIGS for level in spec_of(config).levels]
    assert {CONFIGS[config][0] for config in CONFIGS} == {1, 2, 3, 4}
    assert {spec_of(config).storage for config in CONFIGS} == set(STORAGES)
    assert {level.hashed for level in levels} == {True, False}
    assert {spec_of(config).levels[0].hashed for config in CONFIGS} == {True, False}
    assert any(level.size % 8 for level in levels)  # tiled levels are not rounded up after they are cut
    assert any(not level.hashed and level.size < level.resolution**2 for level in levels)  # rows that repeat


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("config", ["2d-hash", "3d-hash", "2d-tiled-25", "2d-dense"])
def test_nan_and_infinity_spoil_only_their_own_points(config: str, interpolation: str) -> None:
    spec = spec_of(config, interpolation=interpolation)
    table = table_for(spec).requires_grad_()
    x = torch.full((6, spec.dim), 0.3)
    clean = TorchGrid().encode(x, table, spec)
    for i, bad in enumerate([math.nan, math.inf, -math.inf, 3e38, -3e38]):
        x[i, 0] = bad
    values = TorchGrid().encode(x, table, spec)
    assert torch.equal(values[5], clean[5])
    if interpolation != "nearest":
        assert bool(values[:3].isnan().all())
    values.sum().backward()  # an index out of bounds would raise, or worse
    assert table.grad.shape == table.shape


def test_many_points_are_encoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of("2d-hash")
    table, x = table_for(spec), places(2)
    whole = TorchGrid().encode(x, table, spec)
    monkeypatch.setattr("neufield.kernels.grid.reference._POINTS", 4)
    assert len(x) % 4
    assert torch.equal(TorchGrid().encode(x, table, spec), whole)


def test_positions_are_rounded_once() -> None:
    """Just below position 2^18 float32 is twice as fine as above: rounding before adding 1/2 moves weights by 1/32."""
    spec = GridSpec(1, n_levels=1, n_features_per_level=1, log2_hashmap_size=10, base_resolution=500_001)
    (level,) = references.grid_levels(1, 1, 10, 500_001)
    x = 2**18 / level.scale - torch.arange(17) * 2.0**-24
    once = [references.grid_position(value, level.scale, single=True) for value in x.tolist()]
    twice = x * torch.tensor(level.scale) + 0.5
    assert not torch.equal(torch.tensor(once), twice)  # on these points the two differ, so the last line can fail
    table = table_for(spec)
    truth = references.grid_encode(x[:, None].tolist(), table.tolist(), [level], single=True)
    values = TorchGrid().encode(x[:, None], table, spec)
    assert references.relative_l2(values.tolist(), truth) <= TorchGrid.tolerance[torch.float32]


@given(data=st.data(), dim=st.integers(1, 4), storage=st.sampled_from(STORAGES), levels=st.integers(1, 4))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_weights_sum_to_one_everywhere(data: st.DataObject, dim: int, storage: str, levels: int) -> None:
    spec = GridSpec(
        dim,
        n_levels=levels,
        n_features_per_level=1,
        log2_hashmap_size=data.draw(st.integers(1, 12)),
        base_resolution=data.draw(st.integers(1, 5)),
        per_level_scale=data.draw(st.floats(1.0, 2.5)),
        storage=storage,
        interpolation=data.draw(st.sampled_from(INTERPOLATIONS)),
    )
    x = torch.tensor(data.draw(st.lists(st.floats(-50, 50, width=32), min_size=dim, max_size=dim)))
    values = TorchGrid().encode(x[None], torch.full((spec.n_entries, 1), 2.5), spec)
    # 16 products of 4 float32 weights: at most about 16 roundings of 6e-8 each.
    torch.testing.assert_close(values, torch.full((1, levels), 2.5), rtol=1e-6, atol=0)


def test_the_module_encodes_with_its_own_table() -> None:
    grid = Grid(2, **CONFIGS["2d-hash"][1], generator=seeded())
    grid.backend = "torch"  # of the same function: other kernels may add in another order
    x = places(2)
    assert torch.equal(grid(x), TorchGrid().encode(x, grid.table, grid.spec))
    assert -1e-4 <= grid.table.min().item() < -0.98e-4
    assert 0.98e-4 < grid.table.max().item() <= 1e-4
