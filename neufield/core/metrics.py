"""What an evaluation says: numbers by name, of which one, the headline, is what runs are compared and stopped by."""

import dataclasses
import math
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Metric:
    """A kind of number that says how good a field is.

    Args:
        name: in logs and result files: "psnr".
        title: for people: "PSNR".
        unit: behind the number: "dB"; "" where there is none.
        digits: behind the point, for people.
        higher_is_better: which of two numbers is the better one.
    """

    name: str
    title: str
    unit: str = ""
    digits: int = 4
    higher_is_better: bool = True

    def number(self, value: float | None) -> str:
        """A value for people, without the unit. None is what JSON has in place of infinity, of a perfect copy."""
        return f"{math.inf if value is None else value:.{self.digits}f}"

    def text(self, value: float | None) -> str:
        """A value for people, "33.51 dB"."""
        return self.number(value) + (f" {self.unit}" if self.unit else "")

    @property
    def axis(self) -> str:
        """What stands at an axis of it: "PSNR (dB)"."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def reaches(self, value: float, target: float) -> bool:
        """Whether ``value`` is as good as ``target``; a NaN is not."""
        return value >= target if self.higher_is_better else value <= target


@dataclasses.dataclass(frozen=True)
class Metrics:
    """What an evaluation found: ``values`` by name, and the metric among them that runs are compared by."""

    values: Mapping[str, float]
    headline: Metric

    def __post_init__(self) -> None:
        if self.headline.name not in self.values:
            raise ValueError(
                f"values has {', '.join(self.values) or 'nothing'}, but the headline is {self.headline.name}; add it"
            )

    @property
    def value(self) -> float:
        """The headline's number."""
        return self.values[self.headline.name]

    @property
    def unit(self) -> str:
        """The headline's unit."""
        return self.headline.unit

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger headline is better."""
        return self.headline.higher_is_better

    def __getitem__(self, name: str) -> float:
        return self.values[name]
