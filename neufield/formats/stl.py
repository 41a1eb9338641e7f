"""Triangles as binary STL: three corners and a normal each, for printers. It holds no colors."""

from pathlib import Path

import numpy as np

_ROW = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_stl(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Write ``vertices (V, 3)`` float32, as given, of ``faces (F, 3)``."""
    rows = np.zeros(len(faces), _ROW)
    rows["corners"] = vertices[faces]
    corners = rows["corners"].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(across, axis=1, keepdims=True)
    rows["normal"] = np.divide(across, length, out=np.zeros_like(across), where=length > 0)
    with path.open("wb") as file:
        file.write(b"neufield".ljust(80, b" "))  # a header that begins with "solid" means text to some readers
        file.write(np.uint32(len(faces)).astype("<u4").tobytes())
        file.write(rows.tobytes())
