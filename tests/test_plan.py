"""Programs: planned once, held while nothing changed that they rest on, and never the answer to an old question."""

import copy
from collections.abc import Callable

import pytest
import torch
from cases import seeded
from torch import nn
from torch.nn.utils import parametrizations

from neufield.core.errors import BackendError
from neufield.encodings import Grid, Identity
from neufield.fields import NeuralField
from neufield.kernels import native, plan
from neufield.kernels.dispatch import use_backend
from neufield.kernels.field import operators
from neufield.kernels.operator import Operator
from neufield.kernels.plan import FieldProgram
from neufield.networks import MLP, Siren
from neufield.networks.fused import evaluate_network

CPU = torch.device("cpu")
pytestmark = [pytest.mark.native, pytest.mark.usefixtures("one_thread")]


def small() -> NeuralField:
    return NeuralField(Grid(2, 4, 2, 8, generator=seeded()), MLP(8, 3, 16, 2, generator=seeded(1)))


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who was planned, one by one."""
    calls: list[str] = []
    own = plan.Held.program

    def program(held, parts, device, how, make):
        return own(held, parts, device, how, lambda: calls.append(str(how)) or make())

    monkeypatch.setattr(plan.Held, "program", program)
    return calls


def test_what_does_not_change_is_planned_once(planned: list[str]) -> None:
    field, x = small(), torch.rand(10, 2, generator=seeded(2))
    optimizer = torch.optim.Adam(field.parameters())
    for _ in range(3):
        field(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert planned == ["auto"]


def hooked(field: NeuralField) -> None:
    field.network.layers[0].register_forward_hook(lambda *_: None)


def halved(field: NeuralField) -> None:
    field.network.layers[1] = nn.Linear(16, 16)


def with_sines(field: NeuralField) -> None:
    field.network.activation = "sine"


def parametrized(field: NeuralField) -> None:
    parametrizations.weight_norm(field.network.layers[0])
    with torch.no_grad():
        field.network.layers[0].parametrizations.weight.original0.mul_(2)


def smoother(field: NeuralField) -> None:
    field.encoding = Grid(2, 4, 2, 8, interpolation="smoothstep", generator=seeded())


def other_table(field: NeuralField) -> None:
    field.encoding.table = nn.Parameter(torch.randn(field.encoding.table.shape, generator=seeded(5)))


def other_numbers(field: NeuralField) -> None:
    field.encoding.table.data = torch.randn(field.encoding.table.shape, generator=seeded(5))


def doubled(field: NeuralField) -> None:
    field.double()


CHANGES: list[Callable[[NeuralField], None]] = [
    hooked, halved, with_sines, parametrized, smoother, other_table, other_numbers, doubled,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_what_is_computed(change: Callable[[NeuralField], None]) -> None:
    """The field that had been used before gives what one that was changed before its first use gives."""
    used, fresh = small(), small()
    x = torch.rand(50, 2, generator=seeded(3))
    used(x)
    for field in (used, fresh):
        torch.manual_seed(0)
        change(field)
    dtype = next(used.parameters()).dtype
    assert torch.equal(used(x.to(dtype)), fresh(x.to(dtype)))
    apart = copy.deepcopy(fresh)
    use_backend(apart, "torch", CPU)
    torch.testing.assert_close(used(x.to(dtype)), apart(x.to(dtype)), rtol=1e-4, atol=1e-6)


def test_hooks_that_come_and_go_are_called(planned: list[str]) -> None:
    field, x, called = small(), torch.rand(5, 2, generator=seeded(2)), []
    before = field(x)
    handle = field.network.register_forward_hook(lambda *_: called.append(1))
    torch.testing.assert_close(field(x), before)
    assert called == [1]
    handle.remove()
    assert torch.equal(field(x), before)
    everywhere = nn.modules.module.register_module_forward_hook(lambda *_: called.append(2))
    field(x)
    everywhere.remove()
    assert 2 in called[1:]


def test_autocast_is_asked_for_at_each_call() -> None:
    field, x = small(), torch.rand(200, 2, generator=seeded(2))
    nn.init.normal_(field.encoding.table, generator=seeded(4))
    exact = field(x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = field(x)
    assert not torch.equal(exact, rough.float())
    assert torch.equal(field(x), exact)


def test_what_is_computed_from_parameters_is_computed_anew() -> None:
    field = NeuralField(Identity(2), Siren(2, 3, 16, 1, generator=seeded()))
    x = torch.rand(9, 2, generator=seeded(1))
    before = field(x)
    with torch.no_grad():
        field.network.layers[0].weight.mul_(1.5)
    assert not torch.equal(field(x), before)


def test_a_program_or_the_reasons_against_it() -> None:
    field = small()
    op = field.op()
    assert op is not None
    found = plan.plan_field(op, CPU)
    assert isinstance(found, FieldProgram)
    x = torch.rand(20, 2, generator=seeded(2))
    assert torch.equal(found.evaluate(x), field(x))
    reasons = plan.plan_field(op, CPU, "triton")
    assert isinstance(reasons, list)
    assert "CUDA" in reasons[0]


def test_a_named_backend_never_falls_back_in_a_network_alone() -> None:
    network, h = MLP(8, 3, 16, 1, generator=seeded()), torch.rand(4, 8, generator=seeded(1))
    for name in ("tcnn", "triton"):
        with pytest.raises(BackendError, match=f"backend '{name}' cannot run this network here.*CUDA"):
            evaluate_network(network, h, h, name)
    assert torch.equal(evaluate_network(network, h, h), network(h, h))
    torch.testing.assert_close(evaluate_network(network, h, h, "cpu"), network(h, h))
    skipping = MLP(8, 3, 16, 2, skips=[1], generator=seeded())
    with pytest.raises(BackendError, match="more than a chain"):
        evaluate_network(skipping, h, h, "cpu")


class Seen(torch.overrides.TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names.append(getattr(function, "__name__", str(function)))
        return function(*args, **(kwargs or {}))


class Own(torch.Tensor):
    """A tensor whose operations somebody wants to see."""


def test_the_way_around_torch_library_has_the_same_bits_and_is_not_taken_where_somebody_looks_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    direct: list[bool] = []
    own = operators.FORWARD._direct.apply
    monkeypatch.setattr(operators.FORWARD._direct, "apply", lambda *given: direct.append(True) or own(*given))
    field, x = small(), torch.rand(20, 2, generator=seeded(2))
    values = field(x)
    slopes = torch.autograd.grad(values.square().sum(), list(field.parameters()))
    assert direct == [True]
    with Seen():
        through = field(x)
    assert direct == [True]
    others = torch.autograd.grad(through.square().sum(), list(field.parameters()))
    assert all(map(torch.equal, (values, *slopes), (through, *others)))
    field(x.as_subclass(Own))
    assert direct == [True]


def test_every_operator_with_gradients_has_the_short_way() -> None:
    found = [value for value in vars(operators).values() if isinstance(value, Operator)]
    assert len(found) == 3
    assert sum(operator._direct is not None for operator in found) == 2
    assert native.isa()
