"""Loss and gradients in one pass, and bfloat16 factors, against the composition of the parts."""

import dataclasses

import pytest
import torch
from native_cases import field_inputs, field_spec

from neufield.core.records import Batch, StepContext
from neufield.encodings import Grid
from neufield.fields import NeuralField
from neufield.fitting import Regression
from neufield.kernels.field import REGRESSION_LOSSES, CpuField, evaluate, fused_loss
from neufield.networks import MLP


def relative(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found.double() - truth.double()).norm() / truth.double().norm())


def outcome(run, inputs: dict, dtype: torch.dtype) -> list[torch.Tensor]:
    """Loss, error and the gradients by table and parameters."""
    table, params = (None if k not in inputs else inputs[k].to(dtype).clone() for k in ("table", "params"))
    wanted = [t.requires_grad_() for t in (table, params) if t is not None]
    loss, error = run(inputs["x"].to(dtype), table, params)
    return [loss.detach(), error, *torch.autograd.grad(loss * 2, wanted)]


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
@pytest.mark.parametrize("encoding", ["grid", "frequency", "features"])
@pytest.mark.parametrize("n", [1, 64, 131])
@pytest.mark.parametrize("weighted", [False, True])
def test_regression_in_one_pass(isa: str, loss: str, encoding: str, n: int, weighted: bool, generator) -> None:
    spec = field_spec(encoding, "silu", True, 16, 2, 3)
    inputs = field_inputs(spec, n)
    target = torch.rand(n, 3, generator=generator)
    weight = torch.rand(n, generator=generator) if weighted else None

    def by(function, dtype):
        w = weight if weight is None else weight.to(dtype)
        return lambda x, table, params: function(x, table, params, target.to(dtype), w, loss, spec)

    found = outcome(by(CpuField().fused_loss, torch.float32), inputs, torch.float32)
    truth = outcome(by(fused_loss, torch.float64), inputs, torch.float64)
    for a, b in zip(found, truth, strict=True):
        # l1 and huber turn a difference near their kink into another slope: 1e-5 of slack beside the kernel's own.
        assert relative(a, b) <= 1e-5 + CpuField.tolerance[torch.float32]


@pytest.mark.native
def test_a_second_backward_and_a_second_derivative(generator) -> None:
    grid = Grid(2, n_levels=3, log2_hashmap_size=8, generator=generator)
    field = NeuralField(grid, MLP(6, 3, 16, 1, activation="silu", generator=generator))
    batch = Batch(torch.rand(50, 2, generator=generator), torch.rand(50, 3, generator=generator))
    parameters = list(field.parameters())
    results = {}
    for backend in ("cpu", "torch"):
        field.backend = grid.backend = backend
        loss = Regression()(field, batch, StepContext(0, 0.0, generator)).loss
        first = torch.autograd.grad(loss, parameters, retain_graph=True)
        again = torch.autograd.grad(loss, parameters, retain_graph=True)
        twice = torch.autograd.grad(loss, parameters, create_graph=True)
        norm = sum(g.square().sum() for g in twice)
        results[backend] = [*first, *again, *torch.autograd.grad(norm, parameters)]
    for a, b in zip(results["cpu"], results["torch"], strict=True):
        assert relative(a, b) <= 1e-5  # float32 on both sides, through two derivatives; measured 1e-6


@pytest.mark.parametrize("encoding", ["grid", "frequency", "features"])
@pytest.mark.parametrize(("width", "hidden", "out"), [(16, 1, 1), (64, 2, 3), (33, 3, 5), (128, 4, 64), (64, 0, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_bfloat16_factors(isa: str, encoding: str, width: int, hidden: int, out: int, bias: bool) -> None:
    """Also where the processor has none: the same packing and the same roundings, multiplied in float32."""
    spec = dataclasses.replace(field_spec(encoding, "silu", bias, width, hidden, out), precision="bf16")
    inputs = field_inputs(spec, 131)

    def run(function):
        table, params = (None if k not in inputs else inputs[k].clone().requires_grad_() for k in ("table", "params"))
        y = function(inputs["x"], table, params, spec)
        leaves = [t for t in (table, params) if t is not None]
        return [y.detach(), *torch.autograd.grad(y, leaves, inputs["mix"])]

    # 2^-9 for each rounded factor, two a product, a handful of layers forward and back: measured up to 2e-2.
    for a, b in zip(run(CpuField().evaluate), run(evaluate), strict=True):
        assert 1e-5 < relative(a, b) < 4e-2
