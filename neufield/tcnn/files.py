"""A tiny-cuda-nn config's file, laid over its parents."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neufield.core.errors import ConfigError
from neufield.core.json_files import read_json

_MOST_PARENTS = 16


def read_config(path: Path, children: Sequence[Path] = ()) -> Mapping[str, Any]:
    """The config in a file, laid over its parent's, and that over its own; ``children`` are the files that led here."""
    config = read_json(path, "a tiny-cuda-nn JSON config").values
    if "parent" not in config:
        return config
    parent = config["parent"]
    if not isinstance(parent, str) or not parent:
        raise ConfigError(f"{path}: 'parent' is {parent!r}, but the name of a JSON config beside it was expected")
    above = path.parent / parent
    if len(children) >= _MOST_PARENTS or above.resolve() in {child.resolve() for child in (*children, path)}:
        raise ConfigError(f"{path}: 'parent' {parent} leads back to itself or on without end; name another config")
    patch = {key: value for key, value in config.items() if key != "parent"}
    return _patched(read_config(above, (*children, path)), patch)


def _patched(below: Any, patch: Any) -> Any:
    """JSON ``below`` with ``patch`` laid over it (RFC 7396): objects key by key, null takes a key away."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(below) if isinstance(below, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _patched(result.get(key), value)
    return result


def without_parent(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """``config``, which has no file beside which a parent could lie."""
    if "parent" in config:
        raise ConfigError("config has a 'parent', which is a file beside its own; give the path of the file instead")
    return config
