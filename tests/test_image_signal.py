"""The picture as a signal: what it takes, what it says of itself, what it samples (how it judges: test_image_score)."""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import STEPS, lookup, picture
from PIL import Image as Pil

from neufield.core.errors import DataError
from neufield.formats.pixels import ImageFacts
from neufield.signals.image import Image, render


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_centers_are_pixels_with_their_values(dtype: str, channels: int) -> None:
    values = picture(7, 11, channels, dtype)
    batch = Image(values).sample(50, generator())
    assert batch.x.dtype == batch.target.dtype == torch.float32
    place = batch.x.double() * torch.tensor([7, 11]) - 0.5
    index = place.round().long()
    torch.testing.assert_close(place, index.double(), atol=1e-5, rtol=0)
    expected = values[index[:, 0], index[:, 1]].astype(np.float32) / np.float32(STEPS[dtype])
    np.testing.assert_array_equal(batch.target.numpy(), expected)


def drawn(image: Image, n: int, steps: range, seed: int = 0) -> torch.Tensor:
    """Flat pixel numbers (steps, n) that the steps take."""
    random = generator(seed)
    places = [image.sample(n, random, step).x.double() * torch.tensor(image.shape) for step in steps]
    return torch.stack([place.long()[:, 0] * image.shape[1] + place.long()[:, 1] for place in places])


def test_a_round_of_steps_takes_every_pixel_once() -> None:
    image = Image(picture(6, 10, 1, "uint8"))
    for turn in range(3):
        rows = drawn(image, 20, range(3 * turn, 3 * turn + 3))
        assert sorted(rows.flatten().tolist()) == list(range(60))
        assert torch.equal(rows // 3, torch.arange(20).expand(3, 20)), "one of each run of three"


def test_rounds_differ_and_so_do_seeds() -> None:
    image = Image(picture(6, 10, 1, "uint8"))
    first = drawn(image, 20, range(3))
    assert not torch.equal(first, drawn(image, 20, range(3, 6)))
    assert not torch.equal(first, drawn(image, 20, range(3), seed=1))
    assert torch.equal(first, drawn(image, 20, range(3)))


def test_runs_of_unequal_length_are_covered_in_a_round() -> None:
    image = Image(picture(7, 11, 1, "uint8"))  # 77 pixels in 30 runs of two or three
    rows = drawn(image, 30, range(3))
    assert sorted(set(rows.flatten().tolist())) == list(range(77))


def test_a_batch_as_large_as_the_picture_is_the_picture() -> None:
    values = picture(7, 11, 3, "uint8")
    for n in (77, 5000):
        batch = Image(values).sample(n, generator())
        np.testing.assert_array_equal(batch.target.numpy(), values.reshape(77, 3).astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("sampling", ["centers", "continuous"])
def test_samples_depend_on_the_generator_alone(sampling: str) -> None:
    image = Image(picture(50, 60, 3), sampling)
    torch.manual_seed(1)
    first = image.sample(100, generator(5))
    torch.manual_seed(2)
    second, third = image.sample(100, generator(5)), image.sample(100, generator(6))
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.target, second.target)
    assert not torch.equal(first.x, third.x)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_continuous_targets_are_bilinear_and_clamped(dtype: str) -> None:
    values = picture(5, 8, 3, dtype)
    batch = Image(values, "continuous").sample(4000, generator())
    table = values.astype(np.float64) / STEPS[dtype]
    table = np.pad(table, ((1, 1), (1, 1), (0, 0)), mode="edge")  # clamping is the same as repeating the border
    place = batch.x.double().numpy() * [5, 8] + 0.5
    corner = np.floor(place).astype(int)
    down, right = (place - corner)[:, :1], (place - corner)[:, 1:]
    row, column = corner.T
    above = table[row, column] * (1 - right) + table[row, column + 1] * right
    below = table[row + 1, column] * (1 - right) + table[row + 1, column + 1] * right
    np.testing.assert_allclose(batch.target.numpy(), above * (1 - down) + below * down, atol=3e-6)
    assert batch.x.min() < 0.01
    assert batch.x.max() > 0.99


def test_continuous_targets_of_a_constant_picture_are_constant() -> None:
    values = np.full((6, 9, 3), 201, dtype=np.uint8)
    target = Image(values, "continuous").sample(1000, generator()).target
    assert torch.equal(target, torch.full((1000, 3), 201 / 255))


def test_sampling_is_fast_enough_to_be_noise_in_a_step() -> None:
    """Processor time of one thread, which neighbors on the machine do not stretch; 3 ms were measured."""
    image = Image(picture(1000, 1500, 3))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    try:
        for seed in range(10):
            start = time.thread_time()
            image.sample(65_536, generator(seed))
            seconds.append(time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    assert min(seconds) < 0.02, f"a batch takes {min(seconds) * 1000:.1f} ms"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_lattice_in_its_own_shape_is_exact(dtype: str) -> None:
    values = picture(9, 4, 3, dtype)
    expected = values.astype(np.float32) / np.float32(STEPS[dtype])
    np.testing.assert_array_equal(Image(values).lattice((9, 4)).numpy(), expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_lattice_averages_when_it_shrinks(axis: int) -> None:
    stripes = np.zeros((64, 64, 1), dtype=np.uint8)
    stripes.swapaxes(0, axis)[::4] = 255
    small = Image(stripes).lattice((16, 16))
    assert small.shape == (16, 16, 1)
    inner = small.transpose(0, axis)[2:-2]  # plain bilinear sampling, between stripes, would give 0
    torch.testing.assert_close(inner, torch.full((12, 16, 1), 0.25), atol=0.01, rtol=0)


def test_lattice_keeps_places_and_does_not_depend_on_bands() -> None:
    ramp = np.linspace(0, 1, 300, dtype=np.float32)[:, None, None] * np.ones((1, 500, 1), dtype=np.float32)
    image = Image(ramp)
    small = image.lattice((60, 50))
    torch.testing.assert_close(small[2:-2, 10, 0], torch.linspace(2 / 299, 297 / 299, 60)[2:-2], atol=1e-5, rtol=0)
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(ramp).permute(2, 0, 1)[None], (60, 50), mode="bilinear", antialias=True
    )
    torch.testing.assert_close(small, whole[0].permute(1, 2, 0), atol=1e-5, rtol=0)
    assert image.lattice((400, 3)).shape == (400, 3, 1)


@pytest.mark.parametrize(
    ("values", "dtype", "transfer", "peak"),
    [
        (picture(2, 3, 3), "uint8", "srgb", 1.0),
        (picture(2, 3, 1, "uint16"), "uint16", "srgb", 1.0),
        (picture(2, 3, 3, "float32"), "float32", "linear", 1.0),
        (np.array([[0.0, 274.0]], dtype=np.float32), "float32", "linear", 274.0),
        (np.array([[-0.5, 0.25]], dtype=np.float64), "float32", "linear", 0.25),
        (np.array([[-3.0, -1.0]], dtype=np.float16), "float32", "linear", 3.0),
    ],
)
def test_facts_are_plain_and_survive_json(values: np.ndarray, dtype: str, transfer: str, peak: float) -> None:
    image = Image(values)
    expected = ImageFacts(*values.shape[:2], 1 if values.ndim == 2 else values.shape[2], dtype, transfer, peak)
    assert image.facts == expected
    assert ImageFacts(**json.loads(json.dumps(dataclasses.asdict(image.facts)))) == expected


def test_a_file_and_its_description(tmp_path: Path) -> None:
    values = picture(12, 8, 3)
    Pil.fromarray(values).save(tmp_path / "photo.png")
    image = Image(str(tmp_path / "photo.png"))
    assert (image.name, image.shape, image.dim, image.channels) == ("photo.png", (12, 8), 2, 3)
    assert image.source_bytes == (tmp_path / "photo.png").stat().st_size
    assert image.notes == ()
    np.testing.assert_array_equal(render(lookup(values), image.facts), values)


def test_read_only_and_reversed_arrays_are_taken() -> None:
    values = picture(6, 5, 3, "uint16")
    frozen = values.copy()
    frozen.setflags(write=False)
    assert torch.equal(Image(frozen).lattice((6, 5)), Image(values).lattice((6, 5)))
    assert torch.equal(Image(values[::-1]).lattice((6, 5)), Image(values).lattice((6, 5)).flip(0))


@pytest.mark.parametrize(
    ("array", "pattern"),
    [
        (np.zeros((4, 4), dtype=np.int32), "int32"),
        (np.zeros((4, 4, 5), dtype=np.uint8), r"\(4, 4, 5\)"),
        (np.zeros((4,), dtype=np.uint8), r"\(4,\)"),
        (np.zeros((0, 4), dtype=np.uint8), "4 x 0 pixels"),
        (np.zeros((1, 1), dtype=np.uint8), "single pixel"),
        (np.array([[1.0, np.inf]]), "1 values that are NaN or infinite, the first at row 0, column 1, channel 0"),
    ],
)
def test_bad_arrays_are_refused(array: np.ndarray, pattern: str) -> None:
    with pytest.raises(DataError, match=pattern):
        Image(array)


def test_unknown_sampling_is_refused() -> None:
    with pytest.raises(ValueError, match="'centers', 'continuous'"):
        Image(picture(4, 4, 1), "corners")
