"""What each command may be told: the fields are the flags, their docstrings the help."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

Settings = Annotated[
    list[list[str]],
    UseAppendAction,
    arg(name="set", metavar="KEY=VALUE [KEY=VALUE ...]", help="Change one number of the field or its recipe."),
]


@dataclasses.dataclass(frozen=True)
class Fit:
    """Fit a neural field to a picture and write the field, its reconstruction, and how well it went."""

    file: Positional[Path]
    """A picture: PNG, JPEG, TIFF, EXR, HDR and whatever else imageio opens."""
    preset: str = "ngp"
    """ngp, compact, ffn, siren, nerf_frequency, or the path of a tiny-cuda-nn JSON config."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Optimiser steps; by default the preset's, more for a large picture."""
    time_budget: Annotated[float | None, arg(metavar="SECONDS")] = None
    """Seconds of training; the learning rate anneals over them. With it, --steps is only a limit."""
    target_psnr: Annotated[float | None, arg(metavar="DB")] = None
    """Stop when an evaluation reaches this many dB."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """The run's folder, used as given; by default runs/<name>-<time>."""
    seed: int = 0
    """Decides every random number."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes a CUDA GPU where there is one."""
    backend: str = "auto"
    """auto, or the one kernel family to use (see `neufield doctor`); a named one never falls back."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Type of the matrix products; weights stay fp32."""
    sampling: Literal["centres", "continuous"] = "centres"
    """Train on pixel centres, or anywhere on the bilinear picture between them."""
    settings: Settings = dataclasses.field(default_factory=list)
    """Change one number of the field or its recipe."""
    resume: bool = False
    """Go on with the run in --out from its last saved state."""
    overwrite: bool = False
    """Replace the run that --out already holds."""
    save_every: float = 20.0
    """Seconds between saves of the resumable state."""


@dataclasses.dataclass(frozen=True)
class Render:
    """Draw a fitted field as a picture of any size."""

    field: Positional[Path]
    """The field.safetensors of a run."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The picture to write; its suffix is its format."""
    size: Annotated[str | None, arg(metavar="WxH")] = None
    """Width and height in pixels, for instance 1920x1080."""
    scale: Annotated[float | None, arg(metavar="FACTOR")] = None
    """Size as a multiple of the original's."""
    crop: Annotated[str | None, arg(metavar="X0,Y0,X1,Y1")] = None
    """Window x0,y0,x1,y1 in pixels of the original picture, for instance 100,50,300,200."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    backend: str = "auto"
    """The kernel family to use."""


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what a field's file, or a picture, holds."""

    file: Positional[Path]
    """A .safetensors of ours, or a picture."""
    json: bool = False
    """Print everything as JSON."""


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Say what this machine has: versions, devices, and each backend with what keeps it from running."""


@dataclasses.dataclass(frozen=True)
class NerfTrain:
    """Train a radiance field on posed photographs, and judge it by views it has not seen."""

    scene: Positional[Path]
    """A folder or file of posed photographs: Blender, instant-ngp, nerfstudio, LLFF, COLMAP, or a tiny-NeRF npz."""
    preset: str = "ngp"
    """ngp, nerf, vm, cp, voxels, triplane."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Optimiser steps; by default the preset's."""
    time_budget: Annotated[float | None, arg(metavar="SECONDS")] = None
    """Seconds of training; the learning rate anneals over them. With it, --steps is only a limit."""
    resolution: Annotated[int | None, arg(metavar="N")] = None
    """Details along an edge of the box that the field can hold; by default the preset's."""
    box: Annotated[str | None, arg(metavar="SIDE/2 | X0,Y0,Z0,X1,Y1,Z1")] = None
    """The part of the world that the field covers, in the scene's units; by default the file's, or all of it."""
    background: Literal["random", "white", "black"] = "random"
    """Behind photographs with alpha while training; views are judged on the protocol's."""
    protocol: str = "nerf"
    """How test views are judged: nerf, ingp, nerfstudio, nerfbaselines."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """The run's folder, used as given; by default runs/<scene>-<time>."""
    seed: int = 0
    """Decides every random number."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes a CUDA GPU where there is one."""
    backend: str = "auto"
    """auto, or the one kernel family to use (see `neufield doctor`); a named one never falls back."""
    settings: Settings = dataclasses.field(default_factory=list)
    """Change one number of the radiance field or its recipe."""
    resume: bool = False
    """Go on with the run in --out from its last saved state."""
    overwrite: bool = False
    """Replace the run that --out already holds."""
    save_every: float = 20.0
    """Seconds between saves of the resumable state."""
    viewer: bool = False
    """Show the field in a browser while it trains, and until Ctrl-C after it."""
    viewer_port: Annotated[int | None, arg(metavar="PORT")] = None
    """The page's port; by default the first free one from 8080."""
    viewer_host: str = "127.0.0.1"
    """Where the page is served: by default to this machine alone, 0.0.0.0 for everybody who reaches it."""


@dataclasses.dataclass(frozen=True)
class NerfView:
    """Show a trained radiance field in a browser, until Ctrl-C."""

    field: Positional[Path]
    """A run's folder, or its field.safetensors."""
    viewer_port: Annotated[int | None, arg(metavar="PORT")] = None
    """The page's port; by default the first free one from 8080."""
    viewer_host: str = "127.0.0.1"
    """Where the page is served: by default to this machine alone, 0.0.0.0 for everybody who reaches it."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    backend: str = "auto"
    """The kernel family to use."""


@dataclasses.dataclass(frozen=True)
class NerfDoctor:
    """Say what a scene's files hold, what is odd about them, and draw its cameras."""

    scene: Positional[Path]
    """A folder or file of posed photographs."""
    out: Annotated[Path | None, arg(metavar="PNG")] = None
    """Where to draw the cameras."""


@dataclasses.dataclass(frozen=True)
class NerfConvert:
    """Write a scene in another dialect."""

    scene: Positional[Path]
    """A folder or file of posed photographs."""
    out: Positional[Path]
    """The folder to write."""
    dialect: Literal["blender", "nerfstudio", "instant-ngp", "llff", "colmap", "colmap-text", "tiny-nerf"] = (
        "nerfstudio"
    )
    """What to write."""
    copy: bool = False
    """Copy the photographs too, instead of pointing to where they are."""
    lossy: bool = False
    """Write even what the dialect cannot hold whole."""


@dataclasses.dataclass(frozen=True)
class NerfRender:
    """Draw a trained radiance field along a path of cameras, frame by frame."""

    field: Positional[Path]
    """The field.safetensors of a run."""
    out: Positional[Path]
    """The folder for frame_0000.png, frame_0001.png ..."""
    path: str = "interpolate"
    """interpolate (the training cameras), orbit, nerfstudio's camera_path.json, or instant-ngp's base_cam.json."""
    frames: int = 60
    """How many; a nerfstudio path has its own number."""
    size: Annotated[str | None, arg(metavar="WxH")] = None
    """Width and height in pixels; by default the training cameras'."""
    depth: bool = False
    """Draw depths too, near ones bright."""
    background: Literal["white", "black", "none"] = "white"
    """Behind what is transparent; none keeps it transparent."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    backend: str = "auto"
    """The kernel family to use."""


@dataclasses.dataclass(frozen=True)
class NerfExport:
    """Write a trained radiance field's surface, or its cameras, in the scene's own world and scale."""

    field: Positional[Path]
    """The field.safetensors of a run."""
    out: Positional[Path]
    """A .ply or .obj for the surface, a .json for the cameras (nerfstudio's transforms.json)."""
    resolution: int = 256
    """Cells along the box's longest side."""
    threshold: float | None = None
    """The density, per world unit, at which the surface lies; by default where a cell is half opaque."""
    points: Annotated[int | None, arg(metavar="N")] = None
    """Write so many points of the surface instead of triangles (.ply)."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    backend: str = "auto"
    """The kernel family to use."""
