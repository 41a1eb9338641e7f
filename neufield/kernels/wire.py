"""Specs as strings, because an operator of torch.library takes nothing richer."""

import dataclasses
import functools
import json
from typing import Any


@functools.lru_cache(maxsize=256)
def to_text(spec: Any) -> str:
    """A spec as JSON, with the name of its class."""
    return json.dumps(_plain(spec))


@functools.lru_cache(maxsize=256)
def from_text(text: str, *classes: type) -> Any:
    """The spec that ``to_text`` wrote, of one of the ``classes``."""
    return _built(json.loads(text), {spec.__name__: spec for spec in classes})


def _plain(value: Any) -> Any:
    if not dataclasses.is_dataclass(value):
        return value
    return [
        type(value).__name__,
        {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)},
    ]


def _built(value: Any, classes: dict[str, type]) -> Any:
    if not isinstance(value, list):
        return value
    name, fields = value
    return classes[name](**{key: _built(part, classes) for key, part in fields.items()})
