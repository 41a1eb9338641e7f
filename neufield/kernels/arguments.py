"""What the tensors of every operator must be, and the sentence where they are not, asked before a kernel sees them.

``of_grid`` and its neighbors say of each argument, by its name, what goes with a spec; every backend of every op calls
``check`` with them. Sizes and types cost nothing to look at, on any device. Numbers that are used as places in memory
(``ray_ids``) are looked at on a CPU; on CUDA that would wait for the device, and the programs reach no memory by them.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neufield.core.errors import ArgumentError, BackendError, shortened
from neufield.core.rays import Intervals
from neufield.core.torch_transforms import plain_only
from neufield.kernels.native import tiled

_CELLS = 2**31  # that an index of 32 bits reaches
FLOAT32 = (torch.float32,)
_HALVES = (torch.float32, torch.float16, torch.bfloat16)
FLOATING = (*_HALVES, torch.float64)

Size = int | str | Callable[[Mapping[str, int]], int]


class Like(NamedTuple):
    """What a tensor must be. A size is a number, a name for what is equal in all tensors of a call, or made of those.

    ``shape`` is None where any will do. An ``optional`` tensor may be missing.
    """

    shape: tuple[Size, ...] | None
    dtypes: tuple[torch.dtype, ...] = FLOAT32
    optional: bool = False


Expected = Mapping[str, Like | None]  # None: there must be none


def check(op: str, expected: Expected, **given: Tensor | None) -> dict[str, int]:
    """Refuse the first of the tensors ``given`` that is not as ``expected``; the sizes that have names.

    In fake tensors a size may be a symbol, which is left to the call with real ones.
    """
    sizes: dict[str, int] = {}
    device = None
    for name, tensor in given.items():
        like = expected[name]
        if tensor is None or like is None:
            _check_presence(op, name, like, tensor)
            continue
        if tensor.dtype not in like.dtypes:
            known = " or ".join(str(dtype) for dtype in like.dtypes)
            raise ArgumentError(
                f"{op} was given {name} in {tensor.dtype}, but it reads {known}; call {name}.to({like.dtypes[0]})"
            )
        device = device or tensor.device
        if tensor.device != device:
            raise ArgumentError(
                f"{op} was given {name} on {tensor.device}, but the tensors before it on {device}; "
                f"call {name}.to('{device}')"
            )
        if like.shape is not None and not _fits(tensor.shape, like.shape, sizes):
            wanted = ", ".join(str(_resolved(size, sizes)) for size in like.shape) + "," * (len(like.shape) == 1)
            raise ArgumentError(
                f"{op} was given {name} of shape {tuple(tensor.shape)}, but with its spec and the tensors before it "
                f"that is ({wanted}); hand on tensors that belong together"
            )
    return sizes


def converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor`` in another precision; what is no floating point stays as it is, for :func:`check` to refuse."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def decoded(make: Callable[..., Any], described: Hashable) -> Any:
    """The spec that ``make`` reads from what an operator was handed, with every number of its type."""
    try:
        return _decoded(make, described)
    except Exception as error:  # whatever a text that is none makes of a JSON reader or a constructor
        said = str(error) if isinstance(error, ValueError | TypeError) else f"{type(error).__name__}: {error}"
        shown = shortened(described)
        raise ArgumentError(f"{shown} describes no spec of an operator ({said}); hand on a spec's own") from None


def refuse_if(obstacles: Sequence[str]) -> None:
    """Refuse what a kernel cannot compute, in its own words."""
    if obstacles:
        raise BackendError(" ".join(obstacles))


def check_ray_ids(op: str, ray_ids: Tensor, n_rays: int) -> None:
    """Refuse ``ray_ids`` (S,) that are not sorted or name no ray; on a CPU only, where it takes one pass."""
    if n_rays < 0:
        raise ArgumentError(f"{op} was given n_rays {n_rays}, but there are 0 or more")
    if ray_ids.device.type != "cpu" or not len(ray_ids) or plain_only() or torch.compiler.is_compiling():
        return
    ids = ray_ids.numpy()  # whose comparison takes a fifth of torch's time
    if ids[0] < 0 or ids[-1] >= n_rays or (ids[1:] < ids[:-1]).any():
        raise ArgumentError(
            f"{op} was given ray_ids from {ids.min()} to {ids.max()} of {n_rays} rays, but they are "
            f"sorted and within 0 to {n_rays - 1}; sort intervals by ray"
        )


def check_intervals(op: str, floats: tuple[torch.dtype, ...], intervals: Intervals, **values: Tensor | None) -> None:
    """:func:`check` of ``values`` that belong to ``intervals``, in one of ``floats``, and of the intervals."""
    at = intervals
    check(op, of_composite(floats), **values, starts=at.starts, ends=at.ends, ray_ids=at.ray_ids)
    check_ray_ids(op, at.ray_ids, at.n_rays)


def check_march(
    spec: Any, origins: Tensor, directions: Tensor, near: Tensor, far: Tensor, jitter: Tensor, occupied: Tensor
) -> None:
    """:func:`check` of a march, which also refuses no cells, and more than 32 bits number."""
    rays = {"origins": origins, "directions": directions, "near": near, "far": far, "jitter": jitter}
    check("march", of_march(spec), **rays, occupied=occupied)
    check_cells("march", occupied)


def check_cells(op: str, occupied: Tensor) -> None:
    """Refuse a march through no cells, or more than 32 bits number."""
    cells = occupied.numel()
    if isinstance(cells, int) and not 0 < cells < _CELLS:
        raise ArgumentError(
            f"{op} was given occupied with {cells:,} cells, but it numbers 1 to {_CELLS - 1:,} of them; "
            "choose another resolution"
        )


@functools.lru_cache(maxsize=64)
def of_grid(spec: Any, floats: tuple[torch.dtype, ...] = FLOAT32) -> Expected:
    """Points, the table, the features' gradient, a direction."""
    points = ("N", spec.dim)
    tables = _HALVES if floats is FLOAT32 else floats
    return {
        "x": Like(points, floats),
        "table": Like((spec.n_entries, spec.n_features_per_level), tables),
        "g": Like(("N", spec.out_dim), floats),
        "v": Like(points, floats, optional=True),
    }


@functools.lru_cache(maxsize=64)
def of_field(spec: Any, floats: tuple[torch.dtype, ...] = FLOAT32) -> Expected:
    """Points or features, the grid's table, the networks' numbers, kept features, gradients, targets and weights."""
    values = Like(("N", spec.out_dim), floats)
    return {
        "x": Like(("N", spec.points_dim), floats),
        "table": None if spec.table_shape is None else Like(spec.table_shape, floats),
        "params": Like((spec.n_params,), floats),
        "features": Like((lambda sizes: tiled(sizes["N"]) * spec.in_dim if spec.table_shape else 0,), floats),
        "gy": values,
        "target": values,
        "weight": Like(("N",), floats, optional=True),
    }


@functools.lru_cache(maxsize=64)
def of_march(spec: Any) -> Expected:
    """Rays, by how much each is shifted, and which cells are occupied. Rays of any precision become float32."""
    column, rows = Like(("N",), FLOATING), Like(("N", 3), FLOATING)
    rays = {"origins": rows, "directions": rows, "near": column, "far": column, "jitter": column}
    return rays | {"occupied": Like((spec.cascades, "R", "R", "R"), (torch.bool,))}


@functools.lru_cache(maxsize=64)
def of_composite(floats: tuple[torch.dtype, ...] = FLOAT32) -> Expected:
    """Intervals along rays, the rays' sums' gradients (N rays)."""
    column, colors, sums = Like(("S",), floats), Like(("S", "C"), floats), Like(("N",), floats)
    names = ("sigma", "starts", "ends", "weights", "light")
    return dict.fromkeys(names, column) | {
        "rgb": colors,
        "ray_ids": Like(("S",), (torch.int64,)),
        "g_rgb": Like(("N", "C"), floats),
        "g_opacity": sums,
        "g_distance": sums,
        "g_weights": Like(("S",), floats, optional=True),
    }


@functools.lru_cache(maxsize=64)
def of_radiance(spec: Any) -> Expected:
    """What is known of rays, both networks' numbers, and of settled intervals what the way back needs."""
    n_seen = spec.color.in_dim - spec.geometry.out_dim - spec.degree**2
    field, column, rows, sums = of_field(spec.geometry), Like(("S",)), Like(("S", 3)), Like(("N",))
    return {
        "ray_ids": Like(("S",), (torch.int64,)),
        "starts": column,
        "x": rows,
        "features": Like((lambda sizes: tiled(sizes["S"]) * spec.geometry.in_dim,)),
        "y": Like((lambda sizes: tiled(sizes["S"]) * spec.geometry.out_dim,)),
        "colors": rows,
        "weights": column,
        "seen": Like(("N", n_seen)),
        "table": field["table"],
        "params": field["params"],
        "color_params": of_field(spec.color)["params"],
        "grgb": Like(("N", 3)),
        "gopacity": sums,
        "gdistance": sums,
        "gweights": Like(("S",), optional=True),
        **of_march(spec.march),
    }


def _fits(shape: torch.Size, wanted: tuple[Size, ...], sizes: dict[str, int]) -> bool:
    if len(shape) != len(wanted):
        return False
    for size, like in zip(shape, wanted, strict=True):
        if isinstance(like, str):
            like = sizes.setdefault(like, size)
        elif not isinstance(like, int):
            like = like(sizes)
        if size is not like and isinstance(size, int) and isinstance(like, int) and size != like:
            return False
    return True


def _resolved(size: Size, sizes: Mapping[str, int]) -> int | str:
    return sizes.get(size, size) if isinstance(size, str) else size if isinstance(size, int) else size(sizes)


def _check_presence(op: str, name: str, like: Like | None, tensor: Tensor | None) -> None:
    if tensor is not None:
        raise ArgumentError(f"{op} was given {name}, but its spec has none; leave it out")
    if like is not None and not like.optional:
        raise ArgumentError(f"{op} was given no {name}, but its spec needs one; hand it on")


@functools.lru_cache(maxsize=256)
def _decoded(make: Callable[..., Any], described: Hashable) -> Any:
    spec = make(described)
    _check_types(spec)
    return spec


def _check_types(spec: Any) -> None:
    """A text may hold anything: a dataclass' plain fields are of the types that they say."""
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if dataclasses.is_dataclass(value):
            _check_types(value)
        kinds = (int, float) if field.type is float else (field.type,)
        if field.type in (bool, int, float, str) and type(value) not in kinds:
            raise TypeError(f"{field.name} is {value!r}, but it is of type {field.type.__name__}")
