"""``neufield nerf export``: a trained radiance field as what other programs open."""

import json
import math
from pathlib import Path

import torch

from neufield.apps.console import Terminal
from neufield.apps.nerf.load_model import load_model
from neufield.apps.nerf.mesh import World, find_surface
from neufield.apps.nerf.setup import given_box
from neufield.apps.options import Export
from neufield.core.cameras import Camera
from neufield.core.errors import ConfigError
from neufield.core.files import write_atomically
from neufield.formats.meshes import write_mesh, write_points
from neufield.renderers import point_cloud, surface_colors, vertex_normals

_MESHES, _CAMERAS = (".ply", ".obj", ".glb", ".stl"), ".json"


def export(options: Export) -> None:
    """A surface or the cameras. Every wrong option is found before the field is opened."""
    console = Terminal()
    kind = _checked(options)
    model = load_model(options.field, options.device, options.backend)
    if kind == _CAMERAS:
        cameras = [model.cameras.camera(i) for i in range(model.cameras.count)]
        write_atomically(options.out, lambda path: Path(path).write_text(_transforms(cameras), encoding="utf-8"))
        console.print(f"{options.out}: {len(cameras)} cameras")
        return
    vertices, faces = find_surface(options, model, console)
    world = World(model)
    if options.points is not None:
        generator = torch.Generator().manual_seed(0)
        cloud = point_cloud(vertices, faces, options.points, generator, world.color, world.device)
        write_points(options.out, cloud.points, cloud.colors, cloud.normals)
        console.print(f"{options.out}: {options.points:,} points in the scene's own world")
        return
    normals = vertex_normals(vertices, faces)
    write_mesh(options.out, vertices, faces, surface_colors(world.color, vertices, normals, world.device), normals)
    what = f"{len(vertices):,} vertices, {len(faces):,} triangles in the scene's own world"
    console.print(f"{options.out}: {what}", soft_wrap=True)


def _checked(options: Export) -> str:
    """The suffix of what is to be written."""
    kind = options.out.suffix.lower()
    if kind not in (*_MESHES, _CAMERAS):
        raise ConfigError(f"{options.out} is no {', '.join(_MESHES)} or {_CAMERAS}; give one of these")
    if options.points is not None and kind != ".ply":
        raise ConfigError(f"--points writes a .ply, but {options.out} was asked for")
    if options.points is not None and options.points < 1:
        raise ConfigError(f"--points is {options.points}, but a point cloud has at least 1")
    if options.resolution < 2:
        raise ConfigError(f"--resolution is {options.resolution}, but a surface needs at least 2 cells")
    if options.threshold is not None and not 0 < options.threshold < math.inf:
        raise ConfigError(f"--threshold is {options.threshold:g}, but a density above 0 was expected")
    if not 0 <= options.smallest <= 1:
        raise ConfigError(f"--smallest is {options.smallest:g}, but a share from 0 to 1 was expected")
    if options.box is not None:
        given_box(options.box)
    return kind


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
