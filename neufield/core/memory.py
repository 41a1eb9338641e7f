"""One process-wide switch, for programs to use; the library never sets it by itself."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep large freed blocks instead of returning them to the kernel; False where there is no glibc.

    PyTorch on a CPU allocates every activation anew. By default each block beyond 32 MiB at most is mapped and unmapped,
    and each of its pages faults in again at every step: training measured 1.5 to 10 times slower on the virtual machines
    we have. The price is a heap that does not shrink.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_M_TOP_PAD, 64 * 2**20))
