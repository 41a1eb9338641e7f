"""A stand-in for nerfacc where there is no GPU: ``traverse_grids`` in plain torch, by what nerfacc 0.5.3 documents.

Only the walk that neufield asks for: with a step of 0 the chords of rays through occupied cells. Written from what
nerfacc 0.5.3 documents and from reading what its code does; it has not been compared with nerfacc on a GPU. What CUDA
would refuse or misread is refused here.
"""

import functools
import importlib.machinery
import types
from typing import NamedTuple

import torch
from torch import Tensor

_AHEAD = 1e-6  # nerfacc meets cells' faces so much before they come, as it starts so much late and does not count it


class Intervals(NamedTuple):
    """Edges of chords (E,), ray after ray; where two cells touch, one edge is a right and a left one."""

    vals: Tensor
    ray_indices: Tensor
    is_left: Tensor
    is_right: Tensor


def module(ahead: float = _AHEAD) -> types.ModuleType:
    """What ``import nerfacc`` finds."""
    found = types.ModuleType("nerfacc")
    found.__spec__ = importlib.machinery.ModuleSpec("nerfacc", None)
    found.__dict__["traverse_grids"] = functools.partial(traverse_grids, ahead=ahead)
    return found


def traverse_grids(
    rays_o: Tensor,
    rays_d: Tensor,
    binaries: Tensor,
    aabbs: Tensor,
    near_planes: Tensor | None = None,
    far_planes: Tensor | None = None,
    step_size: float = 1e-3,
    cone_angle: float = 0.0,
    ahead: float = _AHEAD,
) -> tuple[Intervals, None, None]:
    """A point's cell is that of the first grid that holds it; where it is in none there is nothing."""
    assert step_size <= 0, "only the chords"
    assert cone_angle == 0
    assert len(rays_o) > 0, "CUDA: invalid configuration argument"
    near = torch.zeros(len(rays_o)) if near_planes is None else near_planes
    far = torch.full((len(rays_o),), torch.inf) if far_planes is None else far_planes
    for tensor, shape in ((rays_o, (3,)), (rays_d, (3,)), (near, ()), (far, ()), (aabbs, (6,))):
        assert tensor.dtype == torch.float32
        assert tensor.shape[1:] == shape
    assert len(rays_o) == len(rays_d) == len(near) == len(far)
    assert binaries.dtype == torch.bool
    assert binaries.dim() == 4
    assert len(binaries) == len(aabbs)
    entering = torch.cat([_cuts(rays_o, rays_d, 1, aabbs) - edge[:, None] for edge in (near, far)], dim=1)
    assert not bool((entering.abs() < 2 * ahead)[far > near].any()), (
        "so short a stretch of a grid mixes nerfacc's cells up"
    )
    cuts = torch.cat([near[:, None], _cuts(rays_o, rays_d, binaries.shape[1], aabbs) - ahead, far[:, None]], dim=1)
    cuts = torch.minimum(torch.maximum(cuts, near[:, None]), far[:, None]).sort(dim=1).values
    begin, end = cuts[:, :-1], cuts[:, 1:]
    middles = rays_o[:, None] + 0.5 * (begin + end)[:, :, None] * rays_d[:, None]
    inside = (end > begin) & end.isfinite() & _occupied(middles, binaries, aabbs)
    return _edges(begin, end, inside), None, None


def _cuts(rays_o: Tensor, rays_d: Tensor, resolution: int, aabbs: Tensor) -> Tensor:
    """Where rays go through the faces of all grids' cells (N, K)."""
    places = torch.linspace(0, 1, resolution + 1)
    faces = aabbs[:, None, :3] + (aabbs[:, 3:] - aabbs[:, :3])[:, None] * places[:, None]  # (m, R + 1, 3)
    return ((faces.reshape(1, -1, 3) - rays_o[:, None]) / rays_d[:, None]).flatten(1)


def _occupied(points: Tensor, binaries: Tensor, aabbs: Tensor) -> Tensor:
    found = torch.zeros(points.shape[:-1], dtype=torch.bool)
    resolution = binaries.shape[1]
    for cells, box in zip(binaries.flip(0), aabbs.flip(0), strict=True):  # the first has the last word
        x = (points - box[:3]) / (box[3:] - box[:3])
        within = ((x >= 0) & (x <= 1)).all(dim=-1)
        place = (x.nan_to_num() * resolution).clamp(0, resolution - 1).long()
        found = torch.where(within, cells[place.unbind(-1)], found)
    return found


def _edges(begin: Tensor, end: Tensor, inside: Tensor) -> Intervals:
    """Chords (N, K) in rows, as the edges of those ``inside``."""
    vals: list[Tensor] = []
    rays: list[int] = []
    left: list[bool] = []
    right: list[bool] = []
    for ray, cell in inside.nonzero().tolist():
        if rays and rays[-1] == ray and vals[-1] == begin[ray, cell]:
            left[-1] = True
        else:
            vals.append(begin[ray, cell])
            left.append(True)
            right.append(False)
            rays.append(ray)
        vals.append(end[ray, cell])
        left.append(False)
        right.append(True)
        rays.append(ray)
    edges = torch.stack(vals) if vals else torch.zeros(0)
    return Intervals(edges, torch.tensor(rays, dtype=torch.long), torch.tensor(left).bool(), torch.tensor(right).bool())
