"""Spatially-adaptive progressive encoding: schedule, feedback, mask."""

import math
from collections.abc import Mapping

import pytest
import torch
from cases import seeded
from torch import Tensor

import neufield as nf
from neufield.core.cameras import Camera
from neufield.core.interfaces import Encoding
from neufield.core.lattice import lattice
from neufield.core.records import Batch, Event, StepContext
from neufield.encodings import (
    SAPE,
    Frequency,
    GaussianFourier,
    Grid,
    Progressive,
    RadialFourier,
    SphericalHarmonics,
)
from neufield.encodings.cells import box_blur, windows
from neufield.field_files import load, save
from neufield.fields import NeuralField
from neufield.fields.radiance import EncodedRadiance
from neufield.fitting import Photometric, start
from neufield.networks import MLP
from neufield.renderers import Box, Cameras, RadianceScene, StratifiedSampler
from neufield.signals import Array


class Channels(Encoding):
    """So many channels that are all 1, each finer than the last."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.out_dim = out_dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(*x.shape[:-1], self.out_dim)

    @property
    def frequencies(self) -> Tensor:
        return torch.arange(self.out_dim).float()


def opened_after_each_update(encoding: SAPE, steps: int, error: float = 1.0, last: int | None = None) -> dict[int, int]:
    """Steps at which something opened, and how many channels are open everywhere from then on."""
    x = torch.full((1, encoding.in_dim), 0.5)
    found: dict[int, int] = {}
    before = 1
    for step in range(1, (last or steps) + 1):
        # every cell gets the error; the cells about x alone would leave the others unvisited
        encoding.loss += error
        encoding.hits += 1
        encoding.on_step(Event(step, step / steps, x[:0], torch.zeros(0)))
        if int(encoding.reached) != before:
            before = int(encoding.reached)
            ones = encoding.mask(x)[0]
            assert torch.equal(ones > 0.5, torch.arange(encoding.out_dim) < (ones > 0.5).sum())
            found[step] = int((ones > 0.5).sum())
    return found


def test_one_channel_at_a_time_in_one_dimension() -> None:
    encoding = SAPE(Channels(1, 9), resolution=12)
    assert encoding.blocks.windows == 8
    assert encoding.mask(torch.rand(3, 1)).sum(1).tolist() == pytest.approx([1, 1, 1])
    found = opened_after_each_update(encoding, 160)
    assert found == {10 * j: 1 + j for j in range(1, 9)}  # nothing at the ninth window


@pytest.mark.parametrize("n_blocks", [None, 256])
def test_two_channels_at_a_time_in_two_dimensions(n_blocks: int | None) -> None:
    found = opened_after_each_update(SAPE(Channels(2, 514), n_blocks, resolution=3), 5000, last=2500)
    assert found == {9 * j: 2 + 2 * j for j in range(1, 257)}
    assert max(found) == 2304


def test_the_remainder_opens_with_the_last_block() -> None:
    found = opened_after_each_update(SAPE(Channels(1, 513), 6, resolution=3), 10_000, last=5000)
    assert found == {833: 170, 1666: 255, 2499: 340, 3332: 425, 4165: 513}
    test_row = opened_after_each_update(SAPE(Channels(2, 258), 32, resolution=3), 1000, last=500)
    assert (len(test_row), max(test_row), list(test_row.values())[-2:]) == (31, 465, [248, 258])
    occupancy = SAPE(Channels(3, 515), resolution=3)
    assert (occupancy.blocks.size, occupancy.blocks.count - 1) == (3, 170)


def test_a_run_by_time_has_the_same_windows() -> None:
    encoding = SAPE(Channels(1, 9), resolution=12)
    seconds, found = 0.0, []
    for step in range(1, 200):
        seconds += 0.5 if step < 80 else 1.0  # the steps become slower, and the run has fewer
        before = int(encoding.reached)
        encoding.on_step(Event(step, seconds / 120, torch.rand(9, 1, generator=seeded(step)), torch.ones(9)))
        found += [seconds / 120] * (int(encoding.reached) - before)
    assert len(found) == 8
    assert found[-1] == pytest.approx(0.5, abs=1 / 16)  # whole windows, of a 16th each


def test_without_an_error_nothing_opens_and_above_the_threshold_everything_does() -> None:
    still = SAPE(Channels(1, 9), resolution=12, threshold=1e-5)
    assert set(opened_after_each_update(still, 160, error=0.0).values()) == {1}
    x = lattice((64, 64)).view(-1, 2)
    wide = SAPE(Channels(2, 20), resolution=32, threshold=1e-3)
    for step in range(1, 101):
        wide.on_step(Event(step, step / 100, x, torch.full((len(x),), 2e-3)))
    assert wide.opened.unique().tolist() == [10]


def test_the_latch_is_one_way() -> None:
    encoding = SAPE(Channels(1, 9), resolution=12, threshold=0.5)
    x = lattice((48,)).view(-1, 1)
    for step in range(1, 161):
        quiet = 30 < step <= 40
        encoding.on_step(Event(step, step / 160, x, torch.where((x[:, 0] < 0.5) & quiet, 0.0, 1.0)))
    assert encoding.opened[:4].tolist() == [4] * 4
    assert encoding.opened[-4:].tolist() == [9] * 4


def test_an_error_counts_as_its_weight_says() -> None:
    x = torch.full((2, 3), 0.5)
    heavy, light = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for weight, reached in [(heavy, 2), (light, 1), (None, 2)]:
        encoding = SAPE(Channels(3, 9), resolution=4, threshold=0.1)
        encoding.on_step(Event(1, 1 / 6, x, torch.tensor([1.0, 0.0]), weight))
        center = encoding.opened.view(4, 4, 4)[1:3, 1:3, 1:3]
        assert center.unique().tolist() == [reached]


def test_unvisited_cells_get_the_mean_of_their_neighbors() -> None:
    encoding = SAPE(Channels(2, 8), resolution=4)  # 16 cells, so a blur of 3
    encoding.loss.view(4, 4)[1, 1] = 9 * 8.0
    encoding.hits.view(4, 4)[1, 1] = 9.0
    filled = torch.zeros(4, 4)
    filled[:3, :3] = 1.0  # 8 / 8
    filled[1, 1] = 8.0
    # a corner's own copies are as unvisited as it is, so replicated padding adds nothing there
    torch.testing.assert_close(encoding._mean_loss(), box_blur(filled, 3).flatten())


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_mask_is_that_of_a_blurred_and_interpolated_grid(dim: int) -> None:
    """Against the grid of masks, spelled out, that the authors' code keeps."""
    encoding = SAPE(Frequency(dim, 3), resolution=5)
    encoding.opened = torch.randint(1, encoding.blocks.count + 1, (5**dim,), generator=seeded(), dtype=torch.int32)
    rows = (encoding.blocks.of_channels(encoding.frequencies) < encoding.opened[:, None]).float()
    width = 5 if 5**dim > 100 else 3
    blurred = torch.stack([box_blur(row.view([5] * dim), width).flatten() for row in rows.unbind(1)], dim=1)
    x = torch.rand(40, dim, generator=seeded(1))
    place = x * (5 - 2) + 0.5
    upper = torch.ceil(place + 1e-6)
    expected = torch.zeros(40, encoding.out_dim)
    for corner in range(2**dim):
        bits = torch.tensor([corner >> j & 1 for j in range(dim)])
        weight = torch.where(bits.bool(), place - upper + 1, upper - place).prod(1)
        at = (upper - 1 + bits).long()
        flat = (at * torch.tensor([5 ** (dim - 1 - j) for j in range(dim)])).sum(1)
        expected += weight[:, None] * blurred[flat]
    # sums of up to 216 products of float32 numbers below 1
    torch.testing.assert_close(encoding.mask(x), expected, rtol=0, atol=2e-6)


def test_the_weights_of_cells_sum_to_one_within_the_grid() -> None:
    x = torch.cat([torch.rand(500, 3, generator=seeded()), torch.zeros(1, 3), torch.ones(1, 3)])
    for width in (1, 3, 5):
        cells, weights = windows(x, 6, width)
        torch.testing.assert_close(weights.sum(1), torch.ones(502), rtol=0, atol=2e-6)
        assert (int(cells.min()), int(cells.max()) <= 215) == (0, True)


def test_override_is_the_plain_encoding_to_the_bit_and_an_open_mask_nearly() -> None:
    inner = RadialFourier(2, 16, generator=seeded())
    x = torch.rand(300, 2, generator=seeded(1))
    network = MLP(inner.out_dim, 1, 16, generator=seeded())
    plain = NeuralField(inner, network)(x)
    assert torch.equal(NeuralField(SAPE(inner, override=True), network)(x), plain)
    masked = SAPE(inner)
    masked.opened.fill_(masked.blocks.count)
    # 36 weights of 1/25 times a share of 1, each rounded; measured 5e-8 for the authors' way (calibration)
    torch.testing.assert_close(NeuralField(masked, network)(x), plain, rtol=1e-5, atol=1e-6)


def test_channels_open_by_frequency_whatever_their_order() -> None:
    gaussian = SAPE(GaussianFourier(2, 5, generator=seeded()), 5, resolution=3)  # sines first, then cosines
    order = gaussian.blocks.of_channels(gaussian.frequencies)
    assert torch.equal(order[:5], order[5:])
    assert order[:5].argsort().tolist() == gaussian.frequencies[:5].argsort().tolist()
    grid = Grid(2, n_levels=3, base_resolution=4, per_level_scale=1.5)
    assert SAPE(grid, 3).blocks.of_channels(grid.frequencies).tolist() == [0, 0, 1, 1, 2, 2]
    octaves = Frequency(2, 2)  # by dimension, then octave
    assert SAPE(octaves, 2).blocks.of_channels(octaves.frequencies).tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    radial = RadialFourier(1, 3, generator=seeded())
    assert SAPE(radial).blocks.of_channels(radial.frequencies).tolist() == list(range(7))


def test_radial_frequencies_are_half_normal_sorted_and_about_the_middle() -> None:
    encoding = RadialFourier(2, 4096, 7.0, generator=seeded())
    lengths = encoding.frequencies[2::2]
    assert torch.equal(lengths, lengths.sort().values)
    # sqrt(2 / pi) = 0.798, of deviation 0.603 / 64; Rayleigh's would be 1.253
    assert float(lengths.mean() / 7.0) == pytest.approx(math.sqrt(2 / math.pi), abs=4 * 0.603 / 64)
    middle = encoding(torch.tensor([0.5, 0.5]))
    assert torch.equal(middle, torch.tensor([0.0, 0.0] + [0.0, 1.0] * 4096))
    x = torch.rand(7, 2, generator=seeded(1))
    phase = 2 * torch.pi * (x - 0.5) @ encoding.matrix[9]
    torch.testing.assert_close(encoding(x)[:, 20], phase.sin(), rtol=0, atol=1e-4)  # phases of order 100


def test_the_mask_varies_over_the_chosen_axes_alone() -> None:
    encoding = SAPE(Frequency(3, 2), resolution=8, axes=[1], threshold=0.5)
    x = torch.rand(500, 3, generator=seeded())
    for step in range(1, 9):
        encoding.on_step(Event(step, step / 12, x, x[:, 1]))
    a, b = torch.tensor([0.1, 0.3, 0.9]), torch.tensor([0.8, 0.3, 0.2])
    assert torch.equal(encoding.mask(a), encoding.mask(b))
    assert encoding.mask(torch.tensor([0.1, 0.95, 0.9])).sum() > encoding.mask(a).sum()


def test_the_global_variant_rises_and_stops_for_good() -> None:
    encoding = Progressive(Channels(1, 5), threshold=0.1)  # nb 4; windows of 0.75 * 80 / 4 = 15 steps
    x = torch.rand(4, 1)
    masks: Mapping[int, list[float]] = {}
    for step in range(1, 41):
        error = torch.full((4,), 1.0 if step < 33 else 0.05)
        encoding.on_step(Event(step, step / 80, x, error))
        masks = {**masks, step: encoding.mask().tolist()}
    assert masks[3] == pytest.approx([1, 0.4, 0, 0, 0])
    assert masks[8][:3] == [1, 1, 0]
    assert masks[15] == [1, 1, 0, 0, 0]
    assert masks[18] == pytest.approx([1, 1, 0.4, 0, 0])
    assert masks[40] == masks[33] == pytest.approx([1, 1, 1, 2 * 3 / 15, 0])
    assert torch.equal(Progressive(Channels(1, 5), override=True)(x), torch.ones(4, 5))


def test_a_run_goes_on_from_its_state_to_the_same_bits(tmp_path) -> None:
    signal = Array((lattice((400,)) > 0.5) * (20 * lattice((400,))).sin())

    def field() -> NeuralField:
        encoding = SAPE(RadialFourier(1, 8, 4.0, generator=seeded()), resolution=12, threshold=0.1)
        return NeuralField(encoding, MLP(17, 1, 16, generator=seeded()), nf.Recipe(steps=60, batch_size=100))

    class StoppedError(Exception):
        pass

    def stop(state) -> None:
        if state.step == 29:  # within a window
            raise StoppedError

    whole = field()
    nf.fit(whole, signal)
    first = field()
    state = start(first, first.recipe)
    with pytest.raises(StoppedError):
        nf.fit(first, signal, state=state, hooks=[stop])
    second = field()
    resumed = start(second, second.recipe)
    resumed.restore(state.tensors(), state.facts())
    nf.fit(second, signal, state=resumed)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert len(whole.encoding.opened.unique()) > 1
    save(second, tmp_path / "field.safetensors")
    x = torch.rand(20, 1)
    assert torch.equal(load(tmp_path / "field.safetensors")(x), second(x))


def test_in_a_radiance_field_errors_count_by_the_samples_share_of_light(generator: torch.Generator) -> None:
    encoding = SAPE(Frequency(3, 2), 6, resolution=6, threshold=1e-9)
    told: list[Event] = []
    encoding.encoding.on_step = told.append  # type: ignore[method-assign]
    network = MLP(encoding.out_dim, 4, 8, 1, generator=generator)
    color = MLP(8, 3, 8, 1, output_activation="sigmoid", generator=generator)
    radiance = EncodedRadiance(encoding, network, SphericalHarmonics(2), color, recipe=nf.Recipe(steps=6))
    box = Box([-1, -1, -1], [1, 1, 1])
    camera = Camera(torch.eye(4).double(), 4, 4, 4.0, 4.0, 2.0, 2.0)
    camera.to_world[2, 3] = 2.0
    model = RadianceScene(radiance, Cameras.of([camera]), box, StratifiedSampler(box, 8))
    batch = Batch(torch.tensor([[0.0, 1.5, 1.5], [0.0, 2.5, 2.5]]), torch.rand(2, 4, generator=generator))
    evaluation = Photometric()(model, batch, StepContext(0, 0.0, generator))
    model.on_step(Event(1, 1 / 60, evaluation.x, evaluation.error, evaluation.weight))
    (event,) = told
    assert event.weight.shape == event.error.shape == event.x.shape[:1]
    assert 0 < float(event.weight.max()) < 1
    # each sample's two by two by two corners share its weight
    torch.testing.assert_close(encoding.hits.sum(), event.weight.sum())
    torch.testing.assert_close(encoding.loss.sum(), (event.weight * event.error).sum())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_blocks": 0}, "n_blocks is 0"),
        ({"n_blocks": 9}, "8 channels make 1 to 8 blocks"),
        ({"resolution": 2}, "in 2-D it must be 3 to 4096"),
        ({"resolution": 5000}, "in 2-D it must be 3 to 4096"),
        ({"threshold": -1.0}, "threshold is -1.0"),
        ({"axes": [2]}, "axes is"),
    ],
)
def test_a_mask_that_cannot_be_is_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SAPE(Frequency(2, 2), **options)
