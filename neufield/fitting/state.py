"""Everything a run needs to go on as if it had never stopped."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neufield.core.errors import DataError, NonFiniteError
from neufield.fitting.optim import Average


@dataclasses.dataclass
class FitState:
    """A run between two steps. ``step`` counts finished steps, ``seconds`` the time spent on them.

    ``history`` holds a row per logged step: step, seconds, loss, learning-rate factor, and the metrics of an evaluation
    where there was one. ``memory`` is the objective's. ``stopped`` says why the run ended, "" while it goes on.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average
    generator: torch.Generator
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    stopped: str = ""
    memory: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the state, by a name that says whose they are."""
        named = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        names = {id(p): name for name, p in self.model.named_parameters()}
        for parameter, slots in self.optimizer.state.items():
            for slot, value in slots.items():
                named[f"optimizer.{slot}.{names[id(parameter)]}"] = value
        named |= {f"average.{name}": value for name, value in self.average.shadow.items()}
        named |= {f"memory.{name}": value for name, value in self.memory.items()}
        named["generator"] = self.generator.get_state()
        return named

    def facts(self) -> dict[str, Any]:
        """All numbers of the state."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "average_count": self.average.count,
            "stopped": self.stopped,
        }

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take over a saved state of the same model and recipe."""
        try:
            for name, value in self.model.state_dict().items():
                value.copy_(tensors[f"model.{name}"])
            for name, parameter in self.model.named_parameters():
                slots = {
                    key.split(".")[1]: value
                    for key, value in tensors.items()
                    if key.startswith("optimizer.") and key.split(".", 2)[2] == name
                }
                if slots:
                    self.optimizer.state[parameter] = {k: _placed(k, v, parameter) for k, v in slots.items()}
            for name, value in self.average.shadow.items():
                value.copy_(tensors[f"average.{name}"])
            self.generator.set_state(tensors["generator"])
            self.average.count = facts["average_count"]
            self.step, self.seconds, self.stopped = facts["step"], facts["seconds"], facts["stopped"]
            memory = {name: value for name, value in tensors.items() if name.startswith("memory.")}
            self.memory = {name.removeprefix("memory."): value.clone() for name, value in memory.items()}
            self.history = list(facts["history"])
        except (KeyError, RuntimeError) as error:
            raise DataError(
                f"this state belongs to another field or recipe ({error}); start without --resume"
            ) from None


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


def _placed(slot: str, value: Tensor, parameter: Tensor) -> Tensor:
    # Adam's "step" stays where torch's fused kernels expect it: beside the parameter.
    return value.to(parameter.device, copy=True) if slot == "step" else value.to(parameter, copy=True)
