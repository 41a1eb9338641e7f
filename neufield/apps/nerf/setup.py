"""From a scene's files and the options to what is trained: photographs, cameras, space, sampler, field."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from neufield.apps.console import Terminal
from neufield.apps.nerf import sampling
from neufield.apps.nerf.ndc_bounds import ndc_bounds
from neufield.apps.nerf.per_image import PerImage
from neufield.apps.options import Reading
from neufield.core import exact
from neufield.core.config import build, describe, with_setting
from neufield.core.errors import ConfigError, DataError
from neufield.core.interfaces import Sampler
from neufield.core.reckoning import within_budget
from neufield.parts import PARTS
from neufield.presets_radiance import radiance_preset
from neufield.renderers import NDC, Box, Cameras, Contraction, OccupancyGrid, RadianceScene, SceneBounds
from neufield.signals.posed_images import PosedImages, read_photograph
from neufield.signals.scene import Frame, Scene, check_scene, read_scene

_BLENDER_BOX = 1.5  # half a side: what nerfacc and TensoRF take for the synthetic scenes
_STEPS_ACROSS = 1024 / math.sqrt(3)  # instant-ngp's step is sqrt(3) / 1024 of the box's side
_COARSER = 4  # times that, on a CPU: cheaper steps are worth more (specs: two minutes of training and less)
_CELLS = (64, 128)  # of an occupancy grid, an axis; fewer for small photographs, and no more than the field has
_CONE = _COARSER / 256  # growth of a step with its distance; instant-ngp: 1 / 256
_LEVELS = 3  # of cells around the middle, where cameras stand within the box
_SIZED = ("ngp", "triplane")  # presets whose resolution goes by the photographs; the others' costs grow too fast
_DETAILS = (128, 2048)  # along an edge of the box, at least and at most, when it goes by the photographs
_ON_A_GPU = 2**18  # samples a step: instant-ngp's
_WATCHED = 3  # views of the val split


@dataclasses.dataclass(frozen=True)
class Views:
    """The frames of a scene by what they are for."""

    train: tuple[Frame, ...]
    watched: tuple[Frame, ...]
    test: tuple[Frame, ...]


def open_scene(path: Path, console: Terminal, options: Reading) -> Scene:
    """Read and check; warnings are shown."""
    scene = read_scene(path, options.dialect, images=options.images)
    for note in (*scene.notes, *check_scene(scene)):
        if note.level == "warning":
            console.print(f"note: {note.key}: {note.text}", style="yellow")
    return scene


def choose_views(scene: Scene, hold_out: int) -> Views:
    """What is trained on, what is watched meanwhile (of the val split, else ``hold_out`` of those), what is for tests.

    Test views are never watched: who stops or tunes by them has trained on them.
    """
    train, watched = scene.split("train"), scene.split("val")[:_WATCHED]
    if hold_out < 0:
        raise ConfigError(f"--hold-out is {hold_out}, but it must be 0 (none) or more")
    if hold_out and not watched:
        kept_out = {(2 * i + 1) * len(train) // (2 * hold_out) for i in range(hold_out)}  # evenly, not the ends
        watched = tuple(frame for i, frame in enumerate(train) if i in kept_out)
        train = tuple(frame for i, frame in enumerate(train) if i not in kept_out)
    if len(train) < 2:
        raise DataError(
            f"the scene has {len(train)} photographs to train on, but at least two are needed; "
            "add some, or give a scene with another split"
        )
    return Views(train, watched, scene.split("test"))


def load(views: Views) -> PosedImages:
    """Train and watched photographs in memory."""
    frames = (*views.train, *views.watched)
    counts = [frame.counts() for frame in frames]
    masks = [None if each is None else torch.from_numpy(each) for each in counts]
    return PosedImages([read_photograph(frame) for frame in frames], masks, held_out=len(views.watched))


def choose_space(scene: Scene, box: str | None, kind: str = "auto") -> SceneBounds:
    """Of a ``kind``: "box", "contraction", "ndc"; or "auto", the first of these that the scene has.

    The box is the one the user gave, else the file's, else the synthetic scenes'. Without any, all of the world is
    contracted: measured on a CPU, that is ahead of NDC for photographs from the front too (docs/nerf.md).
    """
    if box is not None and kind not in ("auto", "box"):
        raise ConfigError(f"--box and --space {kind} contradict each other; give one of them")
    boxed = _box(scene, box) if kind in ("auto", "box") else None
    if boxed is not None:
        return boxed
    if kind == "box":
        raise ConfigError("--space box needs a box, and the scene's file has none; add one, for instance --box 2")
    return ndc_bounds(scene) if kind == "ndc" else _contraction(scene)


def _box(scene: Scene, given: str | None) -> Box | None:
    if given is not None:
        return given_box(given)
    if scene.box is not None:
        lower, upper = scene.box
        return Box(lower.tolist(), upper.tolist())
    if scene.dialect == "blender":
        return Box([-_BLENDER_BOX] * 3, [_BLENDER_BOX] * 3)
    return None


def _contraction(scene: Scene) -> Contraction:
    poses = torch.stack([frame.camera.to_world for frame in scene.frames])
    center = _looked_at(poses)
    distance = float((poses[:, :3, 3] - center).norm(dim=1).mean())
    near = min((frame.near for frame in scene.frames if frame.near), default=0.1 * distance)
    far = max((frame.far for frame in scene.frames if frame.far), default=100 * distance)
    return Contraction(center.tolist(), distance, near, far)


def choose_sampler(
    space: SceneBounds,
    cells: int,
    generator: torch.Generator,
    kind: str = "auto",
    positions: Tensor | None = None,
) -> Sampler:
    """Of a ``kind``: "occupancy", "stratified", "proposal"; or "auto", proposals in NDC and occupancy elsewhere.

    An occupancy grid has ``cells`` an axis. ``positions`` (N, 3) are the cameras'.
    """
    if kind == "stratified":
        return sampling.stratified(space)
    if kind == "proposal" or (kind == "auto" and isinstance(space, NDC)):
        return sampling.proposals(space, generator)
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


def mostly_within(space: SceneBounds, positions: Tensor) -> bool:
    """Whether most cameras stand within the space."""
    x = space.to_unit(positions)
    return float(((x > 0) & (x < 1)).all(dim=1).float().mean()) > 0.5


def build_model(
    views: Views,
    space: SceneBounds,
    preset: str,
    settings: Sequence[str],
    resolution: int | None,
    seed: int,
    sampler: str = "auto",
    learnt: PerImage = PerImage(),  # noqa: B008 - a tuple of nothing
    device: torch.device = torch.device("cpu"),  # noqa: B008 - a name
) -> RadianceScene:
    """The model, on ``device``, with ``--set`` applied to the radiance field, and what is ``learnt`` beside it."""
    generator = torch.Generator().manual_seed(seed)
    if resolution is None and preset in _SIZED:
        resolution = _details(views)
    sizes = learnt.field_options() | ({} if resolution is None else {"resolution": resolution})
    make = radiance_preset(preset)
    field = within_budget(lambda drawn: make(generator=drawn, **sizes), generator, f"the preset {preset} of this size")
    settings = [*_for_device(device), *sampling.settings(space, field), *settings]
    if settings:
        config = describe(field)
        for setting in settings:
            config = with_setting(config, setting, PARTS)
        field = within_budget(lambda drawn: build(config, PARTS, "field", drawn), generator, "this field")
    if field.recipe.sample_selection is not None:
        raise ConfigError(
            "recipe.sample_selection chooses among the samples of a signal, but rays have none; leave it out"
        )
    cameras = Cameras.of([frame.camera for frame in (*views.train, *views.watched)], learnt.refinement)
    if sampler == "coarse-fine":
        chosen: Sampler = sampling.hierarchical(space, field, generator)
    else:
        cells = min(max(_details(views) // 4, _CELLS[0]), _CELLS[1], resolution or _CELLS[1])
        chosen = choose_sampler(space, cells, generator, sampler, cameras.to_world[:, :, 3])
    model = RadianceScene(field, cameras, space, chosen, appearance=learnt.appearance, exposure=learnt.exposure)
    return model.to(device)


def _for_device(device: torch.device) -> list[str]:
    """What of a preset goes by the device, as ``--set`` would say it: its own steps are a CPU's."""
    return [f"recipe.batch_size={_ON_A_GPU}"] if device.type == "cuda" else []


def _details(views: Views) -> int:
    """A power of two near the photographs' side: as fine as they can show, and cheap for small ones."""
    sides = [math.sqrt(frame.camera.width * frame.camera.height) for frame in views.train]
    wanted = 2 ** round(exact.log2(sum(sides) / len(sides)))
    return min(max(wanted, _DETAILS[0]), _DETAILS[1])


def given_box(text: str) -> Box:
    """What --box says: half a side, or two corners."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers = [-numbers[0]] * 3 + [numbers[0]] * 3
    if len(numbers) != 6:
        raise ConfigError(
            f"--box is {text!r}, but half a side such as 1.5, or x0,y0,z0,x1,y1,z1 in world units, was expected"
        )
    try:
        return Box(numbers[:3], numbers[3:])
    except ValueError as error:
        raise ConfigError(f"--box: {error}") from None


def _looked_at(poses: Tensor) -> Tensor:
    """The point (3,) nearest to all viewing axes; for cameras that look the same way, one before them."""
    origins, axes = poses[:, :3, 3], -poses[:, :3, 2]
    off = torch.eye(3, dtype=poses.dtype) - axes[:, :, None] * axes[:, None, :]
    extent = (origins - origins.mean(0)).norm(dim=1).mean()
    system = off.sum(0)
    if float(torch.linalg.eigvalsh(system)[0]) < 1e-3 * len(poses):  # parallel axes meet nowhere
        return origins.mean(0) + axes.mean(0) * extent
    return torch.linalg.solve(system, (off @ origins[:, :, None]).sum(0)[:, 0])
