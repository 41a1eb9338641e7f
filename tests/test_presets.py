"""Names and papers -> wired fields."""

import re
from pathlib import Path

import pytest
import torch
from ball import write_ball
from image_files import info_of

import neufield as nf
from neufield import presets
from neufield.apps import cli
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError
from neufield.presets import RadianceFacts, SignalFacts, registry
from neufield.presets.baselines import growth


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_fits_the_signal_it_is_made_for(name, generator):
    field = presets.find(name)(SignalFacts(2, 4, (30, 40), 50_000), generator)
    assert field(torch.rand(5, 2)).shape == (5, 4)


@pytest.mark.parametrize("name", presets.names())
def test_a_seed_decides_a_preset_s_weights(name):
    facts = SignalFacts(2, 3, (30, 40), 50_000)
    first, second = (presets.find(name)(facts, torch.Generator().manual_seed(5)) for _ in range(2))
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


def test_customize_rewires_the_network_to_the_encoding(generator):
    field = presets.customize(presets.ngp(), [Edit("encoding.n_levels", 3), Edit("network.width", 16)], generator)
    assert field.network.in_dim == field.encoding.out_dim == 6
    assert field.network.width == 16
    other = presets.customize(
        presets.ngp(), [Edit("encoding.type", "Frequency"), Edit("encoding.n_frequencies", 4)], generator
    )
    assert other.encoding.out_dim == other.network.in_dim == 16


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no preset 'sirn'; did you mean 'siren'\?"):
        presets.find("sirn")


def test_growth_leads_from_coarsest_to_finest():
    assert 16 * growth(16, 2048, 16) ** 15 == pytest.approx(2048)
    assert growth(16, 8, 16) == 1.0


@pytest.mark.parametrize(("kind", "room"), [("signal", presets), ("radiance", presets.radiance)])
def test_a_registered_function_is_its_room_s(kind, room):
    assert len(presets.names(kind)) == len(set(presets.names(kind))) > 5
    for name in presets.names(kind):
        make = presets.find(name, kind).make
        assert getattr(room, make.__name__) is make  # as it was written: mypy and help() see its signature
        assert make.__doc__


def test_a_preset_of_one_s_own_is_written_into_the_register_once(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTER", dict(registry._REGISTER))  # what a test registers is forgotten

    @presets.preset("mine", sizes=[])
    def mine(dim, out_dim, generator=None):
        return presets.siren(dim, out_dim, omega_0=5.0, generator=generator)

    assert presets.names()[-1] == "mine"
    assert presets.find("mine")(SignalFacts(2, 3, (8, 8), 1)).network.omega_0 == 5.0
    assert presets.preset("mine")(mine) is mine
    with pytest.raises(ConfigError, match=r"there is a signal preset 'mine' already, of test_presets; rename yours"):
        presets.preset("mine")(presets.siren)
    presets.preset("mine", "radiance")(presets.radiance.ngp)  # another kind
    with pytest.raises(ConfigError, match=r"no radiance preset 'min'; did you mean 'mine'\?"):
        presets.find("min", "radiance")


def test_a_radiance_preset_gets_of_the_facts_what_it_has_a_name_for():
    ngp, nerf = presets.find("ngp", "radiance"), presets.find("nerf", "radiance")
    assert ngp(RadianceFacts(32, code_dim=3)).code_dim == 3
    assert ngp(RadianceFacts()).encoding.n_levels == presets.radiance.ngp().encoding.n_levels
    assert not nerf.takes("code_dim")
    assert (ngp.by_images, nerf.by_images) == (True, False)


def listed(text: str) -> set[str]:
    return set(re.findall(r"[a-z_]+", text))


def test_help_and_docs_list_the_presets_of_the_register():
    root = Path(__file__).parent.parent
    options = (root / "neufield/apps/options/nerf.py").read_text(encoding="utf-8")
    (radiance,) = re.findall(r'preset: str = "ngp"\n    """([a-z_, ]+)\."""', options)
    assert listed(radiance) == set(presets.names("radiance"))
    (readme,) = re.findall(r"# ngp, or --preset (.*)", (root / "README.md").read_text(encoding="utf-8"))
    assert listed(readme) == set(presets.names("radiance")) - {"ngp"}
    methods = (root / "docs/methods/README.md").read_text(encoding="utf-8")
    assert set(presets.names()) <= set(re.findall(r"`([a-z_]+)`", methods))
    nerf = (root / "docs/nerf/measured.md").read_text(encoding="utf-8")
    assert set(presets.names("radiance")) <= set(re.findall(r"^\| ([a-z_]+) \|", nerf, re.MULTILINE))


def test_a_scene_is_trained_from_python_as_from_the_shell(tmp_path, one_thread):
    """The same seed and choices: the same bits in the file."""
    scene = write_ball(tmp_path / "scene", train=6, test=1)
    common = [
        "--resolution",
        "16",
        "--steps",
        "3",
        "--no-eval",
        "--seed",
        "5",
        "--appearance",
        "2",
        "--distortion",
        "0.01",
    ]
    settings = ["--set", "recipe.batch_size=1024", "appearance.lr=0.02"]
    cli.main(["nerf", "train", str(scene), "--out", str(tmp_path / "run"), *common, *settings])
    views = presets.choose_views(nf.formats.read_scene(scene))
    model = presets.radiance_scene(
        nf.formats.read_scene(scene),
        resolution=16,
        appearance=2,
        seed=5,
        edits=[Edit("recipe.batch_size", 1024), Edit("appearance.lr", 0.02), Edit("recipe.steps", 3)],
    )
    images = presets.scene_images(views)
    state = nf.fit(model, images, objective=presets.photometric(model, images, distortion=0.01), seed=5)
    with state.ema.applied(model):
        expected = {name: value.clone() for name, value in model.state_dict().items()}
    found = nf.load(tmp_path / "run" / "field.safetensors").state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
