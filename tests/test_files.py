"""Fields travel: what is saved is loaded elsewhere, and damage is told in one sentence."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import neufield as nf
from neufield import presets
from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.fitting import files


@pytest.fixture
def field(generator):
    return presets.customise(presets.ngp(), ["encoding.n_levels=3", "encoding.log2_hashmap_size=8"], generator)


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


def other_part(header, tensors):
    header["field"]["encoding"]["type"] = "Popen"


def other_size(header, tensors):
    header["field"]["encoding"]["log2_hashmap_size"] = 4


def other_weights(header, tensors):
    tensors["network.layers.0.weight"][0, 0] += 1


def state_instead(header, tensors):
    header["kind"] = "state"


def no_version(header, tensors):
    del header["format_version"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (newer, "has format version 99, but this neufield reads up to 1"),
        (other_part, "'Popen', which is not a part we know"),
        (other_size, "does not describe a field"),
        (other_weights, "does not match its own checksum"),
        (state_instead, "holds a state, but a field was expected"),
        (no_version, "damaged neufield header"),
    ],
)
def test_a_changed_file_is_refused(saved, change, sentence):
    rewrite(saved, change)
    with pytest.raises(DataError, match=sentence):
        nf.load(saved)


@pytest.mark.parametrize("keep", [0, 5, 100, -1, -1000])
def test_a_truncated_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(DataError, match="not a whole safetensors file"):
        nf.load(saved)


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
