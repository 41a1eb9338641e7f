"""The live line. Quiet when nobody watches: a pipe or a log file gets only the report at the end."""

import math
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.progress import BarColumn

from neufield.apps.console import Terminal, bars, words
from neufield.core.metrics import Metric
from neufield.fitting import FitState

_REDRAW_SECONDS = 0.1


class ProgressLine:
    """A context in which ``show`` draws the state: step, the last ``metric``, work a second, time left.

    ``work`` is what a step does by its row of the log, counted in ``unit``; ``title`` stands before everything.
    """

    def __init__(
        self,
        console: Terminal,
        steps: int,
        time_budget: float | None,
        metric: Metric,
        work: Callable[[Mapping[str, float]], float],
        unit: str = "points",
        title: str = "",
    ) -> None:
        self.steps = steps
        self.work = work
        self.unit = unit
        self.title = title
        self.done = 0.0
        self.time_budget = time_budget
        self.metric = metric
        self.value = math.nan
        self.drawn = -1.0
        self.at = ""
        self.first: tuple[int, float] | None = None  # step and seconds, of which a resumed run has some already
        self.progress = bars(console, BarColumn(bar_width=24), words())
        self.task = self.progress.add_task(title or "starting", total=time_budget or steps)

    def __enter__(self) -> "ProgressLine":
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.__exit__(kind, error, trace)

    def show(self, state: FitState) -> None:
        """Draw the state, at most ten times a second."""
        self.value = state.history[-1].get(self.metric.name, self.value)
        self.at = f"step {state.step}"
        if self.first is None:
            self.first = state.step, state.seconds
        else:
            self.done += self.work(state.history[-1])
        if state.seconds - self.drawn < _REDRAW_SECONDS:
            return
        self.drawn = state.seconds
        self.progress.update(
            self.task,
            completed=min(state.seconds, self.time_budget) if self.time_budget else state.step,
            description=self.describe(state),
        )

    def say(self, words: str) -> None:
        """Show ``words`` behind the step until the next one; without a terminal, as a line of their own."""
        if self.progress.disable:
            self.progress.console.print(words)
        else:
            self.progress.update(self.task, description=f"{self.at}  {words}", refresh=True)

    def describe(self, state: FitState) -> str:
        """Such as: step 120/500  21.32 dB  18.4 k rays/s  ETA 0:35."""
        first_step, first_seconds = self.first or (state.step, state.seconds)
        steps, seconds = state.step - first_step, state.seconds - first_seconds
        parts = [self.title] if self.title else []
        parts.append(f"step {state.step}" + ("" if self.time_budget else f"/{self.steps}"))
        if not math.isnan(self.value):
            parts.append(("" if self.metric.unit else f"{self.metric.title} ") + self.metric.text(self.value))
        if self.done and seconds > 0:
            parts.append(f"{_thousands(self.done / seconds)}{self.unit}/s")
        if self.time_budget:
            parts.append(f"ETA {clock_face(self.time_budget - state.seconds)}")
        elif steps:
            parts.append(f"ETA {clock_face((self.steps - state.step) * seconds / steps)}")
        return "  ".join(parts)


def _thousands(count: float) -> str:
    """1.23 M, 45.6 k or 789, with a blank behind."""
    if count >= 1e6:
        return f"{count / 1e6:.2f} M "
    return f"{count / 1e3:.1f} k " if count >= 1e3 else f"{count:.0f} "


def clock_face(seconds: float) -> str:
    """1:02:03 or 0:45, rounded up."""
    whole = max(0, math.ceil(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
