"""The operators of :mod:`.operators` by Triton, on CUDA: how the programs are launched.

The table's gradient is added up atomically, so that its last bits change from run to run, unless
``torch.use_deterministic_algorithms`` asks for the same every time: then the features' gradient goes through memory and
the grid's own operator sorts it. All else has the same bits in every run.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor

from neufield.functional.positional import positional_encoding
from neufield.kernels import gpu
from neufield.kernels.field.launch_shapes import BLOCK, WARPS, constants, held, plane
from neufield.kernels.field.spec import HIDDEN_ACTIVATIONS, FieldSpec, FrequencySpec
from neufield.kernels.grid import triton as grid
from neufield.kernels.grid.spec import GridSpec

_WIDEST, _DEEPEST, _FEATURES = 128, 6, 256
# The type of factors in memory; float32 is three of bfloat16.
_NARROW = {"fp32": torch.bfloat16, "fp16": torch.float16, "bf16": torch.bfloat16}
_AT_ONCE = 2  # programs on a multiprocessor: what the registers of ``train`` allow
_ROWS, _COLUMNS = 32, 64  # that a program of ``reduce`` adds at a time: a hundred programs for a small network
_RESCALED = 1024  # numbers that a program of ``rescale`` has


def obstacles(spec: FieldSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
    """CUDA, weights in float32, a network that fits the registers, a grid that the device functions know."""
    found = list(gpu.obstacles(device))
    if dtype != torch.float32:
        found.append(f"the Triton network's weights are float32, not {str(dtype).removeprefix('torch.')}.")
    if spec.activation not in HIDDEN_ACTIVATIONS:
        found.append(f"the fused network knows {', '.join(HIDDEN_ACTIVATIONS)}, not '{spec.activation}'.")
    if max(spec.width, spec.out_dim) > _WIDEST or spec.n_hidden_layers > _DEEPEST or spec.in_dim > _FEATURES:
        found.append(
            f"the Triton network is at most {_WIDEST} wide and {_DEEPEST} hidden layers deep, "
            f"with at most {_FEATURES} features."
        )
    if spec.kind == "grid":
        others = grid.TritonGrid().obstacles(_grid(spec), device, dtype)
        found += [sentence for sentence in others if sentence not in found]
    return found


def _factors(params: Tensor, spec: FieldSpec) -> Tensor:
    """The parameters as factors of products: in the precision's type, or float32 as three parts of bfloat16."""
    if spec.precision != "fp32":
        return params.to(_NARROW[spec.precision])
    parts = params.new_empty(3, plane(spec), dtype=torch.bfloat16)
    rest = params
    for part in parts:
        part[: len(params)] = rest
        rest = rest - part[: len(params)]
    return parts


def forward(x: Tensor, table: Tensor | None, params: Tensor, features: Tensor, spec: FieldSpec) -> Tensor:
    """``neufield::field_forward``: the values; a grid's ``features`` are filled, unless they are empty."""
    from neufield.kernels.field import programs

    y = x.new_empty(len(x), spec.out_dim)
    if not len(x):
        return y
    known = constants(spec) | {"KEEP": features.numel() > 0}
    arguments = (*_inputs(x, table, params, spec), features, y, len(x))
    gpu.launch(programs.forward, (-(-len(x) // BLOCK),), arguments, known, WARPS)
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
    back = _Back.of(x, table if want_table else None, spec, want_x)
    kept = "given" if spec.table_shape else "no"
    by_params, _ = _train((x, table, params), features, gy, back, spec, KEPT=kept, LOSS="none")
    by_x = _through_front(x, table, back.by_features, spec) if want_x else x.new_empty(0)
    return by_x, back.finished(x, spec), by_params


def regression(
    x: Tensor, table: Tensor | None, params: Tensor, target: Tensor, weight: Tensor | None, loss: str, spec: FieldSpec
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``neufield::field_regression``: the loss, the error, and the loss's gradients by table and parameters."""
    back = _Back.of(x, table, spec)
    error = x.new_empty(len(x))
    kept, features = "no", x
    if spec.table_shape:
        kept, features = "own", x.new_empty(_programs(x) * BLOCK * spec.in_dim)
    by_params, total = _train((x, table, params), features, target, back, spec, error, weight, KEPT=kept, LOSS=loss)
    return total, error, back.finished(x, spec), by_params


def rescale(numbers: Tensor, scale: Tensor) -> None:
    """``neufield::field_rescale``: ``numbers`` times ``scale``, a number on the device, in place."""
    from neufield.kernels.field import programs

    if numbers.numel():
        blocks = (-(-numbers.numel() // _RESCALED),)
        gpu.launch(programs.rescale, blocks, (numbers, scale, numbers.numel()), {"BLOCK": _RESCALED})


class _Back(NamedTuple):
    """What becomes of the gradient by features: ``name`` is the programs' BACK, the others where it goes to."""

    name: str
    by_table: Tensor
    by_features: Tensor

    @staticmethod
    def of(x: Tensor, table: Tensor | None, spec: FieldSpec, want_x: bool = False) -> "_Back":
        """Make room for the gradients by ``table``, unless that is None, and by ``x``."""
        sorted_later = table is not None and torch.are_deterministic_algorithms_enabled()
        if want_x or sorted_later:
            return _Back("features", x.new_empty(0 if table is None else 1), x.new_empty(len(x), spec.in_dim))
        if table is None:
            return _Back("nothing", x.new_empty(0), x.new_empty(0))
        return _Back("table", torch.zeros_like(table, memory_format=torch.contiguous_format), x.new_empty(0))

    def finished(self, x: Tensor, spec: FieldSpec) -> Tensor:
        """The gradient by the table; empty where there is none."""
        if self.name == "features" and self.by_table.numel():
            return grid.scatter(x, self.by_features, None, _grid(spec))
        return self.by_table


def _through_front(x: Tensor, table: Tensor | None, by_features: Tensor, spec: FieldSpec) -> Tensor:
    """The gradient by points, of that by their features."""
    return _THROUGH[spec.kind](x, table, by_features, spec.encoding)


def _through_frequency(x: Tensor, _: None, by_features: Tensor, encoding: FrequencySpec) -> Tensor:
    # With sin and cos of each phase known, the sine's slope is the cosine, the cosine's the negative sine.
    octaves = encoding.n_frequencies
    rates = torch.exp2(torch.arange(octaves, dtype=x.dtype, device=x.device)) * torch.pi
    waves = positional_encoding(x, octaves).view(len(x), encoding.dim, octaves, 2)
    by_waves = by_features.view_as(waves)
    return ((by_waves[..., 0] * waves[..., 1] - by_waves[..., 1] * waves[..., 0]) * rates).sum(-1)


# By the kind of what stands before the network: points, table, gradient by features, spec -> gradient by points.
_THROUGH: Mapping[str, Callable[..., Tensor]] = {
    "features": lambda x, table, by_features, encoding: by_features,
    "frequency": _through_frequency,
    "grid": lambda x, table, by_features, encoding: grid.contract(x, table, by_features, None, encoding),
}


def _grid(spec: FieldSpec) -> GridSpec:
    return cast(GridSpec, spec.encoding)  # of whose kind it is


def _inputs(x: Tensor, table: Tensor | None, params: Tensor, spec: FieldSpec) -> list[Tensor]:
    """What both programs begin with: points, table, its levels, parameters, and these as factors."""
    levels = grid.levels(_grid(spec), x.device) if spec.table_shape else x
    params = params.contiguous()
    return [
        x.contiguous(),
        x if table is None else table.contiguous(),
        levels,
        params,
        _factors(params, spec),
    ]


def _programs(x: Tensor) -> int:
    """How many programs share the blocks of points: as many as run at a time."""
    at_once = _AT_ONCE * torch.cuda.get_device_properties(x.device).multi_processor_count if x.is_cuda else 3
    return max(1, min(at_once, -(-len(x) // BLOCK)))


def _train(
    inputs: tuple[Tensor, Tensor | None, Tensor],
    kept: Tensor,
    given: Tensor,
    back: _Back,
    spec: FieldSpec,
    error: Tensor | None = None,
    weight: Tensor | None = None,
    **modes: object,
) -> tuple[Tensor, Tensor]:
    """Launch ``programs.train`` and ``programs.reduce``; the gradient by the parameters, and the loss's mean."""
    from neufield.kernels.field import programs

    x, _, params = inputs
    if not len(x):
        return torch.zeros_like(params), x.new_full((), torch.nan)
    columns = len(params)
    partials = x.new_empty(_programs(x), columns + 1)
    by_params, total = x.new_empty(columns), x.new_empty(())
    arguments = (
        *_inputs(*inputs, spec),
        kept,
        x.new_empty(len(partials) * held(spec), dtype=_NARROW[spec.precision]),
        given.contiguous(),
        x if weight is None else weight.contiguous(),
        x if error is None else error,
        back.by_table,
        back.by_features,
        partials,
        len(x),
        columns + 1,
        1 / (len(x) * spec.out_dim),
    )
    known = constants(spec) | {"WEIGHTED": weight is not None, "HELD": held(spec), "BACK": back.name} | modes
    gpu.launch(programs.train, (len(partials),), arguments, known, WARPS)
    sums = (partials, by_params, total, len(partials), columns, columns + 1, 1 / len(x))
    gpu.launch(programs.reduce, (-(-(columns + 1) // _COLUMNS),), sums, {"ROWS": _ROWS, "COLUMNS": _COLUMNS})
    return by_params, total
