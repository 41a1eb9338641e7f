"""Flags that a kind of signal has no use for are refused, not ignored."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from neufield.core.errors import ConfigError


def refuse(options: Any, flags: type, what: str, of: str, but: Sequence[str] = ()) -> None:
    """Raise ConfigError where one of ``flags``, a set of them, was given in ``options``: they are for signals ``of``.

    ``what`` says what was given instead: "photo.png is a picture". A flag at its default counts as not given.
    """
    if not isinstance(options, flags):
        return
    for field in dataclasses.fields(flags):
        if field.name not in but and getattr(options, field.name) != _default(type(options), field.name):
            flag = f"--{field.name.replace('_', '-')}"
            raise ConfigError(f"{what}, but {flag} is for {of}; leave it out")


def _default(options: type, name: str) -> Any:
    return next(field.default for field in dataclasses.fields(options) if field.name == name)
