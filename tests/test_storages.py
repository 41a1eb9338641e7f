"""A field's numbers in fewer bytes: what is lost is bounded, and what is damaged is one sentence."""

import re

import pytest
import torch
from autograd_cases import MODELS
from ball import write_ball
from cases import all_cases, seeded
from commands import run
from forged import forge
from image_files import info_of
from small_fits import small_field

import neufield as nf
from neufield import presets
from neufield.apps import weights
from neufield.core.errors import DataError
from neufield.core.recipe import STORAGES
from neufield.field_files import load_facts
from neufield.fitting.storages import ROW, pack, quantize, unpack
from neufield.formats import scene
from neufield.renderers import Box

_HALF = 0.5 * (1 + 2**-20)  # of a step; float32 rounds a quotient up to 127 and a product of it by 2^-24 each
_FLOAT16 = 2**-11  # relative, of rounding to 11 bits


@pytest.mark.parametrize("shape", [(3, 64), (5, 7, 9), (130,), (1000, 2)])
def test_no_number_moves_by_more_than_half_a_step(shape):
    values = torch.randn(shape, generator=seeded()) * torch.logspace(-6, 3, shape[-1])
    values.view(-1)[:ROW] = 0  # a row of nothing
    whole, steps = quantize(values)
    state = unpack({"w": whole, "w.steps": steps}, {"quantized": ["w"]}, "f")
    moved = torch.nn.functional.pad((state["w"] - values).flatten(), (0, -values.numel() % ROW)).view(-1, ROW)
    assert whole.shape == values.shape
    assert steps.shape == (-(-values.numel() // ROW),)
    assert bool((moved.abs().amax(1) <= _HALF * steps).all())
    assert float(moved.abs().max()) > 0


@pytest.mark.parametrize(
    ("name", "storage"),
    [*((name, "int8-zlib") for name in [*all_cases(), *MODELS]), *((name, "float16-zlib") for name in MODELS)],
)
def test_every_part_and_preset_comes_back(name, storage):
    part = (all_cases() | MODELS)[name]()
    stored = pack(part, storage)
    state = unpack(stored.tensors, stored.header, name)
    own = part.state_dict()
    assert state.keys() == own.keys()
    for key, value in own.items():
        bound = torch.zeros(())
        if value.is_floating_point() and storage.startswith("int8") and key in stored.header["quantized"]:
            bound = _HALF * quantize(value)[1].max()
        elif storage.startswith("float16"):
            bound = _FLOAT16 * value.abs().max() if value.numel() else bound
        assert state[key].shape == value.shape
        assert value.numel() == 0 or bool(((state[key] == value) | ((state[key] - value).abs() <= bound)).all())


def test_a_map_is_kept_in_half_precision_and_frequencies_whole():
    part = torch.nn.Module()
    part.register_buffer("frequencies", torch.rand(300, 3, generator=seeded()))
    part.register_buffer("seen", torch.rand(20, 20, 20, generator=seeded()))
    stored = pack(part, "int8")
    assert stored.tensors["frequencies"].dtype == torch.float32
    assert stored.tensors["seen"].dtype == torch.float16


@pytest.fixture
def field():
    """A field whose table has numbers of all sizes, as one that has learned: those at the start are uniform."""
    field = small_field()
    with torch.no_grad():
        field.encoding.table.normal_(generator=seeded())
    return field


@pytest.fixture
def saved(field, tmp_path):
    path = tmp_path / "f.safetensors"
    nf.save(field, path, storage="int8-zlib", signal=info_of((8, 8), 3), seed=4)
    return path


def test_a_storage_takes_the_bytes_that_it_says(field, tmp_path):
    sizes = {}
    for storage in STORAGES:
        nf.save(field, tmp_path / "f.safetensors", storage=storage)
        sizes[storage] = sum(v.nbytes for v in pack(field, storage).tensors.values())
    parameters = sum(p.numel() for p in field.parameters())
    assert sizes["float32"] == 4 * parameters
    assert sizes["float16"] == 2 * parameters
    matrices = [p.numel() for p in field.parameters() if p.ndim > 1 and p.numel() >= ROW]
    assert len(matrices) >= 2
    assert sizes["int8"] == sum(n + 4 * -(-n // ROW) for n in matrices) + 4 * (parameters - sum(matrices))
    assert sizes["int8-zlib"] < sizes["int8"]
    assert sizes["float16-zlib"] < sizes["float16"]


def test_saving_what_was_loaded_loses_nothing_more(field, saved, tmp_path):
    """The steps are the rows' largest numbers / 127, whose quotients round to themselves."""
    once = nf.load(saved)
    nf.save(once, tmp_path / "again.safetensors", storage="int8-zlib")
    again = nf.load(tmp_path / "again.safetensors")
    for key, value in once.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=1e-6, atol=0)  # 127 * (a / 127) rounds twice


def test_numbers_that_are_none_are_refused(field, tmp_path):
    with torch.no_grad():
        field.encoding.table[0, 0] = torch.nan
    with pytest.raises(DataError, match=r"numbers of encoding.table are NaN or infinite; .* storage='float32'"):
        nf.save(field, tmp_path / "f.safetensors", storage="int8")
    assert list(tmp_path.iterdir()) == []


def bomb(header, tensors):
    header["storage"]["coded"]["network.layers.0.bias"]["shape"] = [10**12, 2]


def larger(header, tensors):
    header["storage"]["coded"]["encoding.table"]["shape"][0] += 64


def smaller(header, tensors):
    header["storage"]["coded"]["encoding.table"]["shape"][0] -= 64


def broken(header, tensors):
    tensors["encoding.table"][5:60] = 0


def no_code(header, tensors):
    del tensors["encoding.table"]


def no_steps(header, tensors):
    header["storage"]["quantized"].append("network.layers.0.bias")


def twice(header, tensors):
    header["storage"]["quantized"] *= 2


def no_type(header, tensors):
    header["storage"]["coded"]["encoding.table"]["dtype"] = "object"


def no_shape(header, tensors):
    header["storage"]["coded"]["encoding.table"]["shape"] = [[1]]


def no_storage(header, tensors):
    header["storage"] = []


FORGERIES = [
    (bomb, r"decoded, needs 16.1 TB, but .* free"),
    (larger, "does not hold encoding.table as whole numbers"),
    (smaller, "does not hold encoding.table as whole numbers"),
    (broken, "cannot be decoded at encoding.table|another number of bytes of encoding.table"),
    (no_code, "has no coded bytes of encoding.table"),
    (no_steps, "does not hold network.layers.0.bias as whole numbers"),
    (twice, "a list of names was expected"),
    (no_type, "a type and a shape were expected"),
    (no_shape, "a type and a shape were expected"),
    (no_storage, "an object with keys was expected"),
]


@pytest.mark.parametrize(("change", "sentence"), FORGERIES)
def test_a_storage_that_says_something_else_is_refused(saved, change, sentence):
    forge(saved, "field", change)
    with pytest.raises(DataError, match=sentence) as caught:
        nf.load(saved)
    assert "\n" not in str(caught.value)


def test_what_decodes_to_more_than_was_said_is_stopped_there(saved):
    """Steps and numbers both are said smaller, so that only the decoder sees it."""

    def change(header, tensors):
        coded = header["storage"]["coded"]["encoding.table"]
        coded["shape"] = [coded["shape"][0] - 32, 2]
        steps = header["storage"]["coded"].pop("encoding.table.steps", None)
        tensors["encoding.table.steps"] = torch.ones(-(-(coded["shape"][0] * 2) // ROW))
        assert steps is None or steps["dtype"] == "float32"

    forge(saved, "field", change)
    with pytest.raises(DataError, match=r"another number of bytes of encoding.table than it says"):
        nf.load(saved)


def test_the_shell_writes_small_weights_and_says_what_they_cost(field, saved, tmp_path, capsys):
    nf.save(field, tmp_path / "field.safetensors", signal=info_of((8, 8), 3), seed=4)
    run("export", tmp_path, "--to", "weights", "--storage", "int8")
    said = capsys.readouterr().out.replace("\n", " ")
    small = tmp_path / "exported.safetensors"
    size = small.stat().st_size
    bits = 8 * size / sum(p.numel() for p in field.parameters())
    assert f"int8, {size:,} bytes, {bits:.2f} bits a parameter" in said
    x = torch.rand(4096, 2, generator=seeded())
    rms = (nf.load(small)(x) - field(x)).square().mean().sqrt().item()
    # Drawn anew at 4096 points: the mean of so many squares is within some percents of that of 65,536.
    found = float(re.search(r"of 65,536 values is ([\d.e-]+), [\d.]+ dB below 1", said)[1])
    assert found == pytest.approx(rms, rel=0.2)
    assert load_facts(small)["seed"] == 4
    run("info", small)
    assert f"storage: int8, {size:,} bytes" in capsys.readouterr().out.replace("\n", " ")


def test_a_scene_s_weights_are_compared_by_its_pixels(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(weights, "_PIXELS", 16)
    posed = scene.read_scene(write_ball(tmp_path / "ball", train=3, test=1))
    model = presets.radiance_scene(posed, "ngp", bounds=Box([-1.0] * 3, [1.0] * 3), resolution=16)
    nf.save(model, tmp_path / "field.safetensors")
    run("export", tmp_path / "field.safetensors", "--to", "weights")
    assert "of 16 colors of pixels is" in capsys.readouterr().out.replace("\n", " ")
    small = tmp_path / "exported.safetensors"
    assert torch.equal(nf.load(small).cameras.to_world, model.cameras.to_world)
    assert 3 * small.stat().st_size < (tmp_path / "field.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--storage", "int8", "a.png"], "--storage is for --to weights"),
        (["--to", "weights", "a.png"], r"--to weights writes a .safetensors, but a.png was asked for"),
        ([], "needs the file to write"),
        (["--to", "weights", "--points", "5"], "--points is for surfaces"),
        (["f.safetensors"], "is the field itself"),
    ],
)
def test_wrong_words_are_one_sentence(saved, words, sentence, capsys, monkeypatch):
    monkeypatch.chdir(saved.parent)
    with pytest.raises(SystemExit) as ended:
        run("export", "f.safetensors", *words)
    assert ended.value.code == 2
    assert re.search(sentence, capsys.readouterr().err.replace("\n", " "))
