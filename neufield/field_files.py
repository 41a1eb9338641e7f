"""Fields as files: written with their description, and rebuilt from it by the table of :mod:`neufield.parts`."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from neufield import encodings
from neufield.core.config import build, classes_of, describe, part_name, without_room
from neufield.core.errors import ConfigError, DataError
from neufield.core.interfaces import Trainable
from neufield.core.reckoning import sizes_only
from neufield.core.signal_info import SignalInfo
from neufield.core.wrappers import unwrapped
from neufield.fitting import files
from neufield.fitting.files import read_header, read_tensors, write_tensors
from neufield.fitting.storages import pack, unpack
from neufield.parts import PARTS, PLUGINS, SHIPPED

# Of a field's header: what ``save`` writes itself; all else are its caller's facts.
OWN_FACTS = frozenset({*files.OWN_KEYS, "field", "levels", "needs", "storage", "signal"})
_ANY_COUNT = 100_000  # which a file may name however few numbers it holds


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
    own = {part_name(kind): kind for kind in classes_of(inner) if SHIPPED.get(part_name(kind)) is not kind}
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


def load(path: str | Path, parts: Sequence[type] = ()) -> Trainable:
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
            f"{path} does not describe a field that this neufield can build ({_last_line(error)})" + _lacking(header)
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
        if kind is not None and not issubclass(kind, nn.Module):
            return  # a recipe's steps may be many
        for key, value in config.items():
            _check_counts(value, parts, most, f"{where}.{key}")
    elif isinstance(config, list):
        for i, value in enumerate(config):
            _check_counts(value, parts, most, f"{where}[{i}]")
    elif isinstance(config, int) and abs(config) > most:
        raise ConfigError(f"{where} is {config}, more than the file has numbers")


def _levels(field: nn.Module) -> dict[str, list[list[int]]]:
    """How many vertices an axis and how many entries each level has, by the names of the grids in ``field``."""
    grids = {name: part for name, part in field.named_modules() if isinstance(part, encodings.Grid)}
    return {name: [[level.resolution, level.size] for level in grid.spec.levels] for name, grid in grids.items()}


def _check_levels(path: str, header: Mapping[str, Any], field: nn.Module) -> None:
    """Refuse a file whose grids have other sizes here: it would be another function."""
    for name, here in _levels(field).items() if "levels" in header else ():
        there = header["levels"].get(name) if isinstance(header["levels"], dict) else None
        if there != here:
            raise DataError(
                f"{path} was written where the levels of {name} are [resolution, entries] = {there}, but here they are "
                f"{here}: it is another function; use the version that wrote it, {header.get('neufield_version')}"
            )


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
