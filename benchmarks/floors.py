"""What this machine can do at best, and the time that a workload cannot do without: its additive roofline.

The roofline of specs/cpu_kernels.md, section 1, adds up what a step does, without overlap of memory and arithmetic:

    forward = G + F          step = G + S + 3 F + A

- G, gathers: points * 2^dim random 8-byte rows of each level, at the gather rate of the smallest measured table
  (1, 4, 64 MB) that holds the level: levels are done one at a time.
- S, scatters: as many additions to random rows, at the scatter rate of the same table, each thread in its own part.
- F, arithmetic: 2 FLOP a multiply-add of the network's products at the peak of fp32 multiply-adds, or at the best
  measured bf16 product rate for bf16; the backward pass does them twice more. Nothing for activations or recomputing.
- A, Adam: 28 bytes a parameter (reads parameter, gradient and two moments, writes three) at the rate of a copy
  whose two blocks are the smallest measured (16, 256 MB) that hold the state of 16 bytes a parameter.

Rates are the best of several tries in all threads; they err towards a faster machine, and so a harder floor.
"""

import ctypes
import math
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from neufield.kernels.grid import GridSpec

TABLES_MB = (1, 4, 64)
COPIES_MB = (16, 256)  # both blocks together
GEMMS = {"65536x64x64": (65_536, 64, 64), "65536x256x256": (65_536, 256, 256), "4096x4096x4096": (4096, 4096, 4096)}
_LEAST, _SECONDS = 5, 0.5  # calls of each kind


def measure(threads: int, note: Callable[[str], None]) -> dict[str, float | str]:
    """All floors by name: GB/s, GFLOP/s, G rows/s. Without a compiler only PyTorch's, and "missing" says why."""
    found: dict[str, float | str] = {}
    source, target = torch.ones(2**26), torch.zeros(2**26)
    note("copying")
    found["torch copy_ 256 MB, GB/s"] = 2 * 2**28 / _best(lambda: target.copy_(source)) / 1e9
    for dtype, kind in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
        for name, (m, k, n) in GEMMS.items():
            note(f"{kind} product {name}")
            if kind == "bf16" and found.get("torch bf16 GEMM 65536x64x64, GFLOP/s", 100.0) < 30:
                continue  # no bf16 hardware: this would take a minute
            a, b, out = torch.rand(m, k).to(dtype), torch.rand(k, n).to(dtype), torch.empty(m, n, dtype=dtype)
            seconds = _best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out))
            found[f"torch {kind} GEMM {name}, GFLOP/s"] = 2 * m * n * k / seconds / 1e9
    note("compiling floors.cpp")
    with tempfile.TemporaryDirectory() as folder:
        library = _compile(Path(folder))
        if isinstance(library, str):
            return found | {"missing": library}
        note("multiply-adds")
        found["FMA fp32, GFLOP/s"] = _multiply_add_rate(library, threads)
        for size in COPIES_MB:
            note(f"copying {size} MB")
            half = size * 2**19
            ends = _pointer(target), _pointer(source), ctypes.c_int64(half)
            seconds = min(_best(lambda n=n, ends=ends: library.copy(*ends, n)) for n in {1, threads})
            found[f"copy {size} MB, GB/s"] = 2 * half / seconds / 1e9
        for size in TABLES_MB:
            note(f"random rows of {size} MB")
            found[f"gather {size} MB, G/s"], found[f"scatter {size} MB, G/s"] = _random_rates(library, size, threads)
    return found


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of many short calls, after one that does not count."""
    work()
    times: list[float] = []
    while len(times) < _LEAST or sum(times) < _SECONDS:
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def _compile(folder: Path) -> ctypes.CDLL | str:
    """floors.cpp as a library, or why there is none."""
    compiler = next(filter(shutil.which, ("g++", "c++", "clang++")), None)
    if compiler is None:
        return "no C++ compiler (g++, c++, clang++) was found"
    native = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    out = folder / "floors.so"
    flags = ["-O3", native, "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC"]
    command = [compiler, *flags, str(Path(__file__).with_name("floors.cpp")), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"floors.cpp did not compile: {done.stderr.strip()[-300:]}"
    library = ctypes.CDLL(str(out))
    library.width.restype = library.multiply_add.restype = ctypes.c_int64
    return library


def _pointer(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _multiply_add_rate(library: ctypes.CDLL, threads: int) -> float:
    sink, rounds = torch.zeros(1), 20_000_000
    library.multiply_add.argtypes = (ctypes.c_int64, ctypes.c_int, ctypes.c_void_p)
    chains = library.multiply_add(1, threads, _pointer(sink))
    seconds = _best(lambda: library.multiply_add(rounds, threads, _pointer(sink)))
    return 2 * threads * rounds * chains * library.width() / seconds / 1e9


def _random_rates(library: ctypes.CDLL, size_mb: int, threads: int) -> tuple[float, float]:
    rows, turns = size_mb * 2**17, 2048
    table, sink = torch.zeros(rows, 2), torch.zeros(1, dtype=torch.int64)
    common = (ctypes.c_int64(rows), ctypes.c_int64(turns), threads)
    read = _best(lambda: library.gather(_pointer(table), *common, _pointer(sink)))
    add = _best(lambda: library.scatter(_pointer(table), *common))
    count = threads * turns * 2048 / 1e9
    return count / read, count / add


def roofline(
    floors: dict[str, float | str],
    points: int,
    spec: GridSpec | None,
    macs: int,
    parameters: int,
    step: bool,
    precision: str,
) -> dict[str, float] | None:
    """The terms of the additive roofline and their sum, in ms; ``macs`` is the network's for one point."""
    if "missing" in floors:
        return None
    terms = {}
    if spec is not None:
        sizes = [8 * level.size / 2**20 for level in spec.levels]
        corners = points * 2**spec.dim / 1e6
        terms["gathers"] = sum(corners / float(floors[f"gather {_holding(TABLES_MB, v)} MB, G/s"]) for v in sizes)
        if step:
            terms["scatters"] = sum(corners / float(floors[f"scatter {_holding(TABLES_MB, v)} MB, G/s"]) for v in sizes)
    rate = float(floors["FMA fp32, GFLOP/s"])
    if precision == "bf16":
        rate = max(float(value) for name, value in floors.items() if "bf16 GEMM" in name)
    terms[f"{precision} arithmetic"] = (3 if step else 1) * 2 * macs * points / rate / 1e6
    if step:
        block = _holding(COPIES_MB, 16 * parameters / 2**20)
        terms["Adam"] = 28 * parameters / float(floors[f"copy {block} MB, GB/s"]) / 1e6
    return terms | {"sum": math.fsum(terms.values())}


def _holding(sizes: tuple[int, ...], megabytes: float) -> int:
    """The smallest measured size that holds it, else the largest."""
    return sizes[min(int(np.searchsorted(sizes, megabytes)), len(sizes) - 1)]
