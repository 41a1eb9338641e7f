"""A JSON object of tiny-cuda-nn's, read key by key, with a sentence for each key that is not tcnn's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from neufield.core.errors import ConfigError, nearest, shortened

# By a default's type: what JSON may give for it, and what that is called.
_KINDS: Mapping[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((float, int), "a number"),
    str: ((str,), "a word"),
    list: ((list,), "a list"),
}


class Keys:
    """A JSON object whose keys are taken one by one; ``done`` refuses what nobody took."""

    def __init__(self, config: Any, where: str) -> None:
        if not isinstance(config, Mapping):
            raise ConfigError(f'{where} is {config!r}, but it must be a JSON object such as {{"otype": ...}}')
        self.left = dict(config)
        self.known: list[str] = []
        self.where = where

    def take(self, key: str, default: Any) -> Any:
        """The value of ``key``, which must be of the kind of ``default``, or ``default``.

        Numbers may be NumPy's, and whole ones floating point, as clients compute them.
        """
        self.known.append(key)
        value = _plain(self.left.pop(key, default))
        if type(default) is int:
            value = whole(value)
        kinds, called = _KINDS.get(type(default), ((object,), ""))
        if called and type(value) not in kinds:
            raise ConfigError(f"{self.where}.{key} is {shortened(value)}, but it must be {called}, such as {default!r}")
        return value

    def refuse_unless(self, key: str, allowed: Any) -> None:
        """Accept ``key`` only with the one value that means what we compute."""
        self.known.append(key)
        value = _plain(self.left.pop(key, allowed))
        if value != allowed and str(value).lower() != str(allowed).lower():
            place = f"{self.where}.{key}"
            raise ConfigError(f"{place} is {value!r}, which neufield does not have; remove it or use {allowed!r}")

    def done(self) -> None:
        """Raise if a key is left."""
        for key in self.left:
            raise ConfigError(f"{self.where} has an unknown key '{key}'{nearest(key, self.known)}")


def _plain(value: Any) -> Any:
    """A single number of NumPy or torch as Python's; anything else as it is."""
    single = isinstance(value, np.generic | np.ndarray | torch.Tensor) and value.ndim == 0
    return value.item() if single else value


def whole(value: Any) -> Any:
    """A floating-point number that is whole as an integer; anything else as it is."""
    value = _plain(value)
    return int(value) if type(value) is float and value.is_integer() else value


def lookup(name: Any, table: Mapping[str, Any], where: str) -> Any:
    """What ``table`` has under ``name``, whatever its case."""
    if str(name).lower() not in table:
        raise ConfigError(f"{where} is {name!r}, which neufield does not have{nearest(str(name).lower(), table)}")
    return table[str(name).lower()]
