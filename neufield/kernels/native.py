"""The compiled CPU kernels: finding the library, and its C interface (native/neufield.h) through ctypes.

The library depends on neither Python nor torch, so one build serves every version of both. It is optional: where it
was not built, ``obstacle`` says so and PyTorch does the work.
"""

import ctypes
import functools
import logging
import os
import threading
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_char_p, c_float, c_int, c_int32, c_int64, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neufield.core.errors import BackendError, nearest
from neufield.core.torch_transforms import plain_only

_FOLDER = Path(__file__).parent
_SUFFIXES = {"nt": ".dll"}
_LIBRARY = "libneufield"
TILE = 64  # points that go through a network together; the kept features are padded to it
# The header's enumerations, by the words of specs; tests/test_native_library.py reads the header beside them.
INTERPOLATIONS = {"linear": 0, "smoothstep": 1, "nearest": 2}
ACTIVATIONS = {"none": 0, "relu": 1, "leaky_relu": 2, "silu": 3, "sine": 4}
ENCODINGS = {"features": 0, "frequency": 1, "grid": 2}
LOSSES = {"l2": 0, "l1": 1, "huber": 2, "relative_l2": 3}
PRECISIONS = {"fp32": 0, "bf16": 1}
DENSITIES = {"trunc_exp": 0, "softplus": 1, "relu": 2}
COLOR_ACTIVATIONS = {"none": 0, "sigmoid": 1}
_log = logging.getLogger("neufield")


class Level(Structure):
    """``nf_level``."""

    _fields_ = (
        ("scale", c_float),
        ("resolution", c_uint32),
        ("size", c_uint32),
        ("hashed", c_uint32),
        ("offset", c_int64),
    )


class Grid(Structure):
    """``nf_grid``."""

    _fields_ = (
        ("dim", c_int32),
        ("n_levels", c_int32),
        ("n_features", c_int32),
        ("interpolation", c_int32),
        ("n_entries", c_int64),
        ("levels", POINTER(Level)),
    )


class Encoding(Structure):
    """``nf_encoding``."""

    _fields_ = (("kind", c_int32), ("dim", c_int32), ("n_frequencies", c_int32), ("grid", POINTER(Grid)))


class Mlp(Structure):
    """``nf_mlp``."""

    _fields_ = tuple(
        (name, c_int32) for name in ("in_dim", "out_dim", "width", "hidden", "activation", "bias", "precision")
    )


class MarchSpec(Structure):
    """``nf_march_spec``."""

    _fields_ = (
        ("lower", c_float * 3),
        ("upper", c_float * 3),
        *((name, c_float) for name in ("step", "cone")),
        *((name, c_int32) for name in ("resolution", "levels", "contracted")),
    )


class Radiance(Structure):
    """``nf_radiance``."""

    _fields_ = (
        ("march", POINTER(MarchSpec)),
        ("encoding", POINTER(Encoding)),
        ("geometry", POINTER(Mlp)),
        ("color", POINTER(Mlp)),
        *((name, c_int32) for name in ("degree", "density", "color_activation")),
        *((name, c_float) for name in ("density_shift", "density_scale", "least")),
    )


_SIGNATURES = {
    "nf_grid_gather": (POINTER(Grid), c_int64, *[c_void_p] * 4, c_int),
    "nf_grid_scatter": (POINTER(Grid), c_int64, *[c_void_p] * 4, c_int),
    "nf_grid_contract": (POINTER(Grid), c_int64, *[c_void_p] * 5, c_int),
    "nf_field_forward": (POINTER(Encoding), POINTER(Mlp), c_int64, *[c_void_p] * 5, c_int),
    "nf_field_backward": (POINTER(Encoding), POINTER(Mlp), c_int64, *[c_void_p] * 8, c_int),
    "nf_field_regression": (POINTER(Encoding), POINTER(Mlp), c_int64, *[c_void_p] * 5, c_int, *[c_void_p] * 3, c_int),
    "nf_march": (POINTER(MarchSpec), c_int64, *[c_void_p] * 10, c_int),
    "nf_radiance_scout": (POINTER(Radiance), c_int64, *[c_void_p] * 8, c_int, *[POINTER(c_int64)] * 2, c_int),
    "nf_radiance_settle": (POINTER(Radiance), c_void_p, c_int64, c_int64, *[c_void_p] * 5, c_int),
    "nf_radiance_shade": (POINTER(Radiance), c_int64, c_int64, *[c_void_p] * 11, c_int),
    "nf_radiance_backward": (POINTER(Radiance), c_int64, c_int64, *[c_void_p] * 19, c_int),
    "nf_use_isa": (c_char_p,),
}


@functools.cache
def _open() -> tuple[ctypes.CDLL | None, str]:
    """The library with its signatures set, or why there is none."""
    path = _FOLDER / (_LIBRARY + _SUFFIXES.get(os.name, ".so"))
    if not path.exists():
        return None, (
            "the native kernels are not there: the package was not installed (pip install .), or no working C++"
            " compiler was found when it was"
        )
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return None, f"the native kernels could not be loaded ({error})"
    missing = [name for name in _SIGNATURES if not hasattr(library, name)]
    if missing:
        return None, f"the native kernels were built from older sources ({missing[0]} is not in them); install again"
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = c_int
    for name in ("nf_isa", "nf_isas"):
        getattr(library, name).restype = c_char_p
    library.nf_radiance_scout.restype = c_void_p
    return library, ""


_announced = threading.Event()

# In a forked child the pool of threads that our kernels share with torch's is gone, and waiting for it would never end,
# in a kernel or in the next sum of torch's: the child has one thread, as torch's own workers have. The library notices
# forks too, but only from when it was loaded.
_forked, _pooled = threading.Event(), threading.Event()


def _alone() -> None:
    _forked.set()
    if _pooled.is_set():
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)


def obstacle() -> str | None:
    """Why the native kernels cannot run here, in one sentence; None where they can. Logged once."""
    library, reason = _open()
    if library is not None:
        wanted = os.environ.get("NEUFIELD_ISA", "")
        if wanted and library.nf_isa() != wanted.encode():
            use_isa(wanted)
        return None
    if not _announced.is_set():
        _announced.set()
        _log.warning("%s; PyTorch does the work, several times slower", reason)
    return reason + "."


# What torch.compiler.assume_constant_result(obstacle) does; that function takes two seconds to import the compiler.
obstacle._dynamo_marked_constant = True  # type: ignore[attr-defined]


def machine_obstacles(device: torch.device, dtype: torch.dtype) -> list[str]:
    """What keeps every native kernel from running."""
    found = []
    if device.type != "cpu":
        found.append(f"the native kernels run on the CPU, not on {device}.")
    if dtype != torch.float32:
        found.append(f"the native kernels compute in float32, not in {str(dtype).removeprefix('torch.')}.")
    return found + [sentence for sentence in [obstacle()] if sentence] + plain_only()


def isas() -> list[str]:
    """The instruction sets that this build has and this machine can run, slowest first."""
    library, _ = _open()
    return library.nf_isas().decode().split(",") if library is not None else []


def isa() -> str:
    """The instruction set in use: the fastest, or the one that the variable NEUFIELD_ISA names."""
    return "" if obstacle() else call().nf_isa().decode()


def has_bf16() -> bool:
    """Whether the instruction set in use multiplies bfloat16 matrices in hardware."""
    return bool(call().nf_has_bf16())


def use_isa(name: str) -> None:
    """Force an instruction set, for this process."""
    if call().nf_use_isa(name.encode()):
        known = isas()
        raise BackendError(f"the instruction set '{name}' (NEUFIELD_ISA) is not to be had here{nearest(name, known)}")


def call() -> ctypes.CDLL:
    """The library itself; ``obstacle`` must have been asked."""
    library, reason = _open()
    if library is None:
        raise BackendError(reason)
    return library


def run(name: str, *arguments: object) -> None:
    """Call ``nf_<name>`` with as many threads as torch uses."""
    if getattr(call(), "nf_" + name)(*arguments, threads()):
        raise MemoryError(f"the native kernel {name} found no memory for its work space")


def threads() -> int:
    """How many threads the library may use: as many as torch does."""
    count = 1 if _forked.is_set() else torch.get_num_threads()
    if count > 1:
        _pooled.set()
    return count


def pointer(tensor: Tensor | None) -> int | None:
    """Where a contiguous tensor's numbers are."""
    return None if tensor is None or not tensor.numel() else tensor.data_ptr()


def tiled(n: Any) -> Any:
    """``n`` points, a number or torch's symbol of one, rounded up to whole tiles."""
    return (n + TILE - 1) // TILE * TILE


def gradients_asked(ctx: Any, inputs: Sequence[Tensor | None]) -> list[bool]:
    """Which gradients of an op's tensor ``inputs`` this backward pass will use.

    ``ctx.needs_input_grad`` only says which inputs require one at all: under ``autograd.grad(y, x)`` a table's gradient
    would be made for nothing. The engine knows better, through a private function; without it, everything is made.
    """
    edges = iter(ctx.next_functions)
    nodes = [None if tensor is None else next(edges)[0] for tensor in inputs]
    return [need and _will_run(node) for need, node in zip(ctx.needs_input_grad, nodes, strict=False)]


def _will_run(node: Any) -> bool:
    try:
        return torch._C._will_engine_execute_node(node)
    except (AttributeError, RuntimeError):  # no such function; or a leaf whose gradient was asked for by name
        return True
