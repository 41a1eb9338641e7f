"""A run goes through the stages of its plan: what is minimized in each, by whose steps, at which learning rates."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from neufield.core.errors import ConfigError
from neufield.core.interfaces import Objective, Trainable
from neufield.core.plan import Regularizer
from neufield.core.recipe import TrainingPlan
from neufield.core.records import Batch, Evaluation, StepContext
from neufield.fitting.state import FitState
from neufield.fitting.steps import Stepper

TrainableT = TypeVar("TrainableT", bound=Trainable)


class Course:
    """Takes ``state`` from stage to stage; ``begin`` makes the steps that minimize an objective from then on."""

    def __init__(self, state: FitState, objective: Objective, begin: Callable[[Objective], Stepper]) -> None:
        self.state = state
        self.objective = objective
        self.begin = begin
        if state.stage >= len(state.plan.stages):
            raise ConfigError(
                f"the state is in stage {state.stage} of a plan, counted from 0, but the recipe's has "
                f"{len(state.plan.stages)}; give the recipe that the run was begun with, or begin without a state"
            )
        self._steps = self._begun()

    def at(self, progress: float) -> tuple[Stepper, float]:
        """Who takes the next step, at ``progress`` of the run, and the factor of the learning rates for it."""
        state = self.state
        if state.plan.due(state.stage, progress):
            while state.plan.due(state.stage, progress):  # a resumed run may be short by more than one
                state.enter(state.stage + 1)
            self._steps = self._begun()
        return self._steps, state.plan.factor(state.stage, state.recipe.schedule, state.step, progress)

    def _begun(self) -> Stepper:
        terms = self.state.plan.stages[self.state.stage].regularizers
        return self.begin(Regularized(self.objective, terms) if terms else self.objective)


def grown(model: TrainableT, plan: TrainingPlan | None) -> TrainableT:
    """What ``model`` will be once its ``plan`` has changed it, on "meta": sizes without numbers."""
    copied = copy.deepcopy(model).to("meta")
    for stage in plan.stages if plan else ():
        for change in stage.before:
            for part in copied.planned():
                change(part)
    return copied


class Regularized(Objective[Trainable]):
    """``inner``, and to its loss the ``terms`` of the model's parameters, each times its weight.

    The log gets each term without its weight, by its name and those of the parameters.
    """

    def __init__(self, inner: Objective, terms: Sequence[Regularizer]) -> None:
        self.inner = inner
        self.terms = terms

    def __call__(self, model: Trainable, batch: Batch, step: StepContext) -> Evaluation:
        """Evaluate ``inner``, and add."""
        evaluation = self.inner(model, batch, step)
        total, found = evaluation.loss, dict(evaluation.metrics)
        for term in self.terms:
            value = term(model.recipe_owner(), step)
            total = total + term.weight * value
            found[f"{type(term).__name__} of {' '.join(term.parameters)}"] = value.item()
        return dataclasses.replace(evaluation, loss=total, metrics=found)
