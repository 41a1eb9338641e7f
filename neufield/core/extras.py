"""Packages that not everybody needs: imported when they are used, and missed in one sentence."""

import importlib
import importlib.util
from types import ModuleType

from neufield.core.errors import BackendError


def extra(module: str, name: str, purpose: str) -> ModuleType:
    """Import ``module``, which neufield's extra ``name`` installs; ``purpose`` begins the sentence when it is missing.

    Raises BackendError that names the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == module
        problem = "which is not installed" if absent else f"which cannot be loaded ({str(error).splitlines()[0]})"
        raise BackendError(f'{purpose} needs {module}, {problem}; pip install "neufield[{name}]"') from None


def available(module: str) -> bool:
    """Whether ``module`` is installed; it is not imported."""
    return importlib.util.find_spec(module) is not None
