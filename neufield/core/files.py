"""Writing so that nothing is lost: beside the target first, then one rename."""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from neufield.core.errors import DataError

_PREFIX = ".neufield-"


def check_name(path: str | Path) -> None:
    """Raise DataError for a name that is not UTF-8: neither pictures' libraries nor JSON can hold one."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise DataError(f"the name {path} is not UTF-8; rename it, or give a path of other names") from None


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it onto ``path`` when the block succeeds.

    The temporary name keeps the suffix of ``path``, because image writers choose their format by it.
    A failure, a full disk included, leaves the old file as it was and raises one :class:`DataError`.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; choose another place") from None
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # after the writer, which may have made the file anew
        _sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; what was there before is untouched") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``; rename it onto ``path``, in the place of one there, when the block succeeds.

    What a killed process left beside ``path`` is removed first. A failure leaves ``path`` as it was; what the system
    refuses is one :class:`DataError`.
    """
    path = Path(os.path.abspath(path))  # "." has no name to put another beside
    beside = f"{_PREFIX}{path.name}-"
    if path.exists() and not path.is_dir():
        raise DataError(f"{path} is a file, but a folder is to be written; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(glob.escape(beside) + "new-*"):
            shutil.rmtree(stale, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=beside + "new-", dir=path.parent))
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; choose another place") from None
    before = temporary.with_name(temporary.name.replace("new-", "old-"))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            os.replace(path, before)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; what was there before is untouched") from None
    finally:
        if before.exists() and not path.exists():
            os.replace(before, path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary)`` and rename the result onto ``path``."""
    with atomic_path(path) as temporary:
        write(temporary)


def sweep_temporaries(folder: Path) -> None:
    """Remove what a killed process left of an unfinished write in ``folder``."""
    for stale in folder.glob(_PREFIX + "*"):
        if not stale.is_dir():  # of a scene that somebody is writing
            stale.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
