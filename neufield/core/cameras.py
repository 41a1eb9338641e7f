"""A photograph's camera, as scenes are read and rays are made: the one description between the two rooms."""

import dataclasses
from typing import Literal

import torch
from torch import Tensor

Lens = Literal["pinhole", "opencv", "fisheye"]


@dataclasses.dataclass(frozen=True, eq=False)
class Camera:
    """Where a photograph was taken from, and how its pixels see.

    Args:
        to_world: camera to world (4, 4), float64. Camera axes are OpenGL's: x right, y up, looking along -z. World
            units and orientation are the scene file's own.
        width: of the image in pixels.
        height: of the image in pixels.
        fx: horizontal focal length in pixels of that size.
        fy: vertical focal length in pixels.
        cx: principal point in pixels from the left; the centre of pixel (column i, row j) is (i + 0.5, j + 0.5).
        cy: principal point in pixels from the top.
        lens: "pinhole"; "opencv", radial polynomial 1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8 and tangential p1, p2;
            "fisheye", the angle's polynomial theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8).
        distortion: k1, k2, k3, k4, p1, p2 of that lens.
    """

    to_world: Tensor
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    lens: Lens = "pinhole"
    distortion: tuple[float, float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.to_world.shape != (4, 4) or self.to_world.dtype != torch.float64:
            raise ValueError(f"to_world must be (4, 4) float64, not {tuple(self.to_world.shape)} {self.to_world.dtype}")

    def resized(self, width: int, height: int) -> "Camera":
        """The same view in an image of another size."""
        x, y = width / self.width, height / self.height
        return dataclasses.replace(
            self, width=width, height=height, fx=self.fx * x, cx=self.cx * x, fy=self.fy * y, cy=self.cy * y
        )
