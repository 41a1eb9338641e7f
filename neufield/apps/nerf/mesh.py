"""A radiance field's surface: where it is looked for, at which density it lies, and which of its pieces are meant."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neufield.apps.console import Terminal
from neufield.apps.counting import Counting
from neufield.apps.nerf.seen import Look, box_of, look_around, seen
from neufield.apps.nerf.setup import given_box
from neufield.apps.options import Export
from neufield.core.errors import DataError
from neufield.core.memory import check_budget
from neufield.core.rays import Conditioning
from neufield.presets.scene.bounds import mostly_within
from neufield.renderers import Box, RadianceScene, isosurface, kept_triangles, large_pieces, pieces

_BYTES = 30  # for each corner of a cell: its density, twice while it is gathered, and what marching cubes asks of it
_SLACK = 3  # cells behind what a camera sees are seen: depths are of small pictures


class Surface(NamedTuple):
    """Triangles in world units."""

    vertices: Tensor
    faces: Tensor


class World:
    """A model's field asked in world units; of a moving scene, as its first camera saw it."""

    def __init__(self, model: RadianceScene) -> None:
        self.model = model
        self.device = next(model.parameters()).device

    @torch.no_grad()
    def density(self, points: Tensor) -> Tensor:
        """The density of world points (N, 3) per world unit, 0 beyond the space."""
        x = self.model.space.to_unit(points)
        inside = ((x >= 0) & (x <= 1)).all(dim=1)
        return torch.where(inside, self.model.field.density(x.clamp(0, 1), self._cond(len(x))), 0.0)

    def color(self, points: Tensor, directions: Tensor) -> Tensor:
        """The color of world points (N, 3) seen along ``directions``, in the mean appearance."""
        cond = self._cond(len(points))
        features = self.model.field.geometry(self.model.space.to_unit(points), cond).features
        return self.model.field.color(features, directions, cond)

    def _cond(self, n: int) -> Conditioning:
        """What ``n`` points are asked with: the first camera's time, and the mean appearance."""
        time, appearance = self.model.cameras.time(0), self.model.appearance
        return Conditioning(
            time=None if time is None else torch.full((n,), time, device=self.device),
            code=None if appearance is None else appearance.unseen(n),
        )


def find_surface(options: Export, model: RadianceScene, console: Terminal) -> Surface:
    """The surface, in the box that the options or the cameras say, of which only the large pieces are kept.

    Where cameras stand within the space, as for a capture of a room, it ends where none of them sees.
    """
    world, looks = World(model), look_around(model, console)
    positions = model.cameras.poses()[:, :, 3].detach()
    whole = model.space if isinstance(model.space, Box) and not mostly_within(model.space, positions) else None
    if options.box is not None:
        box = given_box(options.box)
    else:
        box = box_of(model, looks) if whole is None else whole
        console.print(f"looking for a surface in --box {_corners(box)}", soft_wrap=True)
    cell = max(high - low for low, high in zip(box.lower, box.upper, strict=True)) / options.resolution
    threshold = _level(world, looks, box, cell) if options.threshold is None else options.threshold
    found = _marched(world, box, options.resolution, threshold, console)
    if not len(found.faces):
        raise DataError(
            f"no density crosses {threshold:.3g} per world unit in the box {_corners(box)}; "
            "give another --box, a lower --threshold, or train for longer"
        )
    if whole is None:
        keep = seen(found.vertices[found.faces].mean(dim=1), looks, _SLACK * cell)
        if bool(keep.any()):
            found = Surface(*kept_triangles(*found, keep))
        else:
            console.print(
                "no camera sees any of this surface, so nothing is left out for not being seen", soft_wrap=True
            )
    return _largest(found, 1.0 if options.keep_largest else options.smallest, console)


def _level(world: World, looks: Sequence[Look], box: Box, cell: float) -> float:
    """Where a cell is half opaque; lower where the field is so soft that half of what cameras see is not as dense.

    Of a short training's fox the surface where 70 % are less dense had holes, of which the median's had none.
    """
    opaque = math.log(2) / cell
    points = torch.cat([look.points for look in looks]).float()
    x = box.to_unit(points)
    points = points[((x > 0) & (x < 1)).all(dim=1)].to(world.device)
    return min(opaque, float(world.density(points).median())) if len(points) else opaque


def _marched(world: World, box: Box, resolution: int, threshold: float, console: Terminal) -> Surface:
    size = [high - low for low, high in zip(box.lower, box.upper, strict=True)]
    cells = [math.ceil(resolution * side / max(size)) for side in size]
    corners = math.prod(n + 1 for n in cells)
    what = f"a surface in {' x '.join(map(str, cells))} cells"
    check_budget(_BYTES * corners, what, "give a lower --resolution or a smaller --box")
    asked = 0

    def density(points: Tensor) -> Tensor:
        nonlocal asked
        asked += len(points)
        counting.show(min(asked, corners), corners)
        return world.density(points)

    with Counting(console, "asking for densities") as counting:
        try:
            return Surface(*isosurface(density, box.lower, box.upper, resolution, threshold, world.device))
        except ValueError as error:  # a density that is not a number
            raise DataError(f"there is no surface: {error}; train again, at a lower learning rate") from None


def _largest(found: Surface, least: float, console: Terminal) -> Surface:
    before = len(pieces(found.faces, len(found.vertices)).unique())
    kept = Surface(*kept_triangles(*found, large_pieces(*found, least)))
    after = len(pieces(kept.faces, len(kept.vertices)).unique())
    if after < before:
        which = "all but the largest" if least >= 1 else f"below {least:.1%} of the largest one's area (--smallest)"
        console.print(f"left out: {before - after:,} of {before:,} connected pieces, {which}", soft_wrap=True)
    return kept


def _corners(box: Box) -> str:
    """A box's corners as --box takes them."""
    return ",".join(f"{value:.4g}" for value in (*box.lower, *box.upper))
