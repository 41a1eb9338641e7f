"""A small teacher of each architecture, and what is made of it to teach a small student."""

import math

import torch
from cases import seeded
from render_cases import BOX, camera

from neufield.core.edits import Edit
from neufield.core.rotations import look_at
from neufield.presets import RadianceFacts, find
from neufield.presets.scene import Distillation, distillation
from neufield.renderers import Cameras, OccupancyGrid, RadianceScene

ARCHITECTURES = ("ngp", "nerf", "vm", "cp", "voxels", "triplane")
_FEW = [Edit("density_rank", 2), Edit("color_rank", 3)]
SMALL = {"nerf": [Edit("width", 8), Edit("depth", 3)], "vm": _FEW, "cp": _FEW}


def cameras(n: int = 6, height: float = 1.0) -> Cameras:
    """On a circle of radius 3, looking at the middle."""
    places = [(3 * math.cos(i), 3 * math.sin(i), height) for i in range(n)]
    poses = [look_at(place, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)) for place in places]
    return Cameras.of([camera(to_world=pose, cx=32.0, cy=24.0, width=64, height=48) for pose in poses])


def teacher(preset: str = "ngp", sampler=None) -> RadianceScene:
    """Untrained, but no two points are alike; half of its box is occupied."""
    field = find(preset, "radiance")(RadianceFacts(8), seeded(1))
    for parameter in field.parameters():  # else a hash grid is the same everywhere
        parameter.data += 0.4 * torch.randn(parameter.shape, generator=seeded(2))
    if sampler is None:
        sampler = OccupancyGrid(BOX, 0.1, 8)
        sampler.occupied[:, 4:] = False
    return RadianceScene(field, cameras(), BOX, sampler)


def lesson_of(source: RadianceScene, to: str, steps: int = 8, **options) -> Distillation:
    edits = [Edit("recipe.batch_size", 256), Edit("recipe.steps", steps), *SMALL.get(to, [])]
    return distillation(source, to, resolution=8, edits=edits, **options)
