"""SIREN as its paper and codes have it: the function of each bias variant, and its statistics at the start."""

import math

import pytest
import torch
from cases import seeded
from torch import Tensor, nn

from neufield.core.interfaces import Modulation
from neufield.networks import Siren
from neufield.networks.siren import BIASES


class Recorder(Modulation):
    """Keeps what stands before each sine."""

    def __init__(self) -> None:
        super().__init__()
        self.before_sine: list[Tensor] = []

    def forward(self, h: Tensor, x: Tensor, layer: int) -> Tensor:
        self.before_sine.append(h)
        return h


def phases(bias: str, n_hidden_layers: int, zero_bias: bool, seed: int = 0) -> list[Tensor]:
    """omega (W h + b) of every sine layer of a fresh network at 4000 points of U(-1, 1)^2."""
    recorder = Recorder()
    network = Siren(2, 1, 256, n_hidden_layers, bias=bias, modulation=recorder, generator=seeded(seed))
    if zero_bias:
        for layer in network.layers[1:]:
            nn.init.zeros_(layer.bias)
    x = torch.rand(4000, 2, generator=seeded(100))  # the unit box; Siren maps it to [-1, 1]
    with torch.no_grad():
        network(x, x)
    return [30 * h for h in recorder.before_sine]


def test_without_hidden_biases_the_paper_s_network_keeps_unit_phases() -> None:
    """methods_a 7.2: std 1.0 +-10 % in layers 2 to 4, activations of variance about 1/2."""
    first, *hidden = phases("inside", 3, zero_bias=True)
    for phase in hidden:
        assert phase.std().item() == pytest.approx(1.0, rel=0.1)
    assert torch.sin(first).var().item() == pytest.approx(0.5, rel=0.05)
    for phase in hidden:
        assert torch.sin(phase).var().item() == pytest.approx(0.5, rel=0.2)


def test_the_variance_of_phases_follows_its_recursion_in_a_deep_network() -> None:
    """The variance is 2 E[sin^2] of the layer before, and E[sin^2] = (1 - exp(-2 v)) / 2 for a normal of variance v."""
    variance = 1.0
    for phase in phases("inside", 6, zero_bias=True)[1:]:
        # 256 units with one weight vector each: the variance over units is known to sqrt(2 / 256) = 9 %.
        assert phase.var().item() == pytest.approx(variance, rel=0.12)
        variance = 1 - math.exp(-2 * variance)


def test_the_official_biases_widen_the_phases_to_1_47() -> None:
    expected = math.sqrt(1 + (30 / 16) ** 2 / 3)
    assert expected == pytest.approx(1.474, abs=1e-3)
    for phase in phases("inside", 3, zero_bias=False)[1:]:
        assert phase.std().item() == pytest.approx(expected, rel=0.08)  # 256 biases, as above, halved by the root


def test_small_biases_leave_the_phases_near_one() -> None:
    for phase in phases("inside_small", 3, zero_bias=False)[1:]:
        assert phase.std().item() == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("bias", BIASES)
def test_starting_ranges(bias: str) -> None:
    network = Siren(3, 8, 200, 2, 20.0, 10.0, bias, generator=seeded())
    for i, layer in enumerate(network.layers):
        n = layer.in_features
        assert n == (3 if i == 0 else 200)
        bound = 1 / 3 if i == 0 else math.sqrt(6 / 200) / 10  # the read-out as the hidden layers
        bias_bound = bound if bias == "inside_small" else 1 / math.sqrt(n)
        # 600 weights or more, and 8 biases or more, come this close to their bound.
        assert 0.98 * bound < layer.weight.abs().max().item() <= bound
        assert (0.98 if i < 3 else 0.7) * bias_bound < layer.bias.abs().max().item() <= bias_bound


@pytest.mark.parametrize("bias", BIASES)
def test_the_function_of_each_bias_variant(bias: str) -> None:
    network = Siren(2, 2, 3, 1, 5.0, 3.0, bias, "tanh", generator=seeded()).double()
    x = [0.3, 0.9]
    h = [2 * value - 1 for value in x]
    for i, layer in enumerate(network.layers):
        omega = [5.0, 3.0, None][i]
        result = []
        for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True):
            product = sum(w * value for w, value in zip(row, h, strict=True))
            if omega is None:
                result.append(math.tanh(product + b))
            elif bias == "outside":
                result.append(math.sin(omega * product + b))
            else:
                result.append(math.sin(omega * (product + b)))
        h = result
    points = torch.tensor(x, dtype=torch.float64)
    assert network(points, points).tolist() == pytest.approx(h, rel=1e-13)


def test_the_modulation_sees_each_sine_layer_with_points_of_the_unit_box() -> None:
    class Shift(Modulation):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[tuple[Tensor, int]] = []

        def forward(self, h: Tensor, x: Tensor, layer: int) -> Tensor:
            self.calls.append((x, layer))
            return h + 0.25

    shift = Shift()
    network = Siren(2, 1, 4, 2, modulation=shift, generator=seeded())
    x = torch.rand(3, 2, generator=seeded(1))
    shifted = network(x, x)
    assert [layer for _, layer in shift.calls] == [0, 1, 2]
    assert all(seen is x for seen, _ in shift.calls)
    network.modulation = None
    with torch.no_grad():
        for layer in network.layers[:-1]:
            layer.bias += 0.25
    torch.testing.assert_close(network(x, x), shifted, rtol=1e-5, atol=1e-6)  # 30 times a float32 rounding


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bias": "none"}, r"bias is 'none'.*'inside', 'inside_small', 'outside'"),
        ({"omega_0": 0.0}, r"omega_0 is 0.0"),
        ({"hidden_omega": -1.0}, r"hidden_omega is -1.0"),
        ({"output_activation": "abs"}, r"output_activation is 'abs'"),
    ],
)
def test_impossible_sirens_are_refused_with_the_value(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Siren(2, 1, **arguments)
