"""What the launches of the grid's Triton programs are given: sizes of blocks, what is compiled in, records of levels.

Those who launch (:mod:`.triton`, :mod:`.sorted_sum`) and the programs' own ``variants()``, which are compiled without a
launch, both read it here.
"""

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neufield.functional.grid_levels import PRIMES, GridLevel
from neufield.kernels.grid.spec import GridSpec

_SECTOR = 8  # float32 numbers in 32 bytes, the least that a GPU writes
CONTRIBUTIONS = 512  # of a program that finds rows or shares: four for each of 128 threads
RUN = 1024  # of a program that adds up: 2 of 1024 are handed on, so that two or three passes do
RUN_WARPS = 8  # of that program, so that a thread holds four rows while they are added up


@functools.lru_cache(maxsize=64)
def levels(spec: GridSpec, device: torch.device) -> Tensor:
    """The records (n_levels, 8) that programs read; cell_programs.py says what is in them."""
    records = np.array([_record(level) for level in spec.levels], dtype=np.uint32)
    with torch.inference_mode(False):
        return torch.from_numpy(records.view(np.int32)).to(device)


def _record(level: GridLevel) -> list[int]:
    steps = [PRIMES[axis] if level.hashed else level.resolution**axis % 2**32 for axis in (1, 2, 3)]
    scale = int(np.float32(level.scale).view(np.uint32))
    reciprocal = min(2**32 // level.size, 2**32 - 1)  # of 1 it does not fit, and one less does as well
    return [scale, *steps, level.size, reciprocal, level.offset, int(level.hashed)]


def hashed(spec: GridSpec) -> str:
    """Which levels are hashed: "none", "all" or "some"."""
    found = {level.hashed for level in spec.levels}
    return "some" if len(found) == 2 else "all" if True in found else "none"


def constants(spec: GridSpec) -> dict[str, Any]:
    """What the device functions have compiled in."""
    return {
        "DIM": spec.dim,
        "F": spec.n_features_per_level,
        "INTERPOLATION": spec.interpolation,
        "HASHED": hashed(spec),
    }


def shape(spec: GridSpec) -> dict[str, int]:
    """GROUP and BLOCK of a program: levels, and points.

    Four warps with two (point, level) each for a thread: in 3-D with two features 16 rows are on their way at a time.
    One each where corners are many or rows long, for the sake of registers.
    """
    group = max(1, _SECTOR // spec.n_features_per_level)
    pairs = 256 if 2**spec.dim * spec.n_features_per_level <= 16 else 128
    return {"GROUP": group, "BLOCK": pairs // group}
