"""What an experiment is: rows of numbers, those that were published, and the inequalities that must hold."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

Rows = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Check:
    """One acceptance inequality: a sentence with its numbers in it, and whether it holds."""

    sentence: str
    holds: bool


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One table of a paper, at the size that is stated.

    ``run(seed)`` returns a number for each row; ``published`` has those that can be compared, in the same unit.
    ``check`` is given the mean of each row over ``seeds``. ``seconds`` is what all seeds together take on 2 cores,
    about; those with ``in_ci`` are the subset that CI runs; those with ``full`` take long and are left to a flag.
    """

    name: str
    title: str
    protocol: str
    unit: str
    run: Callable[[int], Rows]
    check: Callable[[Rows], Sequence[Check]]
    published: Rows = dataclasses.field(default_factory=dict)
    source: str = ""
    seeds: Sequence[int] = (0,)
    seconds: float = 10.0
    in_ci: bool = False
    full: bool = False


def at_least(what: str, value: float, bound: float, unit: str = "") -> Check:
    """``value >= bound``, in words."""
    return Check(f"{what}: {value:.4g}{unit}, to be at least {bound:.4g}{unit}", value >= bound)


def at_most(what: str, value: float, bound: float, unit: str = "") -> Check:
    """``value <= bound``, in words."""
    return Check(f"{what}: {value:.4g}{unit}, to be at most {bound:.4g}{unit}", value <= bound)
