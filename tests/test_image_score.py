"""How a picture judges a field, and how a field is drawn as a picture."""

import math

import numpy as np
import pytest
import torch
from image_files import STEPS, lookup, picture
from skimage.metrics import structural_similarity
from torch import Tensor

from neufield.core.lattice import lattice
from neufield.metrics.similarity import ssim
from neufield.signals.image import Image, render


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_score_of_a_perfect_field(dtype: str) -> None:
    values = picture(30, 40, 3, dtype)
    score = Image(values).evaluate(lookup(values))
    assert score.values == {"psnr": math.inf, "mse": 0.0, "ssim": pytest.approx(1.0, abs=1e-12)}


def test_score_is_of_the_picture_as_written() -> None:
    """An error below half a step, and an overshoot beyond white, disappear in the file and so in the score."""
    values = picture(30, 40, 3)
    values[values < 128] = 0
    values[values >= 128] = 255
    exact = lookup(values)
    assert Image(values).evaluate(lambda x: exact(x) * 1.5 - 0.25)["mse"] == 0.0
    assert Image(values).evaluate(lambda x: exact(x) + 0.4 / 255)["mse"] == 0.0
    assert Image(values.astype(np.float32) / 255).evaluate(lambda x: exact(x) + 0.4 / 255)["mse"] == pytest.approx(
        (0.4 / 255) ** 2, rel=1e-3
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_score_agrees_with_the_rendered_file(dtype: str) -> None:
    values = picture(37, 53, 3, dtype)
    image = Image(values)
    field = lookup(values)
    wave = torch.tensor([[3.0, 5.0, 7.0], [2.0, 9.0, 4.0]])

    def predict(x: Tensor) -> Tensor:
        return field(x) + 0.2 * torch.sin(20 * x @ wave)

    steps = STEPS[dtype]
    drawn = render(predict, image.facts).astype(np.float64) / steps
    truth = values.astype(np.float64) / steps
    mse = ((drawn - truth) ** 2).mean()
    score = image.evaluate(predict)
    assert score["mse"] == pytest.approx(mse, rel=1e-5)
    assert score["psnr"] == pytest.approx(-10 * math.log10(mse), abs=1e-4)
    expected = structural_similarity(
        drawn, truth, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=-1
    )
    assert score["ssim"] == pytest.approx(expected, abs=1e-6)


def test_score_of_high_dynamic_range_uses_the_peak() -> None:
    values = picture(20, 20, 3, "float32") * 50
    values[0, 0, 0] = 200
    field = lookup(values)
    score = Image(values).evaluate(lambda x: field(x) + 2)
    assert score["psnr"] == pytest.approx(40, abs=1e-3)
    expected = ssim(torch.from_numpy(values) + 2, torch.from_numpy(values), 200)
    assert score["ssim"] == pytest.approx(expected, abs=1e-9)


def test_score_of_nothing_finite_is_not_a_number() -> None:
    values = picture(12, 12, 1)
    assert math.isnan(Image(values).evaluate(lambda x: torch.full((len(x), 1), math.nan))["psnr"])


@pytest.mark.parametrize("shape", [(300, 400), (1, 5000), (5000, 1), (3, 7)])
@pytest.mark.parametrize("limit", [1, 10, 1000])
def test_limit_takes_evenly_spaced_pixels_the_same_every_time(shape: tuple[int, int], limit: int) -> None:
    values = picture(*shape, 1)
    asked: list[Tensor] = []

    def predict(x: Tensor) -> Tensor:
        asked.append(x)
        return torch.zeros(len(x), 1)

    image = Image(values)
    score = image.evaluate(predict, limit=limit)
    assert set(score.values) == {"psnr", "mse"}
    x = torch.cat(asked)
    assert min(limit, math.prod(shape)) * 0.6 <= len(x) <= limit
    place = (x.double() * torch.tensor(shape)).long()
    assert len(torch.unique(place, dim=0)) == len(x)
    expected = ((values[place[:, 0], place[:, 1]] / 255.0) ** 2).mean()
    assert score["mse"] == pytest.approx(expected, rel=1e-5)
    assert image.evaluate(predict, limit=limit) == score
    for axis in range(2):
        levels = torch.unique(x[:, axis])
        assert len(levels) == 1 or (levels.diff().max() - levels.diff().min()) * shape[axis] < 1.01


@pytest.mark.parametrize("shape", [(300, 700), (1, 200_000), (70_000, 2)])
def test_blocks_are_small_and_cover_every_pixel_once_in_order(shape: tuple[int, int]) -> None:
    values = picture(*shape, 1)
    asked: list[Tensor] = []

    def predict(x: Tensor) -> Tensor:
        asked.append(x)
        return torch.zeros(len(x), 1)

    Image(values).evaluate(predict)
    assert max(len(x) for x in asked) <= 65_536
    torch.testing.assert_close(torch.cat(asked), lattice(shape).view(-1, 2), rtol=0, atol=0)
    asked.clear()
    render(predict, Image(values).facts)
    assert max(len(x) for x in asked) <= 65_536
    torch.testing.assert_close(torch.cat(asked), lattice(shape).view(-1, 2), rtol=0, atol=0)


def test_a_field_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(12, 3\) was asked for"):
        Image(picture(3, 4, 3)).evaluate(lambda x: torch.zeros(len(x), 1))


def test_scoring_leaves_no_graph_and_takes_inference_tensors() -> None:
    weight = torch.ones(2, 3, requires_grad=True)
    seen: list[bool] = []

    def predict(x: Tensor) -> Tensor:
        y = x @ weight
        seen.append(y.requires_grad)
        return y

    image = Image(picture(4, 5, 3, "float32"))
    image.evaluate(predict)
    assert seen == [False]
    assert image.evaluate(torch.inference_mode()(predict)) == image.evaluate(predict)
