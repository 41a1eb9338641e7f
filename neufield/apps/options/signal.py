"""The commands that any signal has."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from neufield.apps.options.shared import (
    Judging,
    Limits,
    PathRendering,
    PictureTraining,
    PortableOptions,
    SceneTraining,
    Seed,
    Serving,
    SurfaceOptions,
    TrainedField,
    Training,
)


@dataclasses.dataclass(frozen=True)
class Fit(PictureTraining, Seed, Training):
    """Fit a neural field to a picture and write the field, its reconstruction, and how well it went."""

    file: Positional[Path]
    """A picture: PNG, JPEG, TIFF, EXR, HDR and whatever else Pillow or OpenImageIO opens."""
    preset: str = "ngp"
    """ngp, siren, ffn, wire, cam ... (docs/methods lists them all), or the path of a tiny-cuda-nn JSON config."""
    target_psnr: Annotated[float | None, arg(metavar="DB")] = None
    """Stop when an evaluation reaches this many dB."""
    fresh: bool = False
    """Choose the preset's frequency before training: that whose untrained spectrum is nearest the picture's (FreSh)."""
    fresh_over: Annotated[str | None, arg(metavar="KEY=V,V,...|KEY=FIRST:LAST:STEP")] = None
    """FreSh over the values of any one number of the field, instead of the preset's own."""
    fresh_spectrum: Literal["diagonal", "isotropic"] = "diagonal"
    """FreSh by the paper's spectrum, which sees half of the directions, or by ours, which sees all."""


@dataclasses.dataclass(frozen=True)
class Compare(Judging, SceneTraining, PictureTraining, Training):
    """Fit several presets to one picture or scene, with the same budget: side by side in a table and a picture."""

    file: Positional[Path]
    """A picture, or a folder or file of posed photographs, which radiance presets learn."""
    presets: Annotated[str | None, arg(metavar="A,B,C")] = None
    """Names with commas between them, or paths of tiny-cuda-nn configs; by default ngp,ffn,siren for a picture, and
    ngp,vm,nerf for a scene. `neufield fit --help` and `neufield nerf train --help` name more."""
    budget_params: Annotated[int | None, arg(metavar="N")] = None
    """Make each preset larger or smaller, so that it has about N parameters (within 5 %)."""
    seeds: Annotated[int, arg(metavar="N")] = 3
    """Runs of each preset, with the seeds 0 to N-1."""
    test_every: Annotated[int | None, arg(metavar="N")] = dataclasses.field(default=None, kw_only=True)  # type: ignore[assignment]
    """Judge by every n-th test view of a scene, from the first on; by default by about 8 of them, 1 takes all."""


@dataclasses.dataclass(frozen=True)
class Render(PathRendering):
    """Draw a trained field: a picture at any size; a radiance field as a view, a film or frame by frame."""

    output: Annotated[Path, arg(aliases=["-o"])]
    """What to write; its suffix is its format. Of a radiance field a .png, a film (.mp4, .webm, .gif), or a folder."""
    scale: Annotated[float | None, arg(metavar="FACTOR")] = None
    """Of a picture: size as a multiple of the original's."""
    crop: Annotated[str | None, arg(metavar="X0,Y0,X1,Y1")] = None
    """Of a picture: window x0,y0,x1,y1 in pixels of the original, for instance 100,50,300,200."""


@dataclasses.dataclass(frozen=True)
class View(Serving, TrainedField):
    """Show a trained radiance field in a browser, until Ctrl-C."""

    time: Annotated[float | None, arg(metavar="T")] = None
    """Of a field that moves: the moment to show, in the scene's own unit; by default the first."""


@dataclasses.dataclass(frozen=True)
class Export(SurfaceOptions, TrainedField):
    """Write a trained field as a file of its own kind: a picture as one, a radiance field's surface or cameras."""

    out: Positional[Path]
    """A picture or an .npy for what was one; of a radiance field a .ply, .obj, .glb or .stl for the surface, a .json
    for the cameras (nerfstudio's transforms.json)."""


@dataclasses.dataclass(frozen=True)
class ExportAny(PortableOptions, SurfaceOptions, TrainedField):
    """Write a trained field as a file: of its own kind (a picture, a mesh ...), or whole, in what others run."""

    out: Positional[Path | None] = None
    """A picture or an .npy for what was one; of a radiance field a .ply, .obj, .glb or .stl for the surface, a .json
    for the cameras (nerfstudio's transforms.json); of any field what --to names, by default beside the field."""


@dataclasses.dataclass(frozen=True)
class Import(Limits):
    """Make a field of ours of what another program trained, to look at, to export, or to learn from."""

    file: Positional[Path]
    """An instant-ngp snapshot: .ingp or .msgpack."""
    out: Positional[Path | None] = None
    """The .safetensors to write; by default beside FILE, with its name."""


@dataclasses.dataclass(frozen=True)
class Info(Limits):
    """Say what a field's file, a picture or a scene holds."""

    file: Positional[Path]
    """A run's folder, a .safetensors of ours, a picture, or posed photographs."""
    json: bool = False
    """Print everything as JSON."""


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Say what this machine has: versions, devices, and each backend with what keeps it from running."""
