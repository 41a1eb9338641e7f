"""Work that is counted: a bar with the time left on a terminal; without one, a line now and then, and at the end."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.progress import BarColumn

from neufield.apps.console import Terminal, bars, words
from neufield.apps.progress import clock_face

_EVERY = 10.0  # seconds between two lines


class Counting:
    """A context in which ``show`` says how far ``doing`` has come."""

    def __init__(self, console: Terminal, doing: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self.doing = doing
        self.clock = clock
        self.begun = clock()
        self.said: float | None = None
        self.unsaid = ""
        self.progress = bars(console, BarColumn(bar_width=24), words())
        self.task = self.progress.add_task(doing, total=None)

    def __enter__(self) -> "Counting":
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.__exit__(kind, error, trace)
        if self.unsaid:
            self.progress.console.print(self.unsaid)

    def show(self, done: int, total: int) -> None:
        """``done`` of ``total``, such as: judging by test views  3/8  ETA 0:40."""
        now = self.clock()
        text = f"{self.doing}  {done}/{total}"
        if done:
            text += f"  ETA {clock_face((now - self.begun) / done * (total - done))}"
        self.progress.update(self.task, completed=done, total=total, description=text)
        if not self.progress.disable:
            return
        self.unsaid = text
        if self.said is None or now - self.said >= _EVERY:
            self.said, self.unsaid = now, ""
            self.progress.console.print(text)
