"""JSON as scene files have it: with comments, with keys that are missing, and values of the wrong kind."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neufield.core.errors import DataError, nearest

_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


def without_comments(text: str) -> str:
    """JSON ``text`` with its ``//`` and ``/* */`` comments blanked; strings and line numbers stay as they are."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0])

    return _STRING_OR_COMMENT.sub(blank, text)


class Keys:
    """An object of a JSON file, which says what is wrong with a value and remembers which of its keys were asked for.

    ``where`` begins its sentences: the file, or a frame of the file.
    """

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise DataError(f"{where} is {_shown(values)}, but an object with keys was expected; check the file")
        self.values: dict[str, Any] = values
        self.where = where
        self.asked: set[str] = set()

    def has(self, *keys: str) -> bool:
        """Whether any of ``keys`` is there (null counts as absent)."""
        self.asked.update(keys)
        return any(self.values.get(key) is not None for key in keys)

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._required(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DataError(f"{self.where}: '{key}' is {_shown(value)}, but a finite number was expected; correct it")
        return float(value)

    def text(self, key: str) -> str:
        """A string that is not empty."""
        value = self._required(key)
        if not isinstance(value, str) or not value:
            raise DataError(f"{self.where}: '{key}' is {_shown(value)}, but a text was expected; correct it")
        return value

    def flag(self, key: str) -> bool:
        """True or false; absent is false."""
        return self.has(key) and bool(self.values[key])

    def rows(self, key: str) -> list[Any]:
        """A list that is not empty."""
        value = self._required(key)
        if not isinstance(value, list) or not value:
            raise DataError(f"{self.where}: '{key}' is {_shown(value)}, but a list with entries was expected; fill it")
        return value

    def array(self, key: str, *shapes: tuple[int, ...]) -> np.ndarray:
        """Finite float64 numbers of one of ``shapes``."""
        value = self._required(key)
        expected = " or ".join(" x ".join(map(str, shape)) for shape in shapes)
        try:
            array = np.array(value, np.float64)
        except (TypeError, ValueError):
            raise DataError(
                f"{self.where}: '{key}' is {_shown(value)}, but {expected} numbers were expected; correct it"
            ) from None
        if array.shape not in shapes:
            raise DataError(
                f"{self.where}: '{key}' has the shape {_size(array.shape)}, but {expected} was expected; correct it"
            )
        if not np.isfinite(array).all():
            raise DataError(
                f"{self.where}: '{key}' holds a NaN or an infinity, but finite numbers were expected; "
                f"correct it, or remove the frame"
            )
        return array

    def leftover(self) -> list[str]:
        """Keys that nobody asked for."""
        return [key for key in self.values if key not in self.asked]

    def _required(self, key: str) -> Any:
        if not self.has(key):
            known = nearest(key, self.leftover()) if self.leftover() else "; add it"
            raise DataError(f"{self.where} has no '{key}'{known}")
        return self.values[key]


def load(path: Path) -> Keys:
    """The JSON object in ``path``; comments and a byte-order mark are allowed."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror or problem}; check the path") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text, but JSON was expected; check that it is the right file") from None
    try:
        return Keys(json.loads(without_comments(text)), str(path))
    except json.JSONDecodeError as problem:
        raise DataError(
            f"{path} is not valid JSON: {problem.msg.rstrip('.').lower()} at line {problem.lineno}, "
            f"column {problem.colno}; correct it there"
        ) from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply for a scene; check that it is the right file") from None


def dumped(value: dict[str, Any]) -> str:
    """JSON text with numbers that read back to the same bits."""
    return json.dumps(value, indent=2) + "\n"


def _shown(value: Any) -> str:
    text = json.dumps(value) if value is not None else "null"
    return text if len(text) <= 40 else text[:37] + "..."


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) if shape else "of a single number"
