"""FreSh: spectra, their distances, and the choice between fields before they are trained."""

import json
import math

import numpy as np
import pytest
import torch
from cases import seeded
from PIL import Image as Pillow
from torch import Tensor

import neufield as nf
from neufield.apps import cli
from neufield.apps.fresh import axis_from, default_axis
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError, DataError
from neufield.core.lattice import lattice
from neufield.encodings import Identity
from neufield.fields import NeuralField
from neufield.fitting import SPECTRA, FreSh, diagonal_spectrum, isotropic_spectrum, wasserstein
from neufield.fitting.spectrum import _index_sums, largest_size
from neufield.networks import Siren
from neufield.presets.fresh import Axis, draws
from neufield.signals import Array

N = 128


def wave(*index: int, n: int = N) -> Tensor:
    """cos(2 pi (a i + b j ...) / n), (n, n ..., 1), float64."""
    phase = torch.zeros(())
    for axis, a in enumerate(index):
        phase = phase + a * torch.arange(n).double().view([-1 if axis == j else 1 for j in range(len(index))])
    return (2 * torch.pi * phase / n).cos()[..., None]


def test_a_wave_is_one_spike_at_the_sum_of_its_indices() -> None:
    spectrum = diagonal_spectrum(wave(5, 3), 64)
    assert int(spectrum.argmax()) == 7
    assert float(spectrum[7]) == pytest.approx(N**2 / 2)
    spectrum[7] = 0
    assert float(spectrum.max()) < 1e-6 * N**2
    assert float(diagonal_spectrum(wave(2, 4, 3, n=16), 8).max()) < 1e-6  # 9 is beyond
    assert int(diagonal_spectrum(wave(2, 4, 1, n=16), 8).argmax()) == 6
    assert int(diagonal_spectrum(wave(7, n=40), 20).argmax()) == 6


@pytest.mark.parametrize("index", [(5, -3), (40, -20), (5, -5)])
def test_waves_that_run_the_other_way_are_not_seen_but_by_our_variant(index: tuple[int, int]) -> None:
    assert float(diagonal_spectrum(wave(*index), 64).max()) < 1e-6 * N**2
    assert int(isotropic_spectrum(wave(*index), 64).argmax()) == round(math.hypot(*index)) - 1


def test_one_of_each_two_mirrored_waves_counts() -> None:
    i = torch.arange(N)
    place = _index_sums([i[:, None], i[None]], N)
    assert int((place > 0).sum()) + 1 == 8194  # and (0, 0)
    terms = place.flatten().bincount()
    assert [int(terms[m]) for m in (1, 8, 64, 65, 128)] == [2, 9, 65, 64, 64]
    # published: i + j <= n - 1 without axis entries beyond n / 2, and i + j = n for i = 1 .. n / 2
    total = i[:, None] + i
    published = total <= N - 1
    published[0, N // 2 + 1 :] = published[N // 2 + 1 :, 0] = False
    published |= (total == N) & (i[:, None] >= 1) & (i[:, None] <= N // 2)
    published[0, 0] = False
    assert torch.equal(place > 0, published)
    j = torch.arange(6)
    cube = _index_sums([j[:, None, None], j[None, :, None], j[None, None]], 6)
    assert int((cube > 0).sum()) == (6**3 - 8) // 2 + 8 - 1  # 8 waves are their own mirror images, one is constant
    assert int(cube.max()) == largest_size(6, 3)


def test_distances_are_in_steps_of_m_and_know_neither_scale_nor_offset() -> None:
    near, far = diagonal_spectrum(wave(5, 3), 64), diagonal_spectrum(wave(13, 7), 64)
    assert float(wasserstein(near, far)) == pytest.approx(12, abs=1e-9)
    noise = torch.randn(N, N, 3, generator=seeded()).double()
    own = diagonal_spectrum(noise, 64)
    for same in (3 * noise, noise + 5, noise.roll((9, 4), (0, 1)), noise.transpose(0, 1)):
        assert float(wasserstein(own, diagonal_spectrum(same, 64))) == pytest.approx(0, abs=1e-9)
    assert float(wasserstein(own, diagonal_spectrum(noise.flip(1), 64))) > 0.01  # the blind quadrant: 0.09 calibrated


def sirens(*omegas: float, dim: int = 2) -> dict:
    def draw(omega: float):
        return lambda generator: NeuralField(Identity(dim), Siren(dim, 1, 32, 1, omega_0=omega, generator=generator))

    return {f"omega_0={omega:g}": draw(omega) for omega in omegas}


def test_a_seed_decides_and_the_order_of_candidates_does_not() -> None:
    signal = Array(wave(6, 5, n=32).float())
    one, two = FreSh(draws=2), FreSh(draws=2, seed=1)
    first = one.select(signal, (32, 32), sirens(5, 20, 60))
    again = one.select(signal, (32, 32), dict(reversed(sirens(5, 20, 60).items())))
    assert first.distances == again.distances
    assert first.chosen == again.chosen
    assert two.select(signal, (32, 32), sirens(5, 20, 60)).distances != first.distances
    alone = one.select(signal, (32, 32), sirens(20))
    assert alone.distances["omega_0=20"] == first.distances["omega_0=20"]


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("dim", "n"), [(1, 256), (2, 64), (3, 16)])
def test_what_a_field_of_one_omega_gave_is_nearest_to_its_own_kind(spectrum: str, dim: int, n: int) -> None:
    fresh = FreSh(draws=3, spectrum=SPECTRA[spectrum])
    candidates = sirens(5, 16 if dim == 3 else 64, dim=dim)
    for name, draw in candidates.items():
        with torch.no_grad():
            signal = Array(draw(seeded(7))(lattice([n] * dim)))  # another seed than that of the choice
        assert fresh.select(signal, [n] * dim, candidates).chosen == name


def sound(*cycles: float) -> Array:
    """Plucked strings of so many cycles in 4000 samples, each with three overtones, in stereo."""
    t = torch.arange(4000) / 4000
    notes = [torch.sin(2 * torch.pi * f * k * t) / k * (-5 * t).exp() for f in cycles for k in (1, 2, 3, 4)]
    left = torch.stack(notes).sum(0)
    return Array(torch.stack([left, 0.5 * left], dim=-1))


def film(cycles: int) -> Array:
    """Bars of so many cycles that move to the right, (time, height, width, RGB)."""
    time, row, column = lattice((20, 24, 32)).unbind(-1)
    bars = torch.sin(2 * torch.pi * (cycles * (row + column) + time))
    return Array(torch.stack([bars, 0.5 * bars, 0.2 + 0 * bars], dim=-1))


def volume(width: float) -> Array:
    """Balls of deviation ``width`` at random places of a box of 32^3 cells."""
    x, center = lattice((32, 32, 32)), torch.rand(12, 3, generator=seeded())
    return Array(torch.exp(-0.5 * ((x[..., None, :] - center) / width).square().sum(-1)).sum(-1, keepdim=True))


@pytest.mark.parametrize(
    ("dull", "bright", "omegas"),
    [
        (sound(6, 9), sound(130, 210), (10, 100, 1000)),
        (film(1), film(6), (3, 10, 30)),
        (volume(0.2), volume(0.03), (3, 10, 30)),
    ],
    ids=["sound", "film", "volume"],
)
def test_finer_sounds_films_and_volumes_want_higher_frequencies(dull: Array, bright: Array, omegas: tuple) -> None:
    fresh = FreSh(draws=5)
    candidates = sirens(*omegas, dim=dull.dim)
    chosen = [fresh.select(signal, signal.shape, candidates).chosen for signal in (dull, bright)]
    assert list(candidates).index(chosen[0]) < list(candidates).index(chosen[1])


def test_the_default_band_and_lattice_follow_the_signal() -> None:
    sizes = {shape: len(FreSh().of_signal(Array(noise(*shape)), shape)) for shape in [(300, 512), (64, 80), (40, 9, 9)]}
    assert sizes == {(300, 512): 64, (64, 80): 32, (40, 9, 9): 4}
    assert len(FreSh().of_signal(Array(noise(5000)), (5000,))) == 2500
    spectra = FreSh(draws=1, points=48**2).of_candidates((300, 512), sirens(30))
    assert spectra["omega_0=30"].shape == (1, 24)
    with pytest.raises(ConfigError, match=r"size is 200.*has 40; give a smaller size"):
        FreSh(size=200).of_signal(Array(noise(40, 50)), (40, 50))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, 1, generator=seeded())


def test_what_cannot_be_compared_is_told() -> None:
    with pytest.raises(DataError, match="constant"):
        FreSh().select(Array(torch.full((8, 8, 1), 0.3)), (8, 8), sirens(5))
    with pytest.raises(ConfigError, match="at least one candidate"):
        FreSh().select(Array(noise(8, 8)), (8, 8), {})

    def flat(generator: torch.Generator) -> NeuralField:
        field = sirens(1)["omega_0=1"](generator)
        torch.nn.init.zeros_(field.network.layers[-1].weight)
        return field

    signal = Array(noise(8, 8))
    assert FreSh(draws=1).select(signal, (8, 8), {"flat": flat, **sirens(5)}).chosen == "omega_0=5"
    with pytest.raises(DataError, match="no candidate's field varies"):
        FreSh(draws=1).select(signal, (8, 8), {"flat": flat})


def test_any_argument_can_be_an_axis() -> None:
    assert axis_from("network.omega_0=10:30:10").values == [10, 20, 30]
    assert axis_from("encoding.sigma=1,2.5").values == [1, 2.5]
    assert list(axis_from("network.width=8,16").candidates()) == ["network.width=8", "network.width=16"]
    for text in ("network.omega_0", "a=", "a=1,b", "a=1:2", "a=3:1:1", "a=1:3:0", "=1"):
        with pytest.raises(ConfigError, match="must look like"):
            axis_from(text)
    axis = Axis("encoding.encoding.sigma", [1.0, 2.0], [Edit("encoding.override", True)])
    heard: list = []
    list(draws(axis, lambda edits, _: heard.append([str(edit) for edit in edits])).values())[1](seeded())
    assert heard == [["encoding.override=true", "encoding.encoding.sigma=2"]]


@pytest.mark.parametrize("name", [name for name in nf.presets.names() if nf.presets.find(name).fresh])
def test_the_default_axis_is_an_argument_of_its_preset(name: str) -> None:
    field = nf.presets.find(name)(nf.presets.SignalFacts(2, 3, (30, 40), 1000), seeded())
    axis = default_axis(name)
    edits = list(axis.candidates().values())
    assert len(edits) >= 20
    nf.presets.customize(field, [*axis.measured, edits[0]], seeded())


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "checks.png"
    y, x = np.mgrid[0:40, 0:56]
    values = 127 + 100 * np.sin(x * 1.1) * np.sin(y * 0.9)
    Pillow.fromarray(values.astype(np.uint8)).save(path)
    return path


_SMALL = ["--preset", "siren", "--steps", "2", "--set", "network.width=8", "network.n_hidden_layers=1"]


def fit(*arguments: object) -> None:
    cli.main(["fit", *(str(argument) for argument in arguments)])


def test_a_fit_chooses_says_so_and_is_the_fit_that_set_would_give(picture, tmp_path, capsys) -> None:
    fit(picture, "--out", tmp_path / "a", "--fresh", *_SMALL)
    said = capsys.readouterr().out
    fresh = json.loads((tmp_path / "a" / "result.json").read_text())["fresh"]
    assert len(fresh["distances"]) == 20
    assert fresh["distances"][fresh["chosen"]] == min(fresh["distances"].values())
    assert f"FreSh took {fresh['chosen']}" in said
    fit(picture, "--out", tmp_path / "b", *_SMALL, "--set", fresh["chosen"])
    assert (tmp_path / "a" / "field.safetensors").read_bytes() == (tmp_path / "b" / "field.safetensors").read_bytes()
    fit(picture, "--out", tmp_path / "a", "--fresh", *_SMALL, "--resume")
    assert "after 2 steps" in capsys.readouterr().out
    own = ["--fresh-over", "network.hidden_omega=5,50", "--fresh-spectrum", "isotropic"]
    fit(picture, "--out", tmp_path / "c", *_SMALL, *own)
    chosen = json.loads((tmp_path / "c" / "result.json").read_text())["fresh"]["chosen"]
    assert nf.load(tmp_path / "c" / "field.safetensors").network.hidden_omega == float(chosen.partition("=")[2])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--fresh"], "no candidates of its own for the preset 'ngp', only for"),
        (["--fresh", "--preset", "siren", "--set", "network.omega_0=5"], "both choose it"),
        (["--fresh-over", "network.omega=1,2", "--preset", "siren"], "no 'omega' here"),
        (["--fresh-over", "network.omega_0=1,-2", "--preset", "siren"], "omega_0 is -2"),
        (["--fresh-over", "network.omega_0"], "must look like"),
    ],
)
def test_bad_candidates_are_one_sentence_before_anything_is_written(options, sentence, picture, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        fit(picture, "--out", tmp_path / "run", *options)
    assert exit_.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
