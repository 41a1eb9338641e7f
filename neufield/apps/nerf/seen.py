"""What a field's own cameras see of it: where a surface is worth looking for, and which of it is no guess."""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from neufield.apps.console import Terminal
from neufield.apps.counting import Counting
from neufield.apps.nerf import views
from neufield.core.cameras import Camera
from neufield.core.errors import DataError
from neufield.core.lattice import blocks
from neufield.renderers import Box, RadianceScene

_CAMERAS = 32  # at most, evenly chosen
_SIDE = 56  # pixels of the longer side of what they see
_OUTLIERS = 0.01  # of the points at either end of an axis: specks before a lens, holes in a wall
_MARGIN = 0.05  # of the box's longest side, on all sides
_FEW = 0.1  # of the points: with fewer near the middle, what is photographed lies elsewhere
_BEHIND = 1.02  # times the depth that a camera sees, still counts as seen
_AT_A_TIME = 1 << 18


@dataclasses.dataclass(frozen=True)
class Look:
    """What a pinhole ``camera`` sees: at what ``distance (h, w)`` along its rays, infinity where nothing is."""

    camera: Camera
    distance: Tensor

    @property
    def points(self) -> Float[Tensor, "N 3"]:
        """World points that it sees."""
        rows, columns = (self.distance.isfinite()).nonzero().unbind(1)
        camera = self.camera
        x = (columns + 0.5 - camera.cx) / camera.fx
        y = (rows + 0.5 - camera.cy) / camera.fy
        rays = F.normalize(torch.stack([x, -y, -torch.ones_like(x)], dim=1).double(), dim=1)
        along = self.distance[rows, columns, None].double()
        return along * rays @ camera.to_world[:3, :3].t() + camera.to_world[:3, 3]

    def sees(self, points: Float[Tensor, "N 3"], slack: float) -> Bool[Tensor, " N"]:
        """Which points are in the frame, and at most ``slack`` behind what is seen there."""
        pixels, before = self.camera.project(points)
        column, row = pixels.floor().long().unbind(1)
        height, width = self.distance.shape
        within = before & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        depth = self.distance[row.clamp(0, height - 1), column.clamp(0, width - 1)]
        away = (points.double() - self.camera.to_world[:3, 3]).norm(dim=1)
        return within & (away <= _BEHIND * depth + slack)


def look_around(model: RadianceScene, console: Terminal) -> list[Look]:
    """Through some of the cameras that the model was trained with, small and without their lenses' bends."""
    count = min(_CAMERAS, model.cameras.count)
    looks = []
    with Counting(console, "looking through the cameras") as counting:
        for i in range(count):
            counting.show(i, count)
            chosen = i * model.cameras.count // count
            camera = model.cameras.camera(chosen)
            part = min(1.0, _SIDE / max(camera.width, camera.height))
            small = camera.resized(max(1, round(camera.width * part)), max(1, round(camera.height * part)))
            small = dataclasses.replace(small, lens="pinhole", distortion=(0.0,) * 6)
            rendered = views.render_view(model, small, time=model.cameras.time(chosen))
            looks.append(Look(small, torch.where(rendered.opacity > 0.5, rendered.depth, torch.inf)))
    return looks


def box_of(model: RadianceScene, looks: Sequence[Look]) -> Box:
    """A box around what is seen no farther from the middle of the scene than the cameras are."""
    points = torch.cat([look.points for look in looks])
    if not len(points):
        raise DataError("no camera sees a surface; train for longer, or give --box x0,y0,z0,x1,y1,z1")
    middle = torch.tensor(model.space.center, dtype=torch.float64)
    reach = torch.stack([look.camera.to_world[:3, 3] - middle for look in looks]).norm(dim=1).mean()
    away = (points - middle).norm(dim=1)
    if float((away <= reach).float().mean()) < _FEW:
        reach = away.median()
    near = points[away <= reach]
    low, high = torch.quantile(near, near.new_tensor([_OUTLIERS, 1 - _OUTLIERS]), dim=0)
    margin = _MARGIN * (high - low).max().clamp(min=1e-3 * float(reach))  # a wall has no depth of its own
    return Box((low - margin).tolist(), (high + margin).tolist())


def seen(points: Float[Tensor, "N 3"], looks: Sequence[Look], slack: float) -> Bool[Tensor, " N"]:
    """Which points any of the cameras sees."""
    found = torch.zeros(len(points), dtype=torch.bool)
    for start, stop in blocks(len(points), _AT_A_TIME):
        for look in looks:
            found[start:stop] |= look.sees(points[start:stop], slack)
    return found
