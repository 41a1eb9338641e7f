"""Samplers, step sizes and regularizers for a scene, chosen by its bounds."""

import dataclasses
import math

import torch
from torch import Tensor

from neufield.core.config import build, describe
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError
from neufield.core.interfaces import RadianceField, Sampler
from neufield.fitting import Penalty
from neufield.parts import PARTS
from neufield.presets.radiance.proposals import proposal_networks
from neufield.presets.scene.bounds import mostly_within
from neufield.renderers import (
    NDC,
    Box,
    Contraction,
    Distortion,
    HierarchicalSampler,
    OccupancyGrid,
    ProposalSampler,
    RadianceScene,
    SceneBounds,
    Spacing,
    StratifiedSampler,
)

_PROPOSED = (128, 64)  # intervals a ray that the proposal networks see (nerfacto: 256 and 96)
_LOOKED_AT = 32  # and the field after them (nerfacto: 48)
_STRATA = 128  # intervals a ray, where nothing is guessed
_COARSE, _FINE = 32, 64  # intervals of NeRF's coarse field, and draws by its light (the paper: 64 and 128)
_STEPS_ACROSS = 1024 / math.sqrt(3)  # instant-ngp's step is sqrt(3) / 1024 of the box's side
_COARSER = 4  # times that, on a CPU: cheaper steps are worth more (specs: two minutes of training and less)
_CONE = _COARSER / 256  # growth of a step with its distance; instant-ngp: 1 / 256
_LEVELS = 3  # of cells around the middle, where cameras stand within the box


@dataclasses.dataclass(frozen=True)
class Along:
    """How distance divides in a space: the samplers' ``spacing``, and what the distortion is measured in.

    ``unit`` is the length in world units that counts as near, and a density of 1 / ``unit`` as a thin fog; the
    distortion's s = 0 and s = 1 are ``near`` and ``far``.
    """

    spacing: str
    unit: float
    distorted: str
    near: float
    far: float


def along(space: SceneBounds) -> Along:
    """Choose by the bounds: even in distance within a box; in disparity beyond a contraction's ball, and in NDC."""
    if isinstance(space, Contraction):
        return Along("piecewise", space.radius, "piecewise", space.near, space.far)
    if isinstance(space, NDC):
        return Along("disparity", space.near, "piecewise", 0.0, space.far)
    assert isinstance(space, Box)
    sides = [high - low for low, high in zip(space.lower, space.upper, strict=True)]
    return Along("distance", max(sides) / 2, "distance", 0.0, math.hypot(*sides))


def stratified(space: SceneBounds) -> StratifiedSampler:
    """Equal intervals of every ray."""
    how = along(space)
    return StratifiedSampler(space, _STRATA, how.spacing, how.unit)


def proposals(space: SceneBounds, generator: torch.Generator) -> ProposalSampler:
    """A sampler with nerfacto's two networks, and fewer intervals: for a CPU."""
    how = along(space)
    networks = proposal_networks(how.unit, generator=generator)
    return ProposalSampler(space, networks, _PROPOSED, _LOOKED_AT, how.spacing, how.unit)


def hierarchical(space: SceneBounds, field: RadianceField, generator: torch.Generator) -> HierarchicalSampler:
    """A sampler with a coarse field, described as ``field`` is and drawn anew, and half of the paper's intervals."""
    how = along(space)
    coarse = build(describe(field), PARTS, "field", generator)
    return HierarchicalSampler(space, coarse, _COARSE, _FINE, how.spacing, how.unit)


def choose_sampler(
    space: SceneBounds,
    cells: int,
    generator: torch.Generator,
    kind: str = "auto",
    positions: Tensor | None = None,
) -> Sampler:
    """Make a sampler of a ``kind``: "occupancy", "stratified", "proposal"; "auto": proposals in NDC, else occupancy.

    An occupancy grid has ``cells`` an axis. ``positions`` (N, 3) are the cameras'.
    """
    if kind == "stratified":
        return stratified(space)
    if kind == "proposal" or (kind == "auto" and isinstance(space, NDC)):
        return proposals(space, generator)
    if isinstance(space, NDC):
        raise ConfigError(
            "--sampler occupancy marches through a box or a contracted world, but the scene lies in neither; "
            "use --space contraction, or --sampler proposal"
        )
    return _occupancy(space, cells, positions)


def _occupancy(space: SceneBounds, cells: int, positions: Tensor | None) -> OccupancyGrid:
    """Equal steps where cameras look into a box from outside; where they stand within, steps that grow on their way.

    In a box, three levels of cells then see its middle at four times the detail, as instant-ngp's cascades.
    """
    if not isinstance(space, Box):
        assert isinstance(space, Contraction)
        return OccupancyGrid(space, 2 * space.radius / _STEPS_ACROSS, cells, _CONE, **_looks(cells))
    side = max(high - low for low, high in zip(space.lower, space.upper, strict=True))
    step = side / _STEPS_ACROSS * _COARSER
    if positions is None or not mostly_within(space, positions):
        return OccupancyGrid(space, step, cells, **_looks(cells))
    return OccupancyGrid(space, step / 2 ** (_LEVELS - 1), cells, _CONE, _LEVELS, **_looks(cells))


def _looks(cells: int) -> dict[str, int]:
    """How many cells an update looks at. With a quarter of these, cells of thin things were lost between two looks."""
    return {"n_uniform": min(65_536, cells**3 // 32), "n_occupied": min(131_072, cells**3 // 16)}


def edits(space: SceneBounds, field: RadianceField) -> list[Edit]:
    """What of a preset goes by the size of the scene: where the density's fog begins.

    A box is meant to be of a handful of units and keeps the papers' densities. Elsewhere units may be anything, and
    cameras stand in the midst of what is there: 1 per world unit could be a wall before every camera.
    """
    if isinstance(space, Box):
        return []
    scale = describe(field)["density_activation"]["scale"] / along(space).unit
    return [Edit("density_activation.scale", scale)]


def check_distortion(weight: float) -> None:
    """Refuse what is no weight."""
    if not 0 <= weight < math.inf:
        raise ConfigError(f"--distortion is {weight}, but a weight of 0 or above was expected, for instance 0.01")


def penalties(model: RadianceScene, distortion: float) -> list[Penalty]:
    """What the model's sampler has to learn, and the distortion where it has a weight."""
    name = "coarse" if isinstance(model.sampler, HierarchicalSampler) else "proposals"
    found = [Penalty(name, 1.0, lambda model, view, target: model.sampler.penalty(view, target))]
    if distortion:
        how = along(model.space)
        measure = Distortion(Spacing(how.distorted, how.unit), how.near, how.far)
        found.append(Penalty("distortion", distortion, lambda _, view, target: measure(view, target)))
    return found
