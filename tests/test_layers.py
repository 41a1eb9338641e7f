"""KAN, GR-KAN and FAN: splines, rational functions and waves, by their definitions."""

import math

import pytest
import torch
from cases import seeded
from torch.nn.functional import gelu, silu

from neufield.networks import FAN, GRKAN, KAN
from neufield.networks.layers import FANLinear, GRKANLinear, KANLinear
from neufield.networks.layers.grkan import STARTS, rational
from neufield.networks.layers.kan import bases

LINE = torch.linspace(-3, 3, 601, dtype=torch.float64)


@pytest.mark.parametrize("make", [KANLinear, GRKANLinear, FANLinear], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_stands_where_a_linear_one_does(make, bias):
    layer = make(8, 6, bias)
    assert layer(torch.rand(2, 3, 8)).shape == (2, 3, 6)
    assert layer(torch.rand(0, 8)).shape == (0, 6)
    assert (layer.in_features, layer.out_features) == (8, 6)


def cox_de_boor(x: float, knots: list[float], i: int, k: int) -> float:
    if k == 0:
        return float(knots[i] <= x < knots[i + 1])
    left = (x - knots[i]) / (knots[i + k] - knots[i]) * cox_de_boor(x, knots, i, k - 1)
    right = (knots[i + k + 1] - x) / (knots[i + k + 1] - knots[i + 1]) * cox_de_boor(x, knots, i + 1, k - 1)
    return left + right


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_bases_are_cox_and_de_boor_s_on_uneven_knots(degree):
    knots = torch.tensor([0.0, 0.5, 0.7, 1.5, 2.0, 2.1, 3.0, 4.0], dtype=torch.float64)
    for x in (0.1, 0.5, 1.1, 2.05, 3.9, 4.0, -1.0):
        found = bases(torch.tensor([x], dtype=torch.float64), knots.unsqueeze(0), degree)[0]
        expected = [cox_de_boor(x, knots.tolist(), i, degree) for i in range(len(knots) - degree - 1)]
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_splines_sum_to_one_inside_and_are_silent_outside():
    layer = KANLinear(1, 1, grid_size=5, degree=3, low=-1.0, high=1.0)
    assert layer.grid.shape == (1, 5 + 2 * 3 + 1)
    inside = bases(torch.linspace(-1, 1, 41).unsqueeze(-1), layer.grid, 3)
    assert inside.shape == (41, 1, 5 + 3)
    torch.testing.assert_close(inside.sum(-1), torch.ones(41, 1))
    far = torch.tensor([[3.0], [-3.0], [-1 - 3 * 0.4 - 0.01]])
    torch.testing.assert_close(layer(far), silu(far) * layer.weight)  # only the base function is left


def test_a_kan_layer_is_its_sum_over_edges():
    layer = KANLinear(3, 2, True, generator=seeded()).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(1), dtype=torch.float64))
    x = torch.rand(4, 3, generator=seeded(2), dtype=torch.float64) * 2 - 1
    b = bases(x, layer.grid, 3)
    for n in range(4):
        for o in range(2):
            edges = [
                layer.weight[o, i] * silu(x[n, i]) + layer.spline_scale[o, i] * (layer.spline_weight[o, i] @ b[n, i])
                for i in range(3)
            ]
            torch.testing.assert_close(layer(x)[n, o], sum(edges) + layer.bias[o])


def test_a_kan_layer_counts_its_numbers_and_starts_small():
    layer = KANLinear(40, 30, grid_size=5, degree=3, generator=seeded())
    assert sum(p.numel() for p in layer.parameters()) == 40 * 30 * (5 + 3 + 2)
    bound = 1 / math.sqrt(40)
    for tensor in (layer.weight.detach(), layer.spline_scale.detach()):
        assert 0.99 * bound < float(tensor.abs().max()) <= bound  # of 1200 uniform draws
    at_knots = torch.einsum(
        "gk,oik->goi", bases(layer.grid[0, 3:-3].unsqueeze(-1), layer.grid[:1], 3)[:, 0], layer.spline_weight
    )
    assert (
        0.99 * 0.05 / 5 < float(at_knots.detach().abs().max()) < 0.0101
    )  # noise U(+-0.1 / 2 / 5), which the splines meet


def test_moved_knots_keep_a_function_that_both_grids_can_hold():
    layer = KANLinear(2, 3, grid_size=4, generator=seeded()).double()
    greville = torch.stack([layer.grid[0, i + 1 : i + 4].mean() for i in range(4 + 3)])  # these coefficients give x
    with torch.no_grad():
        layer.spline_weight.copy_(greville.expand_as(layer.spline_weight))
    x = torch.rand(400, 2, generator=seeded(2), dtype=torch.float64) * 0.5 + 0.3
    before = layer(x)
    torch.testing.assert_close(before, silu(x) @ layer.weight.t() + x @ layer.spline_scale.t())
    layer.update_grid(x)  # from now on finer where the data are
    assert 0.29 < float(layer.grid[:, 3].min()) < float(layer.grid[:, -4].max()) < 0.81
    torch.testing.assert_close(layer(x), before)


def test_a_network_s_grids_follow_what_leaves_the_range():
    network = KAN(1, 1, 4, 1, squash=False, generator=seeded()).double()
    h = torch.linspace(4, 9, 200, dtype=torch.float64).unsqueeze(-1)  # no spline there yet
    network.update_grids(h)
    first, second = network.layers
    assert float(first.grid[:, 3].min()) == pytest.approx(4, abs=0.2)
    assert float(first.grid[:, -4].max()) == pytest.approx(9, abs=0.2)
    between = first(h)
    torch.testing.assert_close(second.grid[:, 3], between.min(0).values)
    torch.testing.assert_close(second.grid[:, -4], between.max(0).values)


@pytest.mark.parametrize(
    ("start", "target", "error"),
    # Largest errors on [-3, 3] of the official constants with this Q; "gelu" (not "gelu_old") would be off by 1.46.
    [("identity", lambda x: x, 1e-12), ("swish", silu, 1e-4), ("gelu", gelu, 0.005)],
)
def test_a_rational_function_starts_as_its_name(start, target, error):
    p, q = (torch.tensor(values, dtype=torch.float64) for values in STARTS[start][:2])
    assert float((rational(LINE, p, q) - target(LINE)).abs().max()) < error


@pytest.mark.parametrize("start", STARTS)
def test_the_gain_is_one_over_the_second_moment(start):
    x = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    p, q = (torch.tensor(values, dtype=torch.float64) for values in STARTS[start][:2])
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    moment = float((rational(x, p, q).square() * density).sum() * (x[1] - x[0]))
    assert STARTS[start].gain * moment == pytest.approx(1, rel=5e-3)  # the official gains are of the exact functions


def test_the_denominator_has_no_zero_and_no_sign():
    p, q = torch.tensor([1.0], dtype=torch.float64), torch.tensor([-0.5, 0.25, -2.0, 0.1], dtype=torch.float64)
    size = LINE.abs()
    expected = 1 / (1 + 0.5 * size + 0.25 * size**2 + 2 * size**3 + 0.1 * size**4)
    torch.testing.assert_close(rational(LINE, p, q), expected)


def test_an_identity_can_leave_its_denominator():
    layer = GRKANLinear(4, 2, groups=2, start="identity", generator=seeded())
    layer(torch.rand(5, 4) + 0.5).sum().backward()
    assert bool((layer.denominator.grad != 0).all())


def test_groups_have_their_own_denominator_and_one_numerator():
    layer = GRKANLinear(6, 6, False, groups=3, generator=seeded()).double()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(6))
        layer.denominator.copy_(torch.arange(12.0).view(3, 4))
    x = torch.rand(4, 6, generator=seeded(1), dtype=torch.float64)
    expected = [rational(x[:, c], layer.numerator, layer.denominator[c // 2]) for c in range(6)]
    torch.testing.assert_close(layer(x), torch.stack(expected, dim=-1))


def test_a_grkan_keeps_the_variance_of_normal_inputs():
    x = torch.randn(4000, 64, generator=seeded())
    network = GRKAN(64, 64, 256, 1, generator=seeded(1))
    assert [layer.start for layer in network.layers] == ["identity", "gelu"]
    assert float(network(x, x).detach().var()) == pytest.approx(1, abs=0.15)  # 0.94 to 1.01 over six seeds


def test_a_fan_layer_is_waves_and_a_rest():
    layer = FANLinear(5, 8, generator=seeded())
    x = torch.randn(3, 5, generator=seeded(1))
    phase = x @ layer.periodic.weight.t()
    assert layer.periodic.bias is None
    expected = torch.cat([phase.cos(), phase.sin(), gelu(layer.rest(x))], dim=-1)
    torch.testing.assert_close(layer(x), expected)
    assert phase.shape[-1] == 2  # a quarter of 8
    gated = FANLinear(5, 8, gated=True, generator=seeded())
    share = torch.sigmoid(gated.gate)
    torch.testing.assert_close(gated(x), torch.cat([expected[:, :4] * share, expected[:, 4:] * (1 - share)], dim=-1))


def test_a_fan_has_three_quarters_of_an_mlp_s_numbers():
    hidden = sum(p.numel() for p in FANLinear(256, 256).parameters())
    assert hidden / (256 * 256 + 256) == pytest.approx(0.75, abs=0.01)
    assert len(FAN(2, 3, 16, 4).layers) == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KANLinear(2, 2, degree=-1), r"degree is -1"),
        (lambda: KANLinear(2, 2, low=1.0, high=1.0), r"width is 0.0"),
        (lambda: KAN(2, 2, n_hidden_layers=-1), r"n_hidden_layers is -1"),
        (lambda: GRKANLinear(6, 2, groups=4), r"groups is 4, but it must divide in_features=6, for instance 2"),
        (lambda: GRKANLinear(8, 2, start="silu"), r"start is 'silu'.*'swish'"),
        (lambda: GRKAN(2, 2, n_hidden_layers=-1), r"n_hidden_layers is -1"),
        (lambda: FANLinear(2, 8, p_ratio=0.5), r"p_ratio is 0.5"),
        (lambda: FAN(2, 8, n_hidden_layers=0), r"n_hidden_layers is 0"),
    ],
)
def test_impossible_layers_are_refused_with_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
