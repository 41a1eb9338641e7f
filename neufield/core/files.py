"""Writing so that nothing is lost: beside the target first, then one rename."""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from neufield.core.errors import DataError
from neufield.core.locks import Lock, holder_of

_log = logging.getLogger("neufield")
_PREFIX, _LOCK = ".neufield-", ".lock"


def check_name(path: str | Path) -> None:
    """Raise DataError for a name that is not UTF-8: neither pictures' libraries nor JSON can hold one."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise DataError(f"the name {path} is not UTF-8; rename it, or give a path of other names") from None


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path near ``path``; rename it onto ``path`` when the block succeeds.

    The temporary file has the name of ``path``, because image writers choose their format by its suffix.
    A failure, a full disk included, leaves the old file as it was and raises one :class:`DataError`.
    """
    path = Path(path)
    with _room_for(path) as room:
        temporary = room / path.name
        try:
            temporary.touch()
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # after the writer, which may have made the file anew
            _sync(temporary)
            os.replace(temporary, path)
        except OSError as error:
            raise _not_written(path, error) from None


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new folder; rename it onto ``path``, in the place of one there, when the block succeeds.

    A failure leaves ``path`` as it was; what the system refuses, and a folder that another process is writing just
    now, is one :class:`DataError`.
    """
    path = Path(os.path.abspath(path))  # "." has no name to put another beside
    before = path.with_name(f".{path.name}.before")
    if path.exists() and not path.is_dir():
        raise DataError(f"{path} is a file, but a folder is to be written; choose another name")
    with _room_for(path) as room, locked(path.with_name(f".{path.name}.lock"), path):
        temporary = room / path.name
        try:
            _bring_back(path, before)
            temporary.mkdir()
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            if path.exists():
                os.replace(path, before)
            os.replace(temporary, path)
        except OSError as error:
            raise _not_written(path, error) from None
        finally:
            _bring_back(path, before)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make ``folder``, keep other processes that fill whole folders out of it, and remove what killed ones left.

    Raises DataError where it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror or error}; choose another folder") from None
    with locked(folder / f"{_PREFIX}lock", folder):
        sweep_temporaries(folder)
        yield


@contextlib.contextmanager
def locked(lock: Path, what: Path) -> Iterator[None]:
    """Keep others out of ``what`` by the file ``lock``, or raise DataError where another process holds it.

    A file system that knows no locks is a line in the log.
    """
    try:
        taken = Lock.take(lock)
    except OSError as error:
        raise DataError(f"cannot write {what}: {error.strerror or error}; choose another place") from None
    if taken is None:
        raise DataError(
            f"another neufield ({holder_of(lock)}) is writing {what}; wait for its end, or give another --out"
        )
    if not taken.works:
        _log.warning("%s lies on a file system without locks: let one neufield at a time write there", what)
    try:
        yield
    finally:
        taken.release()


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary)`` and rename the result onto ``path``."""
    with atomic_path(path) as temporary:
        write(temporary)


def sweep_temporaries(folder: Path) -> None:
    """Remove what killed processes left of unfinished writes in ``folder``; those of living ones are locked."""
    for room in folder.glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):  # it vanished, or is not ours to remove
            lock = Lock.take(room / _LOCK)
            if lock is not None and lock.works:
                shutil.rmtree(room, ignore_errors=True)
            if lock is not None:
                lock.release()


@contextlib.contextmanager
def _room_for(path: Path) -> Iterator[Path]:
    """A locked folder beside ``path`` for what is not whole yet; what killed processes left of theirs is removed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_temporaries(path.parent)
        room, lock = _locked_room(path.parent)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; choose another place") from None
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
        lock.release()


def _locked_room(parent: Path) -> tuple[Path, Lock]:
    while True:
        room = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with contextlib.suppress(FileNotFoundError):  # swept by another process before we had locked it
            lock = Lock.take(room / _LOCK)
            if lock is not None:
                return room, lock


def _bring_back(path: Path, before: Path) -> None:
    """Undo or finish what a failure, or a kill, left between the two renames."""
    if before.exists() and not path.exists():
        os.replace(before, path)
    shutil.rmtree(before, ignore_errors=True)


def _not_written(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot write {path}: {error.strerror or error}; what was there before is untouched")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
