"""The grid encoding as three operators of torch.library that are each other's derivatives, on CPU and CUDA.

``gather``, ``scatter`` and ``contract`` are the derivatives of the trilinear form of :mod:`.reference`; with a
direction ``v (N, dim)`` the corner weights w are replaced by their derivative along v. The three are then closed under
differentiation up to the Hessian: every second derivative is one of them. The derivatives of a Hessian-vector product
by anything but its direction, third order, are left to the reference.
"""

from typing import Any

import torch
from torch import Tensor

from neufield.core.torch_transforms import plain_only
from neufield.kernels import composition, native
from neufield.kernels.arguments import of_grid, refuse_if
from neufield.kernels.grid import cpu, trilinear, triton
from neufield.kernels.grid.spec import GridSpec
from neufield.kernels.operator import Specs

_TRITON = triton.TritonGrid()
SPECS = Specs("grid", GridSpec, of_grid)


@torch.library.custom_op(
    "neufield::grid_gather",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor table, Tensor? v, str spec) -> Tensor",
)
def _gather(x: Tensor, table: Tensor, v: Tensor | None, spec: str) -> Tensor:
    known = SPECS.checked("gather", spec, x=x, table=table, v=v)
    return cpu.gather(x, table, v, known)


@_gather.register_kernel("cuda")
def _gather_on_cuda(x: Tensor, table: Tensor, v: Tensor | None, spec: str) -> Tensor:
    known = SPECS.checked("gather", spec, x=x, table=table, v=v)
    refuse_if(_TRITON.obstacles(known, x.device, table.dtype))
    return triton.gather(x, table, v, known)


@torch.library.custom_op(
    "neufield::grid_scatter",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor g, Tensor? v, str spec) -> Tensor",
)
def _scatter(x: Tensor, g: Tensor, v: Tensor | None, spec: str) -> Tensor:
    known = SPECS.checked("scatter", spec, x=x, g=g, v=v)
    return cpu.scatter(x, g, v, known)


@_scatter.register_kernel("cuda")
def _scatter_on_cuda(x: Tensor, g: Tensor, v: Tensor | None, spec: str) -> Tensor:
    known = SPECS.checked("scatter", spec, x=x, g=g, v=v)
    refuse_if(_TRITON.obstacles(known, x.device, g.dtype))
    return triton.scatter(x, g, v, known)


@torch.library.custom_op(
    "neufield::grid_contract",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor table, Tensor g, Tensor? v, str spec) -> Tensor",
)
def _contract(x: Tensor, table: Tensor, g: Tensor, v: Tensor | None, spec: str) -> Tensor:
    known = SPECS.checked("contract", spec, x=x, table=table, g=g, v=v)
    return cpu.contract(x, table, g, v, known)


@_contract.register_kernel("cuda")
def _contract_on_cuda(x: Tensor, table: Tensor, g: Tensor, v: Tensor | None, spec: str) -> Tensor:
    known = SPECS.checked("contract", spec, x=x, table=table, g=g, v=v)
    refuse_if(_TRITON.obstacles(known, x.device, table.dtype))
    return triton.contract(x, table, g, v, known)


@_gather.register_fake
def _gather_shape(x: Tensor, table: Tensor, v: Tensor | None, spec: str) -> Tensor:
    return x.new_empty(x.shape[0], SPECS.checked("gather", spec, x=x, table=table, v=v).out_dim)


@_scatter.register_fake
def _scatter_shape(x: Tensor, g: Tensor, v: Tensor | None, spec: str) -> Tensor:
    known = SPECS.checked("scatter", spec, x=x, g=g, v=v)
    return x.new_empty(known.n_entries, known.n_features_per_level)


@_contract.register_fake
def _contract_shape(x: Tensor, table: Tensor, g: Tensor, v: Tensor | None, spec: str) -> Tensor:
    SPECS.checked("contract", spec, x=x, table=table, g=g, v=v)
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _keep(tensors: int):
    """A setup_context that saves the op's first ``tensors`` arguments and its spec."""

    def setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs[:tensors])
        ctx.spec = inputs[tensors]

    return setup


def _if_asked(ctx: Any, inputs: Any, h: Tensor, by_definition: Any, *makers: Any) -> tuple[Tensor | None, ...]:
    """The gradients of the op's ``inputs``, each by its maker; by definition where one has none.

    So, too, where the graph was made before, and is now gone through under a transform.
    """
    asked = native.gradients_asked(ctx, inputs)
    if plain_only() or any(ask and make is None for make, ask in zip(makers, asked, strict=True)):
        spec, again = GridSpec.from_text(ctx.spec), torch.is_grad_enabled()
        return *composition.gradients(lambda *t: (by_definition(*t, spec),), inputs, asked, (h,), again), None
    return *[make() if ask else None for make, ask in zip(makers, asked, strict=True)], None


# Saved tensors are unpacked once, since what was checkpointed is computed anew for it.
def _gather_backward(ctx: Any, h: Tensor):
    (x, table, v), spec, op = ctx.saved_tensors, ctx.spec, torch.ops.neufield
    return _if_asked(
        ctx,
        (x, table, v),
        h,
        trilinear.gather,
        lambda: op.grid_contract(x, table, h, v, spec),
        lambda: op.grid_scatter(x, h, v, spec),
        lambda: op.grid_contract(x, table, h, None, spec),
    )


def _scatter_backward(ctx: Any, h: Tensor):
    (x, g, v), spec, op = ctx.saved_tensors, ctx.spec, torch.ops.neufield
    return _if_asked(
        ctx,
        (x, g, v),
        h,
        trilinear.scatter,
        lambda: op.grid_contract(x, h, g, v, spec),
        lambda: op.grid_gather(x, h, v, spec),
        lambda: op.grid_contract(x, h, g, None, spec),
    )


def _contract_backward(ctx: Any, h: Tensor):
    (x, table, g, v), spec, op = ctx.saved_tensors, ctx.spec, torch.ops.neufield
    inputs = (x, table, g, v)
    if v is not None:  # a Hessian times v: symmetric, so that of its derivatives only that by v is one of the three
        return _if_asked(
            ctx, inputs, h, trilinear.contract, None, None, None, lambda: op.grid_contract(x, table, g, h, spec)
        )
    return _if_asked(
        ctx,
        inputs,
        h,
        trilinear.contract,
        lambda: op.grid_contract(x, table, g, h, spec),
        lambda: op.grid_scatter(x, g, h, spec),
        lambda: op.grid_gather(x, table, h, spec),
        lambda: None,
    )


_gather.register_autograd(_gather_backward, setup_context=_keep(3))
_scatter.register_autograd(_scatter_backward, setup_context=_keep(3))
_contract.register_autograd(_contract_backward, setup_context=_keep(4))
