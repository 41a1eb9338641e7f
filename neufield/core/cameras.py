"""A photograph's camera, as scenes are read and rays are made: the one description between the two rooms."""

import dataclasses
from typing import Literal

import torch
from jaxtyping import Bool, Float
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
        cx: principal point in pixels from the left; the center of pixel (column i, row j) is (i + 0.5, j + 0.5).
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

    def project(self, points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N 2"], Bool[Tensor, " N"]]:
        """Pixels (column, row) of world ``points``, float64, and which of them lie before the camera."""
        local = (points.double() - self.to_world[:3, 3]) @ torch.linalg.inv(self.to_world[:3, :3]).t()
        before = local[:, 2] < 0
        depth = torch.where(before, -local[:, 2], 1.0)
        plane = torch.stack([local[:, 0], -local[:, 1]], dim=1) / depth[:, None]
        coefficients = torch.tensor(self.distortion, dtype=torch.float64).expand(len(points), 6)
        bent = distort(plane, coefficients, torch.full_like(before, self.lens == "fisheye"))
        return bent * bent.new_tensor([self.fx, self.fy]) + bent.new_tensor([self.cx, self.cy]), before


def distort(plane: Float[Tensor, "N 2"], coefficients: Float[Tensor, "N 6"], fisheye: Tensor) -> Float[Tensor, "N 2"]:
    """Where the lens puts what lies at ``plane`` (x / z right, y / z down); see :class:`Camera`."""
    k1, k2, k3, k4, p1, p2 = coefficients.unbind(1)
    x, y = plane.unbind(1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
    bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    bent_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    r = r2.sqrt()
    theta = torch.atan(r)
    t2 = theta * theta
    angle = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    round_ = plane * torch.where(r > 1e-8, angle / r.clamp(min=1e-8), torch.ones_like(r))[:, None]
    return torch.where(fisheye[:, None], round_, torch.stack([bent_x, bent_y], dim=1))
