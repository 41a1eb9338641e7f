"""The native ops as torch sees them: schema, autograd, fake tensors, torch.compile, torch.export.

``test_native_torch`` runs this file in a process without the type checks in signatures, which torch cannot trace.
"""

import contextlib
from collections.abc import Iterator

import pytest
import torch
from cases import seeded
from native_cases import FUSED_ENCODINGS, field_inputs, field_spec, grid_inputs, small_grid
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

from neufield.encodings import Frequency, Grid
from neufield.fields import NeuralField
from neufield.networks import MLP

CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
pytestmark = pytest.mark.filterwarnings("default")  # torch's own warn of each other


def leaf(tensor: Tensor) -> Tensor:
    return tensor.clone().requires_grad_()


@pytest.mark.parametrize("along", [False, True])
@pytest.mark.parametrize("name", ["grid_gather", "grid_scatter", "grid_contract"])
def test_grid_ops_keep_the_rules_of_torch(name: str, along: bool) -> None:
    spec = small_grid(2, interpolation="smoothstep")
    inputs = grid_inputs(spec, 20)
    x, table, mix = [leaf(inputs[key]) for key in ("x", "table", "mix")]
    v = leaf(inputs["along"]) if along else None
    arguments = {"grid_gather": (x, table, v), "grid_scatter": (x, mix, v), "grid_contract": (x, table, mix, v)}[name]
    torch.library.opcheck(getattr(torch.ops.neufield, name).default, (*arguments, spec.text), test_utils=CHECKS)


@pytest.mark.parametrize("encoding", FUSED_ENCODINGS)
def test_field_ops_keep_the_rules_of_torch(encoding: str) -> None:
    spec = field_spec(encoding, "silu", True, 16, 1, 3)
    inputs = field_inputs(spec, 128)
    x, params = leaf(inputs["x"]), leaf(inputs["params"])
    table = leaf(inputs["table"]) if "table" in inputs else None
    op, text = torch.ops.neufield, spec.text
    torch.library.opcheck(op.field_forward.default, (x, table, params, True, text), test_utils=CHECKS)
    _, features = op.field_forward(x, table, params, True, text)
    detached = [None if value is None else value.detach() for value in (x, table, params, features)]
    for wanted in (True, False):
        arguments = (*detached, inputs["mix"], wanted, wanted and table is not None, text)
        torch.library.opcheck(op.field_backward.default, arguments, test_utils=CHECKS)


def fields() -> dict[str, NeuralField]:
    grid = Grid(2, 4, 2, 8, 4, 1.5, generator=seeded())
    torch.nn.init.normal_(grid.table, generator=seeded(1))
    return {
        "grid": NeuralField(grid, MLP(8, 3, 16, 2, "silu", generator=seeded(2))),
        "frequency": NeuralField(Frequency(2, 4), MLP(16, 3, 16, 2, "silu", generator=seeded(2))),
        "parts": NeuralField(grid, MLP(8, 3, 16, 2, "silu", skips=[1], generator=seeded(2))),
    }


@contextlib.contextmanager
def fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    try:
        yield
    finally:
        torch._dynamo.reset()


def gradients(run, field: NeuralField, x: Tensor) -> list[Tensor]:
    y = run(x)
    return [y, *torch.autograd.grad(y.square().sum(), list(field.parameters()))]


# None: first of one size, then, at the second, of any; True: of any from the beginning.
@pytest.mark.parametrize(("name", "dynamic"), [("grid", None), ("frequency", True), ("parts", None)])
def test_torch_compile_does_not_break_on_it(name: str, dynamic: bool | None) -> None:
    field = fields()[name]
    with fresh_dynamo():
        compiled = torch.compile(field, fullgraph=True, backend="aot_eager", dynamic=dynamic)
        for n in (128, 65, 33):
            x = torch.rand(n, 2, generator=seeded(n))
            expected = gradients(field, field, x)
            for found, right in zip(gradients(compiled, field, x), expected, strict=True):
                assert torch.equal(found, right)


def test_the_compiled_backward_is_the_fused_one() -> None:
    field = fields()["grid"]
    ran: list[str] = []

    def note(graph: torch.fx.GraphModule, inputs: list[Tensor]):
        ran.extend(str(node.target) for node in graph.graph.nodes if "neufield" in str(node.target))
        return graph.forward

    with fresh_dynamo():
        compiled = torch.compile(field, fullgraph=True, backend=aot_autograd(fw_compiler=note, bw_compiler=note))
        gradients(compiled, field, torch.rand(64, 2, generator=seeded()))
    assert [name.split(".")[1] for name in ran] == ["field_forward", "field_backward"]


@pytest.mark.parametrize("name", ["grid", "frequency", "parts"])
def test_an_exported_field_is_made_of_torch_operations(name: str) -> None:
    field = fields()[name].eval()
    x = torch.rand(20, 2, generator=seeded())
    exported = torch.export.export(field, (x,), dynamic_shapes=({0: torch.export.Dim("n")},))
    exported = exported.run_decompositions({})  # which takes the block without autocast away
    used = {str(node.target) for node in exported.graph.nodes if "neufield" in str(node.target)}
    assert not used
    other = torch.rand(77, 2, generator=seeded(4))
    torch.testing.assert_close(exported.module()(other), field(other))
