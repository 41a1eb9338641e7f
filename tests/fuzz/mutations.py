"""Ways to spoil a file. Each gives other bytes, or None where it has nothing to say about such a file."""

import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from neufield.fitting.files import read_tensors, write_tensors

NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 3, 10**5, 10**6, 65_536, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**19, 10**30,
    1e308, 1e-308, -1e300, float("nan"), float("inf"), "", "a", "1", "x" * 100_000, "\udcff", "a\0b", "../../..", "/",
    "a.null", "x.null?RES=9999x9999", "é", [], {}, [[]], [None], {"type": {}}, {"type": []}, {"a": 1},
    [1, 2, 3], [[1, 2], [3]],
)  # fmt: skip
_NUMBERS = (0, 1, 2, 255, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def extend(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.choice((1, 16, 5000)))


def flip(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        out[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(out)


def overwrite(data: bytes, rng: random.Random) -> bytes:
    at, count = _place(data, rng), rng.choice((1, 2, 4, 16, 64))
    filler = rng.choice((bytes(count), b"\xff" * count, rng.randbytes(count)))
    return data[:at] + filler + data[at + count :]


def insert(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 100))) + data[at:]


def delete(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 4, 100)) :]


def swap(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted((_place(data, rng), _place(data, rng)))
    count = max(1, min(rng.choice((1, 8, 64)), b - a))
    return data[:a] + data[b : b + count] + data[a + count : b] + data[a : a + count] + data[b + count :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    at, count = _place(data, rng), rng.choice((4, 64, 1000))
    return data[: at + count] + data[at : at + count] * rng.choice((1, 50)) + data[at + count :]


def size_field(data: bytes, rng: random.Random) -> bytes:
    width, order = rng.choice((1, 2, 4, 8)), rng.choice("<>")
    number = rng.choice(_NUMBERS) % 2 ** (8 * width)
    at = rng.randrange(min(len(data), 512))
    packed = struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[width], number)
    return data[:at] + packed + data[at + width :]


def chunk_field(data: bytes, rng: random.Random) -> bytes | None:
    """PNG alone: a number of its header is another, and its checksum right."""
    if not data.startswith(b"\x89PNG"):
        return None
    body = bytearray(data[16:29])
    at = rng.choice((0, 4, 8, 9, 12))
    if at < 8:
        body[at : at + 4] = struct.pack(">I", rng.choice((0, 1, 2, 60_000, 2**31 - 1, 2**32 - 1)))
    else:
        body[at] = rng.randrange(256)
    return data[:16] + body + struct.pack(">I", zlib.crc32(b"IHDR" + body)) + data[33:]


def word(data: bytes, rng: random.Random) -> bytes | None:
    """Text alone, or a text in front of numbers: one word is another."""
    head = data[:4000]
    words = list(re.finditer(rb"[^\s\0\x80-\xff]+", head))
    if not words:
        return None
    found = rng.choice(words)
    other = rng.choice((*map(_text, NASTY), b"-5", b"1e999", b"nan", b"9" * 5000, b"0x10", found[0] * 2, b"\xff"))
    return data[: found.start()] + other + data[found.end() :]


def node(data: bytes, rng: random.Random) -> bytes | None:
    """JSON alone: a value is another, a key is lost, renamed or there twice, or it is nested without end."""
    try:
        document = json.loads(re.sub(rb"^//.*\n", b"", data))
    except ValueError:
        return None
    return spoil_document(document, rng).encode("utf-8", "surrogatepass")


def spoil_document(document: Any, rng: random.Random) -> str:
    """The text of ``document`` with one or two places spoilt."""
    for _ in range(rng.choice((1, 1, 2))):
        document = _spoilt(document, rng)
    text = json.dumps(document)
    how = rng.randrange(12)
    if how == 0:
        text = text.replace("1", "[" * 100_000, 1)
    elif how == 1:
        text = text.replace("0", "9" * 5000, 1)
    return text


def forge_header(data: bytes, rng: random.Random, place: Path) -> bytes | None:
    """A file of ours whose header says something else, under the right checksums."""
    return _forged(data, rng, place, header=True)


def forge_tensors(data: bytes, rng: random.Random, place: Path) -> bytes | None:
    """A file of ours with other tensors, under the right checksums."""
    return _forged(data, rng, place, header=False)


MUTATIONS: Mapping[str, Callable[..., bytes | None]] = {
    function.__name__: function
    for function in (
        truncate, extend, flip, overwrite, insert, delete, swap, repeat, size_field, chunk_field, word, node,
        forge_header, forge_tensors,
    )
}  # fmt: skip
NEEDS_PLACE = ("forge_header", "forge_tensors")


def _place(data: bytes, rng: random.Random) -> int:
    """Anywhere, but half the time near the beginning, where the headers are."""
    return rng.randrange(min(len(data), 256) if rng.random() < 0.5 else len(data))


def _text(value: Any) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")


def _spoilt(document: Any, rng: random.Random) -> Any:
    if not isinstance(document, (dict, list)) or not document or rng.random() < 0.08:
        return rng.choice(NASTY)
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = rng.choice(keys)
    how = rng.random()
    if how < 0.08:
        return {k: v for k, v in document.items() if k != key} if isinstance(document, dict) else document[:-1]
    if how < 0.12 and isinstance(document, dict):
        return {(k + "x" if k == key else k): v for k, v in document.items()}
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[key] = _spoilt(document[key], rng)
    return copy


def _forged(data: bytes, rng: random.Random, place: Path, header: bool) -> bytes | None:
    if b'"__metadata__"' not in data[:100]:
        return None
    place.write_bytes(data)
    kind = "state" if b'kind\\": \\"state' in data else "field"
    tensors, own = read_tensors(place, kind)
    own = {key: value for key, value in own.items() if key not in ("header_sha256", "data_sha256", "neufield_version")}
    if header:
        for _ in range(rng.choice((1, 1, 2))):
            own = _spoilt(own, rng)
        if not isinstance(own, dict):
            own = {"field": own}
    else:
        _spoil_tensors(tensors, rng)
    write_tensors(place, str(own.get("kind", kind)), tensors, own)
    return place.read_bytes()


def _spoil_tensors(tensors: dict[str, torch.Tensor], rng: random.Random) -> None:
    name = rng.choice(sorted(tensors))
    value = tensors[name]
    changes: tuple[Callable[[], torch.Tensor | None], ...] = (
        lambda: None, lambda: value.reshape(-1)[:1].clone(), lambda: value.double(), lambda: value.to(torch.int8),
        lambda: torch.zeros(0), lambda: torch.zeros(()), lambda: value[None].clone(),
        lambda: torch.full_like(value, -1), lambda: torch.zeros(*value.shape, 2), lambda: value.bool(),
        lambda: torch.full_like(value.float(), torch.nan),
        lambda: torch.full_like(value, 100), lambda: torch.full_like(value.float(), torch.inf), lambda: value.half(),
    )  # fmt: skip
    new = rng.choice(changes)()
    if new is None:
        del tensors[name]
    else:
        tensors[name] = new
    if rng.random() < 0.1:
        tensors["extra"] = torch.zeros(3)
