"""The loop: sample, objective, backward, step, adapt, hooks."""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from neufield.core.errors import BackendError, ConfigError
from neufield.core.interfaces import Evaluator, Field, Objective, RadianceField, Source, Trainable
from neufield.core.metrics import Metrics
from neufield.core.on_device import generator_for, usable_device
from neufield.core.recipe import Recipe
from neufield.core.records import Evaluation, Event
from neufield.core.shapes import check_choice
from neufield.core.wrappers import unwrapped
from neufield.fitting.objectives import objective_of
from neufield.fitting.optim import EMA, adam, set_rate
from neufield.fitting.stages import Course
from neufield.fitting.state import FitState
from neufield.fitting.steps import EagerStep, Stepper, make_stepper

PRECISIONS = ("fp32", "bf16")
_EVALUATION_POINTS = 65_536


def start(model: Trainable, recipe: Recipe, seed: int = 0, device: torch.device | str = "cpu") -> FitState:
    """The state before the first step; samples are drawn on ``device``, where the signal is."""
    generator = generator_for(usable_device(device), seed)
    state = FitState(model, adam(model, recipe), EMA(model, recipe.ema), generator, recipe=recipe)
    state.enter(0)
    return state


# Long because of what it says of its arguments; the loop itself is the last dozen lines.
def fit(
    field: nn.Module,
    source: Source,
    recipe: Recipe | None = None,
    *,
    objective: Objective | None = None,
    seed: int = 0,
    time_budget: float | None = None,
    target: float | None = None,
    evaluator: Evaluator | None = None,
    evaluate_every: int = 0,
    precision: str = "fp32",
    hooks: Sequence[Callable[[FitState], Any]] = (),
    state: FitState | None = None,
    replay: bool = True,
) -> FitState:
    """Train ``field``, in place, on the samples of ``source``; the state after the last step is returned.

    The field then holds the last weights; ``state.ema.applied(field)`` lends the averaged ones. What cannot be
    trained so is a ConfigError before the first step.

    Args:
        field: what learns, where it is to learn: a field, a scene, or another ``Trainable`` that the objective suits. A
            wrapper around it, such as torch.compile's, is taken off: steps are computed as without it.
        source: of samples, on the CPU, or, if ``state`` draws them there, on the field's device.
        recipe: optimizer, schedule, loss, steps; by default the field's own.
        objective: what is minimized; by default the recipe's loss between a field's values and the source's samples.
        seed: decides every random sample. On a CPU two runs with one seed give identical bits.
        time_budget: seconds. The schedule then runs over the time, and ``recipe.steps`` only if it is reached first.
        target: of the evaluator's headline metric, in its unit; the first evaluation that reaches it ends the run.
        evaluator: says now and then how good the field is; by default the source, where it is one, and else nobody.
        evaluate_every: steps between evaluations on about 65,536 fixed points; 0 means about 20 in a run.
        precision: "fp32", or "bf16" for matrix products in bfloat16 (weights and losses stay float32).
        hooks: called with the state after every step, in time that is not counted; one that raises, or says why in
            ``state.stopped``, ends the run.
        state: what an earlier ``fit`` returned or a file restored; the run goes on from there, to the end that the
            other arguments give it now, if that is farther.
        replay: on CUDA, record a step once and replay it where that is possible (``fitting.steps``). Without hooks the
            log then has every 16th step only.
    """
    evaluator = evaluator or (source if isinstance(source, Evaluator) else None)
    model = _trainable(field, objective, evaluator)
    recipe = recipe or model.recipe
    check_choice("precision", precision, PRECISIONS)
    objective = objective or objective_of(recipe)
    state = state or start(model, recipe, seed)
    _check_start(model, recipe, state, target, evaluator)
    objective.load_state_dict(state.memory)
    device, dtype = _place(model)
    state.recipe, computing = recipe, functools.partial(_matrix_precision, precision, device)
    course = Course(
        state, objective, lambda terms: make_stepper(EagerStep(model, state, terms, computing), device, replay)
    )
    log = _Log(state, time_budget, evaluator, target, evaluate_every or max(1, recipe.steps // 20), hooks)
    state.stopped = _ended(state, recipe, time_budget, target, evaluator)
    while not state.stopped:
        progress = _progress(state, time_budget)
        stepper, factor = course.at(progress)
        n = source.batch_size(recipe.batch_size, state.counts)
        batch = source.sample(n, state.generator, state.step).to(device, dtype)
        set_rate(state.optimizer, factor)
        evaluation = stepper.take(batch, progress)
        state.memory, state.counts = objective.state_dict(), evaluation.counts
        state.step += 1
        state.ema.update(model)
        done = _progress(state, time_budget)
        model.on_step(Event(state.step, done, evaluation.x, evaluation.error, evaluation.weight))
        log.note(stepper, factor, evaluation)
    return state


@dataclasses.dataclass
class _Log:
    """What is noted of the steps of a run: a row, how good the model is, the time; and who is told, and when it ends.

    ``begun`` is when the run would have begun, had nobody paused it.
    """

    state: FitState
    time_budget: float | None
    evaluator: Evaluator | None
    target: float | None
    evaluate_every: int
    hooks: Sequence[Callable[[FitState], Any]]

    def __post_init__(self) -> None:
        self.begun = time.perf_counter() - self.state.seconds

    def note(self, stepper: Stepper, factor: float, evaluation: Evaluation) -> None:
        """After a step, of ``stepper``."""
        state, steps = self.state, self.state.recipe.steps
        last = state.step >= steps or (self.time_budget or math.inf) <= time.perf_counter() - self.begun
        due = last or state.step % self.evaluate_every == 0
        row = {}
        if due or self.hooks or stepper.should_log(state.step):
            row = {"step": state.step, "loss": stepper.loss(), "lr_factor": factor, **evaluation.metrics}
            state.history.append(row)
        if due and self.evaluator is not None:
            found = evaluate(state, self.evaluator)
            row |= found.values
            if self.target is not None and found.headline.reaches(found.value, self.target):
                state.stopped = "target"
        state.seconds = row["seconds"] = time.perf_counter() - self.begun
        if last:
            state.stopped = state.stopped or ("steps" if state.step >= steps else "time-budget")
        paused = time.perf_counter()
        for hook in self.hooks:
            hook(state)
        self.begun += time.perf_counter() - paused


def _check_start(
    model: Trainable, recipe: Recipe, state: FitState, target: float | None, evaluator: Evaluator | None
) -> None:
    """Refuse what cannot be gone on with, before the first step."""
    if target is not None and evaluator is None:
        raise ConfigError(f"the target is {target:g}, but nobody says how good the field is; give fit an evaluator")
    if {id(p) for p in state.model.parameters()} != {id(p) for p in model.parameters()}:
        raise ConfigError("the state is that of another field object; hand on state.model, or begin without a state")
    if state.step > recipe.steps:
        raise ConfigError(
            f"the state has {state.step} steps already, more than the recipe's {recipe.steps}; give a recipe of more "
            "steps, or begin without a state"
        )


def _trainable(model: nn.Module, objective: Objective | None, evaluator: Evaluator | None) -> Trainable:
    """What learns, in a ``model`` that may be a wrapper around it: by this process alone, for who can ask it."""
    if isinstance(model, DistributedDataParallel) and model.process_group.size() > 1:
        raise ConfigError(
            f"a field shared by {model.process_group.size()} processes was given, but fit trains within one; give its "
            "module in one process, or write the loop around nf.fitting.Regression yourself"
        )
    found = unwrapped(model, "trained")
    kind = type(found).__name__
    if isinstance(found, RadianceField) and (objective is None or evaluator is not None):
        raise ConfigError(
            f"a {kind} was given, but what is trained maps points to values; see it through cameras, which a "
            "RadianceScene does (nf.renderers), or give fit an objective for radiance fields and a source that does "
            "not evaluate"
        )
    if not isinstance(found, Field) and objective is None:
        raise ConfigError(
            f"a {kind} was given, but a recipe's loss compares the values of a field; give fit an objective that suits "
            "it, such as nf.fitting.Photometric() for a RadianceScene"
        )
    return found


def _place(model: Trainable) -> tuple[torch.device, torch.dtype | None]:
    """Where samples go: the model's device, and its dtype if that is float64; signals give float32."""
    own = next(model.parameters())
    return usable_device(own.device), own.dtype if own.dtype == torch.float64 else None


def _ended(
    state: FitState, recipe: Recipe, time_budget: float | None, target: float | None, evaluator: Evaluator | None
) -> str:
    """Why there is nothing left to do; "" where there is."""
    if target is not None and evaluator is not None:
        headline = evaluator.headline
        last = next((row[headline.name] for row in reversed(state.history) if headline.name in row), math.nan)
        if headline.reaches(last, target):
            return "target"
    if state.step >= recipe.steps:
        return "steps"
    return "time-budget" if time_budget is not None and state.seconds >= time_budget else ""


def _progress(state: FitState, time_budget: float | None) -> float:
    """The share of the run that is done, by steps or, where it is further, by time."""
    by_time = 0.0 if time_budget is None else min(1.0, state.seconds / time_budget)
    return max(state.step / state.recipe.steps, by_time)


@torch.no_grad()
def evaluate(state: FitState, evaluator: Evaluator) -> Metrics:
    """The evaluator's metrics of the (averaged) field on a fixed subset; touches no random state."""
    with state.ema.applied(state.model):
        return evaluator.evaluate(lambda x: state.model(_like(state.model, x)).float().cpu(), limit=_EVALUATION_POINTS)


def _matrix_precision(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    if precision == "fp32":
        return contextlib.nullcontext()
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise BackendError("precision 'bf16' needs a GPU of the Ampere generation or newer; use --precision fp32")
    return torch.autocast(device.type, torch.bfloat16)


def _like(field: nn.Module, values: Tensor) -> Tensor:
    """``values`` where ``field`` is, and in float64 if it is; signals give float32."""
    own = next(field.parameters())
    return values.to(own.device, own.dtype if own.dtype == torch.float64 else values.dtype)


def count_parameters(field: nn.Module) -> int:
    """How many numbers the field learns."""
    return sum(p.numel() for p in field.parameters())
