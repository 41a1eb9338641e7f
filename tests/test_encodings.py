"""Each fixed encoding against its slow twin, its published constants, and the theorems that define it."""

import math

import numpy as np
import pytest
import references
import torch
from cases import seeded
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.encodings import (
    BlockDCT,
    Frequency,
    GaussianFourier,
    Grid,
    Identity,
    OneBlob,
    SphericalHarmonics,
    TriangleWave,
)

RELATIVE_ERROR = 1e-12  # float64: phases up to 2^11 pi lose 4 of 16 digits


def points(n: int, dim: int, seed: int = 0) -> Tensor:
    """Uniform in the box, with both ends and the middle among them."""
    x = torch.rand(n, dim, generator=seeded(seed), dtype=torch.float64)
    x[0], x[1], x[2] = 0.0, 1.0, 0.5
    return x


def unit_vectors(n: int, seed: int = 0) -> Tensor:
    d = torch.randn(n, 3, generator=seeded(seed), dtype=torch.float64)
    return d / d.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("n_frequencies", [1, 4, 12])
def test_frequency_is_sine_then_cosine_of_each_octave(n_frequencies: int) -> None:
    x = points(9, 2)
    truth = [references.frequency(point, n_frequencies) for point in x.tolist()]
    assert references.relative_l2(Frequency(2, n_frequencies)(x).tolist(), truth) < RELATIVE_ERROR


def test_frequency_of_one_half_is_what_tiny_cuda_nn_documents() -> None:
    """DOCUMENTATION.md: sin(pi x), cos(pi x), sin(2 pi x), cos(2 pi x), ..."""
    values = Frequency(1, 3)(torch.tensor([0.5], dtype=torch.float64))
    torch.testing.assert_close(values, values.new_tensor([1, 0, 0, -1, 0, 1]), rtol=0, atol=1e-15)  # rounding of pi


@pytest.mark.parametrize("n_frequencies", [1, 4, 12])
def test_triangle_wave_is_the_arcsine_of_a_shifted_cosine(n_frequencies: int) -> None:
    x = points(9, 2)
    truth = [references.triangle_wave(point, n_frequencies) for point in x.tolist()]
    # Near the tips the reference's arcsine has only half the digits.
    assert references.relative_l2(TriangleWave(2, n_frequencies)(x).tolist(), truth) < 1e-8


def test_triangle_wave_by_hand() -> None:
    values = TriangleWave(1, 3)(torch.tensor([0.0, 0.25, 1.0]).unsqueeze(-1))
    # v = x/2, x + 1/4, 2x + 1/2; y = 4 |v - floor(v) - 1/2| - 1
    assert values.tolist() == [[1.0, 0.0, -1.0], [0.5, -1.0, 1.0], [-1.0, 0.0, -1.0]]


def test_local_cosines_are_products_of_cosines_that_fit_the_cells() -> None:
    x, orders = points(9, 2), [(0, 0), (1, 2), (3, 0), (2, 5)]
    truth = [references.local_cosine(point, 6.5, orders) for point in x.tolist()]
    assert references.relative_l2(BlockDCT(2, 6.5, orders)(x).tolist(), truth) < RELATIVE_ERROR
    one = BlockDCT(1, 4.0, [(0,), (1,), (3,)])
    for channel, declared in enumerate(one.frequencies.tolist()):
        assert peak_frequency(one, 0, channel) == declared  # whole periods fit in 8 boxes
    with pytest.raises(ValueError, match=r"list of 2 whole numbers >= 0 per atom, got \[\[1\]\]"):
        BlockDCT(2, 1.0, [[1]])


@pytest.mark.parametrize("n_bins", [1, 2, 4, 16])
def test_one_blob_is_the_mass_of_a_wrapped_quartic_kernel_in_each_bin(n_bins: int) -> None:
    x = points(5, 2)
    truth = [references.one_blob(point, n_bins) for point in x.tolist()]
    # The reference's midpoint rule: (1 / 4000)^2 / 24 times a second derivative of order 10.
    assert references.relative_l2(OneBlob(2, n_bins)(x).tolist(), truth) < 1e-6


@pytest.mark.parametrize("n_bins", [1, 8])
def test_the_bins_of_one_blob_sum_to_one(n_bins: int) -> None:
    values = OneBlob(3, n_bins)(points(50, 3)).unflatten(-1, (3, n_bins))
    torch.testing.assert_close(values.sum(-1), torch.ones(50, 3, dtype=torch.float64), rtol=0, atol=1e-14)  # 8 eps
    assert bool((values >= 0).all())


def test_one_blob_wraps_around_the_box() -> None:
    encode = OneBlob(1, 8)
    torch.testing.assert_close(encode(torch.tensor([0.0])), encode(torch.tensor([1.0])), rtol=0, atol=1e-6)  # 8 eps
    first, last = encode(torch.tensor([0.0]))[[0, -1]].tolist()
    assert first == pytest.approx(0.5)
    assert last == pytest.approx(0.5)


@pytest.mark.parametrize("n_bins", [3, 12])
def test_one_blob_names_the_next_power_of_two(n_bins: int) -> None:
    with pytest.raises(ValueError, match=f"n_bins is {n_bins}, .* instance {1 << n_bins.bit_length()}"):
        OneBlob(1, n_bins)


@pytest.mark.parametrize("degree", range(1, 9))
def test_spherical_harmonics_are_scipys(degree: int) -> None:
    d = unit_vectors(20)
    truth = [references.spherical_harmonics(direction, degree) for direction in d.tolist()]
    assert references.relative_l2(SphericalHarmonics(degree)((d + 1) / 2).tolist(), truth) < RELATIVE_ERROR


def test_spherical_harmonics_are_orthonormal_on_the_sphere() -> None:
    nodes, weights = np.polynomial.legendre.leggauss(16)  # exact to degree 31; two bands below 8 reach 14
    azimuth = np.arange(32) * 2 * math.pi / 32
    z, phi = np.meshgrid(nodes, azimuth, indexing="ij")
    radius = np.sqrt(1 - z * z)
    d = torch.from_numpy(np.stack([radius * np.cos(phi), radius * np.sin(phi), z], -1)).reshape(-1, 3)
    measure = torch.from_numpy(np.repeat(weights, 32) * 2 * math.pi / 32)
    y = SphericalHarmonics(8)((d + 1) / 2)
    gram = y.t() @ (y * measure[:, None])
    torch.testing.assert_close(gram, torch.eye(64, dtype=torch.float64), rtol=0, atol=1e-12)  # sums of 512 terms


def test_spherical_harmonics_have_tiny_cuda_nns_constants_and_signs() -> None:
    d = unit_vectors(30, seed=1)
    x, y, z = d.unbind(-1)
    values = SphericalHarmonics(8)((d + 1) / 2)
    # Constants of common_device.h at 6ee3546, by channel.
    published = {
        0: 0.28209479177387814 * torch.ones_like(x),
        1: -0.48860251190291987 * y,
        2: 0.48860251190291987 * z,
        3: -0.48860251190291987 * x,
        5: -1.0925484305920792 * y * z,
        6: 0.94617469575755997 * z**2 - 0.31539156525251999,
        13: 0.45704579946446572 * x * (1 - 5 * z**2),
        15: 0.59004358992664352 * x * (3 * y**2 - x**2),
        16: 2.5033429417967046 * x * y * (x**2 - y**2),
        42: 6.6747662381009842 * z**2 - 20.024298714302954 * z**4 + 14.684485723822165 * z**6 - 0.31784601133814211,
    }
    for channel, expected in published.items():
        torch.testing.assert_close(values[:, channel], expected, rtol=0, atol=1e-13)  # sums of terms up to 20


@pytest.mark.parametrize("degree", [0, 9])
def test_spherical_harmonics_end_at_degree_8(degree: int) -> None:
    with pytest.raises(ValueError, match=f"degree is {degree}, .*1 to 8"):
        SphericalHarmonics(degree)


def test_gaussian_features_are_all_sines_then_all_cosines_of_a_buffer() -> None:
    encoding = GaussianFourier(2, 7, 3.0, generator=seeded())
    assert [name for name, _ in encoding.named_buffers()] == ["matrix"]
    assert list(encoding.parameters()) == []
    assert torch.equal(encoding.matrix, torch.randn(7, 2, generator=seeded()) * 3.0)
    x = points(5, 2)
    values = encoding(x)
    for i, point in enumerate(x.tolist()):
        for f, row in enumerate(encoding.matrix.tolist()):
            phase = 2 * math.pi * (row[0] * point[0] + row[1] * point[1])
            # 2 pi B is formed in float32's B but in float64; phases reach 50.
            assert values[i, f].item() == pytest.approx(math.sin(phase), abs=1e-5)
            assert values[i, 7 + f].item() == pytest.approx(math.cos(phase), abs=1e-5)


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_gaussian_features_approximate_the_gaussian_kernel(sigma: float) -> None:
    """arXiv 2006.10739, section 3: gamma(x).gamma(y) / F -> exp(-2 pi^2 sigma^2 |x - y|^2)."""
    count = 4096
    encoding = GaussianFourier(2, count, sigma, generator=seeded())
    x, y = points(40, 2, seed=1), points(40, 2, seed=2)
    y = x + (y - x) * 0.5 / sigma  # near enough for the kernel to be seen
    measured = (encoding(x) * encoding(y)).sum(-1) / count
    expected = torch.exp(-2 * math.pi**2 * sigma**2 * (x - y).square().sum(-1))
    # A mean of 4096 cosines deviates by at most 1/sqrt(2 * 4096) = 0.011; four deviations.
    torch.testing.assert_close(measured, expected, rtol=0, atol=0.045)
    assert bool((expected < 0.5).any())
    assert bool((expected > 0.5).any())


def peak_frequency(encoding: Encoding, axis: int, channel: int, samples: int = 4096, box: int = 8) -> float:
    """Cycles per unit of the highest peak of one channel's spectrum over ``box`` boxes along ``axis``."""
    x = torch.zeros(samples, encoding.in_dim, dtype=torch.float64)
    x[:, axis] = torch.arange(samples, dtype=torch.float64) / samples * box
    wave = encoding(x)[:, channel]
    spectrum = torch.fft.rfft(wave - wave.mean()).abs()
    return spectrum.argmax().item() / box


@pytest.mark.parametrize("kind", [Frequency, TriangleWave])
def test_the_declared_frequencies_of_octaves_are_the_peaks_of_their_spectra(kind: type) -> None:
    encoding = kind(2, 5)
    per_axis = encoding.out_dim // 2
    for channel, declared in enumerate(encoding.frequencies.tolist()):
        # Whole periods fit in 8 boxes (the slowest has 1/2 cycle a box), so the peak is exact.
        assert peak_frequency(encoding, channel // per_axis, channel) == declared


def test_the_declared_frequencies_of_gaussian_features_are_the_peaks_along_their_rows() -> None:
    encoding = GaussianFourier(1, 16, 6.0, generator=seeded())
    for channel, declared in enumerate(encoding.frequencies.tolist()):
        # The box of 8 resolves 1/8 cycle; leakage moves the peak by at most one such step.
        assert peak_frequency(encoding, 0, channel) == pytest.approx(declared, abs=0.126)


def test_the_declared_frequency_of_a_plane_wave_is_the_length_of_its_row() -> None:
    encoding = GaussianFourier(3, 6, 2.0, generator=seeded())
    lengths = [math.sqrt(sum(b * b for b in row)) for row in encoding.matrix.tolist()]
    assert encoding.frequencies.tolist() == pytest.approx(lengths * 2)


def test_the_declared_frequencies_of_the_others_are_their_resolution() -> None:
    assert Grid(2, 3, 2, 19, 4, 2.0).frequencies.tolist() == [2, 2, 4, 4, 8, 8]
    assert OneBlob(2, 8).frequencies.tolist() == [4] * 16
    assert SphericalHarmonics(3).frequencies.tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]
    assert Identity(2).frequencies.tolist() == [0, 0]


def test_identity_scales_and_shifts() -> None:
    assert Identity(2, 2.0, -1.0)(torch.tensor([0.0, 0.75])).tolist() == [-1.0, 0.5]


@pytest.mark.parametrize("make", [lambda: Frequency(0), lambda: TriangleWave(2, 0), lambda: GaussianFourier(2, 4, 0.0)])
def test_sizes_must_be_positive(make) -> None:
    with pytest.raises(ValueError, match=r"(in_dim|n_frequencies|sigma) is 0(\.0)?, but it must be above 0"):
        make()
