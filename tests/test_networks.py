"""The MLP against a loop, its activations against formulas, its start against the published ranges."""

import inspect
import math

import pytest
import torch
from cases import seeded
from torch import Tensor

from neufield import networks
from neufield.core.interfaces import Modulation
from neufield.encodings import Frequency
from neufield.fields import NeuralField
from neufield.networks import ACTIVATIONS, MLP

# tiny-cuda-nn's DOCUMENTATION.md at 6ee3546, "Activation Functions"; gelu by its own paper (arXiv 1606.08415).
FORMULAS = {
    "none": lambda x: x,
    "relu": lambda x: max(0.0, x),
    "leaky_relu": lambda x: max(0.0, x) + 0.01 * min(0.0, x),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "exponential": math.exp,
    "sine": math.sin,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "softplus": lambda x: math.log(math.exp(10 * x) + 1) / 10,
    "squareplus": lambda x: 0.5 * (10 * x + math.sqrt(100 * x * x + 4)) / 10,
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "signed_to_unit": lambda x: 0.5 * x + 0.5,
}


class Probe(Modulation):
    """Records its calls and answers with 2 h + layer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor, int]] = []

    def forward(self, h: Tensor, x: Tensor, layer: int) -> Tensor:
        self.calls.append((h, x, layer))
        return 2 * h + layer


def test_the_start_of_torch_is_that_of_its_linear_maps() -> None:
    layers = MLP(50, 30, 200, 2, start="torch", generator=seeded()).layers
    for layer in layers:
        bound = layer.in_features**-0.5  # nn.Linear's own: kaiming_uniform_ with a = sqrt(5), and the same for biases
        for values in (layer.weight.detach(), layer.bias.detach()):
            assert values.abs().max() <= bound
            # The standard deviation of n uniform numbers is known to about 0.45 / sqrt(n): five of these.
            assert abs(float(values.std()) / (bound / 3**0.5) - 1) < 5 * 0.45 / values.numel() ** 0.5


def test_sines_have_a_start_of_their_own() -> None:
    with pytest.raises(ValueError, match="leave start out"):
        MLP(2, 1, activation="sine", start="torch")


def test_every_activation_has_a_formula() -> None:
    assert ACTIVATIONS.keys() == FORMULAS.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_are_their_formulas(name: str) -> None:
    x = torch.tensor([-3.0, -0.6, -0.05, 0.0, 0.02, 0.7, 2.5], dtype=torch.float64)
    expected = [FORMULAS[name](value) for value in x.tolist()]
    assert ACTIVATIONS[name](x).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-13)  # float64, exp(25) at most


def loop(network: MLP, features: list[float]) -> list[float]:
    """The network on one point, neuron by neuron."""
    h = features
    layers = list(network.layers)
    for i, layer in enumerate(layers):
        last = i == len(layers) - 1
        if i in network.skips:
            h = h + features
        bias = layer.bias.tolist() if network.bias else [0.0] * layer.out_features
        activate = FORMULAS[network.output_activation if last else network.activation]
        outputs = []
        for row, b in zip(layer.weight.tolist(), bias, strict=True):
            outputs.append(activate(b + math.fsum(w * value for w, value in zip(row, h, strict=True))))
        h = outputs
    return h


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"n_hidden_layers": 4, "activation": "silu", "output_activation": "sigmoid", "skips": [1, 3]},
        {"n_hidden_layers": 3, "activation": "sine", "output_activation": "exponential", "bias": False},
        {"n_hidden_layers": 0, "output_activation": "softplus"},
    ],
    ids=["plain", "skips", "sine", "linear"],
)
def test_the_mlp_is_its_loop(arguments: dict) -> None:
    network = MLP(3, 2, 6, **arguments, generator=seeded()).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn(parameter.shape, generator=seeded(1), dtype=torch.float64) * 0.2
    h = torch.rand(4, 3, generator=seeded(2), dtype=torch.float64)
    expected = [loop(network, features) for features in h.tolist()]
    torch.testing.assert_close(network(h, h), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_layer_shapes_and_skip_positions() -> None:
    """NeRF's network (arXiv 2003.08934, fig. 7): the input comes back before hidden layer 5, counted from 0."""
    network = MLP(60, 4, 256, 8, skips=[5])
    shapes = [tuple(layer.weight.shape) for layer in network.layers]
    assert shapes == [(256, 60)] + [(256, 256)] * 4 + [(256, 316)] + [(256, 256)] * 2 + [(4, 256)]


@pytest.mark.parametrize(("bias", "expected"), [(False, 32 * 64 + 64 * 64 + 64 * 3), (True, 6336 + 64 + 64 + 3)])
def test_parameter_counts(bias: bool, expected: int) -> None:
    assert sum(p.numel() for p in MLP(32, 3, 64, 2, bias=bias).parameters()) == expected


def test_weights_start_xavier_uniform_and_biases_at_zero() -> None:
    """tiny-cuda-nn, gpu_matrix.h: U(+-sqrt(6 / (fan_in + fan_out)))."""
    for layer in MLP(40, 30, 100, 2, generator=seeded()).layers:
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        # The extremes of 3000 draws or more lie within 1 % of the bound; a normal's would not.
        assert 0.99 * bound < layer.weight.abs().max().item() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.04)  # three deviations
        assert bool((layer.bias == 0).all())


def test_a_sine_mlp_starts_as_tiny_cuda_nns_siren() -> None:
    """gpu_matrix.h: 30 / fan_in in the first layer, sqrt(6 / fan_in) after it."""
    layers = MLP(40, 30, 100, 2, "sine", generator=seeded()).layers
    for layer, bound in zip(layers, [30 / 40, math.sqrt(6 / 100), math.sqrt(6 / 100)], strict=True):
        assert 0.99 * bound < layer.weight.abs().max().item() <= bound


def test_the_modulation_stands_between_linear_map_and_activation_of_each_hidden_layer() -> None:
    probe = Probe()
    network = MLP(3, 2, 5, 2, "tanh", modulation=probe, generator=seeded())
    h, x = torch.rand(4, 3, generator=seeded(1)), torch.rand(4, 7, generator=seeded(2))
    y = network(h, x)
    assert [layer for _, _, layer in probe.calls] == [0, 1]
    assert all(seen is x for _, seen, _ in probe.calls)
    first, second, last = network.layers
    assert torch.equal(probe.calls[0][0], first(h))
    after_first = torch.tanh(2 * first(h))
    assert torch.equal(probe.calls[1][0], second(after_first))
    assert torch.equal(y, last(torch.tanh(2 * second(after_first) + 1)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, r"width is 0"),
        ({"out_dim": -1}, r"out_dim is -1"),
        ({"activation": "swish"}, r"activation is 'swish'.*'silu'"),
        ({"output_activation": "softmax"}, r"output_activation is 'softmax'"),
        ({"skips": [2]}, r"skips is \[2\] with n_hidden_layers=2; .*layer 1 to n-1"),
        ({"skips": [0]}, r"skips is \[0\]"),
        ({"n_hidden_layers": -1}, r"n_hidden_layers is -1"),
    ],
)
def test_impossible_networks_are_refused_with_the_value(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP(**{"in_dim": 2, "out_dim": 1, **arguments})


DEEP = [
    kind
    for kind in (getattr(networks, name) for name in networks.__all__)
    if isinstance(kind, type) and "n_hidden_layers" in inspect.signature(kind).parameters
]


@pytest.mark.parametrize("kind", DEEP, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("count", [-1, 10**12])
def test_no_network_has_fewer_layers_than_none_or_more_than_a_list_holds(kind: type, count: int) -> None:
    assert len(DEEP) > 7
    positional = [name for name in ("in_dim", "out_dim") if name in inspect.signature(kind).parameters]
    more = {"activation": networks.Gauss()} if kind is networks.ActivationNetwork else {}
    with pytest.raises(ValueError, match=f"n_hidden_layers is {count}"):
        kind(**dict.fromkeys(positional, 2), **more, n_hidden_layers=count)


def test_a_field_refuses_a_network_of_another_width() -> None:
    with pytest.raises(ValueError, match=r"gives 12 features, but the network takes 10; .*in_dim=12"):
        NeuralField(Frequency(2, 3), MLP(10, 1))


def test_a_field_hands_its_points_to_the_network() -> None:
    probe = Probe()
    field = NeuralField(Frequency(2, 3), MLP(12, 1, 4, 1, modulation=probe))
    x = torch.rand(5, 2, generator=seeded())
    assert torch.equal(field(x), field.network(field.encoding(x), x))
    assert probe.calls[0][1] is x
