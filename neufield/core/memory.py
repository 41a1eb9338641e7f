"""How much memory there is, what may be taken of it, what to say when it ends, and a switch that only programs set."""

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from neufield.core.errors import ConfigError, DataError

BUDGET = "NEUFIELD_MEMORY_BUDGET"  # of the environment, so that worker processes have it too; --memory-budget sets it
_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
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


def parse_bytes(text: str) -> int:
    """The bytes that ``text`` names: "6GB", "800 MB", or a number of bytes."""
    found = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([kmgt]?b|)\s*", text.lower())
    if found is None or not float(found[1]):
        raise ConfigError(f"{text!r} is not an amount of memory; write, for instance, 6GB or 800MB")
    return int(float(found[1]) * _UNITS["" if found[2] == "b" else found[2]])


def memory_budget() -> tuple[int | None, str]:
    """The bytes that may be taken, None where nobody knows, and the clause that says so, with {} for the amount."""
    own = os.environ.get(BUDGET)
    if own:
        return parse_bytes(own), "the memory budget allows {}"
    return free_memory(), "{} of memory are free"


def allowed_memory() -> int | None:
    """The bytes that may be taken: what is free, or what the user allows; None where nobody knows."""
    return memory_budget()[0]


@contextlib.contextmanager
def budget_of(text: str | None) -> Iterator[None]:
    """Inside the block the memory budget is ``text``, such as "6GB"; None leaves it as it is."""
    if text is None:
        yield
        return
    parse_bytes(text)
    before = os.environ.get(BUDGET)
    os.environ[BUDGET] = text
    try:
        yield
    finally:
        del os.environ[BUDGET]
        if before is not None:
            os.environ[BUDGET] = before


def check_budget(needed: int, what: str, advice: str) -> None:
    """Refuse ``what`` with a DataError before it is built or decoded if its ``needed`` bytes are beyond the budget.

    The budget is what the machine has free, or what ``--memory-budget`` says, be it less or more. ``needed`` is
    reckoned from a description, such as the size in a picture's header; ``advice`` says what to do instead.
    """
    allowed, clause = memory_budget()
    if allowed is not None and needed > allowed:
        more, free = "", free_memory()
        if free is None or needed <= free:  # no budget makes memory that is not there
            more = f", or allow more with --memory-budget {_amount(needed).replace(' ', '')}"
        raise DataError(f"{what} needs {_amount(needed)}, but {clause.format(_amount(allowed))}; {advice}{more}")


def _amount(count: int) -> str:
    """Bytes, rounded up to a tenth of their unit."""
    unit = next((unit for unit in ("TB", "GB", "MB") if count >= _UNITS[unit.lower()]), "kB")
    tenths = -(-count * 10 // _UNITS[unit.lower()])
    return f"{tenths // 10}.{tenths % 10} {unit}"


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
