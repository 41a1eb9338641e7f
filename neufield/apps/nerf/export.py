"""``neufield nerf render`` and ``export``: what a trained radiance field is good for."""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from neufield.apps.nerf import views
from neufield.apps.nerf.normals import draw_normals
from neufield.apps.nerf.opening import open_model
from neufield.apps.options import NerfExport, NerfRender
from neufield.core.cameras import Camera
from neufield.core.errors import ConfigError, DataError
from neufield.core.files import write_atomically
from neufield.renderers import (
    Box,
    PosedField,
    interpolate,
    isosurface,
    orbit,
    point_cloud,
    read_ingp_path,
    read_nerfstudio_path,
    surface_colors,
    vertex_normals,
)
from neufield.signals.meshes import write_mesh, write_points

_GROUNDS = {"white": 1.0, "black": 0.0}
_KEYS = 12  # training cameras that an interpolated path goes through


def render_path(options: NerfRender) -> None:
    """One PNG a frame."""
    console = Console(highlight=False)
    if options.frames < 1:
        raise ConfigError(f"--frames is {options.frames}, but a path has at least 1")
    model = open_model(options.field, options.device, options.backend)
    _check_like(model, options.like)
    width, height = _size(options.size, model.cameras.camera(0))
    path = _path(options, model, width, height)
    path = [camera.resized(width, height) for camera in path]
    options.out.mkdir(parents=True, exist_ok=True)
    for i, camera in enumerate(track(path, "rendering", console=console, transient=True)):
        rendered = views.render_view(model, camera, options.like)
        write_atomically(
            options.out / f"frame_{i:04d}.png", views.to_picture(_ground(rendered, options.background)).save
        )
        if options.depth:
            write_atomically(options.out / f"depth_{i:04d}.png", views.to_picture(_depth(rendered)).save)
        if options.normals:
            write_atomically(options.out / f"normal_{i:04d}.png", views.to_picture(draw_normals(model, camera)).save)
    console.print(f"{options.out}: {len(path)} frames of {width} x {height}")


def export(options: NerfExport) -> None:
    """A surface or the cameras."""
    console = Console(highlight=False)
    model = open_model(options.field, options.device, options.backend)
    if options.out.suffix == ".json":
        cameras = [model.cameras.camera(i) for i in range(model.cameras.count)]
        write_atomically(options.out, lambda path: Path(path).write_text(_transforms(cameras), encoding="utf-8"))
        console.print(f"{options.out}: {len(cameras)} cameras")
        return
    if options.out.suffix not in (".ply", ".obj"):
        raise ConfigError(f"{options.out} is no .ply, .obj or .json; give one of these")
    if not isinstance(model.space, Box):
        raise DataError(f"{options.field} covers more than a box, so there is no box to look for a surface in")
    if options.resolution < 2:
        raise ConfigError(f"--resolution is {options.resolution}, but a surface needs at least 2 cells")
    device = next(model.parameters()).device
    space = model.space
    longest = max(high - low for low, high in zip(space.lower, space.upper, strict=True))
    threshold = math.log(2) * options.resolution / longest if options.threshold is None else options.threshold

    @torch.no_grad()
    def density(points: Tensor) -> Tensor:
        return model.field.geometry(space.to_unit(points)).sigma

    def color(points: Tensor, directions: Tensor) -> Tensor:
        code = None if model.appearance is None else model.appearance.unseen(len(points))
        return model.field.color(model.field.geometry(space.to_unit(points)).features, directions, code)

    vertices, faces = isosurface(density, space.lower, space.upper, options.resolution, threshold, device)
    if not len(faces):
        raise DataError(
            f"no density crosses {threshold:.3g} per world unit; give a lower --threshold, or train for longer"
        )
    if options.points is not None:
        cloud = point_cloud(vertices, faces, options.points, torch.Generator().manual_seed(0), color, device)
        write_points(options.out, cloud.points, cloud.colors, cloud.normals)
        console.print(f"{options.out}: {options.points:,} points in the scene's own world")
        return
    normals = vertex_normals(vertices, faces)
    write_mesh(options.out, vertices, faces, surface_colors(color, vertices, normals, device), normals)
    console.print(f"{options.out}: {len(vertices):,} vertices, {len(faces):,} triangles in the scene's own world")


def _check_like(model: PosedField, like: int | None) -> None:
    try:
        model.seen_by(model.cameras, like)
    except ValueError as error:
        raise ConfigError(f"--like: {error}") from None


def _size(text: str | None, like: Camera) -> tuple[int, int]:
    if text is None:
        return like.width, like.height
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise ConfigError(f"--size is {text!r}, but WIDTHxHEIGHT such as 800x600 was expected")
    return int(match[1]), int(match[2])


def _path(options: NerfRender, model: PosedField, width: int, height: int) -> list[Camera]:
    known: Mapping[str, Callable[[], list[Camera]]] = {
        "interpolate": lambda: interpolate(_keys(model), options.frames, loop=True),
        "orbit": lambda: _orbit(model, options.frames),
    }
    if options.path in known:
        return known[options.path]()
    file = Path(options.path)
    if not file.is_file():
        raise ConfigError(
            f"--path is {options.path!r}, which is neither {' nor '.join(known)} nor a file that is there"
        )
    if '"camera_path"' in file.read_text(encoding="utf-8", errors="replace"):
        return read_nerfstudio_path(file)
    return read_ingp_path(file, width, height, options.frames)


def _keys(model: PosedField) -> list[Camera]:
    """Training cameras, evenly spaced in their order."""
    count = model.cameras.count
    return [model.cameras.camera(i * count // min(_KEYS, count)) for i in range(min(_KEYS, count))]


def _orbit(model: PosedField, frames: int) -> list[Camera]:
    """At the training cameras' mean distance from the middle of the space."""
    x, y, z = model.space.middle
    positions = model.cameras.poses()[:, :, 3].detach().cpu()
    radius = float((positions - torch.tensor([x, y, z])).norm(dim=1).mean())
    return orbit(model.cameras.camera(0), frames, radius, (x, y, z))


def _ground(rendered: views.Rendered, background: str) -> Tensor:
    if background == "none":
        return views.straight(rendered.rgba)
    return rendered.rgba[..., :3] + (1 - rendered.rgba[..., 3:]) * _GROUNDS[background]


def _depth(rendered: views.Rendered) -> Tensor:
    """(H, W, 3): 1 for the nearest, dark for the farthest, black where there is nothing."""
    there = rendered.rgba[..., 3] > 0.5
    if not bool(there.any()):
        return torch.zeros(*there.shape, 3)
    near, far = rendered.depth[there].aminmax()
    shade = 1 - 0.9 * (rendered.depth - near) / (far - near).clamp(min=1e-6)
    return torch.where(there, shade, 0.0)[..., None].expand(-1, -1, 3)


def _transforms(cameras: list[Camera]) -> str:
    """Nerfstudio's transforms.json without pictures, intrinsics frame by frame."""
    frames = []
    for i, camera in enumerate(cameras):
        k1, k2, k3, k4, p1, p2 = camera.distortion
        numbers = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy, "w": camera.width}
        lens = {"h": camera.height, "k1": k1, "k2": k2, "k3": k3, "k4": k4, "p1": p1, "p2": p2}
        pose = camera.to_world.tolist()
        frames.append({"file_path": f"images/{i:04d}.png", **numbers, **lens, "transform_matrix": pose})
    model = "OPENCV_FISHEYE" if cameras[0].lens == "fisheye" else "OPENCV"
    return json.dumps({"camera_model": model, "frames": frames}, indent=1) + "\n"
