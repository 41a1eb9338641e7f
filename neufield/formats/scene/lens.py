"""The intrinsics of a transforms.json: three ways to give a focal length, two sizes, one or many cameras."""

import math
from collections.abc import Callable
from typing import NamedTuple

from neufield.core.cameras import Lens
from neufield.core.errors import DataError, nearest
from neufield.core.json_files import Keys
from neufield.formats.scene.read_log import ReadLog

_SLOTS = ("k1", "k2", "k3", "k4", "p1", "p2")
# nerfstudio's names; whether the lens bends light follows from its coefficients, whatever the name says.
_MODELS: dict[str, Lens] = {
    "PERSPECTIVE": "opencv", "SIMPLE_PINHOLE": "opencv", "PINHOLE": "opencv", "SIMPLE_RADIAL": "opencv",
    "RADIAL": "opencv", "OPENCV": "opencv", "OPENCV_FISHEYE": "fisheye", "SIMPLE_RADIAL_FISHEYE": "fisheye",
    "RADIAL_FISHEYE": "fisheye", "FISHEYE": "fisheye",
}  # fmt: skip
_REFUSED = ("ftheta_p0", "latlong", "equirectangular", "orthographic")
_AGREE = 1e-3


class Intrinsics(NamedTuple):
    """A :class:`neufield.core.cameras.Camera` without its pose."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    lens: Lens = "pinhole"
    distortion: tuple[float, float, float, float, float, float] = (0.0,) * 6


def read_intrinsics(
    frame: Keys, whole: Keys, size: tuple[int, int], fov_first: bool, model_first: bool, notes: ReadLog, name: str
) -> Intrinsics:
    """The camera of a frame whose picture has ``size`` (width, height).

    Keys of the ``frame`` go before those of the ``whole`` file, a focal length always with both its axes. ``fov_first``
    lets ``x_fov`` win over ``fl_x`` (instant-ngp), ``model_first`` lets ``camera_model`` win over ``is_fisheye``.
    """
    width, height = size
    declared = _declared_size(frame, whole, size, notes, name)
    scale = (width / declared[0], height / declared[1])
    has_focal = frame.has("fl_x", "fl_y", "x_fov", "y_fov", "camera_angle_x", "camera_angle_y")
    focal = _focal(frame if has_focal else whole, size, scale, fov_first, notes, name)
    cx, cy = (_center(key, frame, whole, size[i], scale[i], notes, name) for i, key in enumerate(("cx", "cy")))
    lens, distortion = _distortion(frame, whole, model_first, notes, name)
    return Intrinsics(width, height, *focal, cx, cy, lens, distortion)


def size_disagrees(stated: tuple[float, float], real: tuple[int, int]) -> bool:
    """Whether a picture of ``real`` size cannot be one of ``stated`` size made smaller: the proportions differ."""
    across = abs(real[0] - real[1] * stated[0] / stated[1])
    down = abs(real[1] - real[0] * stated[1] / stated[0])
    return min(across, down) > 2  # pixels: a reduced size is rounded


def note_size(stated: tuple[float, float], real: tuple[int, int], key: str, notes: ReadLog, name: str) -> None:
    """Say that the numbers are for pictures of another size, and whether that can be."""
    if stated == real:
        return
    said = f"The file is for pictures of {stated[0]:g} x {stated[1]:g} pixels"
    if stated == real[::-1] and stated[0] != stated[1]:
        text = f"{said}, but the picture is {real[0]} x {real[1]}, as if it had been turned; check the picture."
        notes.add("warning", key, text, name)
    elif size_disagrees(stated, real):
        text = f"{said}, but the picture is {real[0]} x {real[1]}, which has other proportions; check the picture."
        notes.add("warning", key, text, name)
    else:
        notes.add("info", key, f"{said}; the intrinsics were rescaled to the {real[0]} x {real[1]} on disk.", name)


def _declared_size(frame: Keys, whole: Keys, real: tuple[int, int], notes: ReadLog, name: str) -> tuple[float, float]:
    holder = frame if frame.has("w", "h") else whole
    if not holder.has("w") or not holder.has("h"):
        return real
    stated = (holder.number("w"), holder.number("h"))
    if min(stated) < 1:
        raise DataError(
            f"{holder.where}: the size is {stated[0]:g} x {stated[1]:g}, but pixels were expected; correct it"
        )
    note_size(stated, real, "w, h", notes, name)
    return stated


def _focal(
    keys: Keys, size: tuple[int, int], scale: tuple[float, float], fov_first: bool, notes: ReadLog, name: str
) -> tuple[float, float]:
    x, y = (_one_focal(axis, keys, size[i], scale[i], fov_first, notes, name) for i, axis in enumerate("xy"))
    if x is None and y is None:
        raise DataError(f"{keys.where} has no focal length; add 'fl_x' in pixels or 'camera_angle_x' in radians")
    if x is not None and y is not None:
        return x, y
    if x is None:
        notes.add("warning", "fl_y", "Only a vertical focal length is given; it counts for both axes.", name)
        return _positive(y, keys), _positive(y, keys)
    if keys.has("fl_x"):
        # instant-ngp does the same; nerfstudio's own parser stops here.
        notes.add("warning", "fl_y", "'fl_y' is absent; pixels are taken to be square.", name)
    return x, x * (scale[1] / scale[0] if keys.has("fl_x") else 1.0)


def _positive(value: float | None, keys: Keys) -> float:
    if value is None or value <= 0:
        raise DataError(f"{keys.where}: the focal length is {value:g}, but it must be above 0; correct it")
    return value


def _one_focal(
    axis: str, keys: Keys, pixels: int, scale: float, fov_first: bool, notes: ReadLog, name: str
) -> float | None:
    """The focal length in pixels along one axis; where several keys give it, all are compared."""

    def of_angle(key: str, to_radians: float) -> float:
        angle = keys.number(key) * to_radians
        if not 0 < angle < math.pi:
            raise DataError(
                f"{keys.where}: '{key}' is {keys.number(key):g}, but an angle between 0 and "
                f"{math.pi / to_radians:.4g} was expected; correct it"
            )
        return 0.5 * pixels / math.tan(0.5 * angle)

    ways: dict[str, Callable[[str], float]] = {
        f"fl_{axis}": lambda key: _positive(keys.number(key) * scale, keys),
        f"camera_angle_{axis}": lambda key: of_angle(key, 1.0),
        f"{axis}_fov": lambda key: of_angle(key, math.pi / 180),
    }
    order = [f"{axis}_fov", f"fl_{axis}", f"camera_angle_{axis}"] if fov_first else list(ways)
    values = {key: ways[key](key) for key in order if keys.has(key)}
    if not values:
        return None
    taken = next(iter(values))
    for key, value in values.items():
        if abs(value / values[taken] - 1) > _AGREE:
            text = (
                f"'{key}' means a focal length of {value:.6g} pixels, '{taken}' {values[taken]:.6g}; {taken} is used."
            )
            notes.add("warning", key, text, name)
    return values[taken]


def _center(key: str, frame: Keys, whole: Keys, pixels: int, scale: float, notes: ReadLog, name: str) -> float:
    if frame.has(key) and whole.has(key) and frame.number(key) != whole.number(key):
        text = f"'{key}' differs from that of the whole file; the frame's own is used."
        notes.add("warning", key, text, name)
    holder = frame if frame.has(key) else whole
    return holder.number(key) * scale if holder.has(key) else 0.5 * pixels


def _distortion(
    frame: Keys, whole: Keys, model_first: bool, notes: ReadLog, name: str
) -> tuple[Lens, tuple[float, float, float, float, float, float]]:
    for keys in (frame, whole):
        refused = [key for key in _REFUSED if keys.has(key)]
        if refused:
            raise DataError(
                f"{keys.where} has '{refused[0]}', a projection that is not read; "
                f"resample the photographs to a perspective or fisheye camera first"
            )
    k1, k2, k3, k4, p1, p2 = (_coefficient(slot, frame, whole, notes, name) for slot in range(6))
    if _is_fisheye(frame, whole, model_first, notes, name):
        if p1 or p2:
            notes.add("warning", "p1, p2", "A fisheye lens has no tangential distortion; p1 and p2 are ignored.", name)
        return "fisheye", (k1, k2, k3, k4, 0.0, 0.0)
    if (k3 and p1) or (k4 and p2):
        # instant-ngp keeps k3 and p1 (k4 and p2) in one slot, where the second wins; who wrote both meant both.
        notes.add("info", "k3, p1", "k3, k4 and p1, p2 are all used; instant-ngp itself would drop k3 and k4.", name)
    bent = any((k1, k2, k3, k4, p1, p2))
    return ("opencv" if bent else "pinhole"), (k1, k2, k3, k4, p1, p2)


def _coefficient(slot: int, frame: Keys, whole: Keys, notes: ReadLog, name: str) -> float:
    key = _SLOTS[slot]
    for keys in (frame, whole):
        if keys.has(key):
            if keys.has("distortion_params") and keys.array("distortion_params", (6,))[slot] != keys.number(key):
                text = f"'{key}' contradicts 'distortion_params'; {key} is used."
                notes.add("warning", "distortion_params", text, name)
            return keys.number(key)
        if keys.has("distortion_params"):
            return float(keys.array("distortion_params", (6,))[slot])
    return 0.0


def _is_fisheye(frame: Keys, whole: Keys, model_first: bool, notes: ReadLog, name: str) -> bool:
    flag = next((keys.flag("is_fisheye") for keys in (frame, whole) if keys.has("is_fisheye")), None)
    model = next((keys.text("camera_model") for keys in (frame, whole) if keys.has("camera_model")), None)
    if model is not None and model not in _MODELS:
        raise DataError(
            f"{whole.where}: the camera model '{model}' is not read{nearest(model, _MODELS)}; "
            f"resample the photographs to a perspective or fisheye camera first"
        )
    said = None if model is None else _MODELS[model] == "fisheye"
    if said is not None and flag is not None and said != flag:
        winner = "camera_model" if model_first else "is_fisheye"
        text = f"'camera_model' {model} and 'is_fisheye' contradict each other; {winner} is used."
        notes.add("warning", "is_fisheye", text, name)
    first, second = (said, flag) if model_first else (flag, said)
    return bool(second if first is None else first)
