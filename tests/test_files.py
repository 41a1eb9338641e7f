"""Fields travel: what is saved is loaded elsewhere, and damage is told in one sentence."""

import json
import os
import random
from pathlib import Path

import pytest
import torch
from forged import forge
from image_files import info_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import neufield as nf
from neufield import presets
from neufield.core.edits import Edit
from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.field_files import load_facts
from neufield.fitting import files


@pytest.fixture
def field(generator):
    return presets.customize(
        presets.ngp(shape=(8, 8)), [Edit("encoding.n_levels", 3), Edit("encoding.log2_hashmap_size", 8)], generator
    )


@pytest.fixture
def saved(field, tmp_path):
    path = tmp_path / "field.safetensors"
    nf.save(field, path, seed=3)
    return path


def rewrite(path, change):
    """Change the JSON header or the tensors of a file, leaving it a valid safetensors."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["neufield"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    change(header, tensors)
    save_file(tensors, path, {"neufield": json.dumps(header)})


@pytest.mark.parametrize("make", [presets.ngp, presets.ffn, presets.siren, presets.nerf_frequency])
def test_a_loaded_field_is_the_saved_one_to_the_bit(make, tmp_path):
    field = make(dim=2, out_dim=3)
    nf.save(field, tmp_path / "f.safetensors")
    loaded = nf.load(tmp_path / "f.safetensors")
    x = torch.rand(50, 2)
    assert torch.equal(loaded(x), field(x))
    assert loaded.recipe == field.recipe


def test_a_loaded_field_can_be_trained_on(saved):
    loaded = nf.load(saved)
    loaded(torch.rand(4, 2)).sum().backward()
    assert loaded.encoding.table.grad.abs().sum() > 0


def test_half_precision_halves_the_file(field, tmp_path):
    for storage in ("float32", "float16"):
        nf.save(field, tmp_path / f"{storage}.safetensors", storage=storage)
    large, small = ((tmp_path / f"{s}.safetensors").stat().st_size for s in ("float32", "float16"))
    parameters = sum(p.numel() for p in field.parameters())
    assert large - small == 2 * parameters
    loaded = nf.load(tmp_path / "float16.safetensors")
    assert torch.equal(loaded.encoding.table, field.encoding.table.half().float())


def test_the_header_says_what_made_the_field(saved):
    header = files.read_header(saved, "field")
    assert header["seed"] == 3
    assert header["neufield_version"] == nf.__version__
    assert header["format_version"] == files.FORMAT_VERSION
    assert header["field"]["encoding"]["n_levels"] == 3


def test_saving_twice_gives_the_same_bytes(field, saved, tmp_path):
    nf.save(field, tmp_path / "again.safetensors", seed=3)
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def newer(header, tensors):
    header["format_version"] = 99


def unreleased(header, tensors):
    header["format_version"] = files.FORMAT_VERSION - 1


def older(header, tensors):
    header["format_version"] = 0


def true_version(header, tensors):
    header["format_version"] = True


def negative_version(header, tensors):
    header["format_version"] = -1


def other_part(header, tensors):
    header["field"]["encoding"]["type"] = "Popen"


def no_type(header, tensors):
    header["field"]["encoding"]["type"] = []


def no_field(header, tensors):
    header["field"] = None


def other_size(header, tensors):
    header["field"]["encoding"]["log2_hashmap_size"] = 4


def other_scale(header, tensors):
    header["field"]["encoding"]["per_level_scale"] *= 1.01


def other_weights(header, tensors):
    tensors["network.layers.0.weight"][0, 0] += 1


def other_kind_of_numbers(header, tensors):
    tensors["network.layers.0.weight"] = tensors["network.layers.0.weight"].int()


def state_instead(header, tensors):
    header["kind"] = "state"


def no_version(header, tensors):
    del header["format_version"]


def a_million_levels(header, tensors):
    header["field"]["encoding"]["n_levels"] = 10**6


def many_layers(header, tensors):
    header["field"]["network"]["n_hidden_layers"] = 9_999


def wide(header, tensors):
    header["field"]["network"]["width"] = 10**9


def many_features(header, tensors):
    header["field"]["encoding"]["n_features_per_level"] = 10**5


def endless_number(header, tensors):
    header["field"]["recipe"]["lr"] = float("inf")


FORGERIES = [
    (newer, "has format version 99, but this neufield reads up to 3"),
    (unreleased, r"has format version 2, which no released neufield wrote; this one reads 3: train again, or take"),
    (older, "'format_version' is 0, but a whole number of at least 1"),
    (true_version, "'format_version' is true"),
    (negative_version, "'format_version' is -1"),
    (other_part, "'Popen', which is not a part we know"),
    (no_type, r"type is \[\], which is not a part we know"),
    (no_field, "field is None, but it must be a part"),
    (other_size, "does not describe a field"),
    (other_scale, "levels of encoding are"),
    (other_kind_of_numbers, "in torch.int32, but it must be torch.float32"),
    (state_instead, "holds a state, but a field was expected"),
    (a_million_levels, "n_levels is 1000000, more than the file has numbers"),
    (many_layers, "describes more than the .* tensors"),
    (wide, "width is 1000000000, more than the file has numbers"),
    (many_features, "describes more than the .* numbers"),
    (endless_number, "field.recipe.lr is inf, but it must be a finite number"),
]


@pytest.mark.parametrize(("change", "sentence"), FORGERIES)
def test_a_file_that_says_something_else_is_refused(saved, change, sentence):
    forge(saved, "field", change)
    with pytest.raises(DataError, match=sentence) as caught:
        nf.load(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [change for change, _ in FORGERIES if change not in (newer, older, unreleased)])
def test_a_changed_file_is_noticed(saved, change):
    rewrite(saved, change)
    with pytest.raises(DataError, match=r"own checksum|format_version|not a whole"):
        nf.load(saved)


def test_any_changed_byte_is_noticed(saved):
    whole = saved.read_bytes()
    head = 8 + int.from_bytes(whole[:8], "little")
    chance = random.Random(0)
    places = [*chance.sample(range(head), 300), *chance.sample(range(head, len(whole)), 50), len(whole) - 1]
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << chance.randrange(8)
        saved.write_bytes(data)
        with pytest.raises(DataError):
            files.read_tensors(saved, "field")
        if place < head:
            with pytest.raises(DataError):
                files.read_header(saved, "field")
    saved.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="but its header says"):
        nf.load(saved)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 100_000, "nested more than 64 levels"),
        ('{"format_version": ' + "9" * 5000 + "}", "'format_version' is Infinity"),
        ('{"format_version": 3, "kind": "field", "facts": null}', "own checksum"),
        ("[]", "an object with keys was expected"),
        ('{"kind": "\\ud800"}', "half of a character"),
    ],
)
def test_a_header_of_anything_is_one_sentence(tmp_path, text, sentence):
    save_file({"a": torch.zeros(1)}, tmp_path / "f.safetensors", {"neufield": text})
    with pytest.raises(DataError, match=sentence):
        nf.load(tmp_path / "f.safetensors")


def test_other_programs_read_our_files(field, saved):
    assert torch.equal(load_file(saved)["encoding.table"], field.encoding.table)


def test_a_loaded_field_owns_its_memory(field, saved):
    loaded = nf.load(saved)
    before = loaded.encoding.table.clone()
    size = saved.stat().st_size
    with saved.open("r+b") as file:  # in place: the same file on disk
        file.write(os.urandom(size))
    assert torch.equal(loaded.encoding.table, before)
    os.truncate(saved, 0)
    assert torch.equal(loaded.encoding.table, before)
    assert loaded(torch.rand(5, 2)).isfinite().all()


def test_numbers_beyond_half_precision_are_not_lost_in_silence(field, tmp_path):
    with torch.no_grad():
        field.encoding.table[0, 0] = 1e6
    with pytest.raises(
        DataError, match=r"1 of .* numbers of encoding.table are beyond torch.float16; save with storage='float32'"
    ):
        nf.save(field, tmp_path / "f.safetensors", storage="float16")
    assert not (tmp_path / "f.safetensors").exists()


def test_a_name_that_is_not_text_does_not_lose_the_field(field, tmp_path):
    nf.save(field, tmp_path / "f.safetensors", signal=info_of((8, 8), 3, "photo\udcff.png"))
    assert load_facts(tmp_path / "f.safetensors")["signal"]["name"] == "photo?.png"
    nf.load(tmp_path / "f.safetensors")


def test_a_file_beyond_the_budget_is_refused_before_it_is_read(saved, monkeypatch):
    monkeypatch.setenv("NEUFIELD_MEMORY_BUDGET", str(saved.stat().st_size))
    with pytest.raises(DataError, match=r"needs .* the memory budget allows"):
        nf.load(saved)


@pytest.mark.parametrize("keep", [0, 5, 100, -1, -1000])
def test_a_truncated_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"not a whole safetensors file|own checksum") as caught:
        nf.load(saved)
    assert str(caught.value).count("; ") == 1  # one piece of advice
    with pytest.raises(DataError, match="not a whole safetensors file"):  # though its header may be
        load_facts(saved)


def test_a_header_that_is_no_json_has_one_piece_of_advice(saved):
    data = bytearray(saved.read_bytes())
    data[8:9] = b"["
    saved.write_bytes(data)
    with pytest.raises(DataError, match=r"not a whole safetensors file \(its header is .*\); copy it anew") as caught:
        nf.load(saved)
    assert str(caught.value).count("; ") == 1


def test_a_safetensors_of_something_else_is_refused(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="not one of neufield's"):
        nf.load(tmp_path / "other.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_saved_field_is_as_readable_as_any_new_file(field, tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        nf.save(field, tmp_path / "f.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "f.safetensors").stat().st_mode & 0o777 == mode


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        nf.load(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="is a folder"):
        nf.load(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_place_is_one_sentence(field, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write"):
        nf.save(field, tmp_path / "file" / "field.safetensors")


def test_a_picture_is_not_called_a_cut_field(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(DataError, match=r"photo\.png is no \.safetensors file; give a field"):
        nf.load(path)
