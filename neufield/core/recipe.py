"""Recipes, by which fields are trained: the numbers that papers list under "implementation details"."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from neufield.core.plan import Change, Regularizer
from neufield.core.sample_selection import SampleSelection
from neufield.core.shapes import check_choice, check_positive

LOSS_NAMES = ("l2", "l1", "huber", "relative_l2", "relative_l2_luminance", "relative_l1", "mape", "smape")
STORAGES = ("float32", "float16", "int8", "float16-zlib", "int8-zlib")


@dataclasses.dataclass(frozen=True)
class Constant:
    """The learning rate stays."""

    def factor(self, step: int, progress: float) -> float:
        """Multiplier of the learning rate at ``step``, ``progress`` in [0, 1] of the run."""
        del step, progress
        return 1.0


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to ``final`` over the run."""

    final: float = 0.0

    def factor(self, step: int, progress: float) -> float:
        """Multiplier of the learning rate."""
        del step
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclasses.dataclass(frozen=True)
class Exponential:
    """Geometric decay to ``final``, from 1 for the first share ``hold`` of the run."""

    final: float = 0.1
    hold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.hold < 1:
            raise ValueError(f"hold is {self.hold}, but it must be in [0, 1)")

    def factor(self, step: int, progress: float) -> float:
        """Multiplier of the learning rate."""
        del step
        return self.final ** max(0.0, (progress - self.hold) / (1 - self.hold))


@dataclasses.dataclass(frozen=True)
class Step:
    """Times ``base`` at step ``start`` and every ``interval`` steps after it, up to ``end`` as tcnn does."""

    base: float = 0.33
    start: int = 20_000
    interval: int = 10_000
    end: int = 10_000_000

    def factor(self, step: int, progress: float) -> float:
        """Multiplier of the learning rate."""
        del progress
        if step < self.start:
            return 1.0
        return self.base ** (1 + (min(step, self.end) - self.start) // self.interval)


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """A line from ``first`` to 1 over ``steps`` steps, then times ``base`` in every ``interval`` steps (R2L)."""

    first: float = 0.2
    steps: int = 200
    base: float = 0.1
    interval: int = 500_000

    def __post_init__(self) -> None:
        check_positive(first=self.first, steps=self.steps, base=self.base, interval=self.interval)

    def factor(self, step: int, progress: float) -> float:
        """Multiplier of the learning rate."""
        del progress
        if step < self.steps:
            return self.first + (1 - self.first) * step / self.steps
        return self.base ** ((step - self.steps) / self.interval)


Schedule = Constant | Cosine | Exponential | Step | WarmUp


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of a run, up to the share ``until`` of it, in which one objective is minimized by one optimizer.

    Args:
        until: the share of the run, in steps or, where time ends it, in time.
        before: what is done to the model when the stage begins.
        regularizers: what is added to the loss, each times its weight.
        schedule: of the learning rates, from the stage's begin to its end; None: the recipe's goes on.
        restart: whether the optimizer is a new one, which remembers no steps, and the recipe's schedule counts from
            here (TensoRF). What an optimizer remembers of a parameter that was replaced is lost in any case.
    """

    until: float = 1.0
    before: Sequence[Change] = ()
    regularizers: Sequence[Regularizer] = ()
    schedule: Schedule | None = None
    restart: bool = False


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """The ``stages`` of a run, in their order; the last one is until 1."""

    stages: Sequence[Stage] = (Stage(),)

    def __post_init__(self) -> None:
        ends = [stage.until for stage in self.stages]
        rising = all(before < after for before, after in itertools.pairwise([0.0, *ends]))
        if not rising or ends[-1:] != [1.0]:
            raise ValueError(f"the stages end at {ends}, but these shares of the run must rise, and the last must be 1")

    def due(self, stage: int, progress: float) -> bool:
        """Whether the stage after ``stage`` begins at ``progress``."""
        return stage + 1 < len(self.stages) and progress >= self.stages[stage].until

    def factor(self, stage: int, schedule: Schedule, step: int, progress: float) -> float:
        """Multiplier of the learning rates in ``stage``; ``schedule`` is the run's, where the stage has none."""
        own = self.stages[stage]
        begins = [0.0, *(before.until for before in self.stages)]
        if own.schedule is not None:
            share = (progress - begins[stage]) / (own.until - begins[stage])
            return own.schedule.factor(step, min(1.0, max(0.0, share)))
        restarted = max(i for i in range(stage + 1) if i == 0 or self.stages[i].restart)
        return schedule.factor(step, max(0.0, progress - begins[restarted]))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a field is trained: Adam's numbers, the schedule, the loss, and how long.

    ``lr_factors`` multiplies the rate of all parameters whose name starts with the key ("encoding",
    "network.modulation"). ``l2_reg`` is added to the gradient of the network's matrices only (arXiv 2201.05989,
    section 4); ``l2_regs``, with keys like those of ``lr_factors``, is what other parameters get. ``ema`` is the decay
    of the averaged weights used for evaluation and saving; 0 turns it off. ``batch_size`` points a step; a signal with
    fewer is used whole. ``storage`` is how the file keeps the numbers (``fitting/storages.py``). ``sample_selection``
    chooses which samples of a batch a step learns from; None: all. ``plan`` parts the run into stages; None: one.
    """

    lr: float = 1e-3
    lr_factors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-15
    l2_reg: float = 0.0
    l2_regs: Mapping[str, float] = dataclasses.field(default_factory=dict)
    schedule: Schedule = dataclasses.field(default_factory=Cosine)
    loss: str = "l2"
    ema: float = 0.0
    batch_size: int = 65_536
    steps: int = 1000
    storage: str = "float32"
    sample_selection: SampleSelection | None = None
    plan: TrainingPlan | None = None

    def __post_init__(self) -> None:
        check_positive(lr=self.lr, epsilon=self.epsilon, batch_size=self.batch_size, steps=self.steps)
        check_choice("loss", self.loss, LOSS_NAMES)
        check_choice("storage", self.storage, STORAGES)
        for name, value in (("beta1", self.beta1), ("beta2", self.beta2), ("ema", self.ema)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}, but it must be in [0, 1)")
        for name, value in (("l2_reg", self.l2_reg), *((f"l2_regs.{key}", v) for key, v in self.l2_regs.items())):
            if not value >= 0:
                raise ValueError(f"{name} is {value}, but it must be 0 or above")
