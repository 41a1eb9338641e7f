"""Typed changes of what ``core.config.describe`` says of a part."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from neufield.core.config import Config, Parts, arguments_of, build, describe, nearest_part, plain, with_room
from neufield.core.errors import ConfigError, nearest
from neufield.core.json_files import one_line


@dataclasses.dataclass(frozen=True)
class Edit:
    """A ``value`` for the argument at ``path``, such as ``Edit("encoding.n_levels", 8)``.

    The parts of a list are named by their place ("encoding.encodings.0.n_bins"), a part's class by "type". The value
    may be a part. ``origin`` is what errors call the edit, by default "path=value".
    """

    path: str
    value: Any
    origin: str = ""

    def __str__(self) -> str:
        """The edit in one line, as the shell takes it."""
        return f"{self.path}={one_line(plain(self.value))}"


def edit(config: Config, path: str, value: Any, parts: Parts) -> Config:
    """``config`` with ``value`` at ``path``; what was given is left as it is."""
    return edited(config, [Edit(path, value)], parts)


def edited(config: Config, edits: Sequence[Edit], parts: Parts) -> Config:
    """``config`` with ``edits``, one after another. Raises ConfigError naming the edit that fits nothing."""
    for change in edits:
        value = _in_full(plain(change.value), parts)
        config = _Change(value, change.origin or str(change), parts).within(config, change.path.split("."))
    return config


def _in_full(value: Any, parts: Parts) -> Any:
    """``value``, in which parts may be named without their rooms, with the names that files have."""
    if isinstance(value, list):
        return [_in_full(item, parts) for item in value]
    if isinstance(value, dict):
        rest = {key: _in_full(item, parts) for key, item in value.items()}
        return rest | ({"type": with_room(rest["type"], parts)} if isinstance(rest.get("type"), str) else {})
    return value


@dataclasses.dataclass(frozen=True)
class _Change:
    """A ``value`` on its way to its place; errors call it ``name``."""

    value: Any
    name: str
    parts: Parts

    def within(self, config: Config, keys: Sequence[str]) -> Config:
        """The described part ``config`` with the value at ``keys`` in it."""
        key, *rest = keys
        if key == "type":
            return self._retyped(config)
        known = arguments_of(self.parts[config["type"]]) if "type" in config else config
        if key not in known:
            raise self._error(f"there is no '{key}' here{nearest(key, known)}")
        if rest and key not in config:  # a part that was just named has not said yet what it is by default
            with torch.device("meta"):
                config = describe(build(config, self.parts))
        return {**config, key: self._instead(config.get(key), key, rest)}

    def _retyped(self, config: Config) -> Config:
        """``config`` as a part of another class, which keeps the arguments that both have."""
        name = with_room(self.value, self.parts) if isinstance(self.value, str) else ""
        if name not in self.parts:
            raise self._error(f"there is no part {self.value!r}{nearest_part(str(self.value), self.parts)}")
        kept = {key: config[key] for key in arguments_of(self.parts[name]) if key in config}
        return {"type": name, **kept}

    def _instead(self, old: Any, key: str, rest: Sequence[str]) -> Any:
        """What stands at ``key`` instead of ``old``; places in a list are counted from 0."""
        if not rest:
            return self.value
        if old is None:
            if rest != ["type"]:
                raise self._error(f"'{key}' is null; give it a type first, with {key}.type=...")
            old = {}
        if isinstance(old, dict):
            return self.within(old, rest)
        if not isinstance(old, list):
            raise self._error(f"'{key}' has no parts of its own; write {key}=value")
        place, *deeper = rest
        if not place.isdigit() or int(place) >= len(old):
            raise self._error(f"'{key}' is a list of {len(old)}; write {key}.0 to {key}.{len(old) - 1}")
        i = int(place)
        return [*old[:i], self._instead(old[i], f"{key}.{place}", deeper), *old[i + 1 :]]

    def _error(self, reason: str) -> ConfigError:
        return ConfigError(f"{self.name}: {reason}")
