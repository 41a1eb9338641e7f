"""A field's numbers in the order of tiny-cuda-nn's module of the same config, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import vector_to_parameters

from neufield.core.errors import ConfigError
from neufield.fields import NeuralField
from neufield.kernels.field.tcnn import Packed
from neufield.tcnn.config import from_tcnn_config


def to_tcnn_params(field: NeuralField, alignment: int = 16) -> torch.Tensor:
    """The row of numbers, float32, that tiny-cuda-nn's module of the same config has as its ``params``.

    ``alignment``, to which outputs and features are filled up with 0, is 16 for all its networks; 8 for CutlassMLP
    before its version 1.6. Raises ConfigError for a field that is not a grid encoding and a network without biases.
    """
    layout, table, params = _numbers(field, alignment)
    return layout.pack(table, params)


def from_tcnn_params(
    config: Mapping[str, Any] | str | Path, params: torch.Tensor, n_input_dims: int = 2, n_output_dims: int = 3
) -> NeuralField:
    """The field that tiny-cuda-nn's ``NetworkWithInputEncoding`` of ``config`` is with these ``params`` (N,).

    A grid encoding and a network without biases; ``to_tcnn_params`` is the way back. Raises ConfigError where the
    config is something else, or has another number of params.
    """
    field = from_tcnn_config(config, n_input_dims, n_output_dims)
    load_tcnn_params(field, params.float())
    return field


@torch.no_grad()
def load_tcnn_params(field: NeuralField, params: torch.Tensor) -> None:
    """Take over the ``params`` of tiny-cuda-nn's module of the same config, whichever network and version that has."""
    sizes = []
    for alignment in (16, 8):
        layout, table, numbers = _numbers(field, alignment)
        sizes.append(layout.size)
        if params.shape == (layout.size,):
            found, weights = layout.unpack(params.detach().to(table))
            table.copy_(found)
            vector_to_parameters(weights.to(numbers), (p for p in field.network.parameters()))
            return
    raise ConfigError(
        f"params has {params.numel()} numbers, but tiny-cuda-nn's module of this field has {sizes[0]}, or {sizes[1]} "
        "with CutlassMLP before version 1.6; build the field from the module's own config"
    )


def _numbers(field: NeuralField, alignment: int) -> tuple[Packed, torch.Tensor, torch.Tensor]:
    """The layout of a field, its table itself, and its network's numbers in a row."""
    op = field.op()
    if op is None or op.table is None or op.network.biases:
        raise ConfigError("tiny-cuda-nn's params hold a grid encoding and a network of linear maps without biases")
    layout = Packed(op.spec(torch.device("cpu")), alignment, torch.float32)
    return layout, op.table.detach(), op.network.params().detach()
