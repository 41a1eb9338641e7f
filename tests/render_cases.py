"""Rays, cameras and a ball whose picture is known, for tests of renderers."""

import math

import torch

from neufield.core.cameras import Camera
from neufield.core.interfaces import RadianceField
from neufield.core.rays import Conditioning, Geometry, Rays
from neufield.core.recipe import Recipe
from neufield.core.rotations import look_at
from neufield.renderers import (
    Box,
)

BOX = Box((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def pose(*angles: float, at: tuple[float, float, float] = (0.3, -0.2, 4.0)) -> torch.Tensor:
    """Turned about x, then y, then z."""
    turn = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        step = torch.eye(3, dtype=torch.float64)
        step[i, i] = step[j, j] = math.cos(angle)
        step[i, j], step[j, i] = -math.sin(angle), math.sin(angle)
        turn = step @ turn
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3], matrix[:3, 3] = turn, torch.tensor(at)
    return matrix


def camera(lens: str = "pinhole", distortion: tuple[float, ...] = (0.0,) * 6, **changes) -> Camera:
    numbers = {"width": 64, "height": 48, "fx": 50.0, "fy": 55.0, "cx": 30.0, "cy": 25.0} | changes
    return Camera(numbers.pop("to_world", pose(0.1, 0.2, -0.3)), **numbers, lens=lens, distortion=distortion)


class Ball(RadianceField):
    """Radius 0.5 world units around the middle of the box of side 2: density and color known."""

    def __init__(self, thickness: float = 3.0) -> None:
        super().__init__()
        self.thickness = thickness
        self.color_ = torch.nn.Parameter(torch.tensor([0.2, 0.5, 0.9]))
        self.recipe = Recipe()
        self.evaluated = 0

    def geometry(self, x: torch.Tensor, cond: Conditioning | None = None) -> Geometry:
        self.evaluated += len(x)
        inside = ((x - 0.5).norm(dim=-1) < 0.25).float()
        return Geometry(inside, inside * self.thickness, x)

    def color(self, features: torch.Tensor, d: torch.Tensor, cond: Conditioning | None = None) -> torch.Tensor:
        return self.color_.expand(len(d), 3)


def towards(offset: float, n: int = 1) -> Rays:
    """From z = 4 down, ``offset`` beside the ball's middle."""
    origins = torch.tensor([[offset, 0.0, 4.0]]).repeat(n, 1)
    directions = torch.tensor([[0.0, 0.0, -1.0]]).repeat(n, 1)
    return Rays(origins, directions, *BOX.near_far(origins, directions))


def ring(count: int, side: int, distance: float = 3.0, field_of_view: float = 0.7) -> list[Camera]:
    """Cameras around the origin, at several heights, looking at it."""
    made = []
    for i in range(count):
        angle, height = 2 * math.pi * i / count * 1.618, 0.5 * distance * math.sin(2.3 * i)
        place = [distance * math.cos(angle), distance * math.sin(angle), height]
        focal, middle = 0.5 * side / math.tan(field_of_view / 2), side / 2
        made.append(Camera(look_at(place, [0, 0, 0], [0, 0, 1]), side, side, focal, focal, middle, middle))
    return made
