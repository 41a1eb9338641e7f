"""Objects to JSON and back: how a field's construction is written into its file, and changed from the shell.

The contract: a part stores every constructor argument under the argument's own name (the contract tests hold each
public class to it). ``describe`` reads them back; ``build`` calls constructors from a literal table of classes that the
caller passes in, so that a file can name only what we ship, and runs no code of its own.
"""

import inspect
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from neufield.core.errors import ConfigError, DataError, nearest
from neufield.core.json_files import parse_json
from neufield.core.memory import explain_exhaustion

Config = dict[str, Any]
Parts = Mapping[str, type]


def describe(part: object) -> Config:
    """The constructor call that makes ``part``, as JSON-able data with the class name under "type"."""
    return {"type": type(part).__name__, **{name: _plain(value) for name, value in _stored(part).items()}}


def classes_of(part: object) -> set[type]:
    """The classes of ``part`` and of all parts that it is constructed from."""
    if part is None or isinstance(part, (bool, int, float, str)):
        return set()
    if isinstance(part, (Sequence, nn.ModuleList)):
        return set().union(*map(classes_of, part))
    if isinstance(part, Mapping):
        return set().union(*map(classes_of, part.values()))
    return {type(part)}.union(*map(classes_of, _stored(part).values()))


def build(config: Any, parts: Parts, where: str = "config", generator: torch.Generator | None = None) -> Any:
    """Call the constructor that ``config`` describes. Every error says where in the config it is.

    ``generator`` goes to every part that draws random numbers.
    """
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"{where} is {_short(config)}, but it must be a part such as {{'type': '{next(iter(parts))}', ...}}"
        )
    kind: Any = config.get("type")
    if not isinstance(kind, str) or kind not in parts:
        raise ConfigError(f"{where}.type is {_short(kind)}, which is not a part we know{nearest(str(kind), parts)}")
    known = _arguments(parts[kind])
    random = {name: generator for name, argument in known.items() if _is_generator(argument)}
    known = {name: argument for name, argument in known.items() if name not in random}
    for key in config:
        if key != "type" and key not in known:
            raise ConfigError(f"{where} ({kind}) has no option '{key}'{nearest(key, known)}")
    arguments = {
        key: _value(value, known[key], parts, f"{where}.{key}", generator)
        for key, value in config.items()
        if key != "type"
    }
    missing = [key for key, argument in known.items() if argument.required and key not in arguments]
    if missing:
        raise ConfigError(f"{where} ({kind}) lacks '{missing[0]}'; add {missing[0]}=...")
    try:
        return parts[kind](**arguments, **random)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where} ({kind}): {error}") from None
    except (ArithmeticError, AssertionError, LookupError, RuntimeError) as error:  # of numbers beyond all measure
        if explain_exhaustion(error):
            raise
        raise ConfigError(f"{where} ({kind}) cannot be built of these numbers: {_first_line(error)}") from error


def with_setting(config: Config, setting: str, parts: Parts) -> Config:
    """``config`` with one ``dotted.key=value`` changed; the value is JSON, or else a word.

    The parts of a list are named by their place: ``encoding.encodings.0.n_bins=8``.
    """
    path, equals, text = setting.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {setting!r} is not of the form key=value, for instance --set encoding.n_levels=8")
    try:
        value = parse_json(text, "the value")
    except DataError:
        value = text
    return _with(config, keys, value, parts, setting)


class _Argument(typing.NamedTuple):
    annotation: Any
    required: bool


def _arguments(kind: type) -> dict[str, _Argument]:
    hints = typing.get_type_hints(kind.__init__)  # type: ignore[misc]  # a class, not an instance
    return {
        name: _Argument(hints.get(name, Any), parameter.default is inspect.Parameter.empty)
        for name, parameter in inspect.signature(kind).parameters.items()
    }


def _stored(part: object) -> dict[str, Any]:
    """What each argument of the constructor that made ``part`` was."""
    names = [name for name, argument in _arguments(type(part)).items() if not _is_generator(argument)]
    try:
        return {name: getattr(part, name) for name in names}
    except AttributeError as error:
        raise ConfigError(
            f"a {type(part).__name__} does not remember an argument of its constructor ({error}), so that no file can "
            "hold it; store each under its own name: self.n = n"
        ) from None


def _is_generator(argument: _Argument) -> bool:
    return argument.annotation == torch.Generator | None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, nn.ModuleList)):
        return [_plain(item) for item in value]
    return describe(value)


def _value(value: Any, argument: _Argument, parts: Parts, where: str, generator: torch.Generator | None) -> Any:
    expected = argument.annotation
    if isinstance(value, dict) and "type" in value:
        built = build(value, parts, where, generator)
    elif isinstance(value, list):
        item = _Argument(_item(expected), False)
        built = [_value(entry, item, parts, f"{where}[{i}]", generator) for i, entry in enumerate(value)]
    elif isinstance(value, dict):
        item = _Argument(_item(expected), False)
        built = {key: _value(entry, item, parts, f"{where}.{key}", generator) for key, entry in value.items()}
    elif float in _options(expected) and isinstance(value, int) and not isinstance(value, bool):
        built = float(value)
    else:
        built = value
    if isinstance(built, float) and not math.isfinite(built):
        raise ConfigError(f"{where} is {built}, but it must be a finite number")
    if not _fits(built, expected):
        shown = value["type"] if isinstance(value, dict) and "type" in value else value
        raise ConfigError(f"{where} is {_short(shown)}, but it must be {_noun(expected, parts)}")
    return built


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_NOUNS = {
    int: "a whole number", float: "a number", str: "a word", bool: "true or false",
    type(None): "null", Sequence: "a list", Mapping: "an object",
}  # fmt: skip


def _options(annotation: Any) -> Sequence[Any]:
    """The members of a union, or the annotation itself."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _item(annotation: Any) -> Any:
    """What a list, or an object with keys, meant for ``annotation`` holds."""
    held = [option for option in _options(annotation) if typing.get_origin(option) in (Sequence, Mapping)]
    return typing.get_args(held[0])[-1] if held else Any


def _fits(value: Any, annotation: Any) -> bool:
    for option in _options(annotation):
        kind = typing.get_origin(option) or option
        if kind is Any or type(value) is kind:
            return True
        if kind not in (int, float, str, bool) and isinstance(value, kind) and not isinstance(value, str):
            return True
    return False


def _noun(annotation: Any, parts: Parts) -> str:
    nouns = []
    for option in _options(annotation):
        kind = typing.get_origin(option) or option
        nouns += [_NOUNS[kind]] if kind in _NOUNS else [n for n, part in parts.items() if issubclass(part, kind)]
    return " or ".join(nouns)


def _with(config: Config, keys: list[str], value: Any, parts: Parts, setting: str) -> Config:
    key, rest = keys[0], keys[1:]
    if key == "type":
        if not isinstance(value, str) or value not in parts:
            raise ConfigError(f"--set {setting}: there is no part {value!r}{nearest(str(value), parts)}")
        kept = {name: config[name] for name in _arguments(parts[value]) if name in config}
        return {"type": value, **kept}
    known = _arguments(parts[config["type"]]) if "type" in config else config
    if key not in known:
        raise ConfigError(f"--set {setting}: there is no '{key}' here{nearest(key, known)}")
    if rest and key not in config:  # a part that was just named has not said yet what it is by default
        with torch.device("meta"):
            config = describe(build(config, parts))
    return {**config, key: _replaced(config.get(key), key, rest, value, parts, setting)}


def _replaced(old: Any, key: str, rest: list[str], value: Any, parts: Parts, setting: str) -> Any:
    """What stands at ``key``, ``old``, with ``value`` at ``rest`` in it; places in a list are counted from 0."""
    if not rest:
        return value
    if old is None:
        if rest != ["type"]:
            raise ConfigError(f"--set {setting}: '{key}' is null; give it a type first, with {key}.type=...")
        old = {}
    if isinstance(old, dict):
        return _with(old, rest, value, parts, setting)
    if not isinstance(old, list):
        raise ConfigError(f"--set {setting}: '{key}' has no parts of its own; write {key}=value")
    place, *deeper = rest
    if not place.isdigit() or int(place) >= len(old):
        raise ConfigError(f"--set {setting}: '{key}' is a list of {len(old)}; write {key}.0 to {key}.{len(old) - 1}")
    i = int(place)
    return [*old[:i], _replaced(old[i], f"{key}.{place}", deeper, value, parts, setting), *old[i + 1 :]]
