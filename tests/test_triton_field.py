"""The fused field in Triton against the float64 reference: in Triton's interpreter, or on a GPU where there is one."""

import dataclasses
import itertools

import pytest
import torch
from cases import seeded
from native_cases import FUSED_ENCODINGS, assert_near, field_inputs, field_spec, relative
from torch import Tensor

from neufield.core.errors import BackendError
from neufield.core.records import Batch, StepContext
from neufield.encodings import Grid
from neufield.fields import NeuralField
from neufield.fitting import Regression
from neufield.kernels.field import (
    HIDDEN_ACTIVATIONS,
    REGRESSION_LOSSES,
    CpuField,
    FieldSpec,
    TritonField,
    evaluate,
    fused_loss,
    operators,
)
from neufield.kernels.field import triton as launches
from neufield.kernels.grid import GridSpec, TorchGrid
from neufield.kernels.grid import operators as grid_operators
from neufield.kernels.grid import triton as grid_launches
from neufield.kernels.ops import FieldOp
from neufield.networks import MLP

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
KERNEL = TritonField()
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TOLERANCE = {precision: KERNEL.tolerance[dtype] for precision, dtype in TYPES.items()}
pytestmark = pytest.mark.usefixtures("one_thread")
every_encoding = pytest.mark.parametrize("encoding", FUSED_ENCODINGS)


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
    """Inputs and the truth about them, at weights that are numbers of the precision.

    Where factors are rounded, a distance is kept from kinks that the rounding respects.
    A unit on the other side of its kink has another slope. So points get no upstream gradient where any unit would be
    there after a change of 2 % (a few times the largest seen of a unit in bfloat16), relative to a typical sum of 1.
    """
    inputs = field_inputs(spec, n)
    inputs["params"] = inputs["params"].to(TYPES[spec.precision]).float()
    if spec.precision != "fp32" and spec.activation in ("relu", "leaky_relu"):
        near = units(inputs, spec).abs().amin(1) < 0.02
        assert not near.all()
        inputs["mix"] = torch.where(near[:, None], 0.0, inputs["mix"])
    return inputs, gradients(inputs, spec, torch.float64)


def units(inputs: dict[str, Tensor], spec: FieldSpec) -> Tensor:
    """The sums of all hidden units, of each point."""
    sums = []
    for layers in range(1, spec.n_hidden_layers + 1):
        first = FieldSpec(spec.in_dim, spec.width, spec.width, layers - 1, spec.activation, spec.bias, spec.encoding)
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


# Each activation in each precision, each encoding in each precision, and the workloads' grid with a ReLU. A block is of
# 64 points; what several do is asked below, for the interpreter takes as long for each of them.
@pytest.mark.parametrize(
    ("encoding", "activation", "precision"),
    [
        *itertools.product(["features"], HIDDEN_ACTIVATIONS, TYPES),
        *[("frequency", "silu", "fp32"), ("frequency", "sine", "fp16"), ("frequency", "silu", "bf16")],
        *[("grid", "silu", "fp32"), ("grid", "relu", "fp16"), ("grid", "silu", "bf16")],
    ],
)
def test_values_and_gradients(encoding: str, activation: str, precision: str) -> None:
    bias = activation != "relu"
    assert_parity(dataclasses.replace(field_spec(encoding, activation, bias, 16, 2, 3), precision=precision), 60)


# Each width and depth once, odd widths, more outputs than a layer's width, more features than fit a group; in three
# parts of bfloat16 or in one of float16, which an odd width, a deep network and many outputs meet each.
@pytest.mark.parametrize(
    ("width", "hidden", "out", "precision"),
    [
        (16, 1, 1, "fp16"),
        (32, 3, 5, "fp32"),
        (64, 2, 3, "fp32"),
        (128, 2, 16, "fp16"),
        (16, 6, 3, "fp16"),
        (20, 4, 40, "fp16"),
        (20, 4, 40, "fp32"),
        (100, 1, 128, "fp32"),
        (8, 0, 3, "fp32"),
        (8, 0, 3, "fp16"),
    ],
    ids=str,
)
def test_widths_and_depths(width: int, hidden: int, out: int, precision: str) -> None:
    spec = field_spec("features", "silu", True, width, hidden, out, 24)
    assert_parity(dataclasses.replace(spec, precision=precision), 20)


@pytest.mark.parametrize("n", [0, 1, 65])
@every_encoding
def test_any_number_of_points(encoding: str, n: int) -> None:
    assert_parity(field_spec(encoding, "silu", False, 16, 1, 3), n)


def test_several_blocks_for_a_program() -> None:
    """Of the interpreter's three programs one has two blocks more."""
    assert_parity(field_spec("features", "silu", True, 16, 1, 3), 64 * 7 + 9)


@every_encoding
def test_nothing_is_computed_with_what_was_never_written(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """New memory is full of signalling NaNs: the interpreter's numpy warns of operations on one, which fails here."""
    spec = field_spec(encoding, "silu", True, 20, 2, 3)
    inputs, truth = case(spec, 20)

    def new_empty(given: Tensor, *size: object, dtype: torch.dtype | None = None, **where: object) -> Tensor:
        shape = size[0] if isinstance(size[0], tuple) else size
        dtype = dtype or given.dtype
        signal, bits = (0x7FA0, torch.int16) if dtype.itemsize == 2 else (0x7FA00000, torch.int32)
        return given.new_full(shape, signal, dtype=bits, **where).view(dtype)

    monkeypatch.setattr(Tensor, "new_empty", new_empty)
    assert_near(gradients(moved(inputs), spec, torch.float32), truth, TOLERANCE["fp32"], spec)


# Each has two groups of 16 columns, the second not full; the scales are integers.
@pytest.mark.parametrize(
    "grid",
    [GridSpec(2, 17, 1, 6, 4, 1.0), GridSpec(2, 5, 4, 6, 3, 2.0), GridSpec(2, 3, 8, 6, 3, 2.0)],
    ids=lambda grid: str(grid.n_features_per_level),
)
def test_features_per_level(grid: GridSpec) -> None:
    assert_parity(FieldSpec(grid.out_dim, 2, 16, 1, "silu", True, grid), 20)


@pytest.mark.parametrize("size", [1e-30, 1e-9, 1e9, 1e30])
def test_gradients_of_any_size_in_float16(size: float) -> None:
    """Nothing overflows, nothing becomes zero: float16 alone reaches from 6e-8 to 65504."""
    spec = dataclasses.replace(field_spec("features", "silu", True, 16, 2, 3), precision="fp16")
    inputs, truth = case(spec, 30)
    found = gradients(moved(inputs | {"mix": inputs["mix"] * size}), spec, torch.float32)
    scaled = {name: value if name == "values" else value.double() / size for name, value in found.items()}
    assert_near(scaled, truth, TOLERANCE["fp16"], size)


# Each loss with and without a weight of each point; what has two blocks, and a grid before it, adds up alike for all.
@pytest.mark.parametrize(
    ("encoding", "loss", "n", "weighted"),
    [*itertools.product(["features"], REGRESSION_LOSSES, [20], [True, False]), ("grid", "l2", 70, True)],
)
def test_regression_in_one_pass(encoding: str, loss: str, n: int, weighted: bool) -> None:
    """Loss, error and gradients."""
    spec = field_spec(encoding, "silu", True, 16, 1, 3)
    inputs = field_inputs(spec, n)
    target = torch.rand(n, 3, generator=seeded(8))
    weight = torch.rand(n, generator=seeded(9)) if weighted else None
    found = []
    for run, dtype, device in ((KERNEL.fused_loss, torch.float32, DEVICE), (fused_loss, torch.float64, "cpu")):
        others = [None if t is None else t.to(device, dtype) for t in (target, weight)]
        leaves = {name: v.to(device, dtype).requires_grad_() for name, v in inputs.items() if name in WEIGHTS}
        x = inputs["x"].to(device, dtype)
        total, error = run(x, leaves.get("table"), leaves["params"], *others, loss, spec)
        slopes = torch.autograd.grad(total * 2, list(leaves.values()))
        found.append({"total": total, "error": error} | dict(zip(leaves, slopes, strict=True)))
    values = {name: value.detach().cpu() for name, value in found[0].items()}
    # l1 and huber turn a difference near their kink into another slope: 1e-5 of slack beside the kernel's own.
    assert_near(values, found[1], 1e-5 + TOLERANCE["fp32"], loss)


WEIGHTS = ("table", "params")


def test_where_the_same_bits_are_asked_for_the_grid_sums_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features' gradient then goes through memory to the grid's operator, whose order has tests of its own."""
    spec = field_spec("grid", "silu", True, 16, 1, 3)
    inputs = moved(field_inputs(spec, 20))
    x, table, params, target = inputs["x"], inputs["table"], inputs["params"], inputs["mix"]
    plain = launches.regression(x, table, params, target, None, "l2", spec)
    passed = []
    monkeypatch.setattr(grid_launches, "scatter", lambda *given: passed.append(given) or table)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        found = launches.regression(x, table, params, target, None, "l2", spec)
    finally:
        torch.use_deterministic_algorithms(before)
    assert found[2] is table
    assert all(torch.equal(found[i], plain[i]) for i in (0, 1, 3))
    monkeypatch.undo()
    ((points, by_features, _, grid),) = passed
    leaf = table.clone().requires_grad_()
    (by_table,) = torch.autograd.grad(TorchGrid().encode(points, leaf, grid), leaf, by_features)
    assert relative(by_table, plain[2]) <= TOLERANCE["fp32"]


def test_second_derivatives_are_the_compositions() -> None:
    spec = field_spec("grid", "silu", True, 16, 1, 3)
    inputs = field_inputs(spec, 20)
    found = []
    for evaluated, dtype, device in ((KERNEL.evaluate, torch.float32, DEVICE), (evaluate, torch.float64, "cpu")):
        leaves = {name: inputs[name].to(device, dtype).requires_grad_() for name in ("x", *WEIGHTS)}
        y = evaluated(leaves["x"], leaves["table"], leaves["params"], spec)
        (slope,) = torch.autograd.grad(y, leaves["x"], inputs["mix"].to(device, dtype), create_graph=True)
        second = torch.autograd.grad(slope.square().sum(), list(leaves.values()), materialize_grads=True)
        found.append({name: value.detach().cpu() for name, value in zip(leaves, second, strict=True)})
    # One more pass through every layer than a gradient takes, and a square.
    assert_near(*found, 2 * TOLERANCE["fp32"], spec)


def test_what_keeps_it_from_running() -> None:
    """A CPU always: nobody is to get the interpreter unasked. Else what the programs do not know."""
    spec = field_spec("grid", "relu", True, 16, 1, 3)
    assert any("CUDA" in sentence for sentence in KERNEL.obstacles(spec, torch.device("cpu"), torch.float32))
    changes = [
        {"width": 129},
        {"out_dim": 200},
        {"n_hidden_layers": 7},
        {"activation": "gelu"},
        {"in_dim": 300, "encoding": None},
    ]
    for change in changes:
        found = KERNEL.obstacles(dataclasses.replace(spec, **change), torch.device("cpu"), torch.float32)
        assert len(found) == 1 + len(KERNEL.obstacles(spec, torch.device("cpu"), torch.float32)), change
    assert any("float64" in s for s in KERNEL.obstacles(spec, torch.device("cpu"), torch.float64))


def test_autocast_says_the_precision() -> None:
    grid = Grid(2, n_levels=3, log2_hashmap_size=8)
    chain = MLP(6, 3, 16, 1).op()
    for dtype, precision in ((torch.float16, "fp16"), (torch.bfloat16, "bf16")):
        with torch.autocast("cpu", dtype):
            assert FieldOp.of(grid.op(), chain).spec(torch.device("cpu")).precision == precision
    assert FieldOp.of(grid.op(), chain).spec(torch.device("cpu")).precision == "fp32"


def test_fakes_are_right_on_cuda_too() -> None:
    """Shapes, types and device, where there is no device."""
    from torch._subclasses import FakeTensorMode

    spec = field_spec("grid", "relu", True, 16, 1, 3)
    n_params = sum((n_in + 1) * n_out for n_out, n_in in spec.shapes)
    with FakeTensorMode():
        x, table = torch.empty(70, 3, device="cuda"), torch.empty(spec.encoding.n_entries, 2, device="cuda")
        params, target = torch.empty(n_params, device="cuda"), torch.empty(70, 3, device="cuda")
        y, features = torch.ops.neufield.field_forward(x, table, params, True, spec.text)
        found = torch.ops.neufield.field_backward(x, table, params, features, y, True, True, spec.text)
        total, error, *slopes = torch.ops.neufield.field_regression(x, table, params, target, None, "l2", spec.text)
    assert [t.shape for t in (y, *found)] == [(70, 3), x.shape, table.shape, params.shape]
    assert [t.shape for t in (total, error, *slopes)] == [(), (70,), table.shape, params.shape]
    assert {t.device.type for t in (y, features, *found, total, error, *slopes)} == {"cuda"}
    assert features.numel() >= 70 * spec.in_dim


@pytest.fixture
def as_if_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing keeps Triton's kernels from this device, and everything the CPU's."""
    for module in (launches.gpu, grid_launches.gpu):
        monkeypatch.setattr(module, "obstacles", lambda device: ())
    monkeypatch.setattr(CpuField, "obstacles", lambda *_: ["the native kernels run on the CPU, not on this."])


@pytest.mark.usefixtures("as_if_on_cuda")
def test_a_field_on_cuda_is_fused() -> None:
    field = NeuralField(Grid(2, n_levels=3, log2_hashmap_size=8), MLP(6, 3, 16, 1)).to(DEVICE)
    assert field.kernel_name(DEVICE) == "triton"
    batch = Batch(torch.rand(50, 2, device=DEVICE), torch.rand(50, 3, device=DEVICE))
    found = []
    for backend in ("triton", "torch"):
        field.backend = backend
        loss = Regression()(field, batch, StepContext(0, 0.0, seeded())).loss
        found.append(dict(enumerate([loss, *torch.autograd.grad(loss, list(field.parameters()))])))
    assert_near(*found, 2 * TOLERANCE["fp32"])  # float32 on both sides


@pytest.mark.usefixtures("as_if_on_cuda")
def test_a_named_backend_is_that_or_none() -> None:
    field = NeuralField(Grid(2, n_levels=3, log2_hashmap_size=8), MLP(6, 3, 16, 1)).to(DEVICE)
    field.backend = "cpu"
    with pytest.raises(BackendError, match="run on the CPU, not on this"):
        field.kernel_name(DEVICE)
