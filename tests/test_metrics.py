"""PSNR by hand and SSIM against scikit-image."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from neufield.metrics.similarity import SsimBands, psnr, ssim


def noisy_pair(shape: tuple[int, int, int], peak: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.linspace(0, 1, shape[0])[:, None, None] * torch.linspace(0.2, 1, shape[1])[None, :, None]
    a = (smooth + 0.3 * torch.rand(shape, generator=generator)) / 1.3
    b = (a + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)
    return a * peak, b * peak


def reference(a: Tensor, b: Tensor, peak: float) -> float:
    return structural_similarity(
        a.double().numpy(),
        b.double().numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=peak,
        channel_axis=-1,
    )


@pytest.mark.parametrize(
    ("mse", "peak", "expected"),
    [(0.01, 1.0, 20.0), (1e-4, 1.0, 40.0), (0.01, 10.0, 40.0), (0.0, 1.0, math.inf), (math.inf, 1.0, -math.inf)],
)
def test_psnr_by_hand(mse: float, peak: float, expected: float) -> None:
    assert psnr(mse, peak) == pytest.approx(expected)
    assert psnr(torch.tensor(mse), peak) == pytest.approx(expected, rel=1e-6)


def test_psnr_keeps_nan() -> None:
    assert math.isnan(psnr(math.nan))


@pytest.mark.parametrize("shape", [(40, 53, 3), (11, 11, 1), (13, 300, 4), (300, 12, 2)])
@pytest.mark.parametrize("peak", [1.0, 274.0])
def test_ssim_agrees_with_scikit_image(shape: tuple[int, int, int], peak: float) -> None:
    a, b = noisy_pair(shape, peak)
    expected = reference(a, b, peak)
    assert expected < 0.99
    assert ssim(a, b, peak) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_nearly_flat_pictures_does_not_suffer_from_cancellation() -> None:
    generator = torch.Generator().manual_seed(1)
    a = 0.9 + 1e-3 * torch.rand(32, 32, 1, generator=generator)
    b = a + 1e-3 * torch.rand(32, 32, 1, generator=generator)
    assert ssim(a, b, 1.0) == pytest.approx(reference(a, b, 1.0), abs=1e-9)


def test_ssim_of_a_copy_is_one_and_of_a_negative_is_below_zero() -> None:
    a, _ = noisy_pair((24, 24, 3))
    assert ssim(a, a, 1.0) == pytest.approx(1.0, abs=1e-12)
    assert ssim(a, 1 - a, 1.0) < 0


@pytest.mark.parametrize(("shape", "window"), [((5, 40, 1), 5), ((8, 8, 3), 7), ((40, 2, 1), 1), ((1, 9, 3), 1)])
def test_small_pictures_shrink_the_window(shape: tuple[int, int, int], window: int) -> None:
    a, b = noisy_pair(shape)
    offset = torch.arange(window, dtype=torch.float64) - window // 2
    line = torch.exp(-0.5 * (offset / 1.5) ** 2)
    kernel = (line[:, None] * line) / (line.sum() ** 2)

    def blur(x: Tensor) -> Tensor:
        planes = x.double().permute(2, 0, 1)[:, None]
        return torch.nn.functional.conv2d(planes, kernel[None, None])

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a.double() ** 2) - mean_a**2, blur(b.double() ** 2) - mean_b**2
    covariance = blur(a.double() * b.double()) - mean_a * mean_b
    value = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    value = value / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
    assert ssim(a, b, 1.0) == pytest.approx(float(value.mean()), abs=1e-12)


@pytest.mark.parametrize("rows", [1, 3, 10, 11, 64])
def test_bands_of_any_height_give_the_same_number(rows: int) -> None:
    a, b = noisy_pair((47, 31, 3))
    bands = SsimBands(47, 31, 3, 1.0)
    for top in range(0, 47, rows):
        bands.add(a[top : top + rows], b[top : top + rows])
    assert bands.value() == pytest.approx(reference(a, b, 1.0), abs=1e-9)


def test_bands_refuse_too_few_and_too_many_rows() -> None:
    a, b = noisy_pair((20, 20, 1))
    bands = SsimBands(20, 20, 1, 1.0)
    bands.add(a[:15], b[:15])
    with pytest.raises(ValueError, match="only 15 of 20 rows"):
        bands.value()
    with pytest.raises(ValueError, match="15 rows are in"):
        bands.add(a[:6], b[:6])


def test_ssim_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match="same"):
        ssim(torch.zeros(12, 12, 1), torch.zeros(12, 13, 1), 1.0)
