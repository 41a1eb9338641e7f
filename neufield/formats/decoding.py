"""The one door through which files are decoded: whatever a library raises or prints becomes one sentence of ours."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from neufield.core.errors import DataError, NeufieldError

_DAMAGED, _ADVICE = "damaged or truncated", "get a fresh copy of the file"
_LONGEST = 160  # of a library's complaint within our sentence, in characters
# File descriptors belong to the whole process: change one only while holding this.
_LOCK = threading.RLock()


@contextlib.contextmanager
def decoding(path: Path, verdict: str = _DAMAGED, advice: str = _ADVICE) -> Iterator[None]:
    """Raise any exception of the block as one DataError: ``path`` is ``verdict``; ``advice``. Ours pass as they are.

    Decoders fail in their own ways (struct.error, RecursionError, zlib.error, SystemError ...), and not even their own
    documentation lists them.
    """
    try:
        yield
    except NeufieldError:
        raise
    except MemoryError:
        raise DataError(
            f"{path} asks for more memory than there is; check that it is not damaged, or close other programs"
        ) from None
    except OSError as problem:
        if problem.errno is None:  # the decoder's own complaint, not the system's
            raise damaged(path, problem, verdict, advice) from None
        raise DataError(f"cannot read {path}: {problem.strerror or problem}; check it and its permissions") from None
    except Exception as problem:
        raise damaged(path, problem, verdict, advice) from None


def damaged(path: Path, problem: object, verdict: str = _DAMAGED, advice: str = _ADVICE) -> DataError:
    """The error for a file that stops making sense; ``problem`` is the decoder's own complaint."""
    return DataError(f"{path} is {verdict} ({first_line(problem)}); {advice}")


def first_line(problem: object) -> str:
    """A library's complaint, cut down to a clause that fits inside one of our sentences."""
    line = (str(problem).strip().splitlines() or ["no reason given"])[0]
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    line = line.strip().rstrip(".").replace(". ", ", ")
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."


@contextlib.contextmanager
def quiet(descriptor: int = 2) -> Iterator[None]:
    """Keep off the terminal what C libraries (libtiff, libpng) write to it themselves, past Python.

    The process's standard error, or output (1), goes nowhere meanwhile, that of other threads too, so this is for
    decoders known to write there. What Python holds back is written out before, so that nothing of it is lost.
    """
    with _LOCK, open(os.devnull, "wb") as nowhere:
        with contextlib.suppress(AttributeError, ValueError):  # it is None, or closed
            (sys.stdout if descriptor == 1 else sys.stderr).flush()
        try:
            before = os.dup(descriptor)
        except OSError:  # nothing is printed where there is no terminal
            yield
            return
        os.dup2(nowhere.fileno(), descriptor)
        try:
            yield
        finally:
            os.dup2(before, descriptor)
            os.close(before)
