"""Names of a room that load when they are first used, and which package to install where one lacks."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from neufield.core.errors import BackendError

_PIP = {"PIL": "pillow", "OpenImageIO": "OpenImageIO"}


def load_name(room: str, names: Mapping[str, Sequence[str]], name: str) -> Any:
    """What ``room`` calls ``name``: ``names`` says by module what each defines.

    Raises AttributeError for no name of the room, and BackendError where a package that its module needs is missing.
    """
    module = next((module for module, defined in names.items() if name in defined), None)
    if module is None:
        raise AttributeError(f"module '{room}' has no attribute '{name}'")
    try:
        return getattr(importlib.import_module(f"{room}.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name not in _PIP:
            raise
        short = room.rpartition(".")[2]
        raise BackendError(
            f"{short}.{name} needs {error.name}, which is not installed; pip install {_PIP[error.name]}"
        ) from None
