"""The one door for JSON: files and headers that strangers wrote become objects, whose values are asked for by kind.

``tests/test_architecture.py`` holds the package to it: nothing else parses JSON. What is damaged, nested without end or
of the wrong kind is one DataError that names the file, the place in it, and what was expected there.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neufield.core.errors import DataError, nearest
from neufield.core.memory import check_budget

DEEPEST = 64  # levels; a field of fields of fields has 12, numpy's arrays end at 64
_LONGEST_INTEGER = 20  # digits and sign; of 64 bits. A longer one is a float, as it is to JavaScript
_BYTES_A_CHARACTER = 25  # the most that parsing takes: "{}," becomes an empty dict and a pointer to it, 72 bytes
_LONGEST_TEXT = 1024  # characters
_SHORT = 10_000  # characters
_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: str | Path, expected: str = "JSON") -> "Keys":
    """The object in the file ``path``, which is to be ``expected``; comments and a byte-order mark are allowed."""
    path = Path(path)
    try:
        check_budget(path.stat().st_size * _BYTES_A_CHARACTER, str(path), "check that it is the right file")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, or not UTF-8
        if isinstance(error, UnicodeDecodeError):
            raise DataError(
                f"{path} is not text in UTF-8, but {expected} was expected; check that it is the right file"
            ) from None
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path}: {reason}; give the path of {expected}") from None
    return Keys(_parse(text, str(path), with_comments=True), str(path))


def parse_json(text: str, where: str) -> Any:
    """What the JSON ``text`` says. ``where`` begins the sentence of a DataError."""
    if len(text) > _SHORT:  # asking what is free takes longer than to read a spec
        check_budget(len(text) * _BYTES_A_CHARACTER, where, "shorten it")
    return _parse(text, where, with_comments=False)


def without_comments(text: str) -> str:
    """JSON ``text`` with its ``//`` and ``/* */`` comments blanked; strings and line numbers stay as they are."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0])

    return _STRING_OR_COMMENT.sub(blank, text)


def dumped(value: dict[str, Any]) -> str:
    """JSON text with numbers that read back to the same bits."""
    return json.dumps(value, indent=2) + "\n"


def one_line(value: Any) -> str:
    """JSON text in one line, which can be read back: halves of characters, in names that are not UTF-8, become "?"."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()


class Keys:
    """An object of a JSON file, which says what is wrong with a value and remembers which of its keys were asked for.

    ``where`` begins its sentences: the file, or a frame of the file. Null counts as absent to :meth:`has`.
    """

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise DataError(f"{where} is {shown(values)}, but an object with keys was expected; check the file")
        self.values: dict[str, Any] = values
        self.where = where
        self.asked: set[str] = set()

    def has(self, *keys: str) -> bool:
        """Whether any of ``keys`` is there (null counts as absent)."""
        self.asked.update(keys)
        return any(self.values.get(key) is not None for key in keys)

    def number(self, key: str) -> float:
        """A finite number."""
        return float(self._required(key, _is_number, "a finite number was"))

    def integer(self, key: str, least: int | None = None) -> int:
        """A whole number of 64 bits, from ``least`` on; 1920.0 is one."""
        wanted = "a whole number was" if least is None else f"a whole number of at least {least} was"
        low = -(2**63) if least is None else least
        return int(self._required(key, lambda v: _is_number(v) and v % 1 == 0 and low <= v < 2**63, wanted))

    def text(self, key: str) -> str:
        """A string that is neither empty nor longer than a path can be, and without a NUL, which no path has."""
        return self._required(
            key, lambda v: isinstance(v, str) and 0 < len(v) <= _LONGEST_TEXT and "\0" not in v, "a text was"
        )

    def flag(self, key: str) -> bool:
        """True or false, or 1 or 0; absent is false."""
        if not self.has(key):
            return False
        return bool(self._required(key, lambda v: v in (True, False) and _is_plain(v), "true or false was"))

    def rows(self, key: str) -> list[Any]:
        """A list that is not empty."""
        return self._required(key, lambda v: isinstance(v, list) and v != [], "a list with entries was", "fill it")

    def object(self, key: str) -> "Keys":
        """An object within this one."""
        return Keys(
            self._required(key, lambda v: isinstance(v, dict), "an object with keys was"), f"{self.where}, {key}"
        )

    def objects(self, key: str) -> "list[Keys]":
        """The objects of a list that is not empty."""
        return [Keys(entry, f"{self.where}, {key}[{i}]") for i, entry in enumerate(self.rows(key))]

    def array(self, key: str, *shapes: tuple[int, ...]) -> np.ndarray:
        """Finite float64 numbers of one of ``shapes``."""
        expected = " or ".join(" x ".join(map(str, shape)) for shape in shapes)
        value = self._required(key, lambda v: _numbers(v) is not None, f"{expected} numbers were")
        array = _numbers(value)
        assert array is not None
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

    def _required(self, key: str, fits: Callable[[Any], bool], expected: str, advice: str = "correct it") -> Any:
        self.asked.add(key)
        if key not in self.values:
            known = nearest(key, self.leftover()) if self.leftover() else "; add it"
            raise DataError(f"{self.where} has no '{key}'{known}")
        value = self.values[key]
        if not fits(value):
            raise DataError(f"{self.where}: '{key}' is {shown(value)}, but {expected} expected; {advice}")
        return value


def shown(value: Any) -> str:
    """A value in a sentence: as JSON, short."""
    if isinstance(value, (list, dict)) and len(value) > 40:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _parse(text: str, where: str, with_comments: bool) -> Any:
    plain = without_comments(text) if with_comments and "/" in text else text
    try:
        value = json.loads(plain, parse_int=_integer)
    except json.JSONDecodeError as problem:
        raise DataError(
            f"{where} is not valid JSON: {problem.msg.rstrip('.').lower()} at line {problem.lineno}, "
            f"column {problem.colno}; correct it there"
        ) from None
    except RecursionError:
        raise DataError(f"{where} is nested more than {DEEPEST} levels deep; check that it is the right file") from None
    _check_depth(value, where)
    if not text.isascii() or _SURROGATE.search(text):
        _check_characters(value, where)
    return value


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def _check_depth(value: Any, where: str) -> None:
    """Refuse what would end in a RecursionError wherever it is walked, shown or written."""
    level = [value]
    for _ in range(DEEPEST + 1):
        inside = [entry for entry in level if isinstance(entry, (list, dict))]
        if not inside:
            return
        level = [child for entry in inside for child in (entry.values() if isinstance(entry, dict) else entry)]
    raise DataError(f"{where} is nested more than {DEEPEST} levels deep; check that it is the right file")


def _check_characters(value: Any, where: str) -> None:
    """Refuse lone surrogates: halves of a character, which no file's name and no terminal takes."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        odd = error.object[error.start]
        raise DataError(
            f"{where} holds {odd!a}, half of a character, which is no text; write the character itself"
        ) from None


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(value: Any) -> np.ndarray | None:
    """Nested lists of numbers as float64, or None for anything else."""
    leaves = [value]
    while any(isinstance(entry, list) for entry in leaves):
        leaves = [child for entry in leaves for child in (entry if isinstance(entry, list) else [entry])]
    if not all(type(leaf) in (int, float) for leaf in leaves):
        return None
    try:
        return np.array(value, np.float64)
    except ValueError:  # ragged
        return None


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) if shape else "of a single number"
