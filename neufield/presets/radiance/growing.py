"""Growth as a plan: from a quarter of the cells an edge to all of them."""

from collections.abc import Sequence
from fractions import Fraction

from neufield.core import exact
from neufield.core.plan import Regularizer, Upsample
from neufield.core.recipe import Stage, TrainingPlan

_COARSE = 4  # a field that grows begins with so many times fewer cells an edge


def coarse(resolution: int) -> int:
    """The cells an edge that a field begins with to end with ``resolution``."""
    return max(1, resolution // _COARSE)


def growing(resolution: int, ends: Sequence[float], terms: Sequence[Sequence[Regularizer]]) -> TrainingPlan:
    """Growth at ``ends``, shares of the run, to ``resolution`` cells an edge, even in its logarithm; terms by stage.

    Each time the optimizer is new and the rates begin again, to fall as fast as before.
    """
    start, stages = coarse(resolution), []
    for i, until in enumerate((*ends, 1.0)):
        cells = round(start * exact.power(Fraction(resolution, start), Fraction(i, len(ends))))
        before = [Upsample([cells] * 3)] if i else []
        stages.append(Stage(until, before=before, regularizers=list(terms[i]), restart=i > 0))
    return TrainingPlan(stages)
