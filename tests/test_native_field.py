"""Encoding and network in one native op, on every instruction set of this machine, against the float64 reference."""

import ctypes
import math

import pytest
import torch
from native_cases import (
    FUSED_ENCODINGS,
    SIZES,
    assert_near,
    field_case,
    field_gradients,
    field_inputs,
    field_leaves,
    field_spec,
    field_values,
)
from torch import Tensor

from neufield.kernels import native
from neufield.kernels.field import HIDDEN_ACTIVATIONS, CpuField, FieldSpec
from neufield.kernels.field.cpu import structures

# Threads are the matter of test_native_bits.
pytestmark = pytest.mark.usefixtures("one_thread")
TOLERANCE = CpuField.tolerance[torch.float32]  # which says where it comes from
# (width, hidden layers, outputs): each width and depth once, odd numbers of each, more outputs than inputs.
SHAPES = ((16, 1, 1), (33, 3, 5), (64, 0, 3), (64, 2, 3), (64, 5, 16), (128, 4, 17), (128, 6, 64), (256, 1, 2))
every_encoding = pytest.mark.parametrize("encoding", FUSED_ENCODINGS)


def assert_parity(spec: FieldSpec, n: int, tolerance: float = TOLERANCE) -> None:
    inputs, truth = field_case(spec, n)
    assert_near(field_gradients(inputs, spec, torch.float32), truth, tolerance, (spec, n))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
@every_encoding
def test_values_and_gradients(isa: str, encoding: str, activation: str, shape: tuple[int, int, int]) -> None:
    for bias in (True, False):
        assert_parity(field_spec(encoding, activation, bias, *shape), 83)


@pytest.mark.parametrize("n", SIZES)
@every_encoding
def test_any_number_of_points(isa: str, encoding: str, n: int) -> None:
    # Sums over n points of terms of either sign, in float32: their error grows like sqrt(n) * 2^-24.
    assert_parity(field_spec(encoding, "silu", True, 32, 2, 3), n, max(TOLERANCE, math.sqrt(n) * 2**-24))


@pytest.mark.parametrize("features", [1, 16, 100, 1024])
def test_any_number_of_given_features(isa: str, features: int) -> None:
    assert_parity(field_spec("features", "silu", True, 24, 1, 4, features), 70)


@pytest.mark.parametrize("out_dim", [1, 2, 3, 4, 5, 6, 7, 12, 13, 63, 64, 256])
def test_any_number_of_outputs(isa: str, out_dim: int) -> None:
    assert_parity(field_spec("frequency", "sine", True, 20, 1, out_dim), 70)


@pytest.mark.parametrize("activation", ["none", "silu", "sine"])
@every_encoding
def test_second_derivatives_through_the_op(isa: str, encoding: str, activation: str) -> None:
    """What an eikonal loss needs: the gradient of the slope's square by parameters, table and points."""
    spec = field_spec(encoding, activation, True, 32, 2, 3)
    inputs = field_inputs(spec, 65)
    found = []
    for dtype in (torch.float32, torch.float64):
        leaves = field_leaves(inputs, dtype)
        y = field_values(leaves, spec)
        (slope,) = torch.autograd.grad(y, leaves["x"], inputs["mix"].to(dtype), create_graph=True)
        second = torch.autograd.grad(slope.square().sum(), list(leaves.values()), materialize_grads=True)
        found.append({"slope": slope} | {f"by {name}": v for name, v in zip(leaves, second, strict=True)})
    # One more pass through every layer than a gradient takes, and a square: twice the gradient's tolerance.
    assert_near(*found, 2 * TOLERANCE, spec)


@every_encoding
def test_only_the_gradients_that_are_wanted(isa: str, encoding: str) -> None:
    spec = field_spec(encoding, "silu", True, 16, 1, 3)
    inputs = field_inputs(spec, 70)
    names = [name for name in inputs if name != "mix"]
    whole = field_gradients(inputs, spec, torch.float32)
    for wanted in names:
        leaves = {name: inputs[name].detach().requires_grad_(name == wanted) for name in names}
        (gradient,) = torch.autograd.grad(field_values(leaves, spec), leaves[wanted], inputs["mix"])
        assert torch.equal(gradient, whole[f"by {wanted}"])


def test_gradients_however_they_are_asked_for(isa: str) -> None:
    """By name, by backward, by tensors in between: the op leaves out what it believes that nobody will use."""
    spec = field_spec("grid", "silu", True, 16, 1, 3)
    inputs = field_inputs(spec, 64)
    whole = field_gradients(inputs, spec, torch.float32)
    for wanted in ("x", "table", "params"):
        leaves = field_leaves(inputs, torch.float32)
        between = {name: value.view_as(value) for name, value in leaves.items()}
        y = field_values(between, spec)
        for asked in (between[wanted], leaves[wanted]):
            (gradient,) = torch.autograd.grad(y, asked, inputs["mix"], retain_graph=True)
            assert torch.equal(gradient, whole[f"by {wanted}"])
        y.backward(inputs["mix"], inputs=[leaves[wanted]], retain_graph=True)
        assert [name for name, value in leaves.items() if value.grad is not None] == [wanted]
        leaves[wanted].grad = None
        between[wanted].retain_grad()
        y.backward(inputs["mix"])
        assert torch.equal(between[wanted].grad, whole[f"by {wanted}"])
        assert all(torch.equal(value.grad, whole[f"by {name}"]) for name, value in leaves.items())


@pytest.mark.parametrize("n", [5, 131_072 + 64 * 7 + 9])
@every_encoding
def test_without_gradients_the_same_values(isa: str, encoding: str, n: int) -> None:
    """More points than fit one chunk of the scratch memory that stands in for the kept features."""
    spec = field_spec(encoding, "silu", False, 16, 1, 3)
    inputs = field_inputs(spec, n)
    with torch.no_grad():
        values = field_values(inputs, spec)
    assert torch.equal(values, field_values(field_leaves(inputs, torch.float32), spec))


def kept_features(spec: FieldSpec, inputs: dict[str, Tensor], fill: float) -> Tensor:
    """What forward keeps for backward, in memory that held ``fill`` before."""
    n = len(inputs["x"])
    features = torch.full((-(-n // native.TILE) * native.TILE * spec.in_dim,), fill)
    encoding, mlp = map(ctypes.byref, structures(spec))
    tensors = [inputs["x"], inputs["table"], inputs["params"], features, torch.empty(n, spec.out_dim)]
    native.run("field_forward", encoding, mlp, n, *map(native.pointer, tensors))
    return features


@pytest.mark.parametrize("n", [1, 5, 65])
def test_what_lay_in_memory_before_does_not_matter(isa: str, n: int) -> None:
    spec = field_spec("grid", "relu", True, 16, 1, 3)
    inputs = field_inputs(spec, n)
    found = []
    for fill in (0.0, math.nan):
        features = kept_features(spec, inputs, fill)
        found.append(
            torch.ops.neufield.field_backward(
                inputs["x"], inputs["table"], inputs["params"], features, inputs["mix"], True, True, spec.text
            )
        )
    assert all(map(torch.equal, *found))


@every_encoding
def test_on_the_edges_and_outside(isa: str, encoding: str) -> None:
    spec = field_spec(encoding, "silu", True, 16, 1, 3)
    inputs = field_inputs(spec, 90)
    inputs["x"] = (inputs["x"] * 1024 * 7).round() / 1024 - 3  # multiples of 2^-10 in [-3, 4]
    inputs["x"][:20] = (inputs["x"][:20] > 0.5).float()  # corners
    truth = field_gradients(inputs, spec, torch.float64)
    assert_near(field_gradients(inputs, spec, torch.float32), truth, TOLERANCE, spec)


@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
@every_encoding
def test_nan_and_infinity_spoil_only_their_own_points(isa: str, encoding: str, activation: str) -> None:
    spec = field_spec(encoding, activation, True, 16, 2, 3)
    inputs = field_inputs(spec, 70)
    clean = field_gradients(inputs, spec, torch.float32)
    strange = [math.nan, math.inf, -math.inf]
    inputs["x"] = inputs["x"].clone()
    inputs["x"][20:23, 1] = torch.tensor(strange)
    spoilt = field_gradients(inputs, spec, torch.float32)
    sound = torch.ones(70, dtype=torch.bool)
    sound[20:23] = False
    for name in ("values", "by x"):
        assert torch.equal(spoilt[name][sound], clean[name][sound])
    truth = field_values(field_leaves(inputs, torch.float64), spec)
    assert bool(spoilt["values"][20].isnan().all())
    assert torch.equal(spoilt["values"].isfinite(), truth.isfinite())


@pytest.mark.parametrize("activation", ["silu", "sine"])
def test_activations_far_out(isa: str, activation: str) -> None:
    """One unit, so that values and slopes are the activation's own: to the ends of float32, silu's tails included."""
    spec = FieldSpec(1, 1, 1, 1, activation, bias=False)
    x = torch.cat([torch.linspace(-120, 120, 999), torch.tensor([-3e4, -9e3, 9e3, 3e4, 1e6, -1e6])])[:, None]
    inputs = {"x": x, "params": torch.ones(2), "mix": torch.ones(len(x), 1)}
    found = field_gradients(inputs, spec, torch.float32)
    truth = field_gradients(inputs, spec, torch.float64)
    for name in ("values", "by x"):
        # Units in the last place (2^-24) of numbers of order 1. Silu's slope has z (1 - s) in it, and that factor
        # is known to 2^-24, up to z = 17 where it vanishes.
        allowed = 18 * 2**-24 if (activation, name) == ("silu", "by x") else 4 * 2**-24
        torch.testing.assert_close(found[name].double(), truth[name], rtol=4 * 2**-24, atol=allowed)


@every_encoding
def test_non_contiguous_inputs(isa: str, encoding: str) -> None:
    spec = field_spec(encoding, "silu", True, 16, 2, 3)
    plain = field_inputs(spec, 70)
    expected = field_gradients(plain, spec, torch.float32)
    strided = {
        name: torch.stack([value, value], -1)[..., 0] if value.ndim == 1 else value.t().contiguous().t()
        for name, value in plain.items()
    }
    assert not any(value.is_contiguous() for value in strided.values())
    # As they are, not as leaves: a clone would be contiguous again.
    leaves = {name: value.requires_grad_() for name, value in strided.items() if name != "mix"}
    y = field_values(leaves, spec)
    found = [y, *torch.autograd.grad(y, list(leaves.values()), strided["mix"])]
    assert all(map(torch.equal, found, expected.values()))
    ones = field_gradients(plain | {"mix": torch.ones(70, 3)}, spec, torch.float32)["by x"]
    again = plain["x"].clone().requires_grad_()
    field_values(plain | {"x": again}, spec).sum().backward()  # its gradient is one number, expanded
    assert torch.equal(again.grad, ones)
