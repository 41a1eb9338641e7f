"""What ``neufield distill`` may be told."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from neufield.apps.options.shared import Judging, Seed, Training


@dataclasses.dataclass(frozen=True)
class Distill(Judging, Seed, Training):
    """Turn a trained field into another architecture, without the photographs or the picture that it was trained on."""

    teacher: Positional[Path]
    """A run's folder, or its field.safetensors."""
    to: str
    """The student's preset: ngp, nerf, vm, cp, voxels, triplane of a radiance field; ngp, siren ... of a picture."""
    resolution: Annotated[int | None, arg(metavar="N")] = None
    """Of a radiance field: details along an edge of the box that the student can hold; by default the preset's."""
    budget_params: Annotated[int | None, arg(metavar="N")] = None
    """Of a picture: make the student larger or smaller, so that it has about N parameters (within 5 %)."""
    scene: Annotated[Path | None, arg(metavar="SCENE")] = None
    """Photographs by whose test views both radiance fields are judged, too; the student never learns from them."""
    eval_budget: Annotated[float, arg(metavar="SECONDS")] = 10.0
    """With --scene, judge each of both for so long, about; inf takes all views."""
    active: Annotated[list[Literal["camera", "ray", "point"]], arg(metavar="camera|ray|point ...")] = dataclasses.field(
        default_factory=list
    )
    """Of a radiance field, PVD-AL: look again from poses, along rays and at points where the student is bad or light
    is."""
    release_ranking: bool = False
    """With --active camera, take the poses for bad ones that the published code takes, which pairs scores and poses
    wrongly."""
    inherit: bool = True
    """Let a radiance field begin with the teacher's head and every number that both have alike."""
