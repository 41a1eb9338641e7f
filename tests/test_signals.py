"""What every source, evaluator and exporter owes: found by walking the classes, each made by a line of ``MADE``."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import seeded
from image_files import info_of, picture
from interface_cases import implementers
from torch import Tensor

import neufield as nf
from neufield.core.domain import Axis, Domain
from neufield.core.errors import ArgumentError, ConfigError, DataError
from neufield.core.interfaces import Evaluator, Exporter, Resampled, Source
from neufield.core.metrics import Metrics
from neufield.core.recipe import Recipe
from neufield.core.records import Batch
from neufield.encodings import Frequency
from neufield.field_files import load_facts, load_signal
from neufield.fields import NeuralField
from neufield.metrics import LPIPS, PSNR, describe
from neufield.networks import MLP
from neufield.signals.array import Array
from neufield.signals.exporters import ImageExporter, LatticeExporter, exporter_of
from neufield.signals.image import Image
from neufield.signals.lattice import Lattice
from neufield.signals.posed_images import PosedImages
from neufield.signals.ray_store import RayStore
from neufield.signals.sampled_views import Renderings, SampledViews
from neufield.signals.teacher import Teacher

RATE = 1000  # samples a second


def sound(n: int = 400) -> Array:
    """A tone of 5 Hz in stereo, from a second after the hour on."""
    time = Domain((Axis("time", 1.0, 1.0 + n / RATE, "s", cells=n),))
    wave = torch.sin(2 * torch.pi * 5 * torch.arange(n) / RATE)
    return Array(torch.stack([wave, -wave], dim=1), peak=1.0, domain=time, name="tone")


MADE: dict[type, Callable[[], object]] = {
    Array: sound,
    Image: lambda: Image(picture(6, 8, 3)),
    ImageExporter: lambda: ImageExporter(info_of((6, 8), 3)),
    Lattice: lambda: Lattice(picture(5, 4, 4).reshape(5, 4, 2, 2)),
    LatticeExporter: lambda: LatticeExporter(sound().info),
    PosedImages: lambda: PosedImages(
        [torch.tensor([i, i, i, 255], dtype=torch.uint8).expand(4, 5, 4) for i in (90, 140)]
    ),
    Teacher: lambda: Teacher(NeuralField(Frequency(2, 2), MLP(8, 3, 4, 1, generator=seeded()))),
}
# Of a folder or of a teacher's views: test_ray_store and test_distill make them, and ask the same of them.
ELSEWHERE = {RayStore, SampledViews, Renderings}
SUFFIX = {"image": ".png", "lattice": ".npz"}


def every(joint: type) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", [k for k in MADE if issubclass(k, joint)], ids=lambda kind: kind.__name__)


def half(channels: int) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.full((len(x), channels), 0.5)


def channels_of(made: object) -> int:
    return 3 if isinstance(made, PosedImages) else made.channels


@every(Source)
def test_a_source_gives_rows_that_seed_and_step_decide(kind: type) -> None:
    source = MADE[kind]()
    batch = source.sample(7, seeded(3), 2)
    assert len(batch) == 7
    assert {len(rows) for rows in batch.tensors().values()} == {7}
    assert torch.equal(source.sample(7, seeded(3), 2).x, batch.x)
    assert not torch.equal(source.sample(7, seeded(4), 2).x, batch.x)
    assert len(source.sample(10**4, seeded())) in (10**4, *(np.prod(shape) for shape in [getattr(source, "shape", ())]))


@every(Evaluator)
def test_an_evaluator_finds_its_headline_and_the_better_field_better(kind: type) -> None:
    evaluator = MADE[kind]()
    before = torch.get_rng_state()
    worse = evaluator.evaluate(lambda x: half(channels_of(evaluator))(x) + 5)
    better = evaluator.evaluate(half(channels_of(evaluator)), limit=10)
    assert torch.equal(torch.get_rng_state(), before)
    assert better.headline == worse.headline == evaluator.headline
    assert worse.headline.reaches(better.value, worse.value)
    assert not worse.headline.reaches(worse.value, better.value)
    assert worse.headline.title in describe(worse.values)


@every(Exporter)
def test_an_exporter_writes_a_file_and_shows_a_picture(kind: type, tmp_path: Path) -> None:
    exporter = MADE[kind]()
    info = exporter.info if hasattr(exporter, "info") else info_of((6, 8), 3)
    path = tmp_path / f"field{SUFFIX[info.kind]}"
    exporter.write(path, half(info.channels))
    assert path.stat().st_size > 50
    shown = exporter.preview(half(info.channels))
    assert (shown.dtype, shown.ndim, shown.shape[2]) == (np.uint8, 3, 3)


@every(Resampled)
def test_a_constant_stays_one_on_any_lattice(kind: type) -> None:
    made = MADE[kind]()
    flat = Lattice(np.full(made.values.shape, 7, made.values.dtype), made.domain)
    coarse = flat.lattice([3] * made.dim)
    assert coarse.shape == (*[3] * made.dim, made.channels)
    torch.testing.assert_close(coarse, torch.full_like(coarse, float(flat.lattice(flat.shape).mean())))
    with pytest.raises(ValueError, match="numbers of cells above 0"):
        made.lattice([3] * (made.dim + 1))


def test_every_implementer_is_made() -> None:
    without = set.union(*map(implementers, (Source, Evaluator, Exporter, Resampled))) - MADE.keys() - ELSEWHERE
    assert not without, f"add a line to MADE for each of {without}"


def test_a_new_kind_of_signal_is_fitted_judged_saved_and_written_in_its_own_units(tmp_path: Path) -> None:
    tone = sound()
    field = NeuralField(Frequency(1, 4), MLP(8, 2, 16), Recipe(steps=60, lr=1e-2, batch_size=256))
    state = nf.fit(field, tone, target=10.0, evaluate_every=20)
    assert state.stopped == "target"
    found = tone.evaluate(field)
    assert (found.unit, found.higher_is_better) == ("dB", True)
    assert found.value > 10
    nf.save(field, tmp_path / "tone.safetensors", signal=tone.info)
    info = load_signal(tmp_path / "tone.safetensors")
    assert info == tone.info
    exporter_of(info).write(tmp_path / "again.npz", nf.load(tmp_path / "tone.safetensors"), (200,))
    with np.load(tmp_path / "again.npz") as written:
        np.testing.assert_allclose(written["time"], 1 + (np.arange(200) + 0.5) * 2 / RATE)
        assert written["values"].shape == (200, 2)
    with pytest.raises(ConfigError, match=r"written as .npy or .npz"):
        exporter_of(info).write(tmp_path / "again.wav", field)


class Slope(Source):
    """Knows how a line rises, not what it is: no targets, another column."""

    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        return Batch(torch.rand(n, 1, generator=generator), extras={"slope": torch.full((n, 1), 2.0)})


def test_a_source_alone_trains_and_nobody_judges() -> None:
    field = NeuralField(Frequency(1, 2), MLP(4, 1, 8), Recipe(steps=3, batch_size=8))
    with pytest.raises(ConfigError, match="nobody says how good the field is"):
        nf.fit(field, Slope(), target=3.0)
    with pytest.raises(ArgumentError, match="the batch has x, slope, but the objective needs its target"):
        nf.fit(field, Slope())
    judged = nf.fit(field, sound_of_one_channel(), evaluator=sound_of_one_channel())
    assert PSNR.name in judged.history[-1]


def sound_of_one_channel() -> Array:
    return Array(torch.rand(16, 1, generator=seeded()))


def test_a_batch_is_handled_as_a_whole() -> None:
    batch = Batch(torch.rand(6, 2), torch.rand(6, 3), torch.rand(6), {"seen": torch.arange(6)})
    part = batch[torch.tensor([4, 1])]
    assert len(part) == 2
    assert torch.equal(part.needed("seen"), torch.tensor([4, 1]))
    assert torch.equal(part.x, batch.x[[4, 1]])
    moved = batch.to(dtype=torch.float64)
    assert moved.needed("weight").dtype == torch.float64
    assert moved.needed("seen").dtype == torch.int64, "only what is floating-point"
    assert Batch(batch.x)[:2].target is None


def test_a_domain_leads_to_the_unit_box_and_back() -> None:
    domain = Domain((Axis("x", -1.0, 3.0, "mm", cells=8), Axis("y", 2.0, 4.0, "mm", cells=4)))
    corners = torch.tensor([[-1.0, 2.0], [3.0, 4.0], [1.0, 3.0]])
    torch.testing.assert_close(domain.to_unit(corners), torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]]))
    torch.testing.assert_close(domain.from_unit(domain.to_unit(corners)), corners)
    assert domain.spacing() == (0.5, 0.5)
    assert domain.spacing((4, 1)) == (1.0, 2.0)
    one_scale = Domain(domain.axes, isotropic=True)
    torch.testing.assert_close(one_scale.to_unit(corners)[:, 1], torch.tensor([0.25, 0.75, 0.5]))
    torch.testing.assert_close(one_scale.from_unit(one_scale.to_unit(corners)), corners)
    with pytest.raises(DataError, match="axes of one unit"):
        Domain((Axis("x", 0, 1, "mm"), Axis("t", 0, 1, "s")), isotropic=True)
    with pytest.raises(DataError, match="from a finite number to a larger one"):
        Axis("x", 1.0, 1.0)


def test_a_periodic_axis_has_no_border() -> None:
    values = np.array([[0.0], [1.0], [2.0], [3.0]], dtype=np.float32)
    angle = Domain((Axis("angle", 0.0, 360.0, "degrees", periodic=True, cells=4),))
    batch = Lattice(values, angle, sampling="continuous").sample(2000, seeded())
    ends = batch.x[:, 0] < 0.125
    torch.testing.assert_close(batch.target[ends, 0], 1.5 - 12 * batch.x[ends, 0], atol=1e-5, rtol=0)
    clamped = Lattice(values, sampling="continuous").sample(2000, seeded())
    assert torch.equal(clamped.target[ends, 0], torch.zeros(int(ends.sum())))


def test_lower_can_be_better() -> None:
    found = Metrics({"lpips": 0.25, "other": 3.0}, LPIPS)
    assert (found.value, found["other"], found.unit, found.higher_is_better) == (0.25, 3.0, "", False)
    assert LPIPS.reaches(0.2, 0.25)
    assert not LPIPS.reaches(float("nan"), 0.25)
    assert describe(found.values) == "LPIPS 0.2500"
    assert PSNR.text(None) == "inf dB", "null in a result file: of a perfect copy"
    with pytest.raises(ValueError, match="the headline is psnr; add it"):
        Metrics({"mse": 1.0}, PSNR)


def test_a_header_is_checked_when_it_is_read(tmp_path: Path) -> None:
    field = NeuralField(Frequency(1, 2), MLP(4, 1, 8))
    nf.save(field, tmp_path / "f.safetensors")
    assert "signal" not in load_facts(tmp_path / "f.safetensors")
    with pytest.raises(DataError, match="does not say what its field represents"):
        load_signal(tmp_path / "f.safetensors")
    entry = sound().info.to_json()
    nf.save(field, tmp_path / "g.safetensors", **{"signal ": entry})
    with pytest.raises(DataError, match="nobody writes a field of a signal of kind 'volume'"):
        exporter_of(info_of((4, 4), 1).__class__.from_json({**entry, "kind": "volume"}, "g"))
