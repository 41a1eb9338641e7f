"""Steps that are replayed are the steps that are launched. With a stand-in for CUDA graphs: not run on a GPU."""

import contextlib
import logging

import pytest
import torch
from cases import seeded
from graph_stub import Stub
from torch import Tensor

from neufield.core.errors import NonFiniteError
from neufield.core.interfaces import Evaluator, Field, Objective, Source
from neufield.core.metrics import Metrics
from neufield.core.recipe import Recipe, Step
from neufield.core.records import Batch, Event
from neufield.core.sample_selection import INT
from neufield.encodings import Grid, Identity
from neufield.fields import NeuralField
from neufield.fitting import HardSampleObjective, Regression, fit, start, steps
from neufield.fitting.steps import CudaGraphStep, EagerStep, obstacles
from neufield.metrics import PSNR
from neufield.networks import MLP, Siren

pytestmark = pytest.mark.usefixtures("one_thread")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
# Powers of two: a rate is the same number in float32, which a recording reads, and in Python's.
RECIPE = Recipe(lr=2**-5, schedule=Step(0.5, 3, 2), batch_size=8, steps=12)


class Line(Field):
    """Two linear maps; ``asks`` has it hand a value to Python, which cannot be recorded."""

    def __init__(self, asks: bool = False) -> None:
        super().__init__()
        self.asks = asks
        self.in_dim, self.out_dim, self.recipe = 2, 1, RECIPE
        self.first, self.last = torch.nn.Linear(2, 4), torch.nn.Linear(4, 1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=seeded(1)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(torch.tanh(self.first(x)))
        return y + float(y.detach().sum()) * 0 if self.asks else y

    def graph_safe(self, device: torch.device) -> bool:
        return True

    def on_step(self, event: Event) -> None:
        del event


class Noise(Source, Evaluator):
    """Other points at every step; of ``sizes``, in turn."""

    headline = PSNR

    def __init__(self, sizes: tuple[int, ...] = (8,), broken: int = -1) -> None:
        self.sizes, self.broken = sizes, broken

    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        x = torch.rand(self.sizes[step % len(self.sizes)], 2, generator=generator)
        target = x.sum(1, keepdim=True) * (torch.inf if step == self.broken else 1.0)
        return Batch(x, target, torch.rand(len(x), generator=generator))

    def evaluate(self, predict, limit=None):
        return Metrics({"psnr": float(predict(torch.zeros(1, 2)).sum())}, PSNR)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """``fit`` replays on the CPU."""
    made = Stub()
    monkeypatch.setattr(steps, "obstacles", lambda field, objective, device: [])
    monkeypatch.setattr(steps, "CudaRecorder", lambda device: made)
    return made


def losses(state) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in state.history}


def test_replayed_steps_are_the_launched_ones(stub: Stub) -> None:
    """Losses and parameters to the bit, while rate, samples and their weights are others at every step."""
    fields = Line(), Line()
    hooks = [lambda state: None]
    found = [
        fit(field, Noise(), hooks=hooks, replay=replay) for field, replay in zip(fields, (True, False), strict=True)
    ]
    assert (stub.warmed, stub.replayed) == (3, 9)
    assert losses(found[0]) == losses(found[1])
    assert len(losses(found[0])) == 12
    assert len({row["lr_factor"] for row in found[0].history}) > 4
    for a, b in zip(fields[0].parameters(), fields[1].parameters(), strict=True):
        assert torch.equal(a, b)
        assert found[0].optimizer.state[a]["step"] == 12
    assert [type(group["lr"]) for group in found[0].optimizer.param_groups] == [float]


def test_batches_of_another_size_are_launched_in_between(stub: Stub) -> None:
    fields = Line(), Line()
    signal = Noise((8, 8, 8, 8, 5, 8))
    found = [
        fit(field, signal, hooks=[print], replay=replay) for field, replay in zip(fields, (True, False), strict=True)
    ]
    assert (stub.warmed, stub.replayed) == (3, 7)
    assert losses(found[0]) == losses(found[1])


def test_without_hooks_the_loss_is_looked_at_seldom(stub: Stub) -> None:
    recipe = Recipe(steps=40, batch_size=8)
    state = fit(Line(), Noise(), recipe, evaluate_every=25)
    assert [row["step"] for row in state.history] == [16, 25, 32, 40]
    assert [row["step"] for row in state.history if "psnr" in row] == [25, 40]
    assert len(fit(Line(), Noise(), recipe, replay=False).history) == 40


def test_a_loss_that_is_not_finite_moves_nothing(stub: Stub) -> None:
    """It is found later than in a launched step, so the step itself must not have been made."""
    field = Line()
    state = start(field, RECIPE)
    with pytest.raises(NonFiniteError, match=r"step 8: first in targets"):
        fit(field, Noise(broken=7), state=state, hooks=[print])
    expected = Line()
    fit(expected, Noise(), Recipe(**{**vars(RECIPE), "steps": 7}), hooks=[print])
    for a, b in zip(field.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(slots["step"] == 7 for slots in state.optimizer.state.values())


def test_what_cannot_be_recorded_is_launched_and_the_log_says_why(stub: Stub, caplog) -> None:
    fields = Line(asks=True), Line()
    with caplog.at_level(logging.WARNING):
        found = [fit(field, Noise(), hooks=[print], replay=i == 0) for i, field in enumerate(fields)]
    assert losses(found[0]) == losses(found[1])
    assert stub.replayed == 0
    (said,) = [record.getMessage() for record in caplog.records]
    assert "could not be recorded: operation not permitted when stream is capturing" in said


def test_on_the_cpu_nothing_is_replayed_and_nothing_is_said(caplog) -> None:
    with caplog.at_level(logging.DEBUG):
        field = Line()
        launched = EagerStep(field, start(field, RECIPE), Regression())
        assert steps.make_stepper(launched, CPU, replay=True) is launched
    assert caplog.records == []


class Choosy(Objective):
    def __call__(self, model, batch, step):
        raise NotImplementedError


def test_obstacles_are_sentences() -> None:
    line = Line()
    assert obstacles(line, Regression(), CUDA) == []
    assert obstacles(line, Regression(), CPU) == ["steps are replayed on CUDA, not on cpu."]
    assert "changes from step to step" in obstacles(line, Choosy(), CUDA)[0]
    assert "changes from step to step" in obstacles(line, HardSampleObjective(Regression(), INT()), CUDA)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Line, "graph_safe", Field.graph_safe)
        assert obstacles(line, Regression(), CUDA) == ["the field is more than one fused kernel on this device."]


@pytest.mark.native
def test_a_fused_field_is_steady() -> None:
    field = NeuralField(Grid(2, 2, 2, 4, 2, 2.0), MLP(4, 1, 16))
    assert field.graph_safe(CPU)
    field.backend = "torch"
    assert not field.graph_safe(CPU)
    assert not NeuralField(Identity(2), Siren(2, 1, 8, 1)).graph_safe(CPU), "no encoding in one kernel with the network"


def test_turned_off_where_it_was_asked_for(stub: Stub, caplog) -> None:
    field = Line()
    launched = EagerStep(field, start(field, RECIPE), Regression(), contextlib.nullcontext)
    assert isinstance(steps.make_stepper(launched, CPU, replay=True), CudaGraphStep)
    with caplog.at_level(logging.INFO):
        assert steps.make_stepper(launched, CUDA, replay=False) is launched
    assert "it was asked for" in caplog.text


@pytest.mark.gpu
def test_replayed_on_a_gpu() -> None:
    """The same run by CUDA graphs: fused kernels add in another order, so bits are not compared."""
    found = []
    for replay in (True, False):
        field = Line().cuda()
        found.append(losses(fit(field, Noise(), hooks=[lambda state: None], replay=replay)))
    for step, loss in found[0].items():
        assert loss == pytest.approx(found[1][step], rel=1e-4)
