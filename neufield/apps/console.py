"""The terminal: the only place that makes rich print. What comes from outside is shown as it is, never obeyed."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from neufield.apps.standard_error import visible

Thing = TypeVar("Thing")


class Terminal(Console):
    """Standard output. Brackets, colons and control codes in names and messages are characters like any other."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **how})

    def render_str(self, text: str, **how: Any) -> Text:
        """See rich: every string that is printed comes through here, cells of tables too."""
        return super().render_str(visible(text), **how)


def headline(bold: str, rest: str) -> Text:
    """A line that begins in bold."""
    return Text.assemble((visible(bold), "bold"), visible(rest))


def words() -> ProgressColumn:
    """A column of :func:`bars` with what a task is called."""
    return TextColumn("{task.description}", markup=False)


def bars(console: Console, *columns: ProgressColumn) -> Progress:
    """Progress of tasks, gone when they are done, drawn in ``columns``. Quiet when nobody watches."""
    columns = columns or (words(), BarColumn(bar_width=24), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def track(things: Sequence[Thing], doing: str, console: Console) -> Iterator[Thing]:
    """``things`` one by one, with a bar."""
    with bars(console) as progress:
        yield from progress.track(things, description=doing)
