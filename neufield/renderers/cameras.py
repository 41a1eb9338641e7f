"""Pixels to rays, for many cameras at once."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neufield.core.cameras import Camera, Lens
from neufield.renderers.refinement import PoseRefinement

_NEWTON_STEPS = 8  # four or five are enough where a lens maps one to one


class Cameras(nn.Module):
    """A scene's cameras as tensors; ``count`` is how many. Positions and poses are buffers, in world units.

    With a ``refinement`` the buffer ``to_world`` keeps the poses as they were given, and everything else is by
    ``poses``, the refined ones. ``timed`` cameras also have ``times (count,)``, in the scene's own unit.
    """

    to_world: Tensor
    focal: Tensor
    center: Tensor
    size: Tensor
    distortion: Tensor
    fisheye: Tensor
    times: Tensor | None

    def __init__(self, count: int, refinement: PoseRefinement | None = None, timed: bool = False) -> None:
        super().__init__()
        if refinement is not None and refinement.count > count:
            raise ValueError(f"a refinement of {refinement.count} cameras was given for {count}; build it for {count}")
        self.count = count
        self.refinement = refinement
        self.timed = timed
        self.register_buffer("to_world", torch.eye(4)[:3].expand(count, 3, 4).clone())
        self.register_buffer("focal", torch.ones(count, 2))
        self.register_buffer("center", torch.zeros(count, 2))
        self.register_buffer("size", torch.zeros(count, 2))
        self.register_buffer("distortion", torch.zeros(count, 6))
        self.register_buffer("fisheye", torch.zeros(count, dtype=torch.bool))
        self.register_buffer("times", torch.zeros(count) if timed else None)
        self._bends: tuple[object, bool] = (None, False)

    @classmethod
    def of(
        cls,
        cameras: Sequence[Camera],
        refinement: PoseRefinement | None = None,
        times: Sequence[float] | None = None,
    ) -> "Cameras":
        """These cameras, in this order, and at which ``times`` of a moving scene they look."""
        made = cls(len(cameras), refinement, times is not None)
        if times is not None:
            made.times = torch.tensor(tuple(times), dtype=torch.float32)
        for i, camera in enumerate(cameras):
            made.to_world[i] = camera.to_world[:3]
            made.focal[i] = torch.tensor([camera.fx, camera.fy])
            made.center[i] = torch.tensor([camera.cx, camera.cy])
            made.size[i] = torch.tensor([camera.width, camera.height])
            made.distortion[i] = torch.tensor(camera.distortion)
            made.fisheye[i] = camera.lens == "fisheye"
        return made

    def poses(self) -> Float[Tensor, "C 3 4"]:
        """Camera to world, a differentiable function of the refinement."""
        return self.to_world if self.refinement is None else self.refinement(self.to_world)

    def camera(self, index: int) -> Camera:
        """One camera of the scene, to float32's precision."""
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3] = self.poses()[index].detach().double()
        width, height = self.size[index].int().tolist()
        (fx, fy), (cx, cy) = self.focal[index].tolist(), self.center[index].tolist()
        lens: Lens = "fisheye" if self.fisheye[index] else "opencv" if self.distortion[index].any() else "pinhole"
        k1, k2, k3, k4, p1, p2 = self.distortion[index].tolist()
        return Camera(pose, width, height, fx, fy, cx, cy, lens, (k1, k2, k3, k4, p1, p2))

    def time(self, index: int) -> float | None:
        """When one of them looks; None in a scene that does not move."""
        return None if self.times is None else float(self.times[index])

    def rays(self, index: Int[Tensor, " N"], pixels: Float[Tensor, "N 2"]) -> tuple[Tensor, Tensor]:
        """Origins and unit directions (N, 3) of the rays through ``pixels`` (column, row).

        The middle of the first pixel is (0.5, 0.5).
        """
        on_plane = (pixels - self.center[index]) / self.focal[index]
        if self._bent():
            on_plane, behind = undistort(on_plane, self.distortion[index], self.fisheye[index])
        else:
            behind = torch.ones_like(on_plane[:, :1])
        d = torch.cat([on_plane[:, :1], -on_plane[:, 1:], -behind], dim=1)
        poses = self.poses()
        if self.count == 1:  # a whole view: one matrix for all
            origins, d = poses[0, :, 3].expand(len(d), 3), d @ poses[0, :, :3].t()
        else:
            pose = poses[index]
            origins, d = pose[:, :, 3], (pose[:, :, :3] * d[:, None]).sum(-1)
        return origins, torch.nn.functional.normalize(d, dim=1)

    def _bent(self) -> bool:
        """Whether any lens is more than a pinhole. Asked of the tensors once: a GPU would be waited for each time."""
        lenses = (self.fisheye, self.distortion)
        state = [(id(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in lenses]
        if self._bends[0] != state:
            self._bends = (state, any(bool(tensor.any()) for tensor in lenses))
        return self._bends[1]


def undistort(
    image: Float[Tensor, "N 2"], coefficients: Float[Tensor, "N 6"], fisheye: Tensor
) -> tuple[Tensor, Tensor]:
    """The inverse of ``core.cameras.distort``, as a direction: (x, y) (N, 2) and its part (N, 1) along the axis.

    A fisheye beyond 90 degrees has the latter below 0.
    """
    target, c = image.double(), coefficients.double()
    plane = torch.where(fisheye[:, None], torch.zeros_like(target), _off_plane(target, c))
    angle = target.norm(dim=1)
    theta = _off_axis(angle, c)
    direction = target / angle.clamp(min=1e-12)[:, None] * theta.sin()[:, None]
    xy = torch.where(fisheye[:, None], direction, plane)
    along = torch.where(fisheye, theta.cos(), torch.ones_like(theta))[:, None]
    return xy.to(image.dtype), along.to(image.dtype)


def _off_plane(target: Tensor, c: Tensor) -> Tensor:
    """Newton's method for the radial and tangential polynomial."""
    k1, k2, k3, k4, p1, p2 = c.unbind(1)
    plane = target
    for _ in range(_NEWTON_STEPS):
        x, y = plane.unbind(1)
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
        slope = 2 * (k1 + r2 * (2 * k2 + r2 * (3 * k3 + r2 * 4 * k4)))
        xx = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
        yy = radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
        xy = slope * x * y + 2 * p1 * x + 2 * p2 * y
        wrong_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) - target[:, 0]
        wrong_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y - target[:, 1]
        determinant = xx * yy - xy * xy
        safe = determinant.where(determinant.abs() > 1e-9, torch.ones_like(determinant))
        move = torch.stack([yy * wrong_x - xy * wrong_y, xx * wrong_y - xy * wrong_x], dim=1)
        plane = plane - move / safe[:, None]
    return plane


def _off_axis(angle: Tensor, c: Tensor) -> Tensor:
    """Newton's method for the fisheye's angle."""
    k1, k2, k3, k4 = c[:, :4].unbind(1)
    theta = angle
    for _ in range(_NEWTON_STEPS):
        t2 = theta * theta
        value = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
        theta = theta - (value - angle) / slope.where(slope.abs() > 1e-9, torch.ones_like(slope))
    return theta
