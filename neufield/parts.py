"""The classes that a file or a ``--set`` may name, and the fields written to and rebuilt from files."""

import dataclasses
import functools
import importlib.metadata
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neufield import encodings, fields, networks, renderers
from neufield.core import plan, recipe, sample_selection
from neufield.core.config import build, classes_of, describe, part_name, without_room
from neufield.core.errors import ConfigError, DataError
from neufield.core.interfaces import Field, RadianceField
from neufield.core.reckoning import sizes_only
from neufield.core.signal_info import SignalInfo
from neufield.core.wrappers import unwrapped
from neufield.fitting import files
from neufield.fitting.files import read_header, read_tensors, write_tensors
from neufield.fitting.storages import pack, unpack

# Of a field's header: what ``save`` writes itself; all else are its caller's facts.
OWN_FACTS = frozenset({*files.OWN_KEYS, "field", "levels", "needs", "storage", "signal"})
PLUGINS = "neufield.parts"  # the group of entry points in which installed packages name their parts
_OWN = "own"  # the room of what is not neufield's
_ANY_COUNT = 100_000  # which a file may name however few numbers it holds
_SHIPPED: Mapping[str, type] = {
    part_name(kind): kind
    for kind in (
        encodings.BlockDCT,
        encodings.Composite,
        encodings.Frequency,
        encodings.GaussianFourier,
        encodings.Grid,
        encodings.Identity,
        encodings.InterpolatedKronecker,
        encodings.KPlanes,
        encodings.Kronecker,
        encodings.OneBlob,
        encodings.Permutohedral,
        encodings.Progressive,
        encodings.RadialFourier,
        encodings.SAPE,
        encodings.ShiftedBasis,
        encodings.SphericalHarmonics,
        encodings.TriangleWave,
        encodings.TriPlane,
        fields.DensityActivation,
        fields.DensityField,
        fields.EncodedRadiance,
        fields.LightField,
        fields.NerfRadiance,
        fields.NeuralField,
        fields.Plenoxels,
        fields.Roughness,
        fields.Sparsity,
        fields.TensoRFCP,
        fields.TensoRFVM,
        fields.TotalVariation,
        networks.ActivationNetwork,
        networks.Bacon,
        networks.CAM,
        networks.FAN,
        networks.FiLM,
        networks.Finer,
        networks.FourierNet,
        networks.Gabor,
        networks.GaborNet,
        networks.Gauss,
        networks.GRKAN,
        networks.IdentityHead,
        networks.KAN,
        networks.MLP,
        networks.ModulusMaxima,
        networks.ResidualMLP,
        networks.Siren,
        networks.SumOfNetworks,
        networks.Wire,
        plan.Freeze,
        plan.Upsample,
        recipe.Constant,
        recipe.Cosine,
        recipe.Exponential,
        recipe.Recipe,
        recipe.Stage,
        recipe.Step,
        recipe.TrainingPlan,
        renderers.AppearanceEmbedding,
        renderers.Box,
        renderers.Cameras,
        renderers.Contraction,
        renderers.Exposure,
        renderers.HierarchicalSampler,
        renderers.NDC,
        renderers.OccupancyGrid,
        renderers.PoseRefinement,
        renderers.ProposalSampler,
        renderers.RadianceScene,
        renderers.StratifiedSampler,
        sample_selection.ConstantRatio,
        sample_selection.CosineRatio,
        sample_selection.INT,
        sample_selection.Intervals,
        sample_selection.LinearRatio,
        sample_selection.StepRatio,
    )
}


@functools.lru_cache(maxsize=4)
def _installed(places: tuple[str, ...]) -> Mapping[str, Sequence[importlib.metadata.EntryPoint]]:
    """What the packages installed in ``places`` (``sys.path``) declare, by name: looked for in many files, so once."""
    del places
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for plugin in importlib.metadata.entry_points(group=PLUGINS):
        found.setdefault(plugin.name, []).append(plugin)
    return found


class Parts(Mapping[str, type]):
    """Names to classes: neufield's own, those that a program gave, and those that installed packages declare.

    The first are named with their room, "encodings.Grid", all others "own.Mine". A package declares a part as an entry
    point of the group "neufield.parts" with the class's own name; it is imported when a file or a setting names it.
    Nothing that a file brings along is ever looked up, imported or run.
    """

    def __init__(self, given: Mapping[str, type]) -> None:
        self._given = dict(given)

    def __getitem__(self, name: str) -> type:
        if name not in self._given:
            room, _, own = name.partition(".")
            for plugin in _installed(tuple(sys.path)).get(own, ()) if room == _OWN else ():
                self.add(_plugged(plugin))
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._given
        yield from {f"{_OWN}.{name}" for name in _installed(tuple(sys.path))} - self._given.keys()

    def __len__(self) -> int:
        return len(list(iter(self)))

    def add(self, kind: type) -> None:
        """Know one more class, by its name."""
        if not _can_be_part(kind):
            raise ConfigError(
                f"{kind!r} is no part of a field; give a class of your own, such as a subclass of "
                "neufield.core.interfaces.Encoding"
            )
        known = self._given.setdefault(part_name(kind), kind)
        if known is not kind:
            raise ConfigError(
                f"{kind.__module__}.{kind.__name__} has the name of another part, {known.__module__}.{known.__name__}; "
                "rename your class"
            )

    def and_also(self, kinds: Sequence[type]) -> "Parts":
        """These, and ``kinds``."""
        if not isinstance(kinds, (list, tuple)):
            name = getattr(kinds, "__name__", "Mine")
            raise ConfigError(f"parts is {kinds!r}, but it must be a list of your classes; write parts=[{name}]")
        more = Parts(self._given)
        for kind in kinds:
            more.add(kind)
        return more


PARTS = Parts(_SHIPPED)


def register(kind: type) -> type:
    """Let files and settings name your class ``kind`` in this process, for instance as a decorator of it.

    It stores every constructor argument under the argument's name, as neufield's own parts do.
    """
    PARTS.add(kind)
    return kind


def save(
    field: nn.Module, path: str | Path, *, storage: str | None = None, signal: SignalInfo | None = None, **facts: Any
) -> None:
    """Write ``field`` to one ``.safetensors``: weights, and a JSON header from which ``load`` rebuilds it anywhere.

    A wrapper around one field, such as torch.compile's or DistributedDataParallel, is taken off.

    ``storage`` is "float32", "float16", "int8", "float16-zlib" or "int8-zlib" (``fitting/storages.py`` says what each
    keeps), by default the recipe's; ``signal`` is what the field represents, without which nobody can write it back;
    ``facts`` (seed ...) must be JSON-able.
    Where the field has classes that are not neufield's, a warning says what ``load`` will need.
    """
    inner = unwrapped(field)
    config = describe(inner)
    own = {part_name(kind): kind for kind in classes_of(inner) if _SHIPPED.get(part_name(kind)) is not kind}
    PARTS.and_also(list(own.values()))  # two classes of one name could not be told apart
    stored = pack(inner, storage or inner.recipe.storage)
    said = {} if signal is None else {"signal": signal.to_json()}
    needs = {name: kind.__module__ for name, kind in own.items()}
    own_facts = {"field": config, "levels": _levels(inner), "needs": needs, "storage": stored.header}
    write_tensors(path, "field", stored.tensors, {**own_facts, **said, **facts})
    unknown = [name for name in own if name not in PARTS]
    if unknown:
        listed = ", ".join(map(without_room, unknown))
        warnings.warn(
            f"{path} has parts of your own: load it with neufield.load(path, parts=[{listed}]), or after "
            f"neufield.register of each, or declare them as entry points of the group '{PLUGINS}'",
            stacklevel=2,
        )


def load(path: str | Path, parts: Sequence[type] = ()) -> Field | RadianceField:
    """Rebuild the field that ``save`` wrote, in float32 on the CPU. Runs nothing that the file brings along.

    ``parts`` are your own classes of which it is made (see also :func:`register`).
    """
    known = PARTS.and_also(parts)
    tensors, header = read_tensors(path, "field")
    weights = unpack(tensors, header.get("storage", {}), str(path))
    try:
        # The file's own sizes bound what is made of its description, and nothing is allocated for it.
        numbers = sum(v.numel() for v in weights.values())
        _check_counts(header.get("field"), known, max(numbers, _ANY_COUNT), "field")
        with sizes_only(len(weights), numbers, str(path)):
            field = build(header.get("field"), known, "field")
        for name, expected in field.state_dict().items():
            if name in weights and weights[name].dtype != expected.dtype:
                raise DataError(f"{path} has {name} in {weights[name].dtype}, but it must be {expected.dtype}")
        field.load_state_dict(weights, assign=True)
    except (ConfigError, KeyError, MemoryError, RuntimeError, AttributeError) as error:
        raise DataError(
            f"{path} does not describe a field that this neufield can build ({_first_line(error)})" + _lacking(header)
        ) from None
    _check_levels(str(path), header, field)
    return field


def load_facts(path: str | Path) -> dict[str, Any]:
    """The header of a field's file: config, signal, seed, versions."""
    header = read_header(path, "field")
    if "signal" in header:
        SignalInfo.from_json(header["signal"], Path(path).name)
    return header


def load_signal(path: str | Path) -> SignalInfo:
    """What the field in ``path`` represents; raises DataError where its file does not say."""
    header, name = read_header(path, "field"), Path(path).name
    if "signal" not in header:
        raise DataError(f"{name} does not say what its field represents; save it with signal=image.info")
    return SignalInfo.from_json(header["signal"], name)


def _can_be_part(kind: object) -> bool:
    """Whether it is a class whose objects may be described: a module's that is not torch's own, or a record's."""
    if not isinstance(kind, type):
        return False
    own_module = issubclass(kind, nn.Module) and kind.__module__.partition(".")[0] != "torch"
    return own_module or dataclasses.is_dataclass(kind)


def _plugged(plugin: importlib.metadata.EntryPoint) -> type:
    try:
        kind = plugin.load()
    except Exception as error:
        raise ConfigError(
            f"the part '{plugin.name}' of an installed package cannot be imported from {plugin.value} ({error}); "
            "install that package anew"
        ) from error
    if not isinstance(kind, type) or kind.__name__ != plugin.name:
        raise ConfigError(f"the entry point '{plugin.name}' = {plugin.value} does not name a class of that name")
    return kind


def _lacking(header: Mapping[str, Any]) -> str:
    """What to type for parts that are not known here; "" where nothing of the kind lacks."""
    needs = header.get("needs")
    lacking = {name: home for name, home in needs.items() if name not in PARTS} if isinstance(needs, dict) else {}
    if not lacking:
        return ""
    listed = ", ".join(f"{without_room(name)} of {home}" for name, home in lacking.items())
    return (
        f"; it needs {listed}: import it and give neufield.load(path, parts=[{', '.join(map(without_room, lacking))}])"
    )


def _check_counts(config: Any, parts: Mapping[str, type], most: int, where: str) -> None:
    """Refuse whole numbers of modules beyond ``most``: each count of theirs has numbers in the file to show for it."""
    if isinstance(config, dict):
        kind = parts.get(config["type"]) if isinstance(config.get("type"), str) else None
        if kind is not None and not issubclass(kind, torch.nn.Module):
            return  # a recipe's steps may be many
        for key, value in config.items():
            _check_counts(value, parts, most, f"{where}.{key}")
    elif isinstance(config, list):
        for i, value in enumerate(config):
            _check_counts(value, parts, most, f"{where}[{i}]")
    elif isinstance(config, int) and abs(config) > most:
        raise ConfigError(f"{where} is {config}, more than the file has numbers")


def _levels(field: torch.nn.Module) -> dict[str, list[list[int]]]:
    """Of each grid in ``field``: how many vertices an axis and how many entries each level has."""
    grids = {name: part for name, part in field.named_modules() if isinstance(part, encodings.Grid)}
    return {name: [[level.resolution, level.size] for level in grid.spec.levels] for name, grid in grids.items()}


def _check_levels(path: str, header: Mapping[str, Any], field: torch.nn.Module) -> None:
    """Refuse a file whose grids have other sizes here: it would be another function."""
    for name, here in _levels(field).items() if "levels" in header else ():
        there = header["levels"].get(name) if isinstance(header["levels"], dict) else None
        if there != here:
            raise DataError(
                f"{path} was written where the levels of {name} are [resolution, entries] = {there}, but here they are "
                f"{here}: it is another function; use the version that wrote it, {header.get('neufield_version')}"
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
