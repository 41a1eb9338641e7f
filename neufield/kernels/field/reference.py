"""Encoding and network as the composition of their parts, in PyTorch: differentiable any number of times."""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from neufield.functional.activations import ACTIVATE
from neufield.functional.positional import positional_encoding
from neufield.kernels import grid
from neufield.kernels.arguments import FLOATING, check, of_field
from neufield.kernels.dispatch import select
from neufield.kernels.field.spec import REGRESSION_LOSSES, FieldSpec


def _encode_grid(x: Tensor, table: Tensor, spec: grid.GridSpec, backend: str) -> Tensor:
    return select("grid", grid.KERNELS, spec, x.device, table.dtype, backend).encode(x, table, spec)


# By the kind of what stands before the network: points, table, spec, the grid's backend -> features.
_ENCODE: Mapping[str, Callable[..., Tensor]] = {
    "features": lambda x, *_: x,
    "frequency": lambda x, _, spec, __: positional_encoding(x, spec.n_frequencies),
    "grid": _encode_grid,
}


def evaluate(x: Tensor, table: Tensor | None, params: Tensor, spec: FieldSpec, grid_backend: str = "auto") -> Tensor:
    """Points or features ``x (N, .)`` -> ``(N, out_dim)``.

    ``params`` holds, for each linear map, its weight (out, in) and then, with ``bias``, its bias (out).
    """
    check("field", of_field(spec, FLOATING), x=x, table=table, params=params)
    h = _ENCODE[spec.kind](x, table, spec.encoding, grid_backend)
    at = 0
    for layer, (n_out, n_in) in enumerate(spec.shapes):
        weight = params[at : at + n_out * n_in].view(n_out, n_in)
        at += n_out * n_in
        shift = params[at : at + n_out] if spec.bias else None
        at += n_out * spec.bias
        h = F.linear(h, weight, shift)
        if layer < spec.n_hidden_layers:
            h = ACTIVATE[spec.activation](h)
    return h


def fused_loss(
    x: Tensor,
    table: Tensor | None,
    params: Tensor,
    target: Tensor,
    weight: Tensor | None,
    loss: str,
    spec: FieldSpec,
) -> tuple[Tensor, Tensor]:
    """The mean of ``weight`` (N,) times the per-point error, and that error (N,), the mean over channels."""
    target, weight = target.to(params.dtype), None if weight is None else weight.to(params.dtype)
    check("field", of_field(spec, FLOATING), x=x, target=target, weight=weight)
    error = REGRESSION_LOSSES[loss](evaluate(x, table, params, spec), target).mean(-1)
    return (error if weight is None else error * weight).mean(), error.detach()
