"""Triangle meshes and point clouds as files: PLY (binary, little endian), OBJ, and to write only, GLB and STL."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from neufield.core.errors import DataError
from neufield.core.files import atomic_path
from neufield.core.lattice import blocks
from neufield.core.memory import check_budget
from neufield.formats.decoding import decoding, first_line
from neufield.formats.glb import write_glb
from neufield.formats.stl import write_stl

_PLY_TYPES = {
    "char": "i1", "uchar": "u1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4",
    "float": "<f4", "double": "<f8", "int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2",
    "int32": "<i4", "uint32": "<u4", "float32": "<f4", "float64": "<f8",
}  # fmt: skip
_RGB = ("red", "green", "blue")
_LINES = 1 << 16  # of an OBJ, formatted at a time
_HEADER = 1 << 16  # longest PLY header read
_DIGITS = 18  # of a count, so that it is one of 64 bits
_COPIES = {".ply": 4, ".obj": 30}  # of the file that reading takes: a line "v 1 2 3" becomes a list of four objects


class Mesh(NamedTuple):
    """What a file holds: ``vertices (V, 3)`` float32 and ``faces (F, 3)`` int64, of which a point cloud has none.

    ``colors (V, 3)`` uint8 and ``normals (V, 3)`` float32 are None where the file has none.
    """

    vertices: Tensor
    faces: Tensor
    colors: Tensor | None = None
    normals: Tensor | None = None


def write_mesh(
    path: str | Path,
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    colors: Float[Tensor, "V 3"] | None = None,
    normals: Float[Tensor, "V 3"] | None = None,
) -> None:
    """Write triangles, atomically, as .ply, .obj, .glb or .stl; ``colors`` in [0, 1] are kept to 8 bit.

    Positions are float32 and read back to the bit. An OBJ carries colors behind its vertices, as MeshLab and Blender
    read them; an STL has none. Raises ValueError when shapes or indices do not fit.
    """
    path = Path(path)
    mesh = _checked(vertices, faces, colors, normals)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise DataError(f"cannot write {path}: a mesh is one of {', '.join(_WRITERS)}")
    with atomic_path(path) as temporary:
        write(temporary, mesh)


def write_points(
    path: str | Path,
    points: Float[Tensor, "N 3"],
    colors: Float[Tensor, "N 3"] | None = None,
    normals: Float[Tensor, "N 3"] | None = None,
) -> None:
    """Write a point cloud, atomically, as .ply; ``colors`` in [0, 1] are kept to 8 bit."""
    if Path(path).suffix.lower() != ".ply":
        raise DataError(f"cannot write {path}: a point cloud is a .ply")
    write_mesh(path, points, torch.empty(0, 3, dtype=torch.long), colors, normals)


def read_mesh(path: str | Path) -> Mesh:
    """The triangles or points of a binary little-endian .ply, or of an .obj without textures."""
    path = Path(path)
    read = {".ply": _read_ply, ".obj": _read_obj}.get(path.suffix.lower())
    if read is None:
        raise DataError(f"cannot read {path}: a mesh is a .ply or an .obj")
    with decoding(path):
        check_budget(_COPIES[path.suffix.lower()] * path.stat().st_size, f"reading {path}", "simplify it first")
        mesh = read(path, path.read_bytes())
    if len(mesh.faces) and not 0 <= int(mesh.faces.min()) <= int(mesh.faces.max()) < len(mesh.vertices):
        raise DataError(f"{path} is damaged: a face names a vertex that is not there")
    return mesh


def _checked(vertices: Tensor, faces: Tensor, colors: Tensor | None, normals: Tensor | None) -> Mesh:
    for name, values in (("colors", colors), ("normals", normals)):
        if values is not None and values.shape != vertices.shape:
            raise ValueError(f"{name} has shape {tuple(values.shape)}, but vertices {tuple(vertices.shape)}")
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < len(vertices):
        raise ValueError(
            f"faces go from {int(faces.min())} to {int(faces.max())}, but there are {len(vertices)} vertices"
        )
    eight_bit = None if colors is None else (colors.detach().cpu().clamp(0, 1) * 255).round().byte()
    upright = None if normals is None else normals.detach().cpu().float()
    return Mesh(vertices.detach().cpu().float(), faces.cpu(), eight_bit, upright)


def _write_ply(path: Path, mesh: Mesh) -> None:
    columns: list[tuple[tuple[str, ...], str, str, Tensor]] = [(("x", "y", "z"), "<f4", "float", mesh.vertices)]
    if mesh.normals is not None:
        columns.append((("nx", "ny", "nz"), "<f4", "float", mesh.normals))
    if mesh.colors is not None:
        columns.append((_RGB, "u1", "uchar", mesh.colors))
    fields = [(name, kind) for names, kind, _, _ in columns for name in names]
    lines = [f"property {word} {name}\n" for names, _, word, _ in columns for name in names]
    table = np.empty(len(mesh.vertices), fields)
    for names, _, _, values in columns:
        for name, column in zip(names, values.numpy().T, strict=True):
            table[name] = column
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(table)}\n{''.join(lines)}"
    triangles = np.empty(len(mesh.faces), [("count", "u1"), ("corners", "<i4", 3)])
    triangles["count"], triangles["corners"] = 3, mesh.faces.numpy()
    if len(triangles):
        header += f"element face {len(triangles)}\nproperty list uchar int vertex_indices\n"
    with path.open("wb") as file:
        file.write(f"{header}end_header\n".encode())
        file.write(table.tobytes())
        file.write(triangles.tobytes())


def _write_obj(path: Path, mesh: Mesh) -> None:
    # Nine digits name every float32, six every 8-bit share of 1.
    rows = [mesh.vertices.double()]
    line = "v %.9g %.9g %.9g\n"
    if mesh.colors is not None:
        rows.append(mesh.colors.double() / 255)
        line = "v %.9g %.9g %.9g %.6f %.6f %.6f\n"
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(_formatted(line, torch.cat(rows, dim=1)))
        file.writelines(_formatted("f %d %d %d\n", mesh.faces + 1))


def _write_glb(path: Path, mesh: Mesh) -> None:
    colors, normals = (None if values is None else values.numpy() for values in (mesh.colors, mesh.normals))
    write_glb(path, mesh.vertices.numpy(), mesh.faces.numpy(), colors, normals)


def _write_stl(path: Path, mesh: Mesh) -> None:
    write_stl(path, mesh.vertices.numpy(), mesh.faces.numpy())


_WRITERS = {".ply": _write_ply, ".obj": _write_obj, ".glb": _write_glb, ".stl": _write_stl}


def _formatted(line: str, rows: Tensor) -> Iterator[str]:
    for start, stop in blocks(len(rows), _LINES):
        yield line * (stop - start) % tuple(rows[start:stop].flatten().tolist())


def _read_ply(path: Path, data: bytes) -> Mesh:
    end = data.find(b"end_header\n", 0, _HEADER)
    lines = data[: max(end, 0)].decode("ascii", "replace").split("\n")
    if lines[0] != "ply" or "format binary_little_endian 1.0" not in lines:
        raise DataError(f"{path} is not a binary little-endian PLY; write it as one")
    offset = end + len(b"end_header\n")
    vertices = np.empty(0)
    faces = torch.empty(0, 3, dtype=torch.long)
    for name, count, properties in _elements(path, lines):
        if name not in ("vertex", "face"):
            break  # whatever follows is no part of a mesh
        kind = _row(path, name, properties)
        if offset + count * kind.itemsize > len(data):
            raise DataError(f"{path} is cut off or not of triangles: its {count} of '{name}' do not fit")
        rows = np.frombuffer(data, kind, count, offset)
        offset += rows.nbytes
        if name == "vertex":
            vertices = rows
        else:
            if (rows["count"] != 3).any():
                raise DataError(f"{path} has faces that are not triangles; triangulate it first")
            faces = torch.from_numpy(rows["corners"].astype(np.int64)).view(-1, 3)
    places = _columns(vertices, ("x", "y", "z"), np.float32)
    if places is None:
        raise DataError(f"{path} has no vertices with x, y and z")
    return Mesh(places, faces, _columns(vertices, _RGB, np.uint8), _columns(vertices, ("nx", "ny", "nz"), np.float32))


def _elements(path: Path, lines: list[str]) -> Iterator[tuple[str, int, list[list[str]]]]:
    """Name, count and properties, as words, of each element of a PLY header."""
    name, count = "", 0
    properties: list[list[str]] = []
    for words in [*map(str.split, lines), ["element", "", "0"]]:
        if words[:1] == ["property"]:
            properties.append(words[1:])
        elif words[:1] == ["element"]:
            if name:
                yield name, count, properties
            if len(words) != 3 or not (words[2].isascii() and words[2].isdigit() and len(words[2]) <= _DIGITS):
                raise DataError(f"{path} is damaged: '{' '.join(words)}' counts nothing")
            name, count, properties = words[1], int(words[2]), []


def _row(path: Path, name: str, properties: list[list[str]]) -> np.dtype:
    """How one vertex, or one triangle, lies in the file."""
    fields: list[tuple] = []
    for words in properties:
        kinds = words[1:-1] if words[:1] == ["list"] else words[:-1]
        known = len(kinds) == (2 if kinds != words[:-1] else 1) and all(word in _PLY_TYPES for word in kinds)
        if not known or (words[0] == "list") != (name == "face") or (name == "face" and fields):
            raise DataError(f"{path} has the property '{' '.join(words)}' in '{name}', which is not of a plain mesh")
        if name == "face":
            fields += [("count", _PLY_TYPES[words[1]]), ("corners", _PLY_TYPES[words[2]], 3)]
        else:
            fields.append((words[1], _PLY_TYPES[words[0]]))
    names = [field[0] for field in fields]
    if len(set(names)) < len(names):
        raise DataError(f"{path} has a property twice in '{name}': {', '.join(names)}; name each property once")
    return np.dtype(fields)


def _columns(rows: np.ndarray, names: tuple[str, ...], kind: type) -> Tensor | None:
    present = rows.dtype.names or ()
    if not set(names) <= set(present):
        return None
    with np.errstate(invalid="ignore"):  # a NaN becomes some number of a smaller kind
        return torch.from_numpy(np.stack([rows[name].astype(kind) for name in names], axis=1))


def _read_obj(path: Path, data: bytes) -> Mesh:
    vertices: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        words = line.split()
        try:
            if words[:1] == ["v"]:
                vertices.append([float(word) for word in words[1:]])
            elif words[:1] == ["f"]:
                corners = [int(word.split("/")[0]) for word in words[1:]]
                corners = [c - 1 if c > 0 else len(vertices) + c for c in corners]
                faces += [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
        except ValueError:
            raise DataError(f"{path} is damaged: line {number} is '{first_line(line)}'") from None
    lengths = {len(vertex) for vertex in vertices}
    if lengths not in ({3}, {6}):
        raise DataError(f"{path} has no vertices of 3 numbers each, or 6 with their colors")
    table = torch.tensor(vertices, dtype=torch.float64)
    colors = (table[:, 3:] * 255).round().clamp(0, 255).byte() if lengths == {6} else None
    return Mesh(table[:, :3].float(), torch.tensor(faces, dtype=torch.long).view(-1, 3), colors)
