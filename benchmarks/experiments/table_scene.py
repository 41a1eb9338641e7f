"""A scene whose every ray has an exact color: the perfect teacher, without photographs or a field.

A floor with a checker of two colors, a red sphere, a blue box and a thin yellow ring, lit from one side with one Phong
lobe, so that colors depend on the direction. Cameras are Blender's: at distance 4, with an angle of view of 0.6911.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

ANGLE = 0.6911
DISTANCE = 4.0
NEAR, FAR = 2.0, 6.0  # depths along the camera's axis
_LIGHT = normalize(torch.tensor([0.5, -0.3, 0.8]), dim=0)
_SPHERE, _BOX, _RING = (
    torch.tensor([-0.2, 0.2, -0.2]),
    torch.tensor([0.25, 0.15, -0.3]),
    torch.tensor([0.0, -0.25, -0.2]),
)
_COLORS = torch.tensor([[0.9, 0.9, 0.85], [0.15, 0.2, 0.25], [0.8, 0.15, 0.1], [0.15, 0.25, 0.8], [0.9, 0.7, 0.1]])
_STEPS, _CLOSE = 96, 1e-4


def distances(points: Tensor) -> Tensor:
    """How far ``points (N, 3)`` are from floor, sphere, box and ring: (N, 4), negative inside."""
    slab = (points - torch.tensor([0.0, 0.0, -0.475])).abs() - torch.tensor([0.5, 0.5, 0.025])
    box = (points - _BOX).abs() - 0.15
    around = points - _RING
    tube = torch.stack([around[:, [0, 2]].norm(dim=1) - 0.25, around[:, 1]], dim=1).norm(dim=1) - 0.05
    boxes = [d.clamp(min=0).norm(dim=1) + d.amax(dim=1).clamp(max=0) for d in (slab, box)]
    return torch.stack([boxes[0], (points - _SPHERE).norm(dim=1) - 0.25, boxes[1], tube], dim=1)


def trace(x: Tensor, finer: int = 1) -> Tensor:
    """Rays (N, 6), origin and direction of any length -> their colors (N, 3) on white. ``finer`` textures the ring."""
    origins, directions = x[:, :3], normalize(x[:, 3:], dim=1)
    middle = -(origins * directions).sum(1)
    miss = (origins + middle[:, None] * directions).norm(dim=1)
    way = (middle - 0.9).clamp(min=0)
    going = (miss < 0.9).nonzero()[:, 0]
    hit = torch.zeros(len(x), dtype=torch.bool)
    for _ in range(_STEPS):
        left = distances(origins[going] + way[going, None] * directions[going]).amin(dim=1)
        way[going] += left
        hit[going[left < _CLOSE]] = True
        going = going[(left >= _CLOSE) & (way[going] < middle[going] + 0.9)]
        if not len(going):
            break
    colors = torch.ones(len(x), 3)
    colors[hit] = _shaded(origins[hit] + way[hit, None] * directions[hit], directions[hit], finer)
    return colors


def _shaded(points: Tensor, directions: Tensor, finer: int) -> Tensor:
    found = distances(points)
    kind = found.argmin(dim=1)
    steps = torch.eye(3) * 1e-3
    slopes = [distances(points + s).amin(dim=1) - distances(points - s).amin(dim=1) for s in steps]
    normals = normalize(torch.stack(slopes, dim=1), dim=1)
    checker = (points[:, :2] * 8).floor().sum(dim=1).long() % 2
    base = _COLORS[torch.where(kind == 0, checker, kind + 1)]
    if finer > 1:
        around = points - _RING
        angle = torch.atan2(around[:, 2], around[:, 0]) / math.pi
        dark = (kind == 3) & ((angle * 2 * finer).floor().long() % 2 == 1)
        base = torch.where(dark[:, None], base * 0.3, base)
    diffuse = (normals @ _LIGHT).clamp(min=0)
    mirrored = directions - 2 * (directions * normals).sum(1, keepdim=True) * normals
    lobe = (mirrored @ _LIGHT).clamp(min=0) ** 20
    return (base * (0.35 + 0.65 * diffuse)[:, None] + 0.25 * lobe[:, None]).clamp(0, 1)


def is_ring(x: Tensor) -> Tensor:
    """Whether each ray (N, 6) passes the ring closer than its own thickness."""
    origins, directions = x[:, :3], normalize(x[:, 3:], dim=1)
    ways = torch.linspace(DISTANCE - 1, DISTANCE + 1, 200)
    nearest = [distances(origins + way * directions)[:, 3] for way in ways]
    return torch.stack(nearest).amin(dim=0) < 0.02


def view(azimuth: float, elevation: float, side: int = 64, zoom: float = 1.0) -> Tensor:
    """The rays (side^2, 6) of a camera that looks at the origin, angles in degrees; their depth along its axis is 1."""
    a, e = math.radians(azimuth), math.radians(elevation)
    back = torch.tensor([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    right = torch.tensor([-math.sin(a), math.cos(a), 0.0])
    up = torch.linalg.cross(back, right)
    focal = 0.5 * side / math.tan(0.5 * ANGLE) * zoom
    places = (torch.arange(side) + 0.5 - side / 2) / focal
    rows, columns = torch.meshgrid(-places, places, indexing="ij")
    directions = columns.reshape(-1, 1) * right + rows.reshape(-1, 1) * up - back
    return torch.cat([(DISTANCE * back).expand(side * side, 3), directions], dim=1)


def views(count: int, generator: torch.Generator, zoomed: bool = False, side: int = 64) -> Tensor:
    """The rays of cameras at random on the upper half of the sphere: azimuth, elevation and, if so, zoom uniform."""
    drawn = torch.rand(count, 3, generator=generator).tolist()
    return torch.cat([view(360 * a, 90 * e, side, 1 + z if zoomed else 1.0) for a, e, z in drawn])
