"""The small records that travel between rooms."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from neufield.core.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class Batch:
    """Training samples: points ``x (N, d)`` and what is known there, one row for each point.

    Args:
        x: where, in the unit box for most sources.
        target: (N, C), what a field should give there; None where nobody knows (a physical law is asked for instead).
        weight: (N,), how much each point counts; None: all alike.
        extras: whatever else an objective asks for by name, (N, ...) each: normals, times, flags.
    """

    x: Tensor
    target: Tensor | None = None
    weight: Tensor | None = None
    extras: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor | slice) -> "Batch":
        """The samples at ``index``: places, a mask (N,) or a slice."""
        return self.map(lambda rows: rows[index])

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that are there, by name."""
        named = {"x": self.x, "target": self.target, "weight": self.weight, **self.extras}
        return {name: rows for name, rows in named.items() if rows is not None}

    def needed(self, name: str) -> Tensor:
        """The target, the weight or an extra of that name; raises ArgumentError where the source gave none."""
        found = self.tensors()
        if name not in found:
            raise ArgumentError(
                f"the batch has {', '.join(found)}, but the objective needs its {name}; give it a source whose samples "
                f"have a {name}"
            )
        return found[name]

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The batch with ``change`` made to each of its tensors."""
        target = None if self.target is None else change(self.target)
        weight = None if self.weight is None else change(self.weight)
        return Batch(change(self.x), target, weight, {name: change(rows) for name, rows in self.extras.items()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Batch":
        """The batch on ``device``, its floating-point numbers in ``dtype``; None leaves what is."""
        return self.map(lambda rows: rows.to(device, dtype if rows.is_floating_point() else None))


@dataclasses.dataclass(frozen=True)
class StepContext:
    """When an objective is asked: after ``step`` finished steps, ``progress`` in [0, 1] of the run; and its chance.

    What an objective draws at random it draws from ``generator``, which is the run's. ``stage`` counts from 0 in the
    recipe's plan, so that an objective may weigh its terms by it; 0 where there is no plan.
    """

    step: int
    progress: float
    generator: torch.Generator
    stage: int = 0


class Counts(NamedTuple):
    """What a step cost: the model was evaluated at ``points``, for a batch of ``samples``."""

    samples: int
    points: int


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an objective found: a scalar ``loss`` to differentiate, and what adaptive parts want to know.

    ``x (N, d)`` are the points, ``error (N,)`` the detached per-point loss before reduction, ``weight (N,)`` how much
    each point counted, ``metrics`` plain numbers for the log. ``counts`` is for the signal's batch size, where that
    goes by what a step costs.
    """

    loss: Tensor
    x: Tensor
    error: Tensor
    weight: Tensor | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    counts: Counts | None = None


@dataclasses.dataclass(frozen=True)
class Op:
    """What a module says that a fused kernel can compute in its place; ``neufield.kernels.ops`` has every kind."""


@dataclasses.dataclass(frozen=True)
class Event:
    """Told to a field after each optimizer step: where the samples were and how wrong the field was there.

    ``step`` counts finished steps, this one too, and ``progress`` in (0, 1] is the share of the run that is done with
    it: ``step / progress`` is how many steps the run will have, where time ends it an estimate. ``weight (N,)``, not
    always there, is how much each error counts in the loss: a sample's share of the light, along a ray.
    """

    step: int
    progress: float
    x: Tensor
    error: Tensor
    weight: Tensor | None = None

    def at(self, transform: Callable[[Tensor], Tensor]) -> "Event":
        """The same event in the coordinates of a wrapped part, which sees ``transform(x)``."""
        return dataclasses.replace(self, x=transform(self.x))
