"""A student for a teacher: another architecture for the same scene, with the teacher's head and its empty space."""

import dataclasses
from collections.abc import Mapping, Sequence

import torch

from neufield.core.config import build, describe, part_name
from neufield.core.edits import Edit, edited
from neufield.core.errors import ConfigError
from neufield.core.interfaces import RadianceField, Sampler
from neufield.core.plan import Upsample
from neufield.core.recipe import Cosine, Recipe, Stage, TrainingPlan
from neufield.core.reckoning import within_budget
from neufield.fields import DensityActivation, Sparsity, head_of
from neufield.parts import PARTS
from neufield.presets.facts import RadianceFacts
from neufield.presets.registry import find
from neufield.presets.scene import sampling
from neufield.presets.scene.grafts import GRAFTS
from neufield.presets.scene.model import details, occupancy_cells
from neufield.renderers import NDC, Cameras, OccupancyGrid, RadianceScene

FIRST_ENDS, POINTS_END = 2000 / 30_000, 5000 / 30_000  # shares of the run: the stage of features, and that of points
_LAST_RATE = 7e-5  # at which a student's half cosine ends
_LOOKS = 16  # at all cells, to find a grid for a teacher that has none: as many as PVD's code looks everywhere
_PROBES = 64


@dataclasses.dataclass(frozen=True)
class Numbers:
    """How a student of one preset learns: PVD's numbers, by its code.

    ``lr`` is Adam's, ``lr_factors`` of parts; in the last stage ``sparsity`` counts, of the ``sparse`` parameters.
    """

    lr: float = 1e-2
    lr_factors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    sparsity: float = 1e-4
    sparse: Sequence[str] = ()


_SLOW_HEAD = {"basis": 0.1, "color_network": 0.1}
# Hash grid, MLP, VM and voxels are PVD's own; we teach CP as VM, and any other preset as a hash grid.
NUMBERS: Mapping[str, Numbers] = {
    "nerf": Numbers(lr=1e-3),
    "vm": Numbers(lr_factors=_SLOW_HEAD, sparse=("density_planes", "density_lines")),
    "cp": Numbers(lr_factors=_SLOW_HEAD, sparse=("density_lines",)),
}


def student(
    teacher: RadianceScene,
    preset: str,
    *,
    resolution: int | None = None,
    edits: Sequence[Edit] = (),
    seed: int = 0,
    inherit: bool = True,
) -> RadianceScene:
    """A model of the ``preset``'s architecture for the ``teacher``'s scene, to be taught by that.

    It has the teacher's cameras, bounds and background, its occupancy, which stays as it is, its head where the
    architecture can end in that, and the numbers of each parameter that both have alike; without ``inherit`` neither
    head nor numbers. What grows is as large from the first step on as it will be (PVD's code upsamples nothing).

    Raises:
        ConfigError: for a teacher that moves, or ``edits`` that fit nothing.
    """
    if teacher.field.times is not None:
        raise ConfigError("the teacher moves, but students of the presets stand still; give a teacher of a still scene")
    cameras = [teacher.cameras.camera(i) for i in range(teacher.cameras.count)]
    found, generator = find(preset, "radiance"), torch.Generator().manual_seed(seed)
    if resolution is None and found.by_images:
        resolution = details(cameras)
    made = within_budget(
        lambda drawn: found(RadianceFacts(resolution), drawn), generator, f"the preset {preset} of this size"
    )
    unit = sampling.along(teacher.space).unit
    learning = [
        Edit("density_activation", DensityActivation("trunc_exp", 0.0, 1 / unit)),
        Edit("recipe", _recipe(NUMBERS.get(preset, Numbers()), made.recipe)),
    ]
    config = edited(describe(made), [*learning, *_full_size(made.recipe), *edits], PARTS)
    head = head_of(teacher.field) if inherit else None
    if head is not None and part_name(type(made)) in GRAFTS:
        config = GRAFTS[part_name(type(made))](config, describe(head), head.n_features)
        config["density_activation"] = describe(teacher.field)["density_activation"]  # the head reads the logit
    field = within_budget(lambda drawn: build(config, PARTS, "field", drawn), generator, "this field")
    if inherit and _shapes(field) == _shapes(teacher.field):  # a copy, to the last number
        config["density_activation"] = describe(teacher.field)["density_activation"]
        field = build(config, PARTS, "field", generator)
    if inherit:
        take_over(field, teacher.field)
    sampler = inherited_sampler(teacher, occupancy_cells(cameras, resolution), generator)
    model = RadianceScene(field, Cameras.of(cameras), teacher.space, sampler, teacher.background)
    return model.to(teacher.cameras.to_world.device)


@torch.no_grad()
def take_over(field: RadianceField, teacher: RadianceField) -> None:
    """Give ``field`` the numbers of every parameter that the ``teacher`` has by the same name and shape; and its head.

    So PVD's code loads a teacher's checkpoint into a student.
    """
    there = teacher.state_dict()
    for name, own in field.state_dict().items():
        if name in there and own.shape == there[name].shape:
            own.copy_(there[name])
    own_head, head = head_of(field), head_of(teacher)
    if own_head is not None and head is not None and describe(own_head) == describe(head):
        own_head.load_state_dict(head.state_dict())


@torch.no_grad()
def features_apart(teacher: RadianceField, field: RadianceField) -> str:
    """Why the features of the two cannot be compared; "" where equal features have equal colors in both."""
    if teacher.code_dim:
        return "the teacher's colors also read the codes of photographs"
    device = next(field.parameters()).device
    drawn = torch.Generator().manual_seed(0)
    x = torch.rand(_PROBES, 3, generator=drawn).to(device)
    d = torch.nn.functional.normalize(torch.randn(_PROBES, 3, generator=drawn), dim=1).to(device)
    widths = [one.geometry(x).features.shape[-1] for one in (teacher, field)]
    if widths[0] != widths[1]:
        return f"the teacher's features are {widths[0]} numbers, the student's {widths[1]}"
    features = torch.randn(_PROBES, widths[0], generator=drawn).to(device)
    if not torch.equal(teacher.color(features, d), field.color(features, d)):
        return "the student makes other colors of the teacher's features"
    return ""


def inherited_sampler(teacher: RadianceScene, cells: int, generator: torch.Generator) -> Sampler:
    """The ``teacher``'s occupancy grid, never to be updated; one of its densities where it marches in another way.

    In NDC, where nothing marches: even intervals.
    """
    if isinstance(teacher.space, NDC):
        return sampling.stratified(teacher.space)
    grid = teacher.sampler
    if not isinstance(grid, OccupancyGrid):
        positions = teacher.cameras.poses().detach()[:, :, 3].cpu()
        made = sampling.choose_sampler(teacher.space, cells, generator, "occupancy", positions)
        assert isinstance(made, OccupancyGrid)
        grid = made.to(teacher.cameras.to_world.device)
        for _ in range(_LOOKS):
            grid.update(0, teacher.field, generator)
    kept = build(describe(grid) | {"every": 0}, PARTS, "sampler")
    kept.load_state_dict(grid.state_dict())
    return kept


def _recipe(numbers: Numbers, preset: Recipe) -> Recipe:
    """PVD's, in three stages: features, points, what is seen. Steps, samples a step and storage are the preset's."""
    last = [Sparsity(numbers.sparsity, numbers.sparse)] if numbers.sparse else []
    return Recipe(
        lr=numbers.lr,
        lr_factors=numbers.lr_factors,
        schedule=Cosine(_LAST_RATE / numbers.lr),
        batch_size=preset.batch_size,
        steps=preset.steps,
        storage=preset.storage,
        plan=TrainingPlan([Stage(FIRST_ENDS), Stage(POINTS_END), Stage(regularizers=last)]),
    )


def _shapes(field: RadianceField) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in field.state_dict().items()}


def _full_size(recipe: Recipe) -> list[Edit]:
    """Where the preset grows: the cells that it ends with."""
    stages = recipe.plan.stages if recipe.plan else ()
    grown = [change.resolution for stage in stages for change in stage.before if isinstance(change, Upsample)]
    return [Edit("resolution", list(grown[-1]))] if grown else []
