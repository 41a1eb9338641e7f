"""Names and papers -> wired fields."""

import pytest
import torch
from image_files import info_of

import neufield as nf
from neufield import presets
from neufield.core.errors import ConfigError
from neufield.presets import SignalFacts


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_fits_the_signal_it_is_made_for(name, generator):
    field = presets.preset(name)(SignalFacts(2, 4, (30, 40), 50_000), generator)
    assert field(torch.rand(5, 2)).shape == (5, 4)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_seed_decides_a_preset_s_weights(name):
    facts = SignalFacts(2, 3, (30, 40), 50_000)
    first, second = (presets.preset(name)(facts, torch.Generator().manual_seed(5)) for _ in range(2))
    for (key, a), (_, b) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize(
    ("shape", "finest", "log2_hashmap_size"),
    [((512, 768), 768, 19), ((64, 64), 64, 14), ((3500, 4000), 4000, 20), ((20, 20), 20, 14)],
)
def test_ngp_follows_the_lattice(shape, finest, log2_hashmap_size):
    encoding = presets.ngp(shape=shape).encoding
    # exp and log in float32 decide the last vertex
    assert encoding.spec.levels[-1].resolution == pytest.approx(finest, abs=1)
    assert encoding.log2_hashmap_size == log2_hashmap_size


@pytest.mark.parametrize(
    ("shape", "channels", "source_bytes"),
    [((512, 768), 3, 502_888), ((768, 512), 3, 788_470), ((64, 64), 3, 12_000), ((100, 100), 1, 10_000)],
)
@pytest.mark.parametrize("atoms", [16, 64])
def test_compact_stays_within_the_bytes(shape, channels, source_bytes, atoms, tmp_path):
    field = presets.compact(shape, channels, source_bytes, atoms)
    nf.save(field, tmp_path / "field.safetensors", signal=info_of(shape, channels, name="a picture of some name.png"))
    size = (tmp_path / "field.safetensors").stat().st_size
    assert size <= source_bytes
    if source_bytes > 100_000:
        assert size > 0.95 * source_bytes


def test_compact_resolves_no_finer_than_the_pixels():
    field = presets.compact((512, 768), 3, 700_000)
    cosine = field.encoding.encodings[1]
    for i, j in cosine.orders:
        assert i * cosine.scale <= 512
        assert j * cosine.scale <= 768


def test_customise_rewires_the_network_to_the_encoding(generator):
    field = presets.customise(presets.ngp(), ["encoding.n_levels=3", "network.width=16"], generator)
    assert field.network.in_dim == field.encoding.out_dim == 6
    assert field.network.width == 16
    other = presets.customise(presets.ngp(), ["encoding.type=Frequency", "encoding.n_frequencies=4"], generator)
    assert other.encoding.out_dim == other.network.in_dim == 16


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no preset 'sirn'; did you mean 'siren'\?"):
        presets.preset("sirn")


def test_growth_leads_from_coarsest_to_finest():
    assert 16 * presets.growth(16, 2048, 16) ** 15 == pytest.approx(2048)
    assert presets.growth(16, 8, 16) == 1.0
