"""FINER and other real waves, multiplicative filter networks and BACON: their formulas, starts and band limits."""

import math

import pytest
import torch
from cases import seeded
from torch import Tensor, nn

from neufield.core.lattice import lattice
from neufield.core.records import Batch, StepContext
from neufield.encodings import Identity
from neufield.fields import NeuralField
from neufield.fitting.objectives import Regression
from neufield.networks import ActivationNetwork, Bacon, Finer, FourierNet, Gabor, GaborNet, Gauss, Siren
from neufield.networks.activation_network import ScaledActivation
from neufield.networks.mfn import GaborFilter


@pytest.mark.parametrize("detached", [True, False])
def test_finer_and_its_gradient(detached: bool) -> None:
    """methods_a 7.3: sin(omega (|z| + 1) z); the gradient sees omega (|z| + 1) as a constant."""
    z = torch.linspace(-2, 2, 21, dtype=torch.float64, requires_grad=True)
    wave = Finer(5.0, 3.0, detached=detached)
    for layer, omega in [(0, 5.0), (1, 3.0), (4, 3.0)]:
        y = wave(z, layer)
        size = z.detach().abs()
        torch.testing.assert_close(y, torch.sin(omega * (size + 1) * z), rtol=1e-12, atol=1e-12)
        slope = omega * ((size + 1) if detached else (2 * size + 1))
        (gradient,) = torch.autograd.grad(y.sum(), z)
        expected = slope * torch.cos(omega * (size + 1) * z.detach())
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("wave", "formula"),
    [
        (Gauss(3.0), lambda z: torch.exp(-9 * z * z)),
        (Gabor(4.0, 2.0), lambda z: torch.cos(4 * z) * torch.exp(-4 * z * z)),
    ],
)
def test_the_other_waves_are_their_formulas(wave: ScaledActivation, formula) -> None:
    z = torch.linspace(-2, 2, 21, dtype=torch.float64)
    torch.testing.assert_close(wave(z, 0), formula(z), rtol=1e-12, atol=1e-12)
    assert torch.equal(wave(z, 0), wave(z, 3))


@pytest.mark.parametrize("first_bias", [None, 5.0])
def test_finer_starts_as_siren_but_for_its_first_bias(first_bias: float | None) -> None:
    network = ActivationNetwork(2, 3, Finer(20.0, 10.0, first_bias), 200, 2, generator=seeded())
    siren = Siren(2, 3, 200, 2, 20.0, 10.0, generator=seeded())
    for i, (layer, twin) in enumerate(zip(network.layers, siren.layers, strict=True)):
        assert torch.equal(layer.weight, twin.weight)
        if i or first_bias is None:
            assert torch.equal(layer.bias, twin.bias)
        else:
            assert 4.9 < layer.bias.abs().max().item() <= 5.0  # 200 of them


def test_a_wave_network_is_its_loop() -> None:
    network = ActivationNetwork(2, 2, Gauss(2.0), 5, 2, "tanh", generator=seeded()).double()
    x = torch.rand(6, 2, generator=seeded(1), dtype=torch.float64)
    h = 2 * x - 1
    *hidden, last = network.layers
    for layer in hidden:
        h = torch.exp(-((2 * (h @ layer.weight.t() + layer.bias)) ** 2))
    expected = torch.tanh(h @ last.weight.t() + last.bias)
    torch.testing.assert_close(network(x, x), expected, rtol=1e-12, atol=1e-12)
    assert len(hidden) == 3
    for layer in network.layers:
        assert layer.weight.abs().max() <= 1 / math.sqrt(layer.in_features)


@pytest.mark.parametrize("kind", [FourierNet, GaborNet])
def test_a_multiplicative_network_is_its_recursion(kind: type) -> None:
    network = kind(2, 3, 6, 2, 4.0, generator=seeded()).double()
    x = torch.rand(5, 2, generator=seeded(1), dtype=torch.float64)

    def g(part: nn.Module) -> Tensor:
        if kind is FourierNet:
            return torch.sin((2 * x - 1) @ part.linear.weight.t() + part.linear.bias)
        square = ((2 * x - 1)[:, None] - part.mu).square().sum(-1)
        wave = torch.sin((2 * x - 1) @ part.sine.linear.weight.t() + part.sine.linear.bias)
        return wave * torch.exp(-part.gamma / 2 * square)

    first, *others = network.products.filters
    z = g(first)
    for layer, part in zip(network.products.layers, others, strict=True):
        z = (z @ layer.weight.t() + layer.bias) * g(part)
    expected = z @ network.last.weight.t() + network.last.bias
    torch.testing.assert_close(network(x, x), expected, rtol=1e-10, atol=1e-12)  # |x - mu|^2 multiplied out


def test_starting_ranges_of_multiplicative_networks() -> None:
    """methods_a 7.5: w as a linear map's times 256 / sqrt(n + 1), b U(+-pi), W U(+-sqrt(1 / h)) at h = 256, n = 3."""
    network = FourierNet(2, 1, generator=seeded())
    assert len(network.products.filters) == 4
    for part in network.products.filters:
        bound = 128 / math.sqrt(2)
        assert 0.98 * bound < part.linear.weight.abs().max().item() <= bound
        assert 0.98 * math.pi < part.linear.bias.abs().max().item() <= math.pi
    for layer in network.products.layers:
        assert 0.99 / 16 < layer.weight.abs().max().item() <= 1 / 16


def test_windows_start_with_gamma_distributed_precisions() -> None:
    part = GaborFilter(2, 20_000, 8.0, 1.5, seeded())
    # Gamma(1.5, 1) has mean and variance 1.5; of 20,000 draws they are known to 0.009 and 0.035: four deviations.
    assert part.gamma.mean().item() == pytest.approx(1.5, abs=0.035)
    assert part.gamma.var().item() == pytest.approx(1.5, abs=0.14)
    quarter = torch.special.gammainc(torch.tensor(1.5), part.gamma.detach()).quantile(0.25).item()
    assert quarter == pytest.approx(0.25, abs=0.013)  # four deviations, sqrt(0.25 * 0.75 / 20,000)
    assert 0.99 < part.mu.abs().max().item() <= 1
    ratio = part.sine.linear.weight.abs() / part.gamma.sqrt()[:, None]
    assert 0.99 < ratio.max().item() / (8 / math.sqrt(2)) <= 1 + 1e-6  # float32


def test_no_read_out_of_bacon_has_a_frequency_beyond_its_band() -> None:
    """methods_a 7.5: the FFT of the m-th read-out on a periodic lattice, 1e-5 relative; here in float64."""
    network = Bacon(2, 1, [12.0, 16.0], 24, generator=seeded()).double()
    assert network.limits() == [[4, 4], [7, 8], [13, 16]]  # 1.5 and 3 round to 2 and 3: the code's own rounding
    shape = (40, 48)
    x = lattice(shape).double()
    # lattice() is float32; its points must be on the lattice to float64's last place.
    x = ((x * torch.tensor(shape) - 0.5).round() + 0.5) / torch.tensor(shape)
    row, column = (torch.fft.fftfreq(n, 1 / n).abs() for n in shape)
    for output, (rows, columns) in zip(network.outputs(x, x), network.limits(), strict=True):
        spectrum = torch.fft.fft2(output[..., 0]).detach().abs()
        beyond = (row[:, None] > rows) | (column > columns)
        assert spectrum[beyond].max() < 1e-13 * spectrum.max()  # 40 * 48 sums of rounding errors of 1e-16
        assert spectrum[row == rows].max() > 1e-5 * spectrum.max()  # the band is used to its edge
        assert spectrum[:, column == columns].max() > 1e-5 * spectrum.max()


def test_bacon_s_frequencies_are_whole_fixed_and_fill_their_bands() -> None:
    network = Bacon(2, 3, [128.0, 128.0], generator=seeded())
    assert network.limits() == [[32, 32], [64, 64], [128, 128]]
    for part, band in zip(network.products.filters, [16, 16, 32, 32, 32], strict=True):
        assert torch.equal(part.cycles, part.cycles.round())
        assert part.cycles.min() == -band  # 512 draws of at most 65 values
        assert part.cycles.max() == band
        assert "cycles" not in dict(part.named_parameters())
        assert 0.97 * math.pi < part.bias.abs().max().item() <= math.pi
    for layer in [*network.products.layers, *network.last]:
        assert 0.98 * math.sqrt(6 / 256) < layer.weight.abs().max().item() <= math.sqrt(6 / 256)


def test_training_sees_every_read_out() -> None:
    network = Bacon(2, 1, [4.0, 4.0], 8, output_activation="tanh", generator=seeded())
    field = NeuralField(Identity(2), network)
    x = torch.rand(9, 2, generator=seeded(1))
    target = torch.rand(9, 1, generator=seeded(2))
    evaluation = Regression("l2")(field, Batch(x, target), StepContext(0, 0.0, seeded()))
    errors = torch.stack([(output - target).square() for output in network.outputs(x, x)])
    assert len(errors) == 3
    torch.testing.assert_close(evaluation.loss, errors.sum(0).mean(), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(evaluation.error, errors.sum(0).mean(-1).detach(), rtol=1e-6, atol=0.0)
    evaluation.loss.backward()
    assert all(bool((last.weight.grad != 0).all()) for last in network.last)
    assert torch.equal(field(x), network.outputs(x, x)[-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Finer(hidden_omega=0.0), r"hidden_omega is 0.0"),
        (lambda: Finer(first_bias=-1.0), r"first_bias is -1.0"),
        (lambda: Gauss(0.0), r"scale is 0.0"),
        (lambda: Gabor(omega=-1.0), r"omega is -1.0"),
        (lambda: ActivationNetwork(2, 1, Gauss(), n_hidden_layers=-1), r"n_hidden_layers is -1"),
        (lambda: FourierNet(2, 1, scale=0.0), r"scale is 0.0"),
        (lambda: GaborNet(2, 1, alpha=0.0), r"alpha is 0.0"),
        (lambda: Bacon(2, 1, [8.0]), r"bandwidths has 1 numbers, but it must have one for each of 2 axes"),
        (lambda: Bacon(1, 1, [8.0], shares=[0.5, 0.4], readouts=[1]), r"adds up to 0.9"),
        (lambda: Bacon(1, 1, [8.0], readouts=[1, 2]), r"readouts is \[1, 2\], but it must ascend to 4"),
        (lambda: Bacon(1, 1, [8.0], readouts=[2, 1, 4]), r"readouts is \[2, 1, 4\]"),
    ],
)
def test_what_cannot_be_is_refused_with_the_value(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
