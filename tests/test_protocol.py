"""Protocols against what the named tools compute, written out here with scikit-image, scipy, Pillow and numpy."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import convolve1d
from skimage.metrics import structural_similarity
from torch import Tensor

from neufield.core.errors import ConfigError
from neufield.metrics.protocols import PROTOCOLS, Protocol, average, protocol, score, score_all_protocols
from neufield.metrics.similarity import ssim

NERF, INGP, NERFSTUDIO, NERFBASELINES = (PROTOCOLS[name] for name in ("nerf", "ingp", "nerfstudio", "nerfbaselines"))


def smooth_noise(shape: tuple[int, int], channels: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    noise = generator.random((*shape, channels))
    return np.clip(0.5 + 0.8 * np.cumsum(noise - noise.mean(0), axis=0) / 4, 0, 1)


def pair(shape: tuple[int, int] = (40, 53)) -> tuple[Tensor, Tensor]:
    """A render with premultiplied alpha and a straight 8-bit truth, a third of it fully transparent."""
    truth = smooth_noise(shape, 4, 0)
    truth[: shape[0] // 3, :, 3] = 0
    truth[shape[0] // 2 :, :, 3] = 1
    truth = np.round(truth * 255) / 255
    error = 0.05 * np.random.default_rng(1).standard_normal((*shape, 4))
    render = np.clip(truth + error, 0, 1)
    render[..., :3] *= render[..., 3:]
    return torch.from_numpy(render).float(), torch.from_numpy(truth).float()


def on_white(render: Tensor, truth: Tensor) -> tuple[np.ndarray, np.ndarray]:
    r, t = render.numpy(), truth.numpy()
    return r[..., :3] + (1 - r[..., 3:]), t[..., :3] * t[..., 3:] + (1 - t[..., 3:])


def on_black(render: Tensor, truth: Tensor) -> tuple[np.ndarray, np.ndarray]:
    r, t = render.numpy(), truth.numpy()
    return r[..., :3], t[..., :3] * t[..., 3:]


def psnr_of(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * math.log10(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))


def gaussian_ssim(a: np.ndarray, b: np.ndarray, data_range: float) -> float:
    return structural_similarity(
        a.astype(np.float64),
        b.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=data_range,
        channel_axis=-1,
    )


# The last bits of float32 compositing: 1e-7 of values near 1, against errors of 0.05.
CLOSE = 1e-5


def test_nerf_is_float_on_white() -> None:
    render, truth = pair()
    a, b = on_white(render, truth)
    scores = score(render, truth, NERF)
    assert scores["psnr"] == pytest.approx(psnr_of(a, b), abs=CLOSE)
    assert scores["ssim"] == pytest.approx(gaussian_ssim(a, b, 1.0), abs=CLOSE)


def test_ingp_is_on_black_and_its_ssim_is_of_luminance_with_five_taps_to_the_border() -> None:
    render, truth = pair()
    a, b = on_black(render, truth)
    scores = score(render, truth, INGP)
    assert scores["psnr"] == pytest.approx(psnr_of(a, b), abs=CLOSE)
    taps = np.exp(-0.5 * (np.arange(-2, 3) / 1.5) ** 2)
    taps /= taps.sum()
    # The six digits of scripts/common.py are this Gaussian.
    assert taps == pytest.approx([0.120078, 0.233881, 0.292082, 0.233881, 0.120078], abs=5e-7)

    def blur(x: np.ndarray) -> np.ndarray:
        return convolve1d(convolve1d(x, taps, axis=0), taps, axis=1)

    a, b = (x.astype(np.float64) @ [0.2126, 0.7152, 0.0722] for x in (a, b))
    mean_a, mean_b = blur(a), blur(b)
    value = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    value *= 2 * (blur(a * b) - mean_a * mean_b) + 9e-4
    value /= blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2 + 9e-4
    assert scores["ssim"] == pytest.approx(value.mean(), abs=CLOSE)


def test_nerfstudio_takes_the_range_of_ssim_from_the_pictures() -> None:
    render, truth = pair()
    render, truth = 0.25 + 0.5 * render, 0.25 + 0.5 * truth  # opaque from here on, and of a small range
    a, b = render[..., :3], truth[..., :3]
    span = max(float(a.max() - a.min()), float(b.max() - b.min()))
    assert span < 0.51
    scores = score(a, b, NERFSTUDIO)
    assert scores["ssim"] == pytest.approx(gaussian_ssim(a.numpy(), b.numpy(), span), abs=CLOSE)
    flat = 0.4 + 0.2 * a  # the larger span counts, whichever picture has it
    for pictures in ((flat, b), (b, flat)):
        expected = gaussian_ssim(flat.numpy(), b.numpy(), float(b.max() - b.min()))
        assert score(*pictures, NERFSTUDIO)["ssim"] == pytest.approx(expected, abs=CLOSE)
    assert scores["ssim"] < score(a, b, NERF)["ssim"] - 1e-3


def test_nerfstudio_clips_what_nerf_does_not() -> None:
    _, truth = pair()
    truth = truth[..., :3]
    bright = truth + 0.5
    assert score(bright, truth, NERF)["psnr"] == pytest.approx(-20 * math.log10(0.5), abs=CLOSE)
    clipped = bright.clamp(max=1).numpy()
    assert score(bright, truth, NERFSTUDIO)["psnr"] == pytest.approx(psnr_of(clipped, truth.numpy()), abs=CLOSE)


def test_nerfbaselines_casts_to_8_bit_so_that_it_rounds_down() -> None:
    render, truth = pair()
    a, b = ((x * np.float32(255)).clip(0, 255).astype(np.uint8) / 255 for x in on_white(render, truth))
    scores = score(render, truth, NERFBASELINES)
    assert scores["psnr"] == pytest.approx(psnr_of(a, b), abs=CLOSE)
    assert scores["ssim"] == pytest.approx(gaussian_ssim(a, b, 1.0), abs=CLOSE)
    nearest = dataclasses.replace(NERFBASELINES, rounding="nearest")
    almost = truth[..., :3] + 0.49 / 255
    assert score(almost, truth[..., :3], nearest)["psnr"] == math.inf
    assert score(almost, truth[..., :3], NERFBASELINES)["psnr"] == math.inf
    almost = (truth[..., :3] - 0.49 / 255).clamp(min=0)
    assert score(almost, truth[..., :3], nearest)["psnr"] == math.inf
    assert score(almost, truth[..., :3], NERFBASELINES)["psnr"] < 50


def test_every_8_bit_value_survives_the_cast() -> None:
    values = (torch.arange(256).float() / 255).repeat(12, 3, 1).permute(0, 2, 1)
    assert score(values, values.double().float(), NERFBASELINES)["psnr"] == math.inf
    opaque = torch.cat([values, torch.ones_like(values[..., :1])], dim=2)
    assert score(values, opaque, NERFBASELINES)["psnr"] == math.inf


def test_no_background_means_stored_colors() -> None:
    render, truth = pair()
    plain = dataclasses.replace(NERF, background=None)
    expected = psnr_of(render[..., :3].numpy(), truth[..., :3].numpy())
    assert score(render, truth, plain)["psnr"] == pytest.approx(expected, abs=CLOSE)
    assert abs(expected - score(render, truth, INGP)["psnr"]) > 1  # the transparent third differs


def test_linear_light() -> None:
    a, b = torch.full((12, 12, 3), 0.5), torch.full((12, 12, 3), 0.02)
    linear = dataclasses.replace(NERF, color_space="linear")
    # IEC 61966-2-1: 0.5 is 0.2140 in linear light; 0.02 lies on the straight part.
    difference = ((0.5 + 0.055) / 1.055) ** 2.4 - 0.02 / 12.92
    assert score(a, b, linear)["psnr"] == pytest.approx(-20 * math.log10(difference), abs=CLOSE)


def test_a_render_without_alpha_is_taken_to_be_on_the_background() -> None:
    render, truth = pair()
    flat = torch.from_numpy(on_white(render, truth)[0])
    assert score(flat, truth, NERF) == pytest.approx(score(render, truth, NERF))


@pytest.mark.parametrize(("rule", "filter_"), [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)])
@pytest.mark.parametrize("channels", [3, 4])
def test_resizing_as_pillow_does_it(rule: str, filter_: int, channels: int) -> None:
    truth = torch.from_numpy(np.round(smooth_noise((60, 48), channels, 2) * 255) / 255).float()
    picture = Image.fromarray((truth.numpy() * 255).round().astype(np.uint8)).resize((24, 20), filter_)
    expected = torch.from_numpy(np.asarray(picture) / np.float32(255))
    if channels == 4:
        expected = torch.cat([expected[..., :3] * expected[..., 3:], expected[..., 3:]], dim=2)
    by_rule = dataclasses.replace(NERF, resize=rule, background="black")
    # Pillow rounds to 8 bit after each of its two passes, and with alpha when it multiplies and divides as well.
    assert score(expected[..., :3], truth, by_rule)["psnr"] > (52 if channels == 3 else 45)


def test_resizing_by_area_takes_means_of_stored_channels() -> None:
    _, truth = pair((40, 52))
    means = truth.reshape(20, 2, 26, 2, 4).mean((1, 3))
    small = torch.cat([means[..., :3] * means[..., 3:], means[..., 3:]], dim=2)
    assert score(small, truth, NERF)["psnr"] > 120  # float32's own error
    assert score(small, truth, NERFSTUDIO)["psnr"] < 60


def test_ingp_refuses_to_resize() -> None:
    render, truth = pair()
    with pytest.raises(ValueError, match="53 x 40 and its ground truth 53 x 20"):
        score(render, truth[:20], INGP)


def test_shapes_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"truth has shape \(12, 12, 1\)"):
        score(torch.zeros(12, 12, 3), torch.zeros(12, 12, 1), NERF)


def test_the_spread_needs_alpha_where_the_truth_has_it() -> None:
    render, truth = pair()
    found = score_all_protocols(render, truth)
    assert found.keys() == PROTOCOLS.keys()
    assert found["ingp"] == score(render, truth, INGP)
    values = [one["psnr"] for one in found.values()]
    assert len({round(value, 3) for value in values}) >= 3
    with pytest.raises(ValueError, match="no alpha"):
        score_all_protocols(render[..., :3], truth)
    assert score_all_protocols(render[..., :3], truth[..., :3])["nerf"]["psnr"] > 0


def test_averages() -> None:
    scores = [{"psnr": 20.0, "ssim": 0.5}, {"psnr": 40.0, "ssim": 0.7}]
    assert average(scores, NERF) == pytest.approx({"psnr": 30.0, "ssim": 0.6})
    some = [scores[0] | {"lpips": 0.1}, scores[1]]  # what one picture lacks is no average of the others
    assert average(some, NERF) == average(scores, NERF)
    by_mse = dataclasses.replace(NERF, average="mse")
    expected = -10 * math.log10((1e-2 + 1e-4) / 2)
    assert average(scores, by_mse) == pytest.approx({"psnr": expected, "ssim": 0.6})
    with pytest.raises(ValueError, match="nothing to average"):
        average([], NERF)


def test_names() -> None:
    assert protocol("ingp") is INGP
    with pytest.raises(ConfigError, match="did you mean 'nerfstudio'"):
        protocol("nerfstudo")


def test_lpips_is_by_each_protocols_network_on_its_pictures() -> None:
    render, truth = pair()
    distances = {"vgg": lambda a, b: float((a - b).abs().mean()), "alex": lambda a, b: 7.0}
    scores = score_all_protocols(render, truth, distances=distances)
    a, b = on_white(render, truth)
    assert scores["nerf"]["lpips"] == pytest.approx(np.abs(a - b).mean(), rel=1e-5)
    assert (scores["nerfstudio"]["lpips"], scores["nerfbaselines"]["lpips"]) == (7.0, 7.0)
    assert "lpips" not in scores["ingp"]
    without = score(render, truth, NERF, {"alex": distances["alex"]})
    assert without.keys() == {"psnr", "ssim"}


def test_a_protocol_is_plain_data() -> None:
    for one in PROTOCOLS.values():
        assert Protocol(**dataclasses.asdict(one)) == one


@pytest.mark.parametrize("window", [3, 7, 9])
def test_ssim_with_equal_weights_agrees_with_scikit_image(window: int) -> None:
    a, b = (smooth_noise((31, 44), 3, seed) for seed in (3, 4))
    expected = structural_similarity(
        a, b, win_size=window, use_sample_covariance=False, data_range=1.0, channel_axis=-1
    )
    found = ssim(torch.from_numpy(a), torch.from_numpy(b), 1.0, window, sigma=None)
    assert found == pytest.approx(expected, abs=1e-9)


def test_ssim_with_a_mirrored_border_is_the_mean_of_scikit_images_map() -> None:
    a, b = (smooth_noise((31, 44), 3, seed) for seed in (3, 4))
    # scikit-image's own map is over scipy's "reflect" border, the mirror; truncate makes its Gaussian 11 wide.
    _, whole = structural_similarity(
        a,
        b,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=-1,
        full=True,
    )
    assert ssim(torch.from_numpy(a), torch.from_numpy(b), 1.0, mirrored=True) == pytest.approx(whole.mean(), abs=1e-9)


def test_ssim_refuses_an_even_window() -> None:
    with pytest.raises(ValueError, match="window is 8"):
        ssim(torch.zeros(12, 12, 1), torch.zeros(12, 12, 1), 1.0, window=8)
