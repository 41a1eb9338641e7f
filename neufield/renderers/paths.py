"""Paths of a film's camera: through given cameras, around a point or along a spiral; in the cameras' own world."""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from neufield.core.cameras import Camera
from neufield.core.rotations import Vector, angles, look_at, slerp, to_matrices, to_quaternions
from neufield.core.shapes import check_positive


def interpolate(cameras: Sequence[Camera], frames: int, loop: bool = False) -> list[Camera]:
    """A path through all of ``cameras``, in their order, of ``frames`` cameras of the first one's size.

    Positions follow a cubic spline with continuous velocity, rotations the great circle between neighbors, the
    intrinsics a straight line. Between two cameras the path takes time by the share of its length and of its turning
    that lies there. The last frame is the last camera; with ``loop`` it is the one before the first comes round again.
    Raises ValueError when the cameras' lenses are of different kinds.
    """
    check_positive(frames=frames, cameras=len(cameras))
    first = cameras[0]
    if any(camera.lens != first.lens for camera in cameras):
        raise ValueError("the cameras have lenses of different kinds, between which there is no path; give one kind")
    keys = [camera.resized(first.width, first.height) for camera in (*cameras, *(cameras[:1] if loop else ()))]
    poses = torch.stack([camera.to_world for camera in keys])
    places, turns = poses[:, :3, 3], to_quaternions(poses[:, :3, :3])
    numbers = torch.tensor([[k.fx, k.fy, k.cx, k.cy, *k.distortion] for k in keys], dtype=torch.float64)
    steps = _shares((places[1:] - places[:-1]).norm(dim=1)) + _shares(angles(turns[1:], turns[:-1]))
    kept = torch.cat([torch.ones(1, dtype=torch.bool), steps > 1e-9])
    places, turns, numbers, steps = places[kept], turns[kept], numbers[kept], steps[kept[1:]]
    if len(steps) == 0:
        return [first] * frames
    ends = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    times = torch.linspace(0, 1, frames + loop, dtype=torch.float64)[:frames] * ends[-1]
    i = torch.searchsorted(ends[1:-1].contiguous(), times, right=True)
    t = (times - ends[i]) / steps[i]
    path = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    path[:, :3, :3] = to_matrices(slerp(turns[i], turns[i + 1], t))
    path[:, :3, 3] = _hermite(places, steps, loop, i, t)
    numbers = torch.lerp(numbers[i], numbers[i + 1], t[:, None])
    return [_with(first, pose, row.tolist()) for pose, row in zip(path, numbers, strict=True)]


def orbit(
    like: Camera,
    frames: int,
    radius: float,
    center: Vector = (0.0, 0.0, 0.0),
    elevation: float = 30.0,
    up: Vector = (0.0, 0.0, 1.0),
    start: float = 0.0,
    turns: float = 1.0,
) -> list[Camera]:
    """Cameras with the lens of ``like`` on a circle, ``radius`` world units from ``center``, at which they look.

    Args:
        like: whose lens and size every camera has.
        frames: how many; the one after the last would be the end of the last turn.
        radius: distance from ``center``.
        center: of the circle and of the pictures.
        elevation: degrees above the plane through ``center``, between -90 and 90, both excluded.
        up: the direction that is upwards in the pictures, of any length.
        start: where the first camera is, in degrees around ``up``; 0 is towards x, or y where up is along x.
        turns: how often around, counter-clockwise seen from above; negative the other way.
    """
    check_positive(frames=frames, radius=radius)
    if not -90 < elevation < 90:
        raise ValueError(f"elevation is {elevation}, but it must lie between -90 and 90 degrees, both excluded")
    middle, above = (torch.tensor(v, dtype=torch.float64) for v in (center, up))
    above = normalize(above, dim=0)
    ahead = torch.eye(3, dtype=torch.float64)[0 if abs(above[0]) < 0.9 else 1]
    ahead = normalize(ahead - above * (ahead @ above), dim=0)
    aside = torch.linalg.cross(above, ahead)
    lift = math.radians(elevation)
    path = []
    for frame in range(frames):
        angle = math.radians(start) + 2 * math.pi * turns * frame / frames
        out = math.cos(lift) * (math.cos(angle) * ahead + math.sin(angle) * aside) + math.sin(lift) * above
        path.append(dataclasses.replace(like, to_world=look_at(middle + radius * out, middle, above)))
    return path


def spiral(
    cameras: Sequence[Camera], frames: int, near: float, far: float, turns: float = 2.0, drift: float = 0.5
) -> list[Camera]:
    """The spiral of NeRF's forward-facing films, around the mean of ``cameras``, with the lens of the first.

    Every camera looks at one point ahead of the mean camera, at the depth whose inverse lies three quarters of the way
    from that of 0.9 ``near`` to that of 5 ``far``; the spiral's radii are the 90th percentiles of the cameras' own
    offsets (bmild/nerf load_llff.py, render_path_spiral and load_llff_data).

    Args:
        cameras: roughly on a plane, looking the same way.
        frames: how many cameras to return.
        near: distance of the closest thing seen, in world units.
        far: distance of the farthest.
        turns: around the viewing direction.
        drift: turns along the viewing direction, per turn around it.
    """
    check_positive(frames=frames, cameras=len(cameras), near=near)
    if not far > near:
        raise ValueError(f"far is {far}, but it must be beyond near, {near}")
    poses = torch.stack([camera.to_world for camera in cameras])
    place, up = poses[:, :3, 3].mean(0), poses[:, :3, 1].sum(0)
    mean = look_at(place, place - poses[:, :3, 2].sum(0), up)
    offsets = (poses[:, :3, 3] - place) @ mean[:3, :3]
    radii = torch.quantile(offsets.abs(), 0.9, dim=0)
    depth = 1 / (0.25 / (0.9 * near) + 0.75 / (5 * far))
    focus = place - depth * mean[:3, 2]
    path = []
    for frame in range(frames):
        angle = 2 * math.pi * turns * frame / frames
        circle = torch.tensor([math.cos(angle), -math.sin(angle), -math.sin(drift * angle)], dtype=torch.float64)
        at = place + mean[:3, :3] @ (circle * radii)
        path.append(dataclasses.replace(cameras[0], to_world=look_at(at, focus, up)))
    return path


def plain(camera: Camera) -> Camera:
    """Make the same view's undistorted pinhole with square pixels and a centered axis; the vertical focal length stays.

    This is what files of camera paths can hold.
    """
    width, height, focal = camera.width, camera.height, camera.fy
    return Camera(camera.to_world, width, height, focal, focal, width / 2, height / 2)


def _with(camera: Camera, pose: Tensor, numbers: list[float]) -> Camera:
    fx, fy, cx, cy, k1, k2, k3, k4, p1, p2 = numbers
    return dataclasses.replace(camera, to_world=pose, fx=fx, fy=fy, cx=cx, cy=cy, distortion=(k1, k2, k3, k4, p1, p2))


def _shares(amounts: Tensor) -> Tensor:
    """Each as a share of the sum; nothing where there is nothing but rounding."""
    total = amounts.sum()
    return amounts / total if total > 1e-12 else torch.zeros_like(amounts)


def _hermite(places: Tensor, steps: Tensor, loop: bool, i: Tensor, t: Tensor) -> Tensor:
    """Positions at share ``t`` of step ``i``, with the velocities of the parabolas through three neighbors each."""
    slopes = (places[1:] - places[:-1]) / steps[:, None]
    if loop:
        before = torch.cat([steps[-1:], steps])[:, None]
        after = torch.cat([steps, steps[:1]])[:, None]
        speeds = _between(torch.cat([slopes[-1:], slopes]), torch.cat([slopes, slopes[:1]]), before, after)
    elif len(steps) == 1:
        speeds = slopes.repeat(2, 1)
    else:
        inner = _between(slopes[:-1], slopes[1:], steps[:-1, None], steps[1:, None])
        speeds = torch.cat([2 * slopes[:1] - inner[:1], inner, 2 * slopes[-1:] - inner[-1:]])
    t, h = t[:, None], steps[i][:, None]
    a, b, c = places[i + 1] - places[i], h * speeds[i], h * speeds[i + 1]
    return places[i] + t * (b + t * (3 * a - 2 * b - c + t * (b + c - 2 * a)))


def _between(left: Tensor, right: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return (left * after + right * before) / (before + after)
