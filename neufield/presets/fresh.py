"""The numbers that FreSh chooses between: values of one argument of a described field."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch

from neufield.core.edits import Edit
from neufield.fields import NeuralField


@dataclasses.dataclass(frozen=True)
class Axis:
    """The argument at ``path`` and its ``values``; ``measured`` are edits for the comparison alone."""

    path: str
    values: Sequence[float]
    measured: Sequence[Edit] = ()

    def candidates(self) -> Mapping[str, Edit]:
        """The edit of each candidate, by its text, "path=value"."""
        numbers = [int(value) if float(value).is_integer() else float(f"{value:.9g}") for value in self.values]
        return {str(edit): edit for edit in (Edit(self.path, number) for number in numbers)}


def evenly(first: int, last: int, unit: float = 1.0) -> list[float]:
    """``first`` to ``last``, both counted in, times ``unit``."""
    return [round(i * unit, 6) for i in range(first, last + 1)]


def draws(
    axis: Axis, make: Callable[[Sequence[Edit], torch.Generator], NeuralField]
) -> dict[str, Callable[[torch.Generator], NeuralField]]:
    """What draws each candidate's field for the comparison; ``make`` draws one with so many more edits."""

    def draw(edit: Edit) -> Callable[[torch.Generator], NeuralField]:
        return lambda generator: make([*axis.measured, edit], generator)

    return {name: draw(edit) for name, edit in axis.candidates().items()}
