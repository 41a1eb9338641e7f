"""Sparse points in a PLY file: text and both binary forms, whatever other properties the points carry."""

import codecs
import io
from pathlib import Path

import numpy as np
import torch

from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.core.memory import check_budget
from neufield.formats.decoding import decoding
from neufield.formats.scene.records import Points

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
_HEADER = 1 << 16  # the longest that is read, in bytes
_COPIES = 4  # of the file, at most, in memory: its bytes, its lines, the numbers of both
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


def read_ply(path: Path) -> Points:
    """The vertices of ``path``; gray where they have no color."""
    with decoding(path):
        check_budget(_COPIES * path.stat().st_size, f"reading {path}", "thin its points out")
        return _read(path, path.read_bytes().removeprefix(codecs.BOM_UTF8))


def _read(path: Path, data: bytes) -> Points:
    end = max(data.find(b"end_header", 0, _HEADER), 0)
    header, body = data[:end], data[end:].partition(b"\n")[2]
    lines = [line.split() for line in header.decode("latin-1").splitlines()]
    kind = next((line[1] for line in lines if line[:1] == ["format"] and len(line) > 1), "")
    if not data.startswith(b"ply") or kind not in _ORDERS:
        raise DataError(f"{path} is not a PLY file of points; write it as binary or text PLY")
    count, fields = _vertex(path, lines, _ORDERS[kind])
    layout = np.dtype(fields)
    try:
        if kind == "ascii":
            text = b"\n".join(body.splitlines()[:count])
            rows = np.loadtxt(io.BytesIO(text), ndmin=2, usecols=range(len(fields)))[:count] if text.strip() else None
            table = {name: rows[:, i] for i, (name, _) in enumerate(fields)} if rows is not None else {}
            short = count > 0 if rows is None else len(rows) < count
        else:
            short = len(body) < count * layout.itemsize
            whole = np.frombuffer(body, layout, 0 if short else count)
            table = {name: whole[name] for name, _ in fields}
    except ValueError:
        short = True
    if short:
        raise DataError(f"{path} is cut short: {count} points were announced; get a fresh copy of the file")
    if not count:
        table = {name: np.zeros(0) for name, _ in fields}
    with np.errstate(invalid="ignore"):  # a NaN that signals; it is refused in the next line
        xyz = np.stack([table[axis] for axis in "xyz"], axis=1).astype(np.float64)
    if not np.isfinite(xyz).all():
        raise DataError(f"{path} has points at a NaN or an infinity; remove them")
    rgb = np.full((count, 3), 128, np.uint8)
    if all(color in table for color in ("red", "green", "blue")):
        rgb = _bytes(np.stack([table[color] for color in ("red", "green", "blue")], axis=1), dict(fields)["red"])
    return Points(torch.from_numpy(xyz), torch.from_numpy(rgb))


def _bytes(colors: np.ndarray, kind: str) -> np.ndarray:
    colors = np.nan_to_num(colors)
    return np.rint(colors * 255 if kind[1] == "f" else colors).clip(0, 255).astype(np.uint8)


def _vertex(path: Path, lines: list[list[str]], order: str) -> tuple[int, list[tuple[str, str]]]:
    """How many vertices, and their properties; they must come first, as all writers of points have them."""
    elements = [index for index, line in enumerate(lines) if line[:1] == ["element"]]
    if not elements or lines[elements[0]][1:2] != ["vertex"]:
        raise DataError(f"{path} does not begin with vertices; write it as a PLY file of points")
    start, end = elements[0], elements[1] if len(elements) > 1 else len(lines)
    fields = []
    for line in lines[start + 1 : end]:
        if line[:1] != ["property"]:
            continue
        if len(line) != 3 or line[1] not in _TYPES:
            raise DataError(
                f"{path} has the property '{' '.join(line[1:])}', which is not read; write x, y, z and colors"
            )
        fields.append((line[2], order + _TYPES[line[1]]))
    names = [name for name, _ in fields]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path} has the property '{twice}' twice; name each property once")
    if not {"x", "y", "z"} <= set(names):
        raise DataError(f"{path} has no x, y and z for its points; write it as a PLY file of points")
    try:
        count = int(lines[start][2])
    except (IndexError, ValueError):
        count = -1
    if count < 0:
        raise DataError(f"{path} does not say how many points it has; get a fresh copy of the file")
    return count, fields


def write_ply(path: Path, points: Points) -> None:
    """Binary, with doubles, so that nothing is rounded."""
    fields = [("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    table = np.empty(len(points.xyz), fields)
    for i, axis in enumerate("xyz"):
        table[axis] = points.xyz[:, i].numpy()
    for i, color in enumerate(("red", "green", "blue")):
        table[color] = points.rgb[:, i].numpy()
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    header += [f"property {'double' if kind == '<f8' else 'uchar'} {name}" for name, kind in fields]
    data = "\n".join([*header, "end_header\n"]).encode() + table.tobytes()
    write_atomically(path, lambda temporary: temporary.write_bytes(data))
