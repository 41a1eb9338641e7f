"""The fused encoding and network as operators of torch.library, on CPU and CUDA, with their gradients.

Second derivatives, and gradients that the fused operators do not compute, are taken of the composition of the parts.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from neufield.core.errors import ArgumentError, nearest
from neufield.core.torch_transforms import plain_only
from neufield.kernels import composition, native
from neufield.kernels.arguments import Like, check, of_field, refuse_if
from neufield.kernels.field import cpu, triton
from neufield.kernels.field.reference import evaluate, fused_loss
from neufield.kernels.field.spec import REGRESSION_LOSSES, FieldSpec
from neufield.kernels.operator import Operator, Specs

Described = FieldSpec | str  # itself, or as an operator of torch.library has it
SPECS = Specs("field", FieldSpec, of_field)


def _forward(x: Tensor, table: Tensor | None, params: Tensor, keep: bool, spec: Described) -> tuple[Tensor, Tensor]:
    """The values, and with ``keep`` the grid's features for the backward pass."""
    known = SPECS.checked("forward", spec, x=x, table=table, params=params)
    features = _room_for_features(x, keep, known)
    return cpu.forward(x, table, params, features, known), features


def _forward_on_cuda(
    x: Tensor, table: Tensor | None, params: Tensor, keep: bool, spec: Described
) -> tuple[Tensor, Tensor]:
    known = SPECS.checked("forward", spec, x=x, table=table, params=params)
    refuse_if(triton.obstacles(known, x.device, params.dtype))
    features = _room_for_features(x, keep, known)
    return triton.forward(x, table, params, features, known), features


def _backward(
    x: Tensor,
    table: Tensor | None,
    params: Tensor,
    features: Tensor,
    gy: Tensor,
    want_x: bool,
    want_table: bool,
    spec: Described,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients by points, table and parameters; the first two empty where they are not wanted."""
    known = SPECS.checked("backward", spec, x=x, table=table, params=params, features=features, gy=gy)
    return cpu.backward(x, table, params, features, gy, want_x, want_table, known)


def _backward_on_cuda(
    x: Tensor,
    table: Tensor | None,
    params: Tensor,
    features: Tensor,
    gy: Tensor,
    want_x: bool,
    want_table: bool,
    spec: Described,
) -> tuple[Tensor, Tensor, Tensor]:
    known = SPECS.checked("backward", spec, x=x, table=table, params=params, features=features, gy=gy)
    refuse_if(triton.obstacles(known, x.device, params.dtype))
    return triton.backward(x, table, params, features, gy, want_x, want_table, known)


def _forward_shape(
    x: Tensor, table: Tensor | None, params: Tensor, keep: bool, spec: Described
) -> tuple[Tensor, Tensor]:
    known = SPECS.checked("forward", spec, x=x, table=table, params=params)
    return x.new_empty(x.shape[0], known.out_dim), _room_for_features(x, keep, known)


def _room_for_features(x: Tensor, keep: bool, spec: FieldSpec) -> Tensor:
    return x.new_empty(native.tiled(x.shape[0]) * spec.in_dim if keep and spec.table_shape else 0)


def _backward_shape(
    x: Tensor,
    table: Tensor | None,
    params: Tensor,
    features: Tensor,
    gy: Tensor,
    want_x: bool,
    want_table: bool,
    spec: Described,
) -> tuple[Tensor, Tensor, Tensor]:
    SPECS.checked("backward", spec, x=x, table=table, params=params, features=features, gy=gy)
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
    if again or not ctx.kept or plain_only():
        spec = SPECS.known(ctx.spec)
        found = composition.gradients(
            lambda x, t, p: (evaluate(x, t, p, spec),), (x, table, params), asked, (gy,), again
        )
        return *found, None, None
    found = BACKWARD(x, table, params, features, gy, asked[0], asked[1], ctx.spec)
    return (*[gradient if ask else None for gradient, ask in zip(found, asked, strict=True)], None, None)


FORWARD = Operator(
    "field_forward",
    "(Tensor x, Tensor? table, Tensor params, bool keep, str spec) -> (Tensor, Tensor)",
    cpu=_forward,
    cuda=_forward_on_cuda,
    fake=_forward_shape,
    written=SPECS.text,
    setup=_setup,
    gradients=_gradients,
)
BACKWARD = Operator(
    "field_backward",
    "(Tensor x, Tensor? table, Tensor params, Tensor features, Tensor gy, bool want_x, bool want_table, "
    "str spec) -> (Tensor, Tensor, Tensor)",
    cpu=_backward,
    cuda=_backward_on_cuda,
    fake=_backward_shape,
    written=SPECS.text,
)


def _checked_regression(
    x: Tensor, table: Tensor | None, params: Tensor, target: Tensor, weight: Tensor | None, loss: str, spec: Described
) -> FieldSpec:
    if loss not in REGRESSION_LOSSES:
        raise ArgumentError(f"field_regression knows no loss {loss[:40]!r}{nearest(loss[:40], REGRESSION_LOSSES)}")
    return SPECS.checked("regression", spec, x=x, table=table, params=params, target=target, weight=weight)


def _regression(
    x: Tensor, table: Tensor | None, params: Tensor, target: Tensor, weight: Tensor | None, loss: str, spec: Described
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss, the per-point error, and the loss's gradients by table (empty where there is none) and parameters."""
    known = _checked_regression(x, table, params, target, weight, loss, spec)
    return cpu.regression(x, table, params, target, weight, loss, known)


def _regression_on_cuda(
    x: Tensor, table: Tensor | None, params: Tensor, target: Tensor, weight: Tensor | None, loss: str, spec: Described
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    known = _checked_regression(x, table, params, target, weight, loss, spec)
    refuse_if(triton.obstacles(known, x.device, params.dtype))
    return triton.regression(x, table, params, target, weight, loss, known)


def _regression_shape(
    x: Tensor, table: Tensor | None, params: Tensor, target: Tensor, weight: Tensor | None, loss: str, spec: Described
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _checked_regression(x, table, params, target, weight, loss, spec)
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
    if again or not ctx.gradients or any((asked[0], *asked[3:])) or plain_only():
        compared = functools.partial(fused_loss, loss=ctx.loss, spec=SPECS.known(ctx.spec))
        found = composition.gradients(compared, inputs, asked, (scale, None), again)
        return *found, None, None
    by_params, by_table = ctx.gradients.pop(), ctx.gradients.pop()
    if scale.device.type == "cuda":  # whether it is 1 nobody can see here without waiting for the device
        for gradient in (by_params, by_table):
            torch.ops.neufield.field_rescale(gradient, scale)
    elif scale != 1:
        by_params, by_table = by_params * scale, by_table * scale
    return None, by_table if asked[1] else None, by_params if asked[2] else None, None, None, None, None


REGRESSION = Operator(
    "field_regression",
    "(Tensor x, Tensor? table, Tensor params, Tensor target, Tensor? weight, str loss, str spec) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    cpu=_regression,
    cuda=_regression_on_cuda,
    fake=_regression_shape,
    written=SPECS.text,
    setup=_setup_regression,
    gradients=_regression_gradients,
)


def _check_rescale(numbers: Tensor, scale: Tensor) -> None:
    check("field_rescale", {"numbers": Like(None), "scale": Like(())}, numbers=numbers, scale=scale)
    if not numbers.is_contiguous():
        raise ArgumentError("field_rescale was given numbers with gaps between them; call numbers.contiguous()")


@torch.library.custom_op("neufield::field_rescale", mutates_args=("numbers",), device_types="cuda")
def _rescale(numbers: Tensor, scale: Tensor) -> None:
    """``numbers`` times ``scale`` (one number, mostly 1), in place."""
    _check_rescale(numbers, scale)
    triton.rescale(numbers, scale)


@_rescale.register_fake
def _rescale_shape(numbers: Tensor, scale: Tensor) -> None:
    _check_rescale(numbers, scale)
