"""Vector units held down: numpy, torch and the native kernels as on a processor with none that they choose among.

As a program it runs Python so: ``python tests/held_down.py -m pytest tests/test_grid.py``.
"""

import os
import sys

import numpy as np


def environment() -> dict[str, str]:
    """The variables that hold them down; each library reads its own when it is loaded."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])  # numpy warns of names it does not know
    return {
        "NPY_DISABLE_CPU_FEATURES": " ".join(found),
        "ATEN_CPU_CAPABILITY": "default",
        "NEUFIELD_ISA": "portable",
    }


if __name__ == "__main__":
    os.execve(sys.executable, [sys.executable, *sys.argv[1:]], os.environ | environment())
