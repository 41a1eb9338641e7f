"""Camera paths in other tools' files: nerfstudio's ``camera_path.json`` and instant-ngp's ``base_cam.json``.

Each tool writes the poses of its own trained frame; the functions here take what leads there from the world of the
input. Formats read in nerfstudio-project/nerfstudio 50e0e3c (cameras/camera_paths.py get_path_from_json,
viewer/render_panel.py, data/dataparsers/base_dataparser.py) and NVlabs/instant-ngp abe236e (src/camera_path.cu,
include/neural-graphics-primitives/{camera_path,nerf_loader}.h, src/testbed.cu set_fov; quaternions are x, y, z, w by
NVlabs/tiny-cuda-nn 1317f3b include/tiny-cuda-nn/vec_json.h).
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neufield.core.cameras import Camera, Lens
from neufield.core.errors import DataError
from neufield.core.files import atomic_path
from neufield.core.json_files import Keys, dumped, read_json
from neufield.core.rotations import Vector, to_matrices, to_quaternions
from neufield.core.shapes import check_positive

_LENSES: dict[str, Lens] = {"perspective": "pinhole", "fisheye": "fisheye"}
_NERFSTUDIO, _INGP = "a camera path of nerfstudio", "a camera path of instant-ngp"
_NGP_SCALE = 0.33  # NERF_SCALE, nerf_loader.h
_NGP_OFFSET = (0.5, 0.5, 0.5)
_FLIP = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)  # camera axes OpenGL <-> OpenCV
_CYCLE = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)  # world x, y, z -> y, z, x


def read_nerfstudio_frame(path: str | Path) -> tuple[Tensor, float]:
    """``transform`` (4, 4) and ``scale`` of a ``dataparser_transforms.json``, from the input's world to the trained."""
    file = read_json(path, _NERFSTUDIO)
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3] = torch.from_numpy(file.array("transform", (3, 4)))
    return transform, file.number("scale")


def read_nerfstudio_path(path: str | Path, transform: Tensor | None = None, scale: float = 1.0) -> list[Camera]:
    """The cameras of a ``camera_path.json``, in the input's world.

    ``transform`` (4, 4) and ``scale`` are those of the model's :func:`read_nerfstudio_frame`; without them the cameras
    stay in the trained frame. Fields of view are vertical degrees, for the pinhole and the fisheye lens alike.
    """
    file = read_json(path, _NERFSTUDIO)
    kind = file.text("camera_type").lower() if file.has("camera_type") else "perspective"
    if kind not in _LENSES:
        raise DataError(f"{path} is a path of {kind} cameras; only {' and '.join(_LENSES)} ones can be rendered")
    width, height = file.integer("render_width", 1), file.integer("render_height", 1)
    inverse = torch.linalg.inv(_frame(transform))
    cameras = []
    for entry in file.objects("camera_path"):
        pose = _pose(entry)
        pose[:3, 3] /= scale
        cameras.append(
            _camera(inverse @ pose, width, height, _focal(_degrees(entry), height), _LENSES[kind], entry.where)
        )
    return cameras


def write_nerfstudio_path(
    path: str | Path, cameras: Sequence[Camera], fps: float = 24.0, transform: Tensor | None = None, scale: float = 1.0
) -> None:
    """``cameras``, of one size, as a ``camera_path.json`` for ``ns-render camera-path``; frames as in the reader."""
    lens = _check(cameras)
    check_positive(fps=fps, scale=scale)
    frame, first = _frame(transform), cameras[0]
    entries = []
    for camera in cameras:
        pose = frame @ camera.to_world
        pose[:3, 3] *= scale
        entry = {"camera_to_world": pose.flatten().tolist(), "fov": _fov(camera), "aspect": first.width / first.height}
        entries.append(entry)
    file = {
        "camera_type": next(kind for kind, own in _LENSES.items() if own == lens),
        "render_width": first.width,
        "render_height": first.height,
        "fps": fps,
        "seconds": len(cameras) / fps,
        "is_cycle": False,
        "smoothness_value": 0.0,
        "default_fov": entries[0]["fov"],
        "default_transition_sec": 1 / fps,
        "keyframes": [],  # the viewer's handles; ns-render reads camera_path alone
        "camera_path": entries,
    }
    _write(path, file)


def read_ingp_path(
    path: str | Path,
    width: int,
    height: int,
    frames: int | None = None,
    scale: float = _NGP_SCALE,
    offset: Vector = _NGP_OFFSET,
) -> list[Camera]:
    """The cameras of a ``base_cam.json``, in the input's world, for pictures of ``width`` x ``height`` pixels.

    One camera for each keyframe; or, with ``frames``, that many along the B-spline which instant-ngp flies, frame i at
    i / frames of the whole as in its scripts/run.py, without its smoothing and motion blur. ``scale`` and ``offset``
    are those of the scene's transforms.json, where it has them. Depth of field and slice plane are not used.
    """
    check_positive(width=width, height=height, scale=scale)
    file = read_json(path, _INGP)
    rows = []
    for entry in file.objects("path"):
        turn = entry.array("R", (4,))
        if not turn.any():
            raise DataError(f"{entry.where}: 'R' is zero, which is no rotation; correct it")
        stamp = entry.number("timestamp") if entry.has("timestamp") else 0.0
        rows.append([*turn, *entry.array("T", (3,)), _degrees(entry), stamp])
    keys = torch.tensor(rows, dtype=torch.float64)
    if frames is not None:
        check_positive(frames=frames)
        keys = _flown(keys, _order(file), file.flag("loop"), frames)
    shift = torch.tensor(offset, dtype=torch.float64)
    cameras = []
    for i, key in enumerate(keys):
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3] = _CYCLE.T @ to_matrices(key[:4]) * _FLIP
        pose[:3, 3] = (_CYCLE.T @ key[4:7] - shift) / scale
        cameras.append(_camera(pose, width, height, _focal(float(key[7]), height), "pinhole", f"{path}, camera {i}"))
    return cameras


def write_ingp_path(
    path: str | Path,
    cameras: Sequence[Camera],
    seconds: float,
    scale: float = _NGP_SCALE,
    offset: Vector = _NGP_OFFSET,
) -> None:
    """``cameras``, pinholes, as keyframes of a ``base_cam.json`` that instant-ngp flies through in straight lines."""
    if _check(cameras) != "pinhole":
        raise DataError("instant-ngp's camera paths are of pinholes, not of fisheye lenses; take paths.plain of each")
    check_positive(seconds=seconds, scale=scale)
    shift = torch.tensor(offset, dtype=torch.float64)
    keys = []
    for i, camera in enumerate(cameras):
        key = {
            "R": to_quaternions(_CYCLE @ camera.to_world[:3, :3] * _FLIP).tolist(),
            "T": (_CYCLE @ (camera.to_world[:3, 3] * scale + shift)).tolist(),
            "slice": 0.0,
            "scale": 1.5,  # distance of the focal plane; instant-ngp's own for scenes
            "fov": _fov(camera),
            "aperture_size": 0.0,
            "timestamp": (i + 1) / len(cameras),
        }
        keys.append(key)
    _write(path, {"loop": False, "time": 0.0, "duration_seconds": seconds, "spline_order": 1, "path": keys})


def _flown(keys: Tensor, order: int, loop: bool, frames: int) -> Tensor:
    """Keyframes (frames, 9) along instant-ngp's uniform B-spline of ``order`` (camera_path.h, eval_camera_path)."""
    count, times = len(keys), keys[:, 8]
    if count == 1:
        return keys.repeat(frames, 1)
    if not bool((times.diff(prepend=times.new_zeros(1)) > 0).all()):
        times = torch.arange(1, count + 1, dtype=torch.float64) / count
    now = torch.arange(frames, dtype=torch.float64) / frames * times[-1 if loop else -2]
    i = torch.searchsorted(times.contiguous(), now, right=True).clamp(max=count - (1 if loop else 2))
    start = torch.where(i == 0, 0.0, times[(i - 1).clamp(min=0)])
    t = ((now - start) / (times[i] - start))[:, None]
    total = torch.zeros(frames, keys.shape[1], dtype=torch.float64)
    for step, weight in _SPLINES[order](t):
        at = (i + step) % count if loop else (i + step).clamp(0, count - 1)
        key = keys[at]
        same = (key[:, :4] * total[:, :4]).sum(1, keepdim=True) >= 0
        total += weight * torch.cat([torch.where(same, key[:, :4], -key[:, :4]), key[:, 4:]], dim=1)
    return total


_SPLINES = {
    0: lambda t: [(0, (t < 0.5).double()), (1, (t >= 0.5).double())],
    1: lambda t: [(0, 1 - t), (1, t)],
    2: lambda t: [(-1, (1 - t) ** 2 / 2), (0, 0.5 + t - t**2), (1, t**2 / 2)],
    3: lambda t: [
        (-1, (1 - t) ** 3 / 6),
        (0, (3 * t**3 - 6 * t**2 + 4) / 6),
        (1, (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6),
        (2, t**3 / 6),
    ],
}


def _camera(pose: Tensor, width: int, height: int, focal: float, lens: Lens, where: str) -> Camera:
    if not (bool(pose.isfinite().all()) and math.isfinite(focal)):
        raise DataError(f"{where} stands or looks beyond what numbers can hold; correct it")
    return Camera(pose, width, height, focal, focal, width / 2, height / 2, lens)


def _fov(camera: Camera) -> float:
    return math.degrees(2 * math.atan(0.5 * camera.height / camera.fy))


def _degrees(entry: Keys) -> float:
    degrees = entry.number("fov")
    if not 0 < degrees < 180:
        raise DataError(
            f"{entry.where}: 'fov' is {degrees:g}, but a field of view lies between 0 and 180 degrees; correct it"
        )
    return degrees


def _focal(degrees: float, height: int) -> float:
    return 0.5 * height / max(math.tan(math.radians(degrees) / 2), sys.float_info.min)


def _order(file: Keys) -> int:
    order = file.integer("spline_order") if file.has("spline_order") else 3
    if order not in _SPLINES:
        known = ", ".join(map(str, _SPLINES))
        raise DataError(f"{file.where}: 'spline_order' is {order}, but it must be one of {known}; correct it")
    return order


def _frame(transform: Tensor | None) -> Tensor:
    if transform is None:
        return torch.eye(4, dtype=torch.float64)
    if transform.shape != (4, 4):
        raise ValueError(f"transform has shape {tuple(transform.shape)}, but it must be (4, 4)")
    return transform.double()


def _check(cameras: Sequence[Camera]) -> Lens:
    """The one kind of lens of cameras that a path's file can hold."""
    check_positive(cameras=len(cameras))
    first = cameras[0]
    for i, camera in enumerate(cameras):
        if (camera.width, camera.height, camera.lens) != (first.width, first.height, first.lens):
            raise DataError(f"camera {i} differs from camera 0 in size or lens, but a path's file holds one of each")
        centered = math.isclose(2 * camera.cx, camera.width) and math.isclose(2 * camera.cy, camera.height)
        if not (centered and math.isclose(camera.fx, camera.fy)) or any(camera.distortion) or camera.lens == "opencv":
            raise DataError(
                f"camera {i} is distorted, off center or has pixels that are not square, which a path's file cannot "
                f"hold; take paths.plain of each camera first"
            )
    return first.lens


def _write(path: str | Path, file: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(dumped(file), encoding="utf-8")


def _pose(entry: Keys) -> Tensor:
    """A camera to world (4, 4) from 16 numbers, row after row."""
    pose = torch.from_numpy(entry.array("camera_to_world", (16,))).view(4, 4)
    turn = pose[:3, :3]
    # 1e-3: matrices of float32 are off by 1e-7, hand-written ones with four digits by 1e-4.
    if not torch.allclose(turn @ turn.T, torch.eye(3, dtype=torch.float64), atol=1e-3) or torch.linalg.det(turn) < 0:
        raise DataError(f"{entry.where}: 'camera_to_world' is not a rotation and a position, row after row; correct it")
    return pose
