"""How a training step is taken: launched anew each time, or recorded once and replayed (a CUDA graph).

A fused step is a few short programs, and at some ten thousand points a GPU is done with them before Python has asked
for the next. Replaying asks once for all of them. Not run on a GPU: tested with a stand-in for torch's graphs on the
CPU, which replays what torch was told while it recorded.

What a recording holds are addresses. So the samples, drawn outside, are copied to where it reads them, the learning
rates are tensors in it, and whatever is adapted, chosen or counted between steps must not be part of it.
"""

import abc
import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from neufield.core.interfaces import Objective, Trainable
from neufield.core.records import Batch, Evaluation, StepContext
from neufield.fitting.optim import forget_gradients
from neufield.fitting.state import FitState, check_finite

Work = Callable[[], None]

_log = logging.getLogger(__name__)
_WARM_UP = 3  # steps before recording: programs are compiled, Adam makes its moments, torch its buffers
_CALLED = {"target": "targets", "x": "points"}
_READ_EVERY = 16  # steps between looks at the loss where nobody else wants it: each look waits for the GPU


class Recorder(abc.ABC):
    """Records work that is launched, and replays it."""

    @abc.abstractmethod
    def warm_up(self, work: Work) -> None:
        """Do ``work`` now, as it will be recorded."""

    @abc.abstractmethod
    def record(self, work: Work) -> Work:
        """A function that does what ``work`` would, to the same memory; ``work`` itself is not done here."""


class CudaRecorder(Recorder):
    """torch's CUDA graphs, on a stream of their own, as they must be."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)

    def warm_up(self, work: Work) -> None:
        """Take steps on the stream that will be recorded."""
        before = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(before)
        with torch.cuda.stream(self.stream):
            work()
        before.wait_stream(self.stream)

    def record(self, work: Work) -> Work:
        """Capture."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            work()
        return graph.replay


class Stepper(abc.ABC):
    """Takes the steps of a run and knows the last one's loss."""

    @abc.abstractmethod
    def take(self, batch: Batch, progress: float) -> Evaluation:
        """Evaluate, go back, let the optimizer move; what is returned holds until the next step."""

    @abc.abstractmethod
    def loss(self) -> float:
        """The last step's; raises NonFiniteError, naming the first tensor, where it is none."""

    def should_log(self, step: int) -> bool:
        """Whether the loss of ``step`` goes to the log, where no hook asks for it."""
        del step
        return True


class EagerStep(Stepper):
    """Every step anew. ``computing`` makes the context in which the model is evaluated."""

    def __init__(
        self,
        model: Trainable,
        state: FitState,
        objective: Objective,
        computing: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
    ) -> None:
        self.model = model
        self.state = state
        self.objective = objective
        self.computing = computing
        self._loss = math.nan

    def take(self, batch: Batch, progress: float) -> Evaluation:
        """The loss is looked at before the optimizer moves."""
        state = self.state
        with self.computing():
            step = StepContext(state.step, progress, state.generator, state.stage)
            evaluation = self.objective(self.model, batch, step)
        forget_gradients(state.optimizer)
        evaluation.loss.backward()
        self._loss = evaluation.loss.item()  # now, so that a GPU has the way back to go while it is waited for
        if not math.isfinite(self._loss):
            check_finite(state.model, state.step + 1, **_named(batch, evaluation.loss))
        state.optimizer.step()
        return evaluation

    def loss(self) -> float:
        """See :class:`Stepper`."""
        return self._loss


class CudaGraphStep(Stepper):
    """The first steps as ``launched`` would take them, then one recording of a step for all that have its shapes.

    A step whose loss is not finite moves nothing, so that the parameters are still the last good ones when somebody
    looks. Where recording fails, and for batches of other shapes, steps are launched.
    """

    def __init__(self, launched: EagerStep, recorder: Recorder) -> None:
        self.launched = launched
        self.recorder = recorder
        self._batch: Batch | None = None
        self._evaluation: Evaluation | None = None
        self._replay: Work | None = None
        self._taken = 0
        self._failed = False
        self._last: Stepper = self
        groups = launched.state.optimizer.param_groups
        self._rates = [torch.zeros((), device=group["params"][0].device) for group in groups]
        for group in groups:
            group["capturable"] = True

    def take(self, batch: Batch, progress: float) -> Evaluation:
        """See :class:`Stepper`."""
        if self._batch is None:
            self._batch = batch.map(torch.clone)
        if self._failed or _shapes(batch) != _shapes(self._batch):
            self._last = self.launched
            return self.launched.take(batch, progress)
        self._last = self
        for name, rows in self._batch.tensors().items():
            rows.copy_(batch.tensors()[name], non_blocking=True)
        for rate, group in zip(self._rates, self.launched.state.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        if self._taken < _WARM_UP:
            self.recorder.warm_up(self._work)
        elif self._replay is None and not self._record():
            return self.take(batch, progress)
        if self._replay is not None:
            self._replay()
        self._taken += 1
        assert self._evaluation is not None
        return dataclasses.replace(self._evaluation, loss=self._evaluation.loss.detach())

    def loss(self) -> float:
        """See :class:`Stepper`; waits for the GPU."""
        if self._last is not self:
            return self._last.loss()
        assert self._evaluation is not None
        assert self._batch is not None
        state, loss = self.launched.state, self._evaluation.loss.item()
        if not math.isfinite(loss):
            check_finite(state.model, state.step, **_named(self._batch, self._evaluation.loss))
        return loss

    def should_log(self, step: int) -> bool:
        """Whether this step is written to the log: every 16th, since each look at a loss waits for the GPU."""
        return self._last is not self or step % _READ_EVERY == 0

    def _record(self) -> bool:
        """Whether it could be done."""
        try:
            self._replay = self.recorder.record(self._work)
        except RuntimeError as error:
            self._failed = True
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            _log.warning("steps are launched one by one, since one could not be recorded: %s", reason)
        return not self._failed

    def _work(self) -> None:
        """A step, with nothing in it that Python would have to ask the GPU for."""
        launched, optimizer = self.launched, self.launched.state.optimizer
        optimizer.zero_grad(set_to_none=True)
        assert self._batch is not None
        step = StepContext(0, 0.0, launched.state.generator, launched.state.stage)  # a stage has a stepper of its own
        with launched.computing():
            evaluation = launched.objective(launched.model, self._batch, step)
        evaluation.loss.backward()
        self._evaluation = evaluation
        with self._rates_as_tensors(), _only_if(optimizer, evaluation.loss.detach()):
            optimizer.step()

    @contextlib.contextmanager
    def _rates_as_tensors(self):
        """What a recording would keep as a number is read from memory."""
        groups = self.launched.state.optimizer.param_groups
        numbers = [group["lr"] for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate
        try:
            yield
        finally:
            for group, number in zip(groups, numbers, strict=True):
                group["lr"] = number


def obstacles(model: Trainable, objective: Objective, device: torch.device) -> list[str]:
    """Why the steps of a run cannot be replayed: sentences; [] means they can."""
    found = []
    if device.type != "cuda":
        found.append(f"steps are replayed on CUDA, not on {device}.")
    if not objective.graph_safe:
        found.append("what the objective asks for changes from step to step.")
    if not found and not model.graph_safe(device):
        found.append("the field is more than one fused kernel on this device.")
    return found


def make_stepper(launched: EagerStep, device: torch.device, replay: bool) -> Stepper:
    """Replayed steps where that is asked for and possible."""
    reasons = obstacles(launched.model, launched.objective, device) if replay else ["it was asked for."]
    if not reasons:
        return CudaGraphStep(launched, CudaRecorder(device))
    if device.type == "cuda":
        _log.info("steps are launched one by one: %s", " ".join(reasons))
    return launched


@contextlib.contextmanager
def _only_if(optimizer: torch.optim.Optimizer, loss: Tensor):
    """Within, the optimizer moves only where ``loss`` is finite: as torch's GradScaler tells its fused kernels."""
    optimizer.found_inf = (~loss.isfinite()).float()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]


def _shapes(batch: Batch) -> dict[str, torch.Size]:
    return {name: rows.shape for name, rows in batch.tensors().items()}


def _named(batch: Batch, loss: Tensor) -> dict[str, Tensor]:
    """What may be the first that is not finite, by its name in a sentence."""
    named = batch.tensors()
    return {_CALLED.get(name, name): rows for name, rows in {**named, "loss": loss}.items() if rows.is_floating_point()}
