"""The live line. Quiet when nobody watches: a pipe or a log file gets only the report at the end."""

import math
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from neufield.fitting import FitState

_REDRAW_SECONDS = 0.1


class Live:
    """A context in which ``show`` draws the state: step, PSNR, points a second, time left."""

    def __init__(self, console: Console, steps: int, points: int, time_budget: float | None) -> None:
        self.steps = steps
        self.points = points
        self.time_budget = time_budget
        self.psnr = math.nan
        self.drawn = -1.0
        self.first: tuple[int, float] | None = None
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
            self.first = (state.step, state.seconds)
        if state.seconds - self.drawn < _REDRAW_SECONDS:
            return
        self.drawn = state.seconds
        steps, seconds = state.step - self.first[0], state.seconds - self.first[1]
        speed = f"{steps * self.points / seconds / 1e6:.2f} M points/s" if steps else ""
        quality = "" if math.isnan(self.psnr) else f"  {self.psnr:.2f} dB"
        total = "" if self.time_budget else f"/{self.steps}"
        self.progress.update(
            self.task,
            completed=min(state.seconds, self.time_budget) if self.time_budget else state.step,
            description=f"step {state.step}{total}{quality}  {speed}",
        )
