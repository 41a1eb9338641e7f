"""A scene's model as ``neufield nerf train`` has it: cameras, bounds, sampler, field, and what is learned per image."""

import math
from collections.abc import Sequence

import torch

from neufield.core import exact
from neufield.core.cameras import Camera
from neufield.core.config import build, describe
from neufield.core.edits import Edit, edited
from neufield.core.errors import ConfigError
from neufield.core.interfaces import RadianceField, Sampler
from neufield.core.reckoning import within_budget
from neufield.formats.scene import Scene
from neufield.parts import PARTS
from neufield.presets.facts import RadianceFacts
from neufield.presets.registry import Preset, find
from neufield.presets.scene import sampling
from neufield.presets.scene.bounds import choose_bounds
from neufield.presets.scene.per_image import check_appearance, per_image
from neufield.presets.scene.views import Views, choose_views
from neufield.renderers import Cameras, RadianceScene, SceneBounds

_CELLS = (64, 128)  # of an occupancy grid, an axis; fewer for small photographs, and no more than the field has
_DETAILS = (128, 2048)  # along an edge of the box, at least and at most, when it goes by the photographs
_ON_A_GPU = 2**18  # samples a step: instant-ngp's


def radiance_scene(
    scene: Scene,
    preset: str = "ngp",
    *,
    views: Views | None = None,
    bounds: SceneBounds | None = None,
    sampler: str = "auto",
    resolution: int | None = None,
    appearance: int = 0,
    exposure: bool = False,
    refine_cameras: bool = False,
    edits: Sequence[Edit] = (),
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> RadianceScene:
    """The model of a ``scene`` that ``neufield nerf train`` trains, with the same defaults.

    Args:
        scene: as :func:`neufield.formats.read_scene` gives it.
        preset: the radiance field's, one of ``names("radiance")``.
        views: which frames are trained on; by default :func:`choose_views` of the scene.
        bounds: what the field covers; by default :func:`choose_bounds` of the scene.
        sampler: "occupancy", "stratified", "proposal" or "coarse-fine"; "auto" goes by the bounds.
        resolution: details along an edge that the field can hold; by default the preset's, or the images'.
        appearance: how many numbers of each image change its colors; 0 for none.
        exposure: whether each image's gain and offset are learned.
        refine_cameras: whether the training cameras may move a little.
        edits: of the radiance field, or of "appearance.", "exposure." and "refinement.".
        seed: decides every random number.
        device: where the model is to be.

    Raises:
        ConfigError: for choices that contradict each other or the scene.
    """
    device = torch.device(device)
    views, bounds = views or choose_views(scene), bounds or choose_bounds(scene)
    found = find(preset, "radiance")
    check_appearance(appearance, found)
    learned, edits = per_image(views.train, bounds, edits, appearance, exposure, refine_cameras)
    generator = torch.Generator().manual_seed(seed)
    if resolution is None and found.by_images:
        resolution = details([frame.camera for frame in views.train])
    field = _field(found, RadianceFacts(resolution, learned.code_dim), bounds, edits, device, generator)
    frames = (*views.train, *views.watched)
    times = [frame.time for frame in frames if frame.time is not None]
    all_timed = times if len(times) == len(frames) else None  # else nobody knows when the others were taken
    cameras = Cameras.of([frame.camera for frame in frames], learned.refinement, all_timed)
    if sampler == "coarse-fine":
        chosen: Sampler = sampling.hierarchical(bounds, field, generator)
    else:
        cells = occupancy_cells([frame.camera for frame in views.train], resolution)
        chosen = sampling.choose_sampler(bounds, cells, generator, sampler, cameras.to_world[:, :, 3])
    model = RadianceScene(field, cameras, bounds, chosen, appearance=learned.appearance, exposure=learned.exposure)
    return model.to(device)


def _field(
    preset: Preset[RadianceFacts, RadianceField],
    facts: RadianceFacts,
    bounds: SceneBounds,
    edits: Sequence[Edit],
    device: torch.device,
    generator: torch.Generator,
) -> RadianceField:
    """The preset's field, changed for the device and the size of the scene, and then by the ``edits``."""
    field = within_budget(lambda drawn: preset(facts, drawn), generator, f"the preset {preset.name} of this size")
    edits = [*_for_device(device), *sampling.edits(bounds, field), *edits]
    if edits:
        config = edited(describe(field), edits, PARTS)
        field = within_budget(lambda drawn: build(config, PARTS, "field", drawn), generator, "this field")
    if field.recipe.sample_selection is not None:
        raise ConfigError(
            "recipe.sample_selection chooses among the samples of a signal, but rays have none; leave it out"
        )
    return field


def _for_device(device: torch.device) -> list[Edit]:
    """What of a preset goes by the device: its own steps are a CPU's."""
    return [Edit("recipe.batch_size", _ON_A_GPU)] if device.type == "cuda" else []


def details(cameras: Sequence[Camera]) -> int:
    """A power of two near the photographs' side: as fine as they can show, and cheap for small ones."""
    sides = [math.sqrt(camera.width * camera.height) for camera in cameras]
    wanted = 2 ** round(exact.log2(sum(sides) / len(sides)))
    return min(max(wanted, _DETAILS[0]), _DETAILS[1])


def occupancy_cells(cameras: Sequence[Camera], resolution: int | None) -> int:
    """An occupancy grid's cells an axis, for photographs of this size and a field of this ``resolution``."""
    return min(max(details(cameras) // 4, _CELLS[0]), _CELLS[1], resolution or _CELLS[1])
