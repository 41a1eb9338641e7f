"""The commands for radiance fields."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from neufield.apps.options.shared import (
    Images,
    Judging,
    Limits,
    Machine,
    PathRendering,
    Reading,
    SceneTraining,
    Seed,
    Serving,
    Training,
)
from neufield.apps.options.signal import Export, View


@dataclasses.dataclass(frozen=True)
class NerfTrain(Serving, Judging, SceneTraining, Seed, Training):
    """Train a radiance field on posed photographs, and judge it by views it has not seen."""

    scene: Positional[Path]
    """A folder or file of posed photographs: Blender, instant-ngp, nerfstudio, LLFF, COLMAP, or a tiny-NeRF npz."""
    preset: str = "ngp"
    """ngp, nerf, vm, cp, voxels, triplane."""
    eval: bool = True
    """Judge the field when it is trained; `neufield nerf eval` can do it later."""
    eval_budget: Annotated[float, arg(metavar="SECONDS")] = 10.0
    """Judge for so long, about: by fewer test views, then by smaller ones, which the result names; inf takes all."""
    viewer: bool = False
    """Show the field in a browser while it trains, and until Ctrl-C after it."""


@dataclasses.dataclass(frozen=True)
class NerfView(View):
    """Show a trained radiance field in a browser, until Ctrl-C."""


@dataclasses.dataclass(frozen=True)
class NerfEval(Judging, Reading, Machine):
    """Judge a trained radiance field by a scene's test views, without training, in the ways of four tools."""

    run: Positional[Path]
    """A run's folder, or its field.safetensors."""
    scene: Positional[Path]
    """A folder or file of posed photographs, in the world that the field was trained in."""
    eval_budget: Annotated[float, arg(metavar="SECONDS")] = math.inf
    """Judge for so long, about: by fewer test views, then by smaller ones, which the result names; inf takes all."""
    out: Annotated[Path | None, arg(metavar="JSON")] = None
    """Where to write the scores; by default eval.json beside the field."""


@dataclasses.dataclass(frozen=True)
class NerfProcess(Limits):
    """Find the poses of photographs, or of frames of a video, with COLMAP, and write a scene to train on."""

    source: Positional[Path]
    """A folder of photographs, or a video."""
    out: Annotated[Path, arg(metavar="SCENE")]
    """The folder to write: images/, COLMAP's sparse/0/, process.json."""
    frames: Annotated[int | None, arg(metavar="N")] = None
    """How many frames of a video; by default 120."""
    pick: Literal["sharp", "even"] = "sharp"
    """Of a video, the sharpest frame of each of N equal stretches, or the middle one."""
    matching: Literal["auto", "exhaustive", "sequential"] = "auto"
    """Compare every two photographs, or each with those soon after it by name; auto: all up to 200 photographs."""
    camera_model: Literal["opencv", "pinhole", "fisheye", "simple-radial"] = "opencv"
    """The lens."""
    share_intrinsics: bool = True
    """One camera for all photographs of one size; otherwise one for each photograph."""
    min_registered: Annotated[int | None, arg(metavar="N")] = None
    """Fail when fewer photographs can be posed; by default half of them, and 3 at least."""
    overwrite: bool = False
    """Replace the processed scene that --out already holds."""


@dataclasses.dataclass(frozen=True)
class NerfDoctor(Reading, Limits):
    """Say what a scene's files hold, what is odd about them, and draw its cameras."""

    scene: Positional[Path]
    """A folder or file of posed photographs."""
    out: Annotated[Path | None, arg(metavar="PNG")] = None
    """Where to draw the cameras."""


@dataclasses.dataclass(frozen=True)
class NerfConvert(Limits):
    """Write a scene in another dialect."""

    scene: Positional[Path]
    """A folder or file of posed photographs."""
    out: Positional[Path]
    """The folder to write."""
    images: Images = None
    """The folder of photographs beside those that the scene names, for instance images_8; cameras follow their size."""
    dialect: Literal["blender", "nerfstudio", "instant-ngp", "llff", "colmap", "colmap-text", "tiny-nerf"] = (
        "nerfstudio"
    )
    """What to write."""
    copy: bool = False
    """Copy the photographs too, instead of pointing to where they are."""
    lossy: bool = False
    """Write even what the dialect cannot hold whole."""


@dataclasses.dataclass(frozen=True)
class NerfRender(PathRendering):
    """Draw a trained radiance field along a path of cameras, as a film or frame by frame; or one view."""

    out: Positional[Path]
    """A film (.mp4, .webm, .gif), the folder for frame_0000.png, frame_0001.png ..., or a .png for the first view."""


@dataclasses.dataclass(frozen=True)
class NerfExport(Export):
    """Write a trained radiance field's surface, or its cameras, in the scene's own world and scale."""
