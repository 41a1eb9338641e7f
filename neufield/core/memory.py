"""One process-wide switch, for programs to use; the library never sets it by itself."""

import ctypes
import sys

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
