"""Triangles as binary glTF 2.0: one mesh with colors at its vertices, unlit, for photographs have light in them.

https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html; KHR_materials_unlit for whoever knows it.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from neufield.core.errors import DataError

_FLOAT, _USHORT, _UINT = 5126, 5123, 5125  # OpenGL's names of types
_VERTICES, _TRIANGLES = 34962, 34963  # what a part of the buffer is for
_JSON, _BIN = b"JSON", b"BIN\0"
_LARGEST = 2**32 - 1  # lengths are 32 bits

_Accessor = tuple[np.ndarray, int, str, dict[str, Any]]  # values, their type, their shape, what else is said of them


def write_glb(
    path: Path, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray | None, normals: np.ndarray | None
) -> None:
    """Write ``vertices (V, 3)`` as given, ``faces (F, 3)``, sRGB ``colors (V, 3)`` uint8 and ``normals (V, 3)``."""
    attributes: dict[str, _Accessor] = {"POSITION": (vertices.astype("<f4"), _FLOAT, "VEC3", {})}
    attributes["POSITION"][3].update(min=vertices.min(0).tolist(), max=vertices.max(0).tolist())
    if normals is not None:
        attributes["NORMAL"] = (_units(normals), _FLOAT, "VEC3", {})
    if colors is not None:
        attributes["COLOR_0"] = (_linear(colors), _USHORT, "VEC4", {"normalized": True})
    indices: _Accessor = (faces.astype("<u4").reshape(-1), _UINT, "SCALAR", {})

    accessors: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    data: list[bytes] = []
    for values, kind, shape, more in (*attributes.values(), indices):
        target = _TRIANGLES if shape == "SCALAR" else _VERTICES
        offset = sum(map(len, data))
        data.append(values.tobytes())
        parts.append({"buffer": 0, "byteOffset": offset, "byteLength": len(data[-1]), "target": target})
        accessors.append(
            {"bufferView": len(parts) - 1, "componentType": kind, "count": len(values), "type": shape, **more}
        )
    primitive = {"attributes": {name: i for i, name in enumerate(attributes)}, "indices": len(accessors) - 1}
    look = {"baseColorFactor": [1, 1, 1, 1], "metallicFactor": 0, "roughnessFactor": 1}
    document = {
        "asset": {"version": "2.0", "generator": "neufield"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{**primitive, "material": 0, "mode": 4}]}],
        "materials": [{"pbrMetallicRoughness": look, "doubleSided": True, "extensions": {"KHR_materials_unlit": {}}}],
        "extensionsUsed": ["KHR_materials_unlit"],
        "buffers": [{"byteLength": sum(map(len, data))}],
        "bufferViews": parts,
        "accessors": accessors,
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(data)  # whole numbers of four bytes each
    total = 12 + 8 + len(text) + 8 + len(body)
    if total > _LARGEST:
        raise DataError(f"a .glb holds 4 GiB, but this mesh needs {total / 2**30:.1f}; write a .ply")
    with path.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, total))
        for name, chunk in ((_JSON, text), (_BIN, body)):
            file.write(struct.pack("<I4s", len(chunk), name))
            file.write(chunk)


def _units(normals: np.ndarray) -> np.ndarray:
    """GlTF has no normals but unit ones; a vertex without any gets one."""
    there = np.linalg.norm(normals, axis=1, keepdims=True) > 0.5
    return np.where(there, normals, [0, 0, 1]).astype("<f4")


def _linear(colors: np.ndarray) -> np.ndarray:
    """SRGB (V, 3) uint8 -> linear light (V, 4), opaque: glTF's colors at vertices are linear (section 3.7.2.1)."""
    c = np.arange(256) / 255
    light = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    table = np.round(light * 65535).astype("<u2")
    return np.concatenate([table[colors], np.full((len(colors), 1), 65535, "<u2")], axis=1)
