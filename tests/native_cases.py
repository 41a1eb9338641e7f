"""What the tests of the native kernels share: inputs about which float32 and float64 agree, and both evaluations.

The truth is the float64 reference. It does not round positions to float32, so on any points it may differ by
resolution * 2^-24 in position; on the points used here (multiples of 2^-10, integer scales) both compute the same
position exactly, and what remains is the arithmetic of the kernel.
"""

import functools
import math
from collections.abc import Mapping

import torch
from cases import seeded
from torch import Tensor

from neufield.functional import ACTIVATE
from neufield.kernels import field
from neufield.kernels.field import FieldSpec, FrequencySpec
from neufield.kernels.grid import GridKernel, GridSpec, TorchGrid

SIZES = (0, 1, 15, 64, 65, 65_537)  # nothing, less than a vector, less than a tile of 64, a tile, one more, many jobs
FUSED_ENCODINGS: Mapping[str, GridSpec | FrequencySpec | None] = {
    "grid": GridSpec(3, 3, log2_hashmap_size=6, base_resolution=2),
    "frequency": FrequencySpec(3, 6),
    "features": None,
}
_KINKED = ("relu", "leaky_relu")


def relative(values: Tensor, truth: Tensor) -> float:
    """|values - truth| / |truth| over all numbers; where the truth is zero, |values|."""
    assert values.shape == truth.shape
    size = truth.detach().double().norm().item()
    return (values.detach().double() - truth.detach().double()).norm().item() / (size or 1.0)


def assert_near(values: Mapping[str, Tensor], truth: Mapping[str, Tensor], tolerance: float, case: object = "") -> None:
    """Every one of ``values`` is as near to the truth as ``tolerance`` says; a NaN is near nothing."""
    assert values.keys() == truth.keys()
    errors = {name: relative(value, truth[name]) for name, value in values.items()}
    assert all(error <= tolerance for error in errors.values()), f"{case}: {errors}"


def small_grid(dim: int, features: int = 2, storage: str = "hash", interpolation: str = "linear") -> GridSpec:
    """Scales 2, 5, 11, 23: dense and hashed levels, levels that repeat."""
    levels, log2_size = {1: (4, 4), 2: (4, 7), 3: (4, 8), 4: (3, 8)}[dim]
    spec = GridSpec(dim, levels, features, log2_size, 3, 2.0, storage, interpolation)
    assert all(level.scale == int(level.scale) for level in spec.levels)
    return spec


def exact_points(n: int, dim: int, seed: int = 1, low: int = 0, high: int = 1) -> Tensor:
    """Multiples of 2^-10 in [low, high], the ends included: times an integer below 2^12 they have at most 24 bits."""
    return torch.randint(low * 1024, high * 1024 + 1, (n, dim), generator=seeded(seed)).float() / 1024


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def grid_inputs(spec: GridSpec, n: int) -> dict[str, Tensor]:
    """Points, a table, an upstream gradient, and a direction for each of the two first derivatives."""
    return {
        "x": exact_points(n, spec.dim),
        "table": normal(spec.n_entries, spec.n_features_per_level, seed=2),
        "mix": normal(n, spec.out_dim, seed=3),
        "along": normal(n, spec.dim, seed=4),
        "across": normal(spec.n_entries, spec.n_features_per_level, seed=5),
    }


def grid_derivatives(
    kernel: GridKernel, spec: GridSpec, inputs: Mapping[str, Tensor], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Values, both first derivatives, and all second ones: by them each op runs with and without a direction."""
    x, table, mix = [inputs[name].to(dtype).detach().requires_grad_() for name in ("x", "table", "mix")]
    y = kernel.encode(x, table, spec)
    by_x, by_table = torch.autograd.grad(y, (x, table), mix, create_graph=True)
    found = {"values": y, "by x": by_x, "by table": by_table}
    for name, first, direction in (("x", by_x, "along"), ("table", by_table, "across")):
        second = torch.autograd.grad(
            (first * inputs[direction].to(dtype)).sum(), (x, table, mix), retain_graph=True, materialize_grads=True
        )
        found |= {f"by {name}, by {by}": value for by, value in zip(("x", "table", "mix"), second, strict=True)}
    return found


def field_spec(
    encoding: str, activation: str, bias: bool, width: int, n_hidden_layers: int, out_dim: int, features: int = 7
) -> FieldSpec:
    """A network behind one of ``FUSED_ENCODINGS``."""
    spec = FUSED_ENCODINGS[encoding]
    in_dim = features if spec is None else spec.out_dim
    return FieldSpec(in_dim, out_dim, width, n_hidden_layers, activation, bias, spec)


def field_params(spec: FieldSpec) -> Tensor:
    """Weights that keep the size of what goes through (He's where half of it is lost), biases of 0.1."""
    parts = []
    for layer, (n_out, n_in) in enumerate(spec.shapes):
        gain = 2 if spec.activation in _KINKED and layer else 1
        parts.append(normal(n_out * n_in, seed=100 + layer) * math.sqrt(gain / n_in))
        parts += [normal(n_out, seed=200 + layer) * 0.1] * spec.bias
    return torch.cat(parts)


def field_inputs(spec: FieldSpec, n: int) -> dict[str, Tensor]:
    """Points, parameters, an upstream gradient and, behind a grid, its table.

    At none of the points a unit stands at its activation's kink, where float32 and float64 may fall to different sides.
    """
    dim = spec.in_dim if spec.encoding is None else spec.encoding.dim
    params = field_params(spec)
    table = None
    if isinstance(spec.encoding, GridSpec):
        table = normal(spec.encoding.n_entries, spec.encoding.n_features_per_level, seed=2)
    points = exact_points(n + n // 2 + 50, dim)
    if spec.activation in _KINKED:
        points = points[_far_from_kinks(points, table, params, spec)]
    assert len(points) >= n
    found = {"x": points[:n].contiguous(), "params": params, "mix": normal(n, spec.out_dim, seed=3)}
    return found if table is None else found | {"table": table}


def _far_from_kinks(x: Tensor, table: Tensor | None, params: Tensor, spec: FieldSpec) -> Tensor:
    """Which points have no unit within 1e-4 of zero, by a network written out once more."""
    first = FieldSpec(spec.in_dim, spec.in_dim, 1, 0, "none", False, spec.encoding)
    wide = None if table is None else table.double()
    h = field.evaluate(x.double(), wide, torch.eye(spec.in_dim).double().flatten(), first, "torch")
    far, at = torch.ones(len(x), dtype=torch.bool), 0
    for n_out, n_in in spec.shapes[:-1]:
        h = h @ params[at : at + n_out * n_in].view(n_out, n_in).double().t()
        at += n_out * n_in
        if spec.bias:
            h = h + params[at : at + n_out].double()
            at += n_out
        far &= (h.abs() > 1e-4).all(1)
        h = ACTIVATE[spec.activation](h)
    return far


def field_leaves(inputs: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """x, params and perhaps table, as leaves of ``dtype``."""
    return {name: value.to(dtype).detach().requires_grad_() for name, value in inputs.items() if name != "mix"}


def field_values(leaves: Mapping[str, Tensor], spec: FieldSpec) -> Tensor:
    """By the native op in float32, by the reference in float64."""
    x, table, params = leaves["x"], leaves.get("table"), leaves["params"]
    if x.dtype == torch.float32:
        return field.CpuField().evaluate(x, table, params, spec)
    return field.evaluate(x, table, params, spec, "torch")


def field_gradients(inputs: Mapping[str, Tensor], spec: FieldSpec, dtype: torch.dtype) -> dict[str, Tensor]:
    """Values and their gradients."""
    leaves = field_leaves(inputs, dtype)
    y = field_values(leaves, spec)
    gradients = torch.autograd.grad(y, list(leaves.values()), inputs["mix"].to(dtype))
    return {"values": y} | {f"by {name}": value for name, value in zip(leaves, gradients, strict=True)}


@functools.cache
def field_case(spec: FieldSpec, n: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs and the truth about them, found once for all instruction sets."""
    inputs = field_inputs(spec, n)
    return inputs, field_gradients(inputs, spec, torch.float64)


@functools.cache
def grid_case(spec: GridSpec, n: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The same for a grid alone."""
    inputs = grid_inputs(spec, n)
    return inputs, grid_derivatives(TorchGrid(), spec, inputs, torch.float64)
