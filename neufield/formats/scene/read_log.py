"""Notes: what a reader decided and what a check found, in sentences."""

import dataclasses
from collections.abc import Iterable
from typing import Literal

Level = Literal["info", "warning"]


@dataclasses.dataclass(frozen=True)
class Note:
    """Something a reader decided or a check found: the ``key`` of the file or the check's name, and one sentence."""

    level: Level
    key: str
    text: str


class ReadLog:
    """Collects notes while a file is read; what many frames have in common becomes one note."""

    def __init__(self) -> None:
        self._notes: dict[Note, list[str]] = {}
        self.absent: list[str] = []
        """Photographs that a file lists and that are not there."""

    def add(self, level: Level, key: str, text: str, frame: str = "") -> None:
        """One sentence; ``frame`` is the name of the photograph it is about."""
        self._notes.setdefault(Note(level, key, text), []).append(frame)

    def finished(self) -> tuple[Note, ...]:
        """All notes, in order, each with how many frames it concerns."""
        return tuple(dataclasses.replace(note, text=note.text + _whom(names)) for note, names in self._notes.items())


def _whom(names: Iterable[str]) -> str:
    names = [name for name in names if name]
    if not names:
        return ""
    return f" ({names[0]})" if len(names) == 1 else f" ({len(names)} frames, the first {names[0]})"
