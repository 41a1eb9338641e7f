"""Objects to JSON and back: how a field's construction is written into its file (and edited: ``core.edits``).

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

from neufield.core.errors import ConfigError, nearest, shortened
from neufield.core.memory import explain_exhaustion

Config = dict[str, Any]
Parts = Mapping[str, type]


def describe(part: object) -> Config:
    """The constructor call that makes ``part``, as JSON-able data with the class's :func:`part_name` under "type"."""
    return {"type": part_name(type(part)), **{name: plain(value) for name, value in _stored(part).items()}}


def part_name(kind: type) -> str:
    """The name of a class in files, with its room: "encodings.Grid"; "own.Mine" where it is not neufield's."""
    package, _, inside = kind.__module__.partition(".")
    return f"{inside.partition('.')[0] if package == 'neufield' else 'own'}.{kind.__name__}"


def without_room(name: str) -> str:
    """``Grid`` of "encodings.Grid"."""
    return name.rpartition(".")[2]


def with_room(name: str, parts: Parts) -> str:
    """The name in files of the part that a person calls ``name``, with its room or, where it is the only one, without.

    What is no part's name is returned as it is. Raises ConfigError where several rooms have one.
    """
    found = [name] if "." in name else [known for known in parts if without_room(known) == name]
    if len(found) > 1:
        raise ConfigError(f"there are {' and '.join(sorted(found))}; write one of these instead of {name}")
    return found[0] if found else name


def nearest_part(name: str, parts: Parts) -> str:
    """A clause about the part whose name is nearest to ``name``, which may lack the room."""
    return nearest(name, parts if "." in name else {without_room(known) for known in parts})


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
            f"{where} is {shortened(config)}, but it must be a part such as {{'type': '{next(iter(parts))}', ...}}"
        )
    kind: Any = config.get("type")
    if not isinstance(kind, str) or kind not in parts:
        meant = with_room(str(kind), parts)
        near = f"; did you mean '{meant}'?" if meant != str(kind) else nearest_part(str(kind), parts)
        raise ConfigError(f"{where}.type is {shortened(kind)}, which is not a part we know{near}")
    known, called = arguments_of(parts[kind]), without_room(kind)
    random = {name: generator for name, argument in known.items() if _is_generator(argument)}
    known = {name: argument for name, argument in known.items() if name not in random}
    for key in config:
        if key != "type" and key not in known:
            raise ConfigError(f"{where} ({called}) has no option '{key}'{nearest(key, known)}")
    arguments = {
        key: _value(value, known[key], parts, f"{where}.{key}", generator)
        for key, value in config.items()
        if key != "type"
    }
    missing = [key for key, argument in known.items() if argument.required and key not in arguments]
    if missing:
        raise ConfigError(f"{where} ({called}) lacks '{missing[0]}'; add {missing[0]}=...")
    try:
        return parts[kind](**arguments, **random)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where} ({called}): {error}") from None
    except (ArithmeticError, AssertionError, LookupError, RuntimeError) as error:  # of numbers beyond all measure
        if explain_exhaustion(error):
            raise
        raise ConfigError(f"{where} ({called}) cannot be built of these numbers: {_first_line(error)}") from error


class Argument(typing.NamedTuple):
    """What a constructor says of one of its arguments."""

    annotation: Any
    required: bool


def arguments_of(kind: type) -> dict[str, Argument]:
    """The arguments of ``kind``'s constructor, by name."""
    hints = typing.get_type_hints(kind.__init__)  # type: ignore[misc]  # a class, not an instance
    return {
        name: Argument(hints.get(name, Any), parameter.default is inspect.Parameter.empty)
        for name, parameter in inspect.signature(kind).parameters.items()
    }


def _stored(part: object) -> dict[str, Any]:
    """What each argument of the constructor that made ``part`` was."""
    names = [name for name, argument in arguments_of(type(part)).items() if not _is_generator(argument)]
    try:
        return {name: getattr(part, name) for name in names}
    except AttributeError as error:
        raise ConfigError(
            f"a {type(part).__name__} does not remember an argument of its constructor ({error}), so that no file can "
            "hold it; store each under its own name: self.n = n"
        ) from None


def _is_generator(argument: Argument) -> bool:
    return argument.annotation == torch.Generator | None


def plain(value: Any) -> Any:
    """``value``, which may hold parts, as JSON-able data."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, nn.ModuleList)):
        return [plain(item) for item in value]
    if inspect.isroutine(value):
        raise ConfigError(
            f"the function {value.__name__} was given as an argument, and no file can hold one; to save this part, "
            "make it a class whose arguments are numbers, texts and other parts"
        )
    return describe(value)


def _value(value: Any, argument: Argument, parts: Parts, where: str, generator: torch.Generator | None) -> Any:
    expected = argument.annotation
    if isinstance(value, dict) and "type" in value:
        built = build(value, parts, where, generator)
    elif isinstance(value, list):
        item = Argument(_item(expected), False)
        built = [_value(entry, item, parts, f"{where}[{i}]", generator) for i, entry in enumerate(value)]
    elif isinstance(value, dict):
        item = Argument(_item(expected), False)
        built = {key: _value(entry, item, parts, f"{where}.{key}", generator) for key, entry in value.items()}
    elif float in _options(expected) and isinstance(value, int) and not isinstance(value, bool):
        built = float(value)
    else:
        built = value
    if isinstance(built, float) and not math.isfinite(built):
        raise ConfigError(f"{where} is {built}, but it must be a finite number")
    if not _fits(built, expected):
        shown = without_room(value["type"]) if isinstance(value, dict) and "type" in value else value
        raise ConfigError(f"{where} is {shortened(shown)}, but it must be {_noun(expected, parts)}")
    return built


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
        nouns += (
            [_NOUNS[kind]]
            if kind in _NOUNS
            else [without_room(name) for name, part in parts.items() if issubclass(part, kind)]
        )
    return " or ".join(nouns)
