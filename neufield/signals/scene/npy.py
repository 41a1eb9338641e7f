"""NumPy files without pickles: data that could run code is refused."""

import zipfile
from pathlib import Path

import numpy as np

from neufield.core.errors import DataError


def load_array(path: Path) -> np.ndarray:
    """The float64 array in an .npy file."""
    try:
        with path.open("rb") as file:  # np.load leaves the file open where it fails
            return np.asarray(np.load(file), np.float64)
    except (OSError, ValueError, EOFError, TypeError) as problem:
        raise _unreadable(path, problem) from None


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays in an .npz file."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as problem:
        raise _unreadable(path, problem) from None


def _unreadable(path: Path, problem: Exception) -> DataError:
    if "pickle" in str(problem).lower():
        return DataError(f"{path} holds Python objects or is no NumPy file; save plain arrays of numbers instead")
    reason = str(problem).splitlines()[0].rstrip(".") if str(problem) else type(problem).__name__
    return DataError(f"{path} is not a NumPy file that can be read ({reason}); get a fresh copy of it")
