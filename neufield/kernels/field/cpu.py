"""Encoding and network in one native op, forward and backward; see native/mlp.hpp for how."""

import ctypes
import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neufield.kernels import native
from neufield.kernels.field.losses import REGRESSION_LOSSES
from neufield.kernels.field.reference import evaluate, regress
from neufield.kernels.field.spec import HIDDEN_ACTIVATIONS, FieldKernel, FieldSpec, FrequencySpec
from neufield.kernels.grid import cpu as grid_cpu

_WIDEST, _DEEPEST = 256, 8


class CpuField(FieldKernel):
    """``evaluate`` in C++, float32 on a CPU. Second derivatives are taken of the composition of the parts."""

    name = "cpu"
    # Sums of up to 256 products in float32, through up to 8 layers; measured 1e-7 to 6e-7 relative against float64.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 3e-6}

    def obstacles(self, spec: FieldSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """A CPU, float32, a library that was built, a network that it knows."""
        found = grid_cpu.machine_obstacles(device, dtype)
        if spec.activation not in HIDDEN_ACTIVATIONS:
            found.append(f"the fused network knows {', '.join(HIDDEN_ACTIVATIONS)}, not '{spec.activation}'.")
        if max(spec.width, spec.out_dim) > _WIDEST or spec.n_hidden_layers > _DEEPEST or spec.in_dim > 4 * _WIDEST:
            found.append(f"the fused network is at most {_WIDEST} wide and {_DEEPEST} hidden layers deep.")
        if spec.precision == "bf16" and not found and not native.has_bf16():
            found.append("bfloat16 needs a CPU with AMX or AVX512-BF16.")
        return found

    def evaluate(self, x: Tensor, table: Tensor | None, params: Tensor, spec: FieldSpec) -> Tensor:
        """Points or features ``x (N, .)`` -> ``(N, out_dim)``; the arguments are those of ``reference.evaluate``."""
        keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, table, params))
        return torch.ops.neufield.field_forward(x.to(params.dtype), table, params, keep, spec.text)[0]

    def regress(
        self,
        x: Tensor,
        table: Tensor | None,
        params: Tensor,
        target: Tensor,
        weight: Tensor | None,
        loss: str,
        spec: FieldSpec,
    ) -> tuple[Tensor, Tensor]:
        """As ``reference.regress``; the gradients are computed with the loss, in one pass through the network."""
        x, target = x.to(params.dtype), target.to(params.dtype)
        weight = None if weight is None else weight.to(params.dtype)
        total, error, *_ = torch.ops.neufield.field_regression(x, table, params, target, weight, loss, spec.text)
        return total, error


@functools.lru_cache(maxsize=64)
def structures(spec: FieldSpec) -> tuple[native.Front, native.Mlp]:
    """A spec as the C library reads it."""
    front = native.Front(native.FEATURES, spec.in_dim, 0, None)
    if isinstance(spec.front, FrequencySpec):
        front = native.Front(native.FREQUENCY, spec.front.dim, spec.front.n_frequencies, None)
    elif spec.front is not None:
        front = native.Front(native.GRID, spec.front.dim, 0, ctypes.pointer(grid_cpu.structure(spec.front)))
    activation = HIDDEN_ACTIVATIONS.index(spec.activation)
    precision = {"fp32": native.FP32, "bf16": native.BF16}[spec.precision]
    return front, native.Mlp(
        spec.in_dim, spec.out_dim, spec.width, spec.n_hidden_layers, activation, spec.bias, precision
    )


@torch.library.custom_op(
    "neufield::field_forward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor? table, Tensor params, bool keep, str spec) -> (Tensor, Tensor)",
)
def _forward(x: Tensor, table: Tensor | None, params: Tensor, keep: bool, spec: str) -> tuple[Tensor, Tensor]:
    """The values, and with ``keep`` the grid's features for the backward pass."""
    y, features = _forward_shape(x, table, params, keep, spec)
    front, mlp = map(ctypes.byref, structures(FieldSpec.from_text(spec)))
    inputs = [None if t is None else t.contiguous() for t in (x, table, params)]
    native.run("field_forward", front, mlp, len(x), *map(native.pointer, [*inputs, features, y]))
    return y, features


@torch.library.custom_op(
    "neufield::field_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor? table, Tensor params, Tensor features, Tensor gy, bool want_x, bool want_table, "
    "str spec) -> (Tensor, Tensor, Tensor)",
)
def _backward(
    x: Tensor,
    table: Tensor | None,
    params: Tensor,
    features: Tensor,
    gy: Tensor,
    want_x: bool,
    want_table: bool,
    spec: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients by points, table and parameters; the first two empty where they are not wanted."""
    outputs = _backward_shape(x, table, params, features, gy, want_x, want_table, spec)
    front, mlp = map(ctypes.byref, structures(FieldSpec.from_text(spec)))
    inputs = [None if t is None else t.contiguous() for t in (x, table, params, features, gy)]
    native.run("field_backward", front, mlp, len(x), *map(native.pointer, [*inputs, *outputs]))
    return outputs


@_forward.register_fake
def _forward_shape(x: Tensor, table: Tensor | None, params: Tensor, keep: bool, spec: str) -> tuple[Tensor, Tensor]:
    del table, params
    decoded = FieldSpec.from_text(spec)
    tiled = keep and decoded.front is not None and not isinstance(decoded.front, FrequencySpec)
    padded = (x.shape[0] + native.TILE - 1) // native.TILE * native.TILE
    return x.new_empty(x.shape[0], decoded.out_dim), x.new_empty(padded * decoded.in_dim if tiled else 0)


@_backward.register_fake
def _backward_shape(
    x: Tensor,
    table: Tensor | None,
    params: Tensor,
    features: Tensor,
    gy: Tensor,
    want_x: bool,
    want_table: bool,
    spec: str,
) -> tuple[Tensor, Tensor, Tensor]:
    del features, gy, spec
    entries = table.shape if want_table and table is not None else (0,)
    return x.new_empty(x.shape if want_x else (0,)), x.new_empty(entries), params.new_empty(params.shape)


def _setup(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    x, table, params, ctx.kept, spec = inputs
    ctx.set_materialize_grads(False)  # the features' would be zeros, as large as they are
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, table, params, output[1])
    ctx.spec = spec


def _gradients(ctx: Any, gy: Tensor, _: None):
    x, table, params, features = ctx.saved_tensors
    asked = native.gradients_asked(ctx, (x, table, params))
    again = torch.is_grad_enabled()  # somebody will differentiate the gradients
    if again or not ctx.kept:
        with torch.enable_grad():
            wanted = [t for t, ask in zip((x, table, params), asked, strict=True) if ask]
            y = evaluate(x, table, params, FieldSpec.from_text(ctx.spec))
            found = iter(torch.autograd.grad(y, wanted, gy, create_graph=again))
        return (*[next(found) if ask else None for ask in asked], None, None)
    found = torch.ops.neufield.field_backward(x, table, params, features, gy, asked[0], asked[1], ctx.spec)
    return (*[gradient if ask else None for gradient, ask in zip(found, asked, strict=True)], None, None)


_forward.register_autograd(_gradients, setup_context=_setup)


@torch.library.custom_op(
    "neufield::field_regression",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor? table, Tensor params, Tensor target, Tensor? weight, str loss, str spec) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
)
def _regression(
    x: Tensor, table: Tensor | None, params: Tensor, target: Tensor, weight: Tensor | None, loss: str, spec: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss, the per-point error, and the loss's gradients by table (empty where there is none) and parameters."""
    _, *outputs = _regression_shape(x, table, params, target, weight, loss, spec)
    front, mlp = map(ctypes.byref, structures(FieldSpec.from_text(spec)))
    inputs = [None if t is None else t.contiguous() for t in (x, table, params, target, weight)]
    kind = list(REGRESSION_LOSSES).index(loss)
    native.run(
        "field_regression", front, mlp, len(x), *map(native.pointer, inputs), kind, *map(native.pointer, outputs)
    )
    error = outputs[0]
    return (error if weight is None else error * weight).mean(), *outputs


@_regression.register_fake
def _regression_shape(
    x: Tensor, table: Tensor | None, params: Tensor, target: Tensor, weight: Tensor | None, loss: str, spec: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    del target, weight, loss, spec
    by_table = x.new_empty((0,) if table is None else table.shape)
    return x.new_empty(()), x.new_empty(x.shape[0]), by_table, params.new_empty(params.shape)


def _setup_regression(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(*inputs[:5])
    ctx.loss, ctx.spec = inputs[5:]
    # Not saved but handed on, once: a saved tensor would be copied when it becomes a parameter's gradient.
    ctx.gradients = list(output[2:])


def _regression_gradients(ctx: Any, scale: Tensor, *_: None):
    inputs = ctx.saved_tensors
    asked = native.gradients_asked(ctx, inputs)
    again = torch.is_grad_enabled()  # somebody will differentiate the gradients
    if again or not ctx.gradients or any((asked[0], *asked[3:])):
        with torch.enable_grad():
            x, table, params, target, weight = inputs
            total, _unused = regress(x, table, params, target, weight, ctx.loss, FieldSpec.from_text(ctx.spec))
            wanted = [t for t, ask in zip(inputs, asked, strict=True) if ask]
            found = iter(torch.autograd.grad(total, wanted, scale, create_graph=again))
        return (*[next(found) if ask else None for ask in asked], None, None)
    by_params, by_table = ctx.gradients.pop(), ctx.gradients.pop()
    if scale != 1:
        by_params, by_table = by_params * scale, by_table * scale
    return None, by_table if asked[1] else None, by_params if asked[2] else None, None, None, None, None


_regression.register_autograd(_regression_gradients, setup_context=_setup_regression)
