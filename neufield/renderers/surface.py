"""The surface of a density: marching cubes in world units, its normals and colors, and points strewn over it."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from neufield.core.lattice import blocks
from neufield.core.shapes import check_positive

DensityFn = Callable[[Tensor], Tensor]
Color = Callable[[Tensor, Tensor], Tensor]

_POINTS = 1 << 18  # asked for at a time
_CELLS = 1 << 20  # classified at a time
_FINITE = 1e30  # infinite densities count as this, so that their edges still have a crossing


class PointCloud(NamedTuple):
    """``points (N, 3)`` in world units, unit outward ``normals (N, 3)``, ``colors (N, 3)`` in [0, 1] or None."""

    points: Tensor
    normals: Tensor
    colors: Tensor | None


@torch.no_grad()
def isosurface(
    density: DensityFn,
    box_lower: Sequence[float],
    box_upper: Sequence[float],
    resolution: int,
    threshold: float,
    device: torch.device | str = "cpu",
) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
    """Find the triangles where ``density`` crosses ``threshold`` in a box: vertices, in world units, and faces.

    Every edge has exactly two triangles unless it lies on the box, where what goes on beyond is left open. Seen from
    below the threshold the corners are counter-clockwise. Both are empty where nothing crosses.

    Args:
        density: world points (N, 3), float32 -> (N,), at most 2^18 at a time.
        box_lower: corner of the box.
        box_upper: the opposite corner.
        resolution: cells along the box's longest side; they are as nearly cubes as whole numbers of them allow.
        threshold: inside is what lies above it.
        device: where ``density`` is asked.
    """
    check_positive(resolution=resolution)
    lower, upper = (torch.tensor(tuple(corner), dtype=torch.float64) for corner in (box_lower, box_upper))
    if lower.shape != (3,) or upper.shape != (3,) or not bool((lower < upper).all()):
        raise ValueError(f"the box from {lower.tolist()} to {upper.tolist()} has no inside; give lower < upper, 3 each")
    size = upper - lower
    cells = torch.clamp(torch.ceil(resolution * size / size.max() - 1e-9), min=1).long().tolist()
    spacing = size / torch.tensor(cells, dtype=torch.float64)
    shape = tuple(n + 1 for n in cells)
    values = _sampled(density, lower, spacing, shape, device)
    edges = torch.cat([torch.empty(0, 3, dtype=torch.long), *_triangles(values > threshold)])
    used, faces = torch.unique(edges, return_inverse=True)
    return _crossings(values, used, threshold, lower, spacing).float(), faces.view(-1, 3)


def vertex_normals(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "V 3"]:
    """Unit normals, each the mean of its triangles' by their areas; zero at a vertex without any."""
    a, b, c = vertices.double()[faces].unbind(1)
    across = torch.linalg.cross(b - a, c - a)
    total = torch.zeros(len(vertices), 3, dtype=torch.float64)
    for corner in range(3):
        total.index_add_(0, faces[:, corner], across)
    return normalize(total, dim=1, eps=1e-300).float()


def surface_colors(
    color: Color, points: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"], device: torch.device | str = "cpu"
) -> Float[Tensor, "N 3"]:
    """Ask ``color (points, directions) -> (N, 3)`` from straight above the surface; directions are from the eye on."""
    found = [points.new_empty(0, 3)]
    with torch.no_grad():
        for start, stop in blocks(len(points), _POINTS):
            at, towards = points[start:stop].to(device), -normals[start:stop].to(device)
            found.append(color(at, towards).float().cpu())
    return torch.cat(found)


def point_cloud(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    count: int,
    generator: torch.Generator,
    color: Color | None = None,
    device: torch.device | str = "cpu",
) -> PointCloud:
    """``count`` points drawn evenly over a surface of triangles, with smooth normals, and colors from ``color``."""
    check_positive(count=count, faces=len(faces))
    corners = vertices.double()[faces]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    ends = areas.cumsum(0)
    check_positive(area=float(ends[-1]))
    spot = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    chosen = torch.searchsorted(ends, spot[:, 0] * ends[-1], right=True).clamp(max=len(faces) - 1)
    root = spot[:, 1].sqrt()  # the square root spreads points evenly over a triangle
    weights = torch.stack([1 - root, root * (1 - spot[:, 2]), root * spot[:, 2]], dim=1)[:, :, None]
    points = (weights * corners[chosen]).sum(1).float()
    smooth = vertex_normals(vertices, faces).double()[faces[chosen]]
    normals = normalize((weights * smooth).sum(1), dim=1).float()
    return PointCloud(points, normals, None if color is None else surface_colors(color, points, normals, device))


def _sampled(
    density: DensityFn, lower: Tensor, spacing: Tensor, shape: tuple[int, ...], device: torch.device | str
) -> Tensor:
    """The density at the cells' corners, float32 of ``shape``."""
    values = torch.empty(math.prod(shape))
    for start, stop in blocks(len(values), _POINTS):
        place = torch.stack(torch.unravel_index(torch.arange(start, stop), shape), dim=1)
        found = density((lower + place * spacing).float().to(device)).reshape(-1)
        values[start:stop] = found.float().cpu()
    if bool(values.isnan().any()):
        place = torch.stack(torch.unravel_index(values.isnan().nonzero()[0, 0], shape))
        raise ValueError(f"the density at {(lower + place * spacing).tolist()} is not a number")
    return values.clamp_(-_FINITE, _FINITE).view(shape)


def _triangles(inside: Tensor) -> Iterator[Tensor]:
    """Triangles (F, 3) of edge numbers, some layers of cells after the other.

    The edge that goes along ``axis`` from corner (i, j, k) has the number ``axis * corners + flat index``.
    """
    table = _table()
    strides = torch.tensor(inside.stride())
    count = inside.numel()
    corner = torch.arange(8)
    shift = torch.stack([corner & 1, corner >> 1 & 1, corner >> 2 & 1], dim=1) @ strides
    edge = torch.tensor([axis * count + int(shift[low]) for axis, low in _EDGES])
    nx, ny, nz = (n - 1 for n in inside.shape)
    for start, stop in blocks(nx, max(1, _CELLS // (ny * nz))):
        case = torch.zeros(stop - start, ny, nz, dtype=torch.long)
        for c in range(8):
            x, y, z = c & 1, c >> 1 & 1, c >> 2 & 1
            case |= inside[start + x : stop + x, y : y + ny, z : z + nz].long() << c
        active = ((case > 0) & (case < 255)).nonzero()
        rows = table[case[tuple(active.unbind(1))]]  # (active cells, most triangles, 3), -1 where there are fewer
        active[:, 0] += start
        base = (active @ strides)[:, None, None]
        yield (edge[rows.clamp(min=0)] + base)[rows[..., 0] >= 0]


def _crossings(values: Tensor, edges: Tensor, threshold: float, lower: Tensor, spacing: Tensor) -> Tensor:
    """World positions (V, 3), float64, where numbered edges cross the threshold, by linear interpolation."""
    axis, corner = edges // values.numel(), edges % values.numel()
    flat = values.flatten()
    a = flat[corner].double()
    b = flat[corner + torch.tensor(values.stride())[axis]].double()
    place = torch.stack(torch.unravel_index(corner, values.shape), dim=1).double()
    place[torch.arange(len(edges)), axis] += ((threshold - a) / (b - a)).clamp(0, 1)
    return lower + place * spacing


# Corner c of a cell lies at (c & 1, c >> 1 & 1, c >> 2 & 1); an edge is (axis, the corner it starts from).
_EDGES = [(axis, corner) for axis in range(3) for corner in range(8) if not corner >> axis & 1]


@functools.cache
def _table() -> Tensor:
    """Triangles (256, most, 3) of edge places in ``_EDGES`` for each set of corners inside (bit c: corner c), or -1.

    Derived, not copied (Lorensen and Cline 1987 list 15 cases): on every face of the cell the inside corners are cut
    off, two opposite ones apart, so neighbors agree; the cuts join to loops; and a loop is filled without a diagonal
    between two edges of one face, which the neighbor might draw as well.
    """
    cases = [[triangle for loop in _loops(case) for triangle in _filled(loop)] for case in range(256)]
    table = torch.full((256, max(map(len, cases)), 3), -1)
    for case, triangles in enumerate(cases):
        if triangles:
            table[case, : len(triangles)] = torch.tensor(triangles)
    return table


def _faces() -> list[list[int]]:
    """The cell's six faces as corners, counter-clockwise seen from outside."""
    faces = []
    for axis in range(3):
        u, v = 1 << (axis + 1) % 3, 1 << (axis + 2) % 3
        ring = [0, u, u | v, v]
        faces.append([corner | 1 << axis for corner in ring])
        faces.append(ring[::-1])
    return faces


def _edge_between(a: int, b: int) -> int:
    return _EDGES.index(((a ^ b).bit_length() - 1, min(a, b)))


def _loops(case: int) -> list[list[int]]:
    """The closed lines in which the surface leaves the cell, as places in ``_EDGES``."""
    following = {}
    for face in _faces():
        steps = list(pairwise([*face, face[0]]))
        inside = [(case >> a & 1, case >> b & 1) for a, b in steps]
        for i in range(4):
            if inside[i] == (0, 1):  # comes in here, and goes out at the next edge that leads out
                out = next(j % 4 for j in range(i + 1, i + 4) if inside[j % 4] == (1, 0))
                following[_edge_between(*steps[i])] = _edge_between(*steps[out])
    loops = []
    while following:
        loop = [next(iter(following))]
        while loop[-1] in following:
            loop.append(following.pop(loop[-1]))
        loops.append(loop[:-1])
    return loops


@functools.cache
def _flat() -> set[tuple[int, int]]:
    """The pairs of edges that lie in one face."""
    faces = [{_edge_between(a, b) for a, b in pairwise([*face, face[0]])} for face in _faces()]
    return {(a, b) for face in faces for a, b in combinations(sorted(face), 2)}


def _filled(loop: list[int]) -> list[tuple[int, int, int]]:
    """Triangles that fill a loop without a diagonal inside a face."""
    flat = _flat()
    sides = {tuple(sorted(side)) for side in pairwise([*loop, loop[0]])}

    def fill(ring: list[int]) -> list[tuple[int, int, int]] | None:
        if len(ring) < 3:
            return []
        a, b = ring[0], ring[-1]
        for i in range(1, len(ring) - 1):
            ends = [tuple(sorted(pair)) for pair in ((a, ring[i]), (ring[i], b))]
            if any(pair in flat and pair not in sides for pair in ends):
                continue
            left, right = fill(ring[: i + 1]), fill(ring[i:])
            if left is not None and right is not None:
                return [*left, (a, ring[i], b), *right]
        return None

    filled = fill(loop)
    assert filled is not None, f"loop {loop} needs a diagonal in a face"
    return filled
