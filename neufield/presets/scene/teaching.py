"""All that makes a student of a teacher: poses to look from, stages, and who judges."""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neufield.core.edits import Edit
from neufield.core.shapes import check_choice
from neufield.fitting import ActivePoints, ActivePoses, ActiveRays, Distill, Terms
from neufield.presets.scene import sampling
from neufield.presets.scene.bounds import looked_at, mostly_within
from neufield.presets.scene.students import features_apart, student
from neufield.renderers import NDC, Box, Forward, Nearby, PoseSampler, RadianceScene, Rings
from neufield.signals.sampled_views import Renderings, SampledViews, all_new

# PVD's weights, by its code; the feature's is that of the first step.
FEATURES = Terms(feature=2e-3)
POINTS = Terms(feature=2e-3, color=2e-3, density=2e-3)
ALL = Terms(feature=2e-3, color=2e-3, density=2e-3, rgb=1.0)
ACTIVE = ("camera", "ray", "point")
_UPRIGHT = 0.9  # cosine of an axis of the world with the cameras' mean upward direction, from which on that is up
_HIGHEST = 80  # degrees: PVD's last ring


@dataclasses.dataclass(frozen=True)
class Distillation:
    """All that :func:`neufield.fitting.fit` needs. ``skipped`` says why there is no stage of features; "": there is."""

    teacher: RadianceScene
    student: RadianceScene
    source: SampledViews
    objective: Distill
    evaluator: Renderings
    skipped: str = ""


def distillation(
    teacher: RadianceScene,
    preset: str,
    *,
    resolution: int | None = None,
    edits: Sequence[Edit] = (),
    poses: PoseSampler | None = None,
    seed: int = 0,
    inherit: bool = True,
    active: Sequence[str] = (),
    release_ranking: bool = False,
) -> Distillation:
    """Distill ``teacher``, which does not change, into a field of the ``preset``'s architecture, without photographs.

    Args:
        teacher: as a file of ``neufield nerf train`` gives it back.
        preset: the student's, one of ``names("radiance")``.
        resolution: details along an edge that the student can hold; by default the preset's, or the cameras'.
        edits: of the student's field.
        poses: where to look from; by default :func:`choose_poses`.
        seed: decides every random number.
        inherit: whether the student begins with what it can take over from the teacher.
        active: which parts of PVD-AL take part: "camera", "ray", "point".
        release_ranking: let "camera" take the poses for bad ones that the published code takes.
    """
    for part in active:
        check_choice("active", part, ACTIVE)
    teacher.requires_grad_(False)
    taught = student(teacher, preset, resolution=resolution, edits=edits, seed=seed, inherit=inherit)
    skipped = features_apart(teacher.field, taught.field)
    stages = [POINTS if skipped else FEATURES, POINTS, ALL]
    if skipped:
        stages = [dataclasses.replace(terms, feature=0.0) for terms in stages]
    device = taught.cameras.to_world.device
    hard = ActivePoses(as_released=release_ranking)
    choose = hard.choose if "camera" in active else all_new
    source = SampledViews(poses or choose_poses(teacher), taught.cameras, seed, device, choose)
    parts = {"camera": hard, "ray": ActiveRays(), "point": ActivePoints()}
    attention = [part for name, part in parts.items() if name in active]
    objective = Distill(teacher, stages, sampling.along(teacher.space).unit, attention)
    return Distillation(teacher, taught, source, objective, Renderings(teacher), skipped)


def choose_poses(teacher: RadianceScene) -> PoseSampler:
    """Where views of ``teacher`` make sense, by where its cameras stood.

    In NDC before the scene; around a box at the cameras' distances, from as far down as they looked from; elsewhere
    between neighboring cameras.
    """
    poses = torch.eye(4, dtype=torch.float64).repeat(teacher.cameras.count, 1, 1)
    poses[:, :3] = teacher.cameras.poses().detach().cpu().double()
    places, up = poses[:, :3, 3], _up(poses)
    if isinstance(teacher.space, NDC):
        return Forward(places, _triple(looked_at(poses)), _triple(up))
    if mostly_within(teacher.space, places.float()) or not isinstance(teacher.space, Box):
        return Nearby(poses)
    center = torch.tensor(teacher.space.center, dtype=torch.float64)
    outward = places - center
    radius = outward.norm(dim=1)
    lowest = torch.rad2deg((outward @ up / radius).clamp(-1, 1).asin()).min()
    begin = 0 if lowest > -1 else max(-_HIGHEST, math.floor(float(lowest)))
    return Rings(_triple(center), (float(radius.min()), float(radius.max())), _triple(up), begin, _HIGHEST)


def _up(poses: Tensor) -> Tensor:
    """An axis of the world where the cameras' mean is near one; else that mean."""
    mean = torch.nn.functional.normalize(poses[:, :3, 1].mean(0), dim=0)
    axis = int(mean.abs().argmax())
    if mean[axis].abs() < _UPRIGHT:
        return mean
    return torch.eye(3, dtype=torch.float64)[axis] * mean[axis].sign()


def _triple(values: Tensor) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
