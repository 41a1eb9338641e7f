"""The public maths: all of it is told of, and what only a kernel's name hid before refuses what it does not know."""

import re
from pathlib import Path

import pytest
import torch

from neufield import functional
from neufield.core.rays import Intervals
from neufield.kernels.grid import GridSpec, TorchGrid

PAGE = Path(__file__).resolve().parents[1] / "docs/functional.md"


def test_the_page_tells_of_every_function_and_of_no_other() -> None:
    told = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(functional.__all__)


def test_a_grid_is_read_as_its_spec_says_and_unknown_words_are_refused() -> None:
    spec = GridSpec(2, 3, 2, 7, 4, 1.7, "hash", "smoothstep")
    levels = functional.grid_levels(2, 3, 7, 4, 1.7, "hash")
    assert levels == spec.levels
    x, table = torch.rand(9, 2), torch.randn(spec.table_shape)
    assert torch.equal(functional.grid_lookup(x, table, levels, "smoothstep"), TorchGrid().encode(x, table, spec))
    with pytest.raises(ValueError, match="interpolation is 'cubic'"):
        functional.grid_lookup(x, table, levels, "cubic")
    with pytest.raises(ValueError, match="storage is 'sparse'"):
        functional.grid_levels(2, storage="sparse")
    with pytest.raises(ValueError, match="a grid encodes 1 to 4 dimensions, not 5"):
        functional.grid_levels(5)


def test_what_light_leaves_a_ray_is_what_its_weights_lack() -> None:
    """1 - sum_i w_i = exp(-sum_i s_i d_i), and the sums are those of the weights."""
    edges = torch.tensor([0.5, 1.0, 1.75, 3.0], dtype=torch.float64)
    ray = Intervals(torch.zeros(3, dtype=torch.long), 1, edges[:-1], edges[1:])
    sigma, rgb = torch.tensor([0.3, 2.0, 0.1]).double(), torch.rand(3, 3).double()
    weights = functional.render_weights(sigma, ray)
    torch.testing.assert_close(1 - weights.sum(), torch.exp(-(sigma * ray.lengths).sum()))
    seen = functional.composite(sigma, rgb, ray)
    torch.testing.assert_close(seen.rgb[0], weights @ rgb)
    torch.testing.assert_close(seen.distance[0], weights @ ray.mid)
    assert functional.visibility_mask(sigma, ray, early_stop_eps=0.5).tolist() == [True, True, False]


def test_a_box_goes_to_the_unit_box_and_back() -> None:
    lower, upper = [-1.0, 2.0], [3.0, 10.0]
    corners = torch.tensor([lower, upper, [1.0, 4.0]])
    inside = functional.to_unit_box(corners, lower, upper)
    assert inside.tolist() == [[0, 0], [1, 1], [0.5, 0.25]]
    assert torch.equal(functional.from_unit_box(inside, lower, upper), corners)
