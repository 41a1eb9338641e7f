"""How threads wait for each other, which programs decide, and who else wants the processor."""

import os
import re
import statistics
import time
from pathlib import Path

# Turns of a loop before a waiting thread sleeps: some tens of microseconds, the length of a step's shortest parts.
_SPINS = 5000
_LOOKS, _BETWEEN = 5, 0.02  # seconds; what runs for a moment only is not seen in most of them


def wait_asleep() -> None:
    """Let OpenMP's threads soon sleep while they wait for each other, unless the user's environment says how they wait.

    By default they spin, and where another program has their core, the thread that all wait for does not get it. Asleep
    at once, they wake too late on a quiet machine. GNU's threads spin for a moment first; others' sleep
    (docs/conventions.md has what each costs). It must come before torch is loaded, and is for programs: a library does
    not change its host.
    """
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}:
        os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": str(_SPINS)}


def busy(threads: int, root: Path = Path("/")) -> str:
    """A sentence where others want more cores than ``threads`` of ours leave; "" otherwise, or where nobody knows.

    ``root`` is where the system's files lie.
    """
    cores, file = os.cpu_count(), root / "proc/stat"
    if cores is None or not file.exists():
        return ""
    counts = []
    for look in range(_LOOKS):
        time.sleep(_BETWEEN if look else 0.0)
        running = re.search(r"^procs_running (\d+)", file.read_text(), re.MULTILINE)
        counts.append(int(running[1]) - 1 if running else 0)  # but for ourselves
    others = round(statistics.median(counts))
    if others + threads <= cores:
        return ""
    are = "thread of another program wants" if others == 1 else "threads of other programs want"
    return f"the machine is busy: {others} {are} its {cores} cores too, so that steps take longer; see --threads"
