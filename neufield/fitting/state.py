"""Everything a run needs to go on as if it had never stopped."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neufield.core.errors import DataError, NonFiniteError
from neufield.core.interfaces import Trainable
from neufield.core.json_files import Keys, shown
from neufield.core.recipe import Recipe, TrainingPlan
from neufield.core.records import Counts
from neufield.fitting.optim import EMA, adam

_SLOTS = ("step", "exp_avg", "exp_avg_sq")  # what torch's fused Adam keeps of a parameter
_MEMORY = "memory."
_ONE_STAGE = TrainingPlan()


@dataclasses.dataclass
class FitState:
    """A run between two steps. ``step`` counts finished steps, ``seconds`` the time spent on them.

    ``history`` holds a row per logged step: step, seconds, loss, learning-rate factor, and the metrics of an evaluation
    where there was one. ``memory`` is the objective's, ``counts`` what the last step cost, where that is known.
    ``stage`` counts from 0 in the plan of the ``recipe``, which are the run's; its begin has been made.
    ``stopped`` says why the run ended, "" while it goes on.
    """

    model: Trainable
    optimizer: torch.optim.Optimizer
    ema: EMA
    generator: torch.Generator
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    stopped: str = ""
    memory: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    counts: Counts | None = None
    stage: int = 0
    recipe: Recipe = dataclasses.field(default_factory=Recipe)

    @property
    def plan(self) -> TrainingPlan:
        """The recipe's; one stage, where it has none."""
        return self.recipe.plan or _ONE_STAGE

    def enter(self, stage: int) -> None:
        """Begin ``stage``: change the model, and have optimizer and EMA know the parameters that it then has."""
        own = self.plan.stages[stage]
        for change in own.before:
            for part in self.model.planned():
                change(part)
        if own.before:
            self.ema = EMA(self.model, self.ema.decay)
        if own.before or own.restart:
            before, self.optimizer = self.optimizer, adam(self.model, self.recipe)
            for parameter in self.model.parameters() if not own.restart else ():
                if parameter in before.state:
                    self.optimizer.state[parameter] = before.state[parameter]
        self.stage = stage

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the state, by a name that says whose they are."""
        named = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        names = {id(p): name for name, p in self.model.named_parameters()}
        for parameter, slots in self.optimizer.state.items():
            for slot, value in slots.items():
                named[f"optimizer.{slot}.{names[id(parameter)]}"] = value
        named |= {f"average.{name}": value for name, value in self.ema.ema_params.items()}
        named |= {f"memory.{name}": value for name, value in self.memory.items()}
        named["generator"] = self.generator.get_state()
        return named

    def facts(self) -> dict[str, Any]:
        """All numbers of the state."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "stage": self.stage,
            "average_count": self.ema.count,
            "counts": None if self.counts is None else self.counts._asdict(),
            "stopped": self.stopped,
        }

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], facts: Any, where: str = "the state") -> None:
        """Take over a saved state of the same model and recipe, or raise DataError and take over nothing.

        The model first becomes what the plan makes of it up to the saved stage, whatever is found afterwards.

        Every tensor's name, shape and dtype, and every fact, is checked before the first is taken over: what an
        optimizer is given it trusts.
        """
        own = SavedFacts(facts, where)
        if not self.stage <= own.stage < len(self.plan.stages):
            raise _of_another(where, f"it is in stage {own.stage}, but the plan has {len(self.plan.stages)}")
        while self.stage < own.stage:
            self.enter(self.stage + 1)
        slots = self._check(tensors, where)
        for name, value in self.model.state_dict().items():
            value.copy_(tensors[f"model.{name}"])
        for name, parameter in self.model.named_parameters():
            if name in slots:
                self.optimizer.state[parameter] = {
                    slot: _placed(slot, tensors[f"optimizer.{slot}.{name}"], parameter) for slot in _SLOTS
                }
        for name, value in self.ema.ema_params.items():
            value.copy_(tensors[f"average.{name}"])
        self.generator.set_state(tensors["generator"])
        self.ema.count, self.history = own.average_count, list(own.history)
        self.step, self.seconds, self.stopped = own.step, own.seconds, own.stopped
        self.counts = own.counts
        memory = {name: value for name, value in tensors.items() if name.startswith(_MEMORY)}
        self.memory = {name.removeprefix(_MEMORY): value.clone() for name, value in memory.items()}

    def _check(self, tensors: Mapping[str, Tensor], where: str) -> set[str]:
        """Refuse all but a state of this model; which of its parameters have slots of the optimizer."""
        parameters = dict(self.model.named_parameters())
        stepped = {name for name in parameters if f"optimizer.step.{name}" in tensors}
        one = torch.zeros(())
        expected = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        expected |= {f"average.{name}": value for name, value in self.ema.ema_params.items()}
        expected |= {f"optimizer.{slot}.{name}": parameters[name] for name in stepped for slot in _SLOTS}
        expected |= {f"optimizer.step.{name}": one for name in stepped}
        expected["generator"] = self.generator.get_state()
        for name, like in expected.items():
            if name not in tensors:
                raise _of_another(where, f"it has no {name}")
            found = tensors[name]
            if (found.shape, found.dtype) != (like.shape, like.dtype):
                raise _of_another(where, f"{name} is {_kind(found)}, but it must be {_kind(like)}")
            if found.isnan().any():  # no run saves one: it would be in the parameters, and ended the training
                raise DataError(f"{where} is damaged: {name} holds NaN; begin anew with --overwrite")
        for name in tensors:
            if name not in expected and not name.startswith(_MEMORY):
                raise _of_another(where, f"there is no {name} here")
        try:
            torch.Generator(self.generator.device).set_state(tensors["generator"])
        except RuntimeError as error:
            raise _of_another(where, f"its random generator cannot be set: {str(error).splitlines()[0]}") from None
        return stepped


class SavedFacts:
    """The numbers of a saved state; a DataError names the first that is not of its kind."""

    def __init__(self, facts: Any, where: str) -> None:
        keys = Keys(facts, f"the facts of {where}")
        self.step = keys.integer("step", least=0)
        self.seconds = keys.number("seconds")
        self.stage = keys.integer("stage", least=0)
        self.average_count = keys.integer("average_count", least=0)
        counts = keys.object("counts") if keys.has("counts") else None
        self.counts: Counts | None = None
        if counts is not None:
            self.counts = Counts(counts.integer("samples", least=0), counts.integer("points", least=0))
        self.stopped = keys.text("stopped") if keys.values.get("stopped") != "" else ""
        self.history: list[dict[str, float]] = keys.rows("history") if keys.values.get("history") != [] else []
        for i, row in enumerate(self.history):
            whole = isinstance(row, dict) and {"step", "seconds"} <= row.keys()
            if not whole or not all(isinstance(value, (int, float)) for value in row.values()):
                raise DataError(f"{keys.where}: history[{i}] is {shown(row)}, but an object of numbers was expected")


def check_finite(model: nn.Module, step: int, **others: Tensor) -> None:
    """Raise NonFiniteError naming ``step`` and the first tensor with a NaN or an infinity, parameters first."""
    named = {f"parameter {name}": p for name, p in model.named_parameters()} | others
    for name, tensor in named.items():
        bad = ~torch.isfinite(tensor.detach())
        if bad.any():
            kind = "NaN" if tensor.isnan().any() else "infinite"
            raise NonFiniteError(
                f"training met a {kind} value at step {step}: first in {name} ({int(bad.sum())} of {bad.numel()} "
                "values); try a lower learning rate, for instance --set recipe.lr=1e-3"
            )


def _of_another(where: str, reason: str) -> DataError:
    return DataError(
        f"{where} is damaged, or belongs to another field or recipe ({reason}); begin anew with --overwrite"
    )


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}".removeprefix("torch.")


def _placed(slot: str, value: Tensor, parameter: Tensor) -> Tensor:
    # Adam's "step" stays where torch's fused kernels expect it: beside the parameter.
    return value.to(parameter.device, copy=True) if slot == "step" else value.to(parameter, copy=True)
