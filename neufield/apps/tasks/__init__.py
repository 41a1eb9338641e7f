"""The kinds of signals that the commands know: every file here, or in a folder put on this room's path, has some."""

import importlib
import pkgutil
from pathlib import Path

from neufield.apps.tasks.task import Kind, Report, Subject, Task, Wish
from neufield.core.errors import DataError, nearest
from neufield.core.signal_info import SignalInfo

__all__ = ["Kind", "Report", "Subject", "Task", "Wish", "kind_of_field", "kind_of_file", "kinds"]

_FALLBACK = "image"  # whose reader says what is wrong with a file that is of no kind


def kinds() -> dict[str, Kind]:
    """All of them by name: what each file here calls ``KINDS``."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return {kind.name: kind for module in modules for kind in getattr(module, "KINDS", ())}


def kind_of_file(path: Path) -> Kind:
    """Which kind of signal the file or folder is."""
    known = kinds()
    return next((kind for kind in known.values() if kind.accepts(path)), known[_FALLBACK])


def kind_of_field(info: SignalInfo, path: Path) -> Kind:
    """Which kind of signal the field in ``path`` represents."""
    known = kinds()
    if info.kind not in known:
        raise DataError(
            f"{path} holds a field of a signal of kind '{info.kind}', which this neufield does not know"
            f"{nearest(info.kind, known)}"
        )
    return known[info.kind]
