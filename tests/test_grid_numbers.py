"""The grid's published and stored numbers: level tables, parameter counts, and values that must never move."""

import math

import pytest
import references
import torch
from grid_numbers import STORED, stored_points, stored_spec, stored_table

from neufield.kernels.grid import GridSpec, TorchGrid


@pytest.mark.parametrize("key", STORED, ids=lambda key: "-".join(map(str, key)))
def test_the_values_have_not_moved_since_they_were_stored(key: tuple[int, str, str]) -> None:
    dim, storage, interpolation = key
    spec = stored_spec(dim, storage, interpolation)
    table = stored_table(spec.n_entries)
    values = TorchGrid().encode(stored_points(dim), table, spec)
    expected = torch.tensor(STORED[key], dtype=torch.float64)
    # Written with 10 decimals.
    torch.testing.assert_close(values, expected, rtol=0, atol=6e-11)
    levels = references.grid_levels(dim, 3, 6, 3, 4.0, storage)
    slow = references.grid_encode(stored_points(dim).tolist(), table.tolist(), levels, interpolation)
    torch.testing.assert_close(torch.tensor(slow, dtype=torch.float64), expected, rtol=0, atol=6e-11)


def test_the_default_3d_grid_has_the_levels_of_tiny_cuda_nn() -> None:
    levels = GridSpec(3).levels
    assert [level.scale for level in levels[:4]] == [15, 31, 63, 127]
    assert [level.resolution for level in levels[:4]] == [16, 32, 64, 128]
    assert [level.size for level in levels[:4]] == [4096, 32768, 262144, 524288]
    assert [level.hashed for level in levels[:4]] == [False, False, False, True]


def test_the_grid_of_tiny_cuda_nns_own_test_has_its_parameter_count() -> None:
    """tests/test_grid.cu at 6ee3546 asks for these sizes, offsets and the total."""
    spec = GridSpec(3, 20, 2, 16, 32, 1.5)
    assert [level.size for level in spec.levels[:3]] == [32768, 65536, 65536]
    assert [level.offset for level in spec.levels[:3]] == [0, 32768, 98304]
    assert spec.out_dim == 40
    assert spec.n_entries * spec.n_features_per_level == 2_555_904


def test_the_grid_of_tiny_cuda_nns_image_sample_has_its_entries() -> None:
    assert GridSpec(2, 16, 2, 15, 16, 1.5).n_entries == 354_184


def test_a_dense_level_is_rounded_up_to_a_multiple_of_8() -> None:
    assert [level.size for level in GridSpec(2, 2, 2, 19, 5, 1.5, "dense").levels] == [32, 64]  # 5^2 and 8^2


def test_a_tiled_level_keeps_base_resolution_to_the_dim_entries() -> None:
    assert [level.size for level in GridSpec(2, 3, 2, 19, 5, 2.0, "tiled").levels] == [25, 25, 25]


def test_a_fractional_scale_is_rounded_up() -> None:
    levels = GridSpec(2, 3, 2, 19, 5, 1.5).levels
    assert [level.scale for level in levels] == [4.0, 6.5, 10.25]
    assert [level.resolution for level in levels] == [5, 8, 12]


@pytest.mark.parametrize("log2_size", [1, 4, 13, 29])
def test_a_hashed_level_has_exactly_two_to_the_log2_hashmap_size_entries(log2_size: int) -> None:
    levels = GridSpec(2, 2, 2, log2_size, 40_000, 1.0).levels
    assert [level.size for level in levels] == [2**log2_size] * 2
    assert all(level.hashed for level in levels)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"dim": 5}, r"1 to 4 dimensions, not 5.*Composite"),
        ({"dim": 0}, r"not 0"),
        ({"dim": 2, "n_levels": 0}, r"n_levels is 0"),
        ({"dim": 2, "n_features_per_level": -1}, r"n_features_per_level is -1"),
        ({"dim": 2, "base_resolution": 0}, r"base_resolution is 0"),
        ({"dim": 2, "per_level_scale": 0.0}, r"per_level_scale is 0.0"),
        ({"dim": 2, "log2_hashmap_size": 31}, r"log2_hashmap_size is 31.*1\.\.30"),
        ({"dim": 2, "log2_hashmap_size": 0}, r"log2_hashmap_size is 0"),
        ({"dim": 2, "storage": "sparse"}, r"'sparse'.*'hash', 'dense', 'tiled'"),
        ({"dim": 2, "interpolation": "cubic"}, r"'cubic'.*'linear', 'smoothstep', 'nearest'"),
        (
            {"dim": 3, "storage": "dense", "n_levels": 2, "base_resolution": 1200, "per_level_scale": 1.0},
            r"needs \d+ table entries.*at most 2147483647.*lower n_levels",
        ),
        (
            {"dim": 3, "storage": "dense", "n_levels": 1, "base_resolution": 1291},
            r"level 0 .* more vertices than 32 bits",
        ),
        ({"dim": 2, "n_levels": 33}, r"level 27 .* more vertices than 32 bits can count.*lower n_levels"),
        ({"dim": 2, "n_levels": 10**6}, r"n_levels is 1000000.*at most 1024"),
        ({"dim": 2, "n_levels": 4, "per_level_scale": 1e-9}, r"level 1 .* has no vertex.*raise per_level_scale"),
        ({"dim": 2, "per_level_scale": math.nan}, r"per_level_scale is nan"),
        ({"dim": 2, "per_level_scale": math.inf}, r"per_level_scale is inf.*growth such as 1\.5"),
        ({"dim": 2, "n_levels": 9, "per_level_scale": 1e29}, r"level 1 .* more vertices than 32 bits can count"),
    ],
)
def test_impossible_grids_are_refused_with_the_value(numbers: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GridSpec(**numbers)
