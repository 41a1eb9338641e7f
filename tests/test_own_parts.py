"""A field made of somebody's own parts is saved, says what it needs, and is loaded again."""

import importlib
import importlib.metadata
import sys

import pytest
import torch
from cases import without_type_checks
from forged import forge

import neufield as nf
from neufield import parts, presets
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError, DataError
from neufield.core.interfaces import Encoding
from neufield.core.recipe import Recipe
from neufield.field_files import load_facts
from neufield.fields import NeuralField
from neufield.networks import MLP


class Cubes(Encoding):
    """x^3 and x, ``gain`` times."""

    def __init__(self, in_dim: int, gain: float = 1.0) -> None:
        super().__init__()
        self.in_dim, self.out_dim, self.gain = in_dim, 2 * in_dim, gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * torch.cat([x**3, x], -1)

    @property
    def frequencies(self) -> torch.Tensor:
        return torch.ones(self.out_dim)


class Forgetful(Cubes):
    """Does not remember what ``power`` was."""

    def __init__(self, in_dim: int, power: int = 3) -> None:
        super().__init__(in_dim)


@pytest.fixture
def own(monkeypatch) -> NeuralField:
    monkeypatch.setattr(parts.PARTS, "_given", dict(parts.PARTS._given))  # what a test registers is forgotten
    return NeuralField(Cubes(2, gain=2.0), MLP(4, 3, 8, 1), Recipe())


@pytest.fixture
def saved(own, tmp_path):
    with pytest.warns(UserWarning, match=r"load it with neufield.load\(path, parts=\[Cubes\]\)"):
        nf.save(own, tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


def test_a_field_with_an_own_encoding_comes_back(own, saved) -> None:
    x = torch.rand(5, 2)
    assert torch.equal(nf.load(saved, parts=[Cubes])(x), own(x))
    with pytest.raises(DataError, match=r"it needs Cubes of .*test_own_parts: import it and give neufield.load"):
        nf.load(saved)
    assert load_facts(saved)["needs"] == {"own.Cubes": Cubes.__module__}


def test_a_registered_part_needs_no_more(own, tmp_path) -> None:
    assert nf.register(Cubes) is Cubes
    nf.save(own, tmp_path / "own.safetensors")  # warnings are errors here
    assert nf.load(tmp_path / "own.safetensors").encoding.gain == 2.0
    changed = presets.customize(own, [Edit("encoding.gain", 3)])
    assert changed.encoding.gain == 3.0


def test_an_installed_package_declares_its_parts(saved, tmp_path, monkeypatch) -> None:
    package = tmp_path / "site" / "plug-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    lines = [f"Cubes = {Cubes.__module__}:Cubes", "Broken = plug_that_is_not_there:Broken", "Other = os:getcwd"]
    (package / "entry_points.txt").write_text("[neufield.parts]\n" + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert [found.name for found in importlib.metadata.entry_points(group=parts.PLUGINS, name="Cubes")]
    assert isinstance(nf.load(saved).encoding, Cubes)
    for name, sentence in (("Broken", "cannot be imported from plug_that"), ("Other", "does not name a class")):
        forge(saved, "field", lambda header, _, name=name: header["field"]["encoding"].update(type=f"own.{name}"))
        with pytest.raises(DataError, match=sentence):
            nf.load(saved)


def test_a_file_cannot_make_anything_be_imported(saved) -> None:
    def ask(header, tensors):
        header["field"]["encoding"]["type"] = "own.antigravity"
        header["needs"] = {"own.antigravity": "antigravity"}

    forge(saved, "field", ask)
    with pytest.raises(DataError, match="it needs antigravity of antigravity"):
        nf.load(saved)
    assert "antigravity" not in sys.modules


def test_a_part_that_no_file_can_hold_is_refused_when_it_is_saved(own, tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"Forgetful does not remember .* store each under its own name"):
        nf.save(NeuralField(Forgetful(2), MLP(4, 3, 8, 1), Recipe()), tmp_path / "f.safetensors")
    assert not (tmp_path / "f.safetensors").exists()


def test_own_parts_have_a_room_of_their_own(own, tmp_path) -> None:
    """Neufield may have a part of the name, now or some day; two classes of one's own may not."""
    grid = type("Grid", (Cubes,), {"__init__": Cubes.__init__, "__module__": "mine"})
    nf.register(grid)
    nf.save(NeuralField(grid(2), MLP(4, 3, 8, 1), Recipe()), tmp_path / "f.safetensors")
    assert load_facts(tmp_path / "f.safetensors")["field"]["encoding"]["type"] == "own.Grid"
    assert type(nf.load(tmp_path / "f.safetensors").encoding) is grid
    namesake = type("Cubes", (Cubes,), {"__init__": Cubes.__init__})
    nf.register(Cubes)
    with pytest.raises(ConfigError, match=r"Cubes has the name of another part, .*test_own_parts\.Cubes; rename"):
        nf.register(namesake)
    with pytest.raises(ConfigError, match="has the name of another part"):
        nf.load(tmp_path / "f.safetensors", parts=[namesake])


def test_each_shipped_part_is_exported_by_the_room_that_its_name_has() -> None:
    for name, kind in parts.SHIPPED.items():
        room, _, own = name.partition(".")
        assert room in {"core", "encodings", "fields", "networks", "renderers"}, name
        assert room == "core" or getattr(importlib.import_module(f"neufield.{room}"), own) is kind, name


@pytest.mark.parametrize("kind", [int, torch.nn.Linear, "Cubes", None, torch.nn.Linear(2, 3)])
def test_what_is_no_part_is_refused(kind, own, saved) -> None:
    for give in (nf.register, lambda kind: nf.load(saved, parts=[kind])):
        with (
            without_type_checks(),
            pytest.raises(ConfigError, match=r"is no part of a field; give a class of your own"),
        ):
            give(kind)


@pytest.mark.parametrize(("given", "name"), [(Cubes, "Cubes"), ("Cubes", "Mine"), (None, "Mine")])
def test_parts_that_are_no_list_are_refused(given, name: str, saved) -> None:
    with (
        without_type_checks(),
        pytest.raises(ConfigError, match=rf"must be a list of your classes; write parts=\[{name}\]"),
    ):
        nf.load(saved, parts=given)
