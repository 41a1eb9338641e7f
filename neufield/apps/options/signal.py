"""The commands that any signal has."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from neufield.apps.options.shared import Limits, PictureTraining, Seed, TrainedField, Training


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
class Compare(PictureTraining, Training):
    """Fit several presets to one picture, with the same budget, and set them side by side in a table and a picture."""

    file: Positional[Path]
    """A picture: PNG, JPEG, TIFF, EXR, HDR and whatever else Pillow or OpenImageIO opens."""
    presets: Annotated[str, arg(metavar="A,B,C")] = "ngp,ffn,siren"
    """Names with commas between them; `neufield fit --help` lists them. Paths of tiny-cuda-nn configs are names too."""
    budget_params: Annotated[int | None, arg(metavar="N")] = None
    """Make each preset larger or smaller, so that it has about N parameters (within 5 %)."""
    seeds: Annotated[int, arg(metavar="N")] = 3
    """Runs of each preset, with the seeds 0 to N-1."""


@dataclasses.dataclass(frozen=True)
class Render(TrainedField):
    """Draw a fitted field as a picture of any size."""

    output: Annotated[Path, arg(aliases=["-o"])]
    """The picture to write; its suffix is its format."""
    size: Annotated[str | None, arg(metavar="WxH")] = None
    """Width and height in pixels, for instance 1920x1080."""
    scale: Annotated[float | None, arg(metavar="FACTOR")] = None
    """Size as a multiple of the original's."""
    crop: Annotated[str | None, arg(metavar="X0,Y0,X1,Y1")] = None
    """Window x0,y0,x1,y1 in pixels of the original picture, for instance 100,50,300,200."""


@dataclasses.dataclass(frozen=True)
class Info(Limits):
    """Say what a field's file, or a picture, holds."""

    file: Positional[Path]
    """A run's folder, a .safetensors of ours, or a picture."""
    json: bool = False
    """Print everything as JSON."""


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Say what this machine has: versions, devices, and each backend with what keeps it from running."""
