"""The live line. Quiet when nobody watches: a pipe or a log file gets only the report at the end."""

import math
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from neufield.fitting import FitState

_REDRAW_SECONDS = 0.1


class Live:
    """A context in which ``show`` draws the state: step, PSNR, work a second, time left.

    ``work`` is what a step does by its row of the log, counted in ``unit``.
    """

    def __init__(
        self,
        console: Console,
        steps: int,
        time_budget: float | None,
        work: Callable[[Mapping[str, float]], float],
        unit: str = "points",
    ) -> None:
        self.steps = steps
        self.work = work
        self.unit = unit
        self.done = 0.0
        self.time_budget = time_budget
        self.psnr = math.nan
        self.drawn = -1.0
        self.first: float | None = None
        self.progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task("starting", total=time_budget or steps)

    def __enter__(self) -> "Live":
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.__exit__(kind, error, trace)

    def show(self, state: FitState) -> None:
        """Draw the state, at most ten times a second."""
        self.psnr = state.history[-1].get("psnr", self.psnr)
        if self.first is None:
            self.first = state.seconds
        else:
            self.done += self.work(state.history[-1])
        if state.seconds - self.drawn < _REDRAW_SECONDS:
            return
        self.drawn = state.seconds
        seconds = state.seconds - self.first
        speed = f"{self.done / seconds / 1e6:.2f} M {self.unit}/s" if self.done else ""
        quality = "" if math.isnan(self.psnr) else f"  {self.psnr:.2f} dB"
        total = "" if self.time_budget else f"/{self.steps}"
        self.progress.update(
            self.task,
            completed=min(state.seconds, self.time_budget) if self.time_budget else state.step,
            description=f"step {state.step}{total}{quality}  {speed}",
        )
