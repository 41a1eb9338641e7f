"""The small records that travel between rooms."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Batch:
    """Training samples: points ``x (N, d)`` in the unit box, their ``target (N, C)``, optional ``weight (N,)``."""

    x: Tensor
    target: Tensor
    weight: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an objective found: a scalar ``loss`` to differentiate, and what adaptive parts want to know.

    ``x (N, d)`` are the points, ``error (N,)`` the detached per-point loss before reduction, ``weight (N,)`` how much
    each point counted, ``metrics`` plain numbers for the log.
    """

    loss: Tensor
    x: Tensor
    error: Tensor
    weight: Tensor | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Front:
    """An encoding that a fused kernel can compute itself: the ``spec`` of its op, and its ``table`` if it has one."""

    spec: Any
    table: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Chain:
    """A network that is linear maps with one ``activation`` between them, and ``output_activation`` at the end.

    ``weights`` (out, in) and ``biases`` (out,), none or one for each: differentiable functions of the parameters.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    activation: str
    output_activation: str


@dataclasses.dataclass(frozen=True)
class Event:
    """Told to a field after each optimiser step: where the samples were and how wrong the field was there.

    ``progress`` in [0, 1] is the share of the run that is done, ``step`` counts finished steps.
    """

    step: int
    progress: float
    x: Tensor
    error: Tensor
    weight: Tensor | None = None

    def at(self, transform: Callable[[Tensor], Tensor]) -> "Event":
        """The same event in the coordinates of a wrapped part, which sees ``transform(x)``."""
        return dataclasses.replace(self, x=transform(self.x))
