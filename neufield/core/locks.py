"""Locks on files, which end with the process that holds them, killed or not: none is ever stale."""

import contextlib
import errno
import os
import socket
from pathlib import Path

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class Lock:
    """The lock of the file ``path``, which is there only while somebody holds it, or was killed holding it.

    ``works`` is False on file systems that know no locks: nobody is kept out then.
    """

    def __init__(self, path: Path, handle: int, works: bool) -> None:
        self.path = path
        self.handle = handle
        self.works = works

    @classmethod
    def take(cls, path: Path) -> "Lock | None":
        """Make the file and lock it; None where another process, or another lock of this one, holds it.

        Raises OSError where the file cannot be made.
        """
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            works = fcntl is not None
            try:
                if fcntl is not None:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in _HELD:
                    os.close(handle)
                    return None
                works = False
            if _is_at(handle, path):  # and not one that its holder removed while we opened it
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return cls(path, handle, works)
            os.close(handle)

    def release(self) -> None:
        """Let others have it."""
        with contextlib.suppress(OSError):  # its folder may be gone
            self.path.unlink()
        os.close(self.handle)


def holder_of(path: Path) -> str:
    """Who holds the lock of ``path``, in words."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") or "another process"
    except OSError:
        return "another process"


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
