"""How presets did on one signal: a row of numbers for each, as a table to read and as JSON."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from neufield.apps import curves
from neufield.apps.curves import Rows
from neufield.core.metrics import Metric
from neufield.metrics import METRICS

_SOON = 1.1  # an evaluation so soon after a moment (10 %) still tells how it was then
_EARLIEST = 0.02  # of the longest run: the first moment that is of interest
_MOMENTS = 4
_SHORTEST = 1e-3  # seconds: to which results are rounded


@dataclasses.dataclass(frozen=True)
class LeaderboardRow:
    """One preset: what its finished runs wrote (``results``) and logged (``histories``), seed by seed."""

    preset: str
    results: Sequence[Mapping[str, Any]]
    histories: Sequence[Rows]

    def mean(self, key: str) -> float:
        """Average a number of the results; null is infinite, as the PSNR of a perfect copy is."""
        values = [math.inf if result[key] is None else result[key] for result in self.results]
        return sum(values) / len(values)

    def deviation(self, key: str) -> float:
        """The sample standard deviation; NaN of a single run, and where a value is infinite."""
        values = [result[key] for result in self.results]
        return statistics.stdev(values) if len(values) > 1 and None not in values else math.nan

    def at(self, seconds: float, metric: Metric) -> float:
        """The mean ``metric`` of the last evaluations at about ``seconds`` of training; NaN if a run had none then."""
        last = []
        for history in self.histories:
            seen = [value for moment, value in curves.evaluations(history, metric) if moment <= _SOON * seconds]
            last.append(seen[-1] if seen else math.nan)
        return sum(last) / len(last)


class Leaderboard:
    """All of them, the best mean ``headline`` first, and the moments at which they are compared."""

    def __init__(self, entries: Sequence[LeaderboardRow], headline: Metric) -> None:
        sign = -1 if headline.higher_is_better else 1
        self.entries = sorted(entries, key=lambda entry: sign * entry.mean(headline.name))
        self.headline = headline
        results = [result for entry in entries for result in entry.results]
        others = [metric for name, metric in METRICS.items() if all(name in result for result in results)]
        self.metrics = [headline, *(metric for metric in others if metric != headline)]
        ends = [result["seconds"] for entry in entries for result in entry.results]
        self.moments = _moments(max([*ends, _SHORTEST]))

    def rows(self) -> list[dict[str, Any]]:
        """A row for each preset, for JSON."""
        return [
            {
                "preset": entry.preset,
                **{key: value for metric in self.metrics for key, value in _two_numbers(entry, metric.name).items()},
                "n_params": entry.results[0]["n_params"],
                "seconds": entry.mean("seconds"),
                "steps": entry.mean("steps"),
                "field_bytes": entry.mean("field_bytes"),
                f"{self.headline.name}_at": {f"{moment:g}": entry.at(moment, self.headline) for moment in self.moments},
                "runs": [{key: result[key] for key in self._of_a_run()} for result in entry.results],
            }
            for entry in self.entries
        ]

    def markdown(self, title: str) -> str:
        """A table for a page."""
        head, *body = self._cells()
        lines = [title, "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in body)]) + "\n"

    def table(self, title: str) -> Table:
        """A table for the terminal."""
        head, *body = self._cells()
        narrow = (0, 1, 0, 0)
        table = Table(title=Text(title), title_justify="left", title_style="", box=box.SIMPLE_HEAD, padding=narrow)
        for i, name in enumerate(head):
            table.add_column(name.replace(" at ", " at\n"), justify="right" if i else "left", no_wrap=True)
        for row in body:
            table.add_row(*row)
        return table

    def _cells(self) -> list[list[str]]:
        first, *others = self.metrics
        head = [
            "preset",
            f"{first.title} {first.unit}".strip(),
            *(metric.title for metric in others),
            "parameters",
            "s",
        ]
        rows = [head + [f"{first.unit or first.title} at {moment:g} s" for moment in self.moments]]
        for entry in self.entries:
            spread = entry.deviation(first.name)
            best = first.number(entry.mean(first.name)) + ("" if math.isnan(spread) else f" ± {first.number(spread)}")
            more = [metric.number(entry.mean(metric.name)) for metric in others]
            numbers = [f"{entry.mean('n_params'):,.0f}", f"{entry.mean('seconds'):.1f}"]
            seen = [entry.at(moment, first) for moment in self.moments]
            then = ["-" if math.isnan(value) else first.number(value) for value in seen]
            rows.append([entry.preset, best, *more, *numbers, *then])
        return rows

    def _of_a_run(self) -> tuple[str, ...]:
        return ("seed", *(metric.name for metric in self.metrics), *_OF_A_RUN)


_OF_A_RUN = ("seconds", "steps", "stopped_by", "device", "backend", "threads", "torch_version")


def _two_numbers(entry: LeaderboardRow, name: str) -> dict[str, float]:
    return {name: entry.mean(name), f"{name}_std": entry.deviation(name)}


def _moments(longest: float) -> list[float]:
    """A few round numbers of seconds, evenly spread over the orders of magnitude before the ``longest`` run's end."""
    every = curves.round_numbers(_EARLIEST * longest, 0.95 * longest)
    if len(every) <= _MOMENTS:
        return every
    return [every[round(i * (len(every) - 1) / (_MOMENTS - 1))] for i in range(_MOMENTS)]
