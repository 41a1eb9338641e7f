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

Rates are measured in turn with the workload, round by round, and their medians taken: on a shared machine the clock and
the memory are not the same from one minute to the next, for a floor no more than for a step. The best rates of several
tries stand at the head of the report; of the matrix products only they are known.
"""

import ctypes
import math
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from neufield.kernels.grid import GridSpec

TABLES_MB = (1, 4, 64)
COPIES_MB = (16, 256)  # both blocks together
GEMMS = {"65536x64x64": (65_536, 64, 64), "65536x256x256": (65_536, 256, 256), "4096x4096x4096": (4096, 4096, 4096)}
_LEAST, _SECONDS = 5, 0.5  # calls of each kind
Probes = Mapping[str, Callable[[], float]]


def measure(probes: Probes, note: Callable[[str], None]) -> dict[str, float]:
    """The best of each probe's rates and of PyTorch's matrix products, by name."""
    found = {}
    for name, probe in probes.items():
        note(name)
        found[name] = _best(probe)
    for dtype, kind in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
        for name, (m, k, n) in GEMMS.items():
            note(f"{kind} product {name}")
            if kind == "bf16" and found.get("torch bf16 GEMM 65536x64x64, GFLOP/s", 100.0) < 30:
                continue  # no bf16 hardware: this would take a minute
            a, b, out = torch.rand(m, k).to(dtype), torch.rand(k, n).to(dtype), torch.empty(m, n, dtype=dtype)
            rate = _rate(2e-9 * m * n * k, lambda a=a, b=b, out=out: torch.mm(a, b, out=out))
            found[f"torch {kind} GEMM {name}, GFLOP/s"] = _best(rate)
    return found


def _best(probe: Callable[[], float]) -> float:
    """The best of many short tries, after one that does not count."""
    probe()
    begin, best, tries = time.perf_counter(), 0.0, 0
    while tries < _LEAST or time.perf_counter() - begin < _SECONDS:
        best, tries = max(best, probe()), tries + 1
    return best


def _rate(amount: float, work: Callable[[], object]) -> Callable[[], float]:
    """A probe of ``amount`` units a second."""

    def probe() -> float:
        begin = time.perf_counter()
        work()
        return amount / (time.perf_counter() - begin)

    return probe


def probes(threads: int) -> Probes | str:
    """One short measurement of each rate a roofline needs: GB/s, GFLOP/s, G rows/s; or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        library = _compile(Path(folder))
    if isinstance(library, str):
        return library
    sink, rounds = torch.zeros(1, dtype=torch.int64), 2_000_000
    library.multiply_add.argtypes = (ctypes.c_int64, ctypes.c_int, ctypes.c_void_p)
    flops = 2e-9 * threads * rounds * library.multiply_add(1, threads, _pointer(sink)) * library.width()
    found = {"FMA fp32, GFLOP/s": _rate(flops, lambda: library.multiply_add(rounds, threads, _pointer(sink)))}
    source, target = torch.ones(2**25), torch.zeros(2**25)
    for size in COPIES_MB:

        def copy(half: int = size * 2**19) -> None:
            library.copy(_pointer(target), _pointer(source), ctypes.c_int64(half), threads)

        found[f"copy {size} MB, GB/s"] = _rate(2e-9 * size * 2**19, copy)
    turns = ctypes.c_int64(256)
    for size in TABLES_MB:
        table = torch.zeros(size * 2**17, 2)
        rows = ctypes.c_int64(len(table))

        def gather(table: torch.Tensor = table, rows: ctypes.c_int64 = rows) -> None:
            library.gather(_pointer(table), rows, turns, threads, _pointer(sink))

        def scatter(table: torch.Tensor = table, rows: ctypes.c_int64 = rows) -> None:
            library.scatter(_pointer(table), rows, turns, threads)

        done = 1e-9 * threads * turns.value * 2048
        found |= {f"gather {size} MB, G/s": _rate(done, gather), f"scatter {size} MB, G/s": _rate(done, scatter)}
    return found


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


def roofline(
    rates: Mapping[str, float],
    points: int,
    spec: GridSpec | None,
    macs: int,
    parameters: int,
    step: bool,
    precision: str,
) -> dict[str, float]:
    """The terms of the additive roofline and their sum, in ms; ``macs`` is the network's for one point."""
    terms = {}
    if spec is not None:
        sizes = [8 * level.size / 2**20 for level in spec.levels]
        corners = points * 2**spec.dim / 1e6
        terms["gathers"] = sum(corners / rates[f"gather {_holding(TABLES_MB, v)} MB, G/s"] for v in sizes)
        if step:
            terms["scatters"] = sum(corners / rates[f"scatter {_holding(TABLES_MB, v)} MB, G/s"] for v in sizes)
    rate = rates["FMA fp32, GFLOP/s"]
    if precision == "bf16":
        rate = max(value for name, value in rates.items() if "bf16 GEMM" in name)
    terms[f"{precision} arithmetic"] = (3 if step else 1) * 2 * macs * points / rate / 1e6
    if step:
        block = _holding(COPIES_MB, 16 * parameters / 2**20)
        terms["Adam"] = 28 * parameters / rates[f"copy {block} MB, GB/s"] / 1e6
    return terms | {"sum": math.fsum(terms.values())}


def _holding(sizes: tuple[int, ...], megabytes: float) -> int:
    """The smallest measured size that holds it, else the largest."""
    return sizes[min(int(np.searchsorted(sizes, megabytes)), len(sizes) - 1)]
