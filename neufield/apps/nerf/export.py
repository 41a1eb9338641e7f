"""``neufield nerf export``: a trained radiance field as what other programs open."""

import json
import math
from pathlib import Path

import torch
from torch import Tensor

from neufield.apps.console import Terminal
from neufield.apps.nerf.opening import open_model
from neufield.apps.options import NerfExport
from neufield.core.cameras import Camera
from neufield.core.errors import ConfigError, DataError
from neufield.core.files import write_atomically
from neufield.renderers import Box, isosurface, point_cloud, surface_colors, vertex_normals
from neufield.signals.meshes import write_mesh, write_points


def export(options: NerfExport) -> None:
    """A surface or the cameras."""
    console = Terminal()
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
