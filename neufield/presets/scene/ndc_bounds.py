"""The space of a scene that is photographed from the front."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from neufield.core.errors import ConfigError
from neufield.formats.scene import Frame, Scene
from neufield.renderers import NDC, Cameras

_BEFORE = 0.75  # of the nearest depth: NeRF's code begins there (its bd_factor)
_BEYOND = 10.0  # times the farthest depth: the paper goes on to infinity


def ndc_bounds(scene: Scene) -> NDC:
    """Normalized device coordinates that hold what every camera sees between its near and its far.

    The common eye is LLFF's: the mean of positions, viewing axes and upright axes. Near and far are the scene's own,
    moved apart, as depths from that eye; the sides are where the widest view ends.

    Raises:
        ConfigError: where a frame has no near and far, or cameras look too far off each other.
    """
    if any(frame.near is None or frame.far is None for frame in scene.frames):
        raise ConfigError(
            "--space ndc needs to know where the scene begins and ends, which only LLFF's files say; "
            "use --space contraction"
        )
    eye = _mean_pose(torch.stack([frame.camera.to_world for frame in scene.frames]))
    corners = torch.cat([_frustum(frame) for frame in scene.frames])
    local = (corners - eye[:, 3]) @ eye[:, :3]
    depth = -local[:, 2]
    if not float(depth.min()) > 0:
        raise ConfigError(
            "--space ndc is for cameras that look the same way, but these see what lies behind their common eye; "
            "use --space contraction"
        )
    tangents = (local[:, :2].abs() / depth[:, None]).amax(0)
    return NDC(eye.tolist(), tangents.tolist(), float(depth.min()), float(depth.max()))


def _mean_pose(poses: Tensor) -> Tensor:
    """(3, 4) of poses (N, 4, 4): looks along the mean axis from the mean position, upright as they are on average."""
    mean = poses[:, :3].mean(dim=0)
    back = normalize(mean[:, 2], dim=0)
    right = normalize(torch.linalg.cross(mean[:, 1], back), dim=0)
    return torch.stack([right, torch.linalg.cross(back, right), back, mean[:, 3]], dim=1)


def _frustum(frame: Frame) -> Tensor:
    """World points (8, 3): what the picture's corners show at the frame's near and far, moved apart."""
    camera = frame.camera
    assert frame.near is not None
    assert frame.far is not None
    pixels = torch.tensor([[x, y] for x in (0.0, camera.width) for y in (0.0, camera.height)])
    origins, directions = (t.double() for t in Cameras.of([camera]).rays(torch.zeros(4, dtype=torch.long), pixels))
    cosine = -directions @ camera.to_world[:3, 2]
    ends = [depth / cosine[:, None] for depth in (_BEFORE * frame.near, _BEYOND * frame.far)]
    return torch.cat([origins + end * directions for end in ends])
