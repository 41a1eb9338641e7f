"""Which of a batch's samples a step learns from: the schedules of nonparametric teaching.

All depend on ``progress``, the share of the run that is done, of the steps or of the time where there is a budget of
it; how often to select is counted in steps, which both kinds of run have.
"""

import abc
import bisect
import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class ConstantRatio:
    """The same share of the samples throughout."""

    value: float = 0.2

    def __post_init__(self) -> None:
        _check_shares(value=self.value)

    def at(self, progress: float) -> float:
        """The share at ``progress`` in [0, 1]."""
        del progress
        return self.value


@dataclasses.dataclass(frozen=True)
class LinearRatio:
    """Rises from ``start`` in a straight line to ``final``."""

    start: float = 0.2
    final: float = 1.0

    def __post_init__(self) -> None:
        _check_shares(start=self.start, final=self.final)

    def at(self, progress: float) -> float:
        """The share at ``progress``."""
        return self.start + progress * (self.final - self.start)


@dataclasses.dataclass(frozen=True)
class StepRatio:
    """Rises in ``stages`` equal steps from ``start`` towards ``final``, short of it by one: .20, .28 ... .92."""

    start: float = 0.2
    final: float = 1.0
    stages: int = 10

    def __post_init__(self) -> None:
        _check_shares(start=self.start, final=self.final)
        if self.stages < 1:
            raise ValueError(f"stages is {self.stages}, but it must be 1 or above")

    def at(self, progress: float) -> float:
        """The share at ``progress``."""
        stage = min(int(self.stages * progress), self.stages - 1)
        return self.start + stage * (self.final - self.start) / self.stages


@dataclasses.dataclass(frozen=True)
class CosineRatio:
    """Half a cosine from ``start`` to ``final``; the paper's reverse cosine is that from 1 to 0.2."""

    start: float = 0.2
    final: float = 1.0

    def __post_init__(self) -> None:
        _check_shares(start=self.start, final=self.final)

    def at(self, progress: float) -> float:
        """The share at ``progress``."""
        return self.final + (self.start - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


Ratio = ConstantRatio | LinearRatio | StepRatio | CosineRatio


@dataclasses.dataclass(frozen=True)
class Intervals:
    """Steps from one selection to the next: ``steps[i]`` of them between the i-th and the next of ``changes``.

    ``changes`` are shares of the run, rising, one fewer than ``steps``. The default is the paper's "incremental": every
    step for a quarter of the run, then every 10th, 20th ... 50th. Its "dense" is ``Intervals([1], [])``, its "reverse"
    :data:`SHRINKING`. A selection falls on the steps, counted from 0, that are multiples of the interval.
    """

    steps: Sequence[int] = (1, 10, 20, 30, 40, 50)
    changes: Sequence[float] = (0.25, 0.4, 0.55, 0.7, 0.85)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))  # a file brings lists, which equal no tuple
        object.__setattr__(self, "changes", tuple(self.changes))
        if len(self.steps) != len(self.changes) + 1 or min(self.steps) < 1:
            raise ValueError(
                f"steps is {list(self.steps)} and changes {list(self.changes)}, but there must be one more of steps, "
                "each 1 or above; for instance steps=[1, 10] and changes=[0.5]"
            )
        if list(self.changes) != sorted(self.changes):
            raise ValueError(f"changes is {list(self.changes)}, but shares of the run rise")

    def at(self, progress: float) -> int:
        """The interval at ``progress``."""
        return self.steps[bisect.bisect_right(self.changes, progress)]


SHRINKING = Intervals((90, 80, 70, 60, 50, 40, 30, 20, 10, 1), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))


class SampleSelection(abc.ABC):
    """Which samples a step learns from: how many of them, and when they are chosen anew."""

    @abc.abstractmethod
    def share(self, progress: float) -> float:
        """The share of the batch's samples, in (0, 1], at ``progress``."""

    @abc.abstractmethod
    def selects(self, step: int, progress: float) -> bool:
        """Whether step ``step``, counted from 0, chooses anew."""


@dataclasses.dataclass(frozen=True)
class INT(SampleSelection):
    """Implicit neural teaching (arXiv 2405.10531): the samples with the largest errors, ever more, ever less often.

    By default its "step" ratios and "incremental" intervals, which were best of those published.
    """

    ratio: Ratio = dataclasses.field(default_factory=StepRatio)
    intervals: Intervals = dataclasses.field(default_factory=Intervals)

    def share(self, progress: float) -> float:
        """What ``ratio`` says."""
        return self.ratio.at(progress)

    def selects(self, step: int, progress: float) -> bool:
        """Every so many steps as ``intervals`` says."""
        return step % self.intervals.at(progress) == 0


def _check_shares(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 < value <= 1:
            raise ValueError(f"{name} is {value}, but a share of the samples is above 0 and at most 1")
