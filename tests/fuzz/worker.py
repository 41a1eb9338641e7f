"""The process that reads spoilt files: it may crash, hang or eat memory, which ``fuzz.py`` watches from outside."""

import contextlib
import os
import re
import resource
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

_ROOM = 3 << 30  # bytes beyond what the imports took: what wants more gets a MemoryError, and is found by it


def serve(pipe: Connection, stderr: str) -> None:
    """Answer each (reader, folder, file) with (verdict, words, kB before, kB more); see ``fuzz.py`` for verdicts."""
    handle = os.open(stderr, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
    os.dup2(handle, 2)  # what libraries in C say, too
    os.environ["OMP_NUM_THREADS"] = "1"
    from readers import READERS

    from neufield.core.errors import NeufieldError

    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + _ROOM, resource.RLIM_INFINITY))
    os.environ["NEUFIELD_MEMORY_BUDGET"] = "500MB"
    pipe.send("ready")
    while True:
        reader, folder, file = pipe.recv()
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _peak()
        try:
            with contextlib.redirect_stdout(None):
                READERS[reader](Path(folder), Path(file))
            verdict, words = "read", ""
        except NeufieldError as error:
            words = str(error)
            verdict = "refused" if _is_sentence(words) else "no sentence"
        except BaseException as error:
            verdict, words = f"traceback {type(error).__name__}", traceback.format_exc()
        noise = Path(stderr).read_bytes()
        if noise and verdict in ("read", "refused"):
            verdict, words = "noise", noise.decode(errors="replace")
        pipe.send((verdict, words, before, _peak() - before))


def _is_sentence(words: str) -> bool:
    try:
        words.encode()
    except UnicodeEncodeError:
        return False
    return bool(words) and "\n" not in words and len(words) < 2000 and "Traceback" not in words


def _peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0
