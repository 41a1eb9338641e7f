"""The operators of :mod:`.operators` by the native library, on a CPU; see native/mlp.hpp for how."""

import ctypes
import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from neufield.kernels import native
from neufield.kernels.arguments import refuse_if
from neufield.kernels.field.spec import HIDDEN_ACTIVATIONS, FieldSpec
from neufield.kernels.grid import cpu as grid_cpu

_WIDEST, _DEEPEST = 256, 8


def obstacles(spec: FieldSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
    """What keeps the native network from running: another device or type, no library, a network it does not know."""
    found = native.machine_obstacles(device, dtype) + limits(spec)
    if spec.precision == "bf16" and not found and not native.has_bf16():
        found.append("bfloat16 needs a CPU with AMX or AVX512-BF16.")
    return found


def limits(spec: FieldSpec) -> list[str]:
    """What the native network does not know of ``spec``, on any machine."""
    found = []
    if spec.activation not in HIDDEN_ACTIVATIONS:
        found.append(f"the fused network knows {', '.join(HIDDEN_ACTIVATIONS)}, not '{spec.activation}'.")
    if max(spec.width, spec.out_dim) > _WIDEST or spec.n_hidden_layers > _DEEPEST or spec.in_dim > 4 * _WIDEST:
        found.append(f"the fused network is at most {_WIDEST} wide and {_DEEPEST} hidden layers deep.")
    if spec.precision not in native.PRECISIONS:
        found.append(f"the native kernels multiply in {' or '.join(native.PRECISIONS)}, not in {spec.precision}.")
    return found


# By the kind of what stands before the network, the rest of its structure: the number of frequencies, the grid.
_REST: Mapping[str, Callable[[Any], tuple[int, Any]]] = {
    "features": lambda _: (0, None),
    "frequency": lambda encoding: (encoding.n_frequencies, None),
    "grid": lambda encoding: (0, ctypes.pointer(grid_cpu.structure(encoding))),
}


@functools.lru_cache(maxsize=64)
def structures(spec: FieldSpec) -> tuple[native.Encoding, native.Mlp]:
    """A spec as the C library reads it."""
    encoding = native.Encoding(native.ENCODINGS[spec.kind], spec.points_dim, *_REST[spec.kind](spec.encoding))
    return encoding, native.Mlp(
        spec.in_dim,
        spec.out_dim,
        spec.width,
        spec.n_hidden_layers,
        native.ACTIVATIONS[spec.activation],
        spec.bias,
        native.PRECISIONS[spec.precision],
    )


def forward(x: Tensor, table: Tensor | None, params: Tensor, features: Tensor, spec: FieldSpec) -> Tensor:
    """``neufield::field_forward``: the values; ``features`` are filled, unless they are empty."""
    refuse_if(native.machine_obstacles(x.device, params.dtype) + limits(spec))
    y = x.new_empty(len(x), spec.out_dim)
    encoding, mlp = map(ctypes.byref, structures(spec))
    inputs = [None if t is None else t.contiguous() for t in (x, table, params)]
    native.run("field_forward", encoding, mlp, len(x), *map(native.pointer, [*inputs, features, y]))
    return y


def backward(
    x: Tensor,
    table: Tensor | None,
    params: Tensor,
    features: Tensor,
    gy: Tensor,
    want_x: bool,
    want_table: bool,
    spec: FieldSpec,
) -> tuple[Tensor, Tensor, Tensor]:
    """``neufield::field_backward``: the gradients by points, table and parameters; empty where not wanted."""
    refuse_if(native.machine_obstacles(x.device, params.dtype) + limits(spec))
    entries = table.shape if want_table and table is not None else (0,)
    outputs = x.new_empty(x.shape if want_x else (0,)), x.new_empty(entries), params.new_empty(params.shape)
    encoding, mlp = map(ctypes.byref, structures(spec))
    inputs = [None if t is None else t.contiguous() for t in (x, table, params, features, gy)]
    native.run("field_backward", encoding, mlp, len(x), *map(native.pointer, [*inputs, *outputs]))
    return outputs


def regression(
    x: Tensor, table: Tensor | None, params: Tensor, target: Tensor, weight: Tensor | None, loss: str, spec: FieldSpec
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``neufield::field_regression``: the loss, the error, and the loss's gradients by table and parameters."""
    refuse_if(native.machine_obstacles(x.device, params.dtype) + limits(spec))
    error, by_table = x.new_empty(len(x)), x.new_empty((0,) if table is None else table.shape)
    outputs = error, by_table, params.new_empty(params.shape)
    encoding, mlp = map(ctypes.byref, structures(spec))
    inputs = [None if t is None else t.contiguous() for t in (x, table, params, target, weight)]
    native.run(
        "field_regression",
        encoding,
        mlp,
        len(x),
        *map(native.pointer, inputs),
        native.LOSSES[loss],
        *map(native.pointer, outputs),
    )
    return (error if weight is None else error * weight).mean(), *outputs
