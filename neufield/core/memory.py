"""How much memory there is, what to say when it ends, and a process-wide switch that only programs set."""

import ctypes
import os
import re
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep large freed blocks instead of returning them to the kernel; False without glibc.

    PyTorch on a CPU allocates every activation anew. By default large blocks (beyond 128 KiB at first, never more than
    32 MiB) are mapped and unmapped, and each of their pages faults in again at every step. How much that costs depends
    on the machine: a step measured up to ten times slower on a small virtual one. The price: the heap never shrinks.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_M_TOP_PAD, 64 * 2**20))


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process can still take without swapping, or None where the system does not say.

    What the kernel has available, or less where a container has a limit of its own (control groups 2 and 1). ``root``
    is where the system's files lie.
    """
    info = root / "proc/meminfo"
    if not info.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if sys.platform == "darwin" else None
    free = 1024 * _number(info, "MemAvailable")
    groups = root / "sys/fs/cgroup"
    for limit, used, cache in (
        (groups / "memory.max", groups / "memory.current", "inactive_file"),
        (groups / "memory/memory.limit_in_bytes", groups / "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        if limit.exists() and used.exists() and limit.read_text().strip() != "max":
            taken = int(used.read_text()) - _number(used.with_name("memory.stat"), cache)  # files can be read again
            free = min(free, max(0, int(limit.read_text()) - taken))
    return free


def explain_exhaustion(error: BaseException) -> str | None:
    """The sentence for an allocation that failed, in Python, NumPy or torch; None for any other error."""
    text = str(error)
    known = ("can't allocate memory", "not enough memory", "out of memory", "size calculation overflowed")
    if not isinstance(error, MemoryError) and not any(words in text for words in known):
        return None
    asked = re.search(r"tried to allocate (\d+) bytes", text)
    more = f" for another {int(asked[1]) / 1e9:,.1f} GB" if asked else ""
    return (
        f"the memory does not suffice{more}; take a smaller --resolution or --set recipe.batch_size, or close other "
        "programs (a run goes on from its last save with --resume)"
    )


def _number(file: Path, key: str) -> int:
    """The number behind ``key`` in a file of lines; 0 where there is none."""
    found = re.search(rf"^{key}:?\s+(\d+)", file.read_text(), re.MULTILINE) if file.exists() else None
    return int(found[1]) if found else 0
