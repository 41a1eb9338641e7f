"""MessagePack, the part of it that JSON with bytes needs: what instant-ngp's snapshots are written in.

Read with limits, for files are a stranger's: no more than a million values, no deeper than 64 levels, no size beyond
the bytes that are there. Extension types and dates are refused.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from neufield.core.errors import DataError
from neufield.core.json_files import DEEPEST

_MOST_VALUES = 10**6  # a capture of some thousand photographs has a hundred thousand
_NUMBERS: Mapping[int, str] = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i",
    0xD3: ">q",
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# By their first byte: what they are, and how many bytes their size has.
_SIZED = {
    0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4), 0xD9: ("text", 1), 0xDA: ("text", 2), 0xDB: ("text", 4),
    0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip


def unpack_msgpack(data: bytes, where: str) -> Any:
    """The value that ``data`` is, which ends with it; a DataError begins with ``where``."""
    reader = _Reader(memoryview(data), where)
    value = reader.value(0)
    if reader.at != len(data):
        raise reader.wrong("there is more behind its end")
    return value


def pack_msgpack(value: Any) -> bytes:
    """Write None, truth values, numbers, texts, bytes, lists, and mappings with texts as keys."""
    if value is None or isinstance(value, bool):
        return bytes([0xC0 if value is None else 0xC3 if value else 0xC2])
    if isinstance(value, int):
        return bytes([value]) if 0 <= value < 128 else struct.pack(">Bq", 0xD3, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return struct.pack(">BI", 0xDB, len(text)) + text
    if isinstance(value, Mapping):
        inside = (pack_msgpack(key) + pack_msgpack(entry) for key, entry in value.items())
        return struct.pack(">BI", 0xDF, len(value)) + b"".join(inside)
    if isinstance(value, (list, tuple)):
        return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack_msgpack, value))
    raise TypeError(f"a {type(value).__name__} is nothing that MessagePack has")


class _Reader:
    """The place in the bytes, and how many values there were so far."""

    def __init__(self, data: memoryview, where: str) -> None:
        self.data = data
        self.where = where
        self.at = 0
        self.values = 0

    def wrong(self, what: str) -> DataError:
        return DataError(f"{self.where} is no whole MessagePack ({what}); check that it is the right file")

    def value(self, depth: int) -> Any:
        """The next value."""
        self.values += 1
        if depth > DEEPEST or self.values > _MOST_VALUES:
            raise self.wrong(f"it has more than {DEEPEST} levels or {_MOST_VALUES:,} values")
        first = self.take(1)[0]
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first < 0x80 or first >= 0xE0:
            return first if first < 0x80 else first - 0x100
        if first in _NUMBERS:
            form = _NUMBERS[first]
            return struct.unpack(form, self.take(struct.calcsize(form)))[0]
        if first in _SIZED:
            kind, length = _SIZED[first]
            size = int.from_bytes(self.take(length), "big")
        elif first < 0xC0:
            kind, size = ("map", first & 0x0F) if first < 0x90 else ("list", first & 0x0F) if first < 0xA0 else (
                "text", first & 0x1F)  # fmt: skip
        else:
            raise self.wrong(f"it has a value of the type {first:#04x}, which snapshots have not")
        readers: Mapping[str, Callable[[int, int], Any]] = {"list": self.list, "map": self.map, "text": self.text}
        return bytes(self.take(size)) if kind == "bytes" else readers[kind](size, depth)

    def list(self, size: int, depth: int) -> Any:
        """So many values."""
        return [self.value(depth + 1) for _ in range(self.room(size))]

    def map(self, size: int, depth: int) -> Any:
        """So many pairs, whose keys are texts."""
        found = {}
        for _ in range(self.room(size)):
            key = self.value(depth + 1)
            if not isinstance(key, str) or not key.isprintable():  # keys are quoted in sentences
                raise self.wrong("it has a key that is no text of one line")
            found[key] = self.value(depth + 1)
        return found

    def text(self, size: int, depth: int) -> Any:
        """UTF-8."""
        try:
            return bytes(self.take(size)).decode()
        except UnicodeDecodeError:
            raise self.wrong("it has a text that is not UTF-8") from None

    def room(self, size: int) -> int:
        """``size``, for each of which there must be a byte."""
        if size > len(self.data) - self.at:
            raise self.wrong("it ends within a list")
        return size

    def take(self, size: int) -> memoryview:
        """The next bytes."""
        if size > len(self.data) - self.at:
            raise self.wrong("it ends within a value")
        self.at += size
        return self.data[self.at - size : self.at]
