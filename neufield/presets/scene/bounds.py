"""The part of the world that a radiance field covers, by its scene."""

import torch
from torch import Tensor

from neufield.core.errors import ConfigError
from neufield.formats.scene import Scene
from neufield.presets.scene.ndc_bounds import ndc_bounds
from neufield.renderers import Box, Contraction, SceneBounds

_BLENDER_BOX = 1.5  # half a side: what nerfacc and TensoRF take for the synthetic scenes


def choose_bounds(scene: Scene, box: Box | None = None, kind: str = "auto") -> SceneBounds:
    """Make bounds of a ``kind``: "box", "contraction", "ndc"; or "auto", the first of these that the scene has.

    The box is the given one, else the file's, else the synthetic scenes'. Without any, all of the world is
    contracted: measured on a CPU, that is ahead of NDC for photographs from the front too (docs/nerf/measured.md).
    """
    if box is not None and kind not in ("auto", "box"):
        raise ConfigError(f"--box and --space {kind} contradict each other; give one of them")
    boxed = _box(scene, box) if kind in ("auto", "box") else None
    if boxed is not None:
        return boxed
    if kind == "box":
        raise ConfigError("--space box needs a box, and the scene's file has none; add one, for instance --box 2")
    return ndc_bounds(scene) if kind == "ndc" else _contraction(scene)


def _box(scene: Scene, given: Box | None) -> Box | None:
    if given is not None:
        return given
    if scene.box is not None:
        lower, upper = scene.box
        return Box(lower.tolist(), upper.tolist())
    if scene.dialect == "blender":
        return Box([-_BLENDER_BOX] * 3, [_BLENDER_BOX] * 3)
    return None


def _contraction(scene: Scene) -> Contraction:
    poses = torch.stack([frame.camera.to_world for frame in scene.frames])
    center = looked_at(poses)
    distance = float((poses[:, :3, 3] - center).norm(dim=1).mean())
    near = min((frame.near for frame in scene.frames if frame.near), default=0.1 * distance)
    far = max((frame.far for frame in scene.frames if frame.far), default=100 * distance)
    return Contraction(center.tolist(), distance, near, far)


def mostly_within(space: SceneBounds, positions: Tensor) -> bool:
    """Whether most cameras stand within the space."""
    x = space.to_unit(positions)
    return float(((x > 0) & (x < 1)).all(dim=1).float().mean()) > 0.5


def looked_at(poses: Tensor) -> Tensor:
    """The point (3,) nearest to all viewing axes; for cameras that look the same way, one before them."""
    origins, axes = poses[:, :3, 3], -poses[:, :3, 2]
    off = torch.eye(3, dtype=poses.dtype) - axes[:, :, None] * axes[:, None, :]
    extent = (origins - origins.mean(0)).norm(dim=1).mean()
    system = off.sum(0)
    if float(torch.linalg.eigvalsh(system)[0]) < 1e-3 * len(poses):  # parallel axes meet nowhere
        return origins.mean(0) + axes.mean(0) * extent
    return torch.linalg.solve(system, (off @ origins[:, :, None]).sum(0)[:, 0])
