"""The fused field in Triton against the float64 reference: in Triton's interpreter, or on a GPU where there is one."""

import dataclasses

import pytest
import torch
from native_cases import FRONTS, assert_near, field_inputs, field_spec
from torch import Tensor

from neufield.kernels.field import (
    HIDDEN_ACTIVATIONS,
    FieldSpec,
    TritonField,
    evaluate,
    operators,
)
from neufield.kernels.field import triton as launches
from neufield.kernels.grid import operators as grid_operators
from neufield.kernels.grid import triton as grid_launches

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
KERNEL = TritonField()
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TOLERANCE = {precision: KERNEL.tolerance[dtype] for precision, dtype in TYPES.items()}
pytestmark = pytest.mark.usefixtures("one_thread")
every_front = pytest.mark.parametrize("front", FRONTS)
every_precision = pytest.mark.parametrize("precision", TYPES)


@pytest.fixture(autouse=True)
def operators_by_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU the operators get CPU tensors, and Triton's interpreter does the work."""
    if DEVICE.type == "cuda":
        return
    for name in ("forward", "backward", "regression"):
        monkeypatch.setattr(operators.cpu, name, getattr(launches, name))
    for name in ("gather", "scatter", "contract"):
        monkeypatch.setattr(grid_operators.cpu, name, getattr(grid_launches, name))
    mend_bfloat16(monkeypatch)


def mend_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter keeps bfloat16 as the bits of uint16; it multiplies these, and cuts where GPUs round."""
    from triton.language import bfloat16, float32
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    cast, product = InterpreterBuilder.cast_impl, InterpreterBuilder.create_dot

    def cast_impl(self, source, kind):
        if (source.dtype.scalar, kind.scalar) != (float32, bfloat16):
            return cast(self, source, kind)
        bits = torch.tensor(source.data).bfloat16().view(torch.int16).numpy().view("uint16")
        return TensorHandle(bits, bfloat16)

    def create_dot(self, a, b, *others):
        wide = [cast(self, factor, float32) if factor.dtype.scalar == bfloat16 else factor for factor in (a, b)]
        return product(self, *wide, *others)

    monkeypatch.setattr(InterpreterBuilder, "cast_impl", cast_impl)
    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)


def case(spec: FieldSpec, n: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs and the truth about them; where factors are rounded, at a distance from kinks that the rounding respects.

    A unit on the other side of its kink has another slope. So points get no upstream gradient where any unit would be
    there after a change of 2 % (a few times the largest seen of a unit in bfloat16), relative to a typical sum of 1.
    """
    inputs = field_inputs(spec, n)
    if spec.precision != "fp32" and spec.activation in ("relu", "leaky_relu"):
        near = units(inputs, spec).abs().amin(1) < 0.02
        assert not near.all()
        inputs["mix"] = torch.where(near[:, None], 0.0, inputs["mix"])
    return inputs, gradients(inputs, spec, torch.float64)


def units(inputs: dict[str, Tensor], spec: FieldSpec) -> Tensor:
    """The sums of all hidden units, of each point."""
    sums = []
    for layers in range(1, spec.n_hidden_layers + 1):
        first = FieldSpec(spec.in_dim, spec.width, spec.width, layers - 1, spec.activation, spec.bias, spec.front)
        size = sum((a + spec.bias) * b for b, a in first.shapes)
        table = inputs["table"].double() if "table" in inputs else None
        sums.append(evaluate(inputs["x"].double(), table, inputs["params"][:size].double(), first, "torch"))
    return torch.cat(sums, 1)


def gradients(inputs: dict[str, Tensor], spec: FieldSpec, dtype: torch.dtype) -> dict[str, Tensor]:
    """Values and their gradients: by Triton in float32, by the composition in float64."""
    leaves = {name: v.detach().to(dtype).requires_grad_() for name, v in inputs.items() if name != "mix"}
    x, table, params = leaves["x"], leaves.get("table"), leaves["params"]
    evaluated = evaluate if dtype == torch.float64 else KERNEL.evaluate
    y = evaluated(x, table, params, spec)
    found = torch.autograd.grad(y, list(leaves.values()), inputs["mix"].to(dtype))
    found = {"values": y} | {f"by {name}": value for name, value in zip(leaves, found, strict=True)}
    return {name: value.detach().cpu() for name, value in found.items()}


def moved(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.to(DEVICE) for name, value in inputs.items()}


def assert_parity(spec: FieldSpec, n: int) -> None:
    inputs, truth = case(spec, n)
    assert_near(gradients(moved(inputs), spec, torch.float32), truth, TOLERANCE[spec.precision], (spec, n))


@every_precision
@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
@every_front
def test_values_and_gradients(front: str, activation: str, precision: str) -> None:
    bias = activation != "relu"
    assert_parity(dataclasses.replace(field_spec(front, activation, bias, 16, 2, 3), precision=precision), 70)


# Each width and depth of the issue once, odd widths, more outputs than a layer's width.
@pytest.mark.parametrize(
    ("width", "hidden", "out"),
    [(16, 1, 1), (32, 3, 5), (64, 2, 3), (128, 1, 16), (16, 6, 3), (20, 4, 40), (100, 2, 128), (8, 0, 3)],
    ids=str,
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_widths_and_depths(width: int, hidden: int, out: int, precision: str) -> None:
    spec = field_spec("features", "silu", True, width, hidden, out, 24)
    assert_parity(dataclasses.replace(spec, precision=precision), 40)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 300])
@every_front
def test_any_number_of_points(front: str, n: int) -> None:
    """Less than a block, several blocks for one program; without a bias, whose sums are others."""
    assert_parity(field_spec(front, "silu", False, 16, 1, 3), n)
