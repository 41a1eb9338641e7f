"""What each command may be told: the fields are the flags, their docstrings the help."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

Settings = Annotated[
    list[list[str]],
    UseAppendAction,
    arg(name="set", metavar="KEY=VALUE [KEY=VALUE ...]", help="Change one number of the field or its recipe."),
]


Images = Annotated[str | None, arg(metavar="FOLDER")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What every command that reads files has."""

    memory_budget: Annotated[str | None, arg(metavar="6GB")] = None
    """What may be taken of the memory for one file or field; by default what the machine has free."""
    threads: Annotated[int | None, arg(metavar="N")] = None
    """Threads to compute with on the CPU; by default one for each core. Fewer leave cores to other programs."""


@dataclasses.dataclass(frozen=True)
class Fit(Limits):
    """Fit a neural field to a picture and write the field, its reconstruction, and how well it went."""

    file: Positional[Path]
    """A picture: PNG, JPEG, TIFF, EXR, HDR and whatever else imageio opens."""
    preset: str = "ngp"
    """ngp, siren, ffn, wire, cam ... (docs/methods lists them all), or the path of a tiny-cuda-nn JSON config."""
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
    deterministic: bool = False
    """The same bits every run on CUDA too, where sums otherwise end in any order; slower. No change on a CPU."""
    replay: bool = True
    """On CUDA, record a training step once and replay it, where that is possible."""
    sampling: Literal["centers", "continuous"] = "centers"
    """Train on pixel centres, or anywhere on the bilinear picture between them."""
    settings: Settings = dataclasses.field(default_factory=list)
    """Change one number of the field or its recipe."""
    fresh: bool = False
    """Choose the preset's frequency before training: that whose untrained spectrum is nearest the picture's (FreSh)."""
    fresh_over: Annotated[str | None, arg(metavar="KEY=V,V,...|KEY=FIRST:LAST:STEP")] = None
    """FreSh over the values of any one number of the field, instead of the preset's own."""
    fresh_spectrum: Literal["diagonal", "isotropic"] = "diagonal"
    """FreSh by the paper's spectrum, which sees half of the directions, or by ours, which sees all."""
    resume: bool = False
    """Go on with the run in --out from its last saved state."""
    overwrite: bool = False
    """Replace the run that --out already holds."""
    save_every: float = 20.0
    """Seconds between saves of the resumable state."""


@dataclasses.dataclass(frozen=True)
class Compare(Limits):
    """Fit several presets to one picture, with the same budget, and set them side by side in a table and a picture."""

    file: Positional[Path]
    """A picture: PNG, JPEG, TIFF, EXR, HDR and whatever else imageio opens."""
    presets: Annotated[str, arg(metavar="A,B,C")] = "ngp,ffn,siren"
    """Names with commas between them; `neufield fit --help` lists them. Paths of tiny-cuda-nn configs are names too."""
    budget_params: Annotated[int | None, arg(metavar="N")] = None
    """Make each preset larger or smaller, so that it has about N parameters (within 5 %)."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Optimiser steps of every run; by default each preset's own."""
    time_budget: Annotated[float | None, arg(metavar="SECONDS")] = None
    """Seconds of training of every run; with it, --steps is only a limit."""
    seeds: Annotated[int, arg(metavar="N")] = 3
    """Runs of each preset, with the seeds 0 to N-1."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """The comparison's folder, used as given; by default runs/compare-<name>-<time>."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes a CUDA GPU where there is one."""
    backend: str = "auto"
    """auto, or the one kernel family to use (see `neufield doctor`); a named one never falls back."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Type of the matrix products; weights stay fp32."""
    deterministic: bool = False
    """The same bits every run on CUDA too, where sums otherwise end in any order; slower. No change on a CPU."""
    replay: bool = True
    """On CUDA, record a training step once and replay it, where that is possible."""
    sampling: Literal["centers", "continuous"] = "centers"
    """Train on pixel centres, or anywhere on the bilinear picture between them."""
    settings: Annotated[
        list[list[str]],
        UseAppendAction,
        arg(
            name="set",
            metavar="[PRESET:]KEY=VALUE [[PRESET:]KEY=VALUE ...]",
            help="Change one number of a preset's field or recipe, or of every preset's.",
        ),
    ] = dataclasses.field(default_factory=list)
    """Change one number of a preset's field or recipe, or of every preset's."""
    resume: bool = False
    """Go on with the comparison in --out: finished runs stay, the one that was cut off goes on from its last save."""
    overwrite: bool = False
    """Replace the comparison that --out already holds."""
    save_every: float = 20.0
    """Seconds between saves of the resumable state."""


@dataclasses.dataclass(frozen=True)
class Render(Limits):
    """Draw a fitted field as a picture of any size."""

    field: Positional[Path]
    """A run's folder, or its field.safetensors."""
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
class Info(Limits):
    """Say what a field's file, or a picture, holds."""

    file: Positional[Path]
    """A run's folder, a .safetensors of ours, or a picture."""
    json: bool = False
    """Print everything as JSON."""


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Say what this machine has: versions, devices, and each backend with what keeps it from running."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How the files of a scene are read."""

    images: Images = None
    """The folder of photographs beside those that the scene names, for instance images_8; cameras follow their size."""
    dialect: Literal["auto", "blender", "nerfstudio", "instant-ngp", "llff", "colmap", "colmap-text", "tiny-nerf"] = (
        "auto"
    )
    """Whose files they are, where those of several lie in one folder."""


@dataclasses.dataclass(frozen=True)
class NerfTrain(Reading, Limits):
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
    space: Literal["auto", "box", "contraction", "ndc"] = "auto"
    """How the world is held: a box of it, all of it contracted, or as seen from the front; auto goes by the file."""
    sampler: Literal["auto", "occupancy", "stratified", "proposal", "coarse-fine"] = "auto"
    """Where to look: in occupied cells, evenly, where small networks guess, or where a coarse field has light."""
    distortion: Annotated[float, arg(metavar="WEIGHT")] = 0.0
    """Weight of mip-NeRF 360's loss for light in one place on each ray; the paper's is 0.01."""
    appearance: Annotated[int, arg(metavar="K")] = 0
    """Learn K numbers of each photograph that change its colours (weather, light); unseen views get their mean."""
    exposure: bool = False
    """Learn each photograph's gain and offset per colour channel; unseen views get the mean exposure."""
    refine_cameras: bool = False
    """Learn small motions of the training cameras; those of the test views stay as given."""
    background: Literal["auto", "random", "white", "black"] = "auto"
    """Behind the photographs while training; auto: random with alpha, without it the backdrop that their borders show.

    Views with alpha are judged on the protocol's.
    """
    protocol: str = "nerf"
    """Whose way of judging test views is the headline: nerf, ingp, nerfstudio, nerfbaselines; all are printed."""
    test_every: Annotated[int, arg(metavar="N")] = 1
    """Judge by every n-th test view only, from the first on."""
    eval: bool = True
    """Judge the field when it is trained; `neufield nerf eval` can do it later."""
    eval_budget: Annotated[float, arg(metavar="SECONDS")] = 10.0
    """Judge for so long, about: by fewer test views, then by smaller ones, which the result names; inf takes all."""
    hold_out: Annotated[int, arg(metavar="N")] = 0
    """Training photographs to keep out and watch progress by, for a scene that has no val split."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """The run's folder, used as given; by default runs/<scene>-<time>."""
    seed: int = 0
    """Decides every random number."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes a CUDA GPU where there is one."""
    backend: str = "auto"
    """auto, or the one kernel family to use (see `neufield doctor`); a named one never falls back."""
    deterministic: bool = False
    """The same bits every run on CUDA too, where sums otherwise end in any order; slower. No change on a CPU."""
    settings: Settings = dataclasses.field(default_factory=list)
    """Change one number of the radiance field or its recipe, or appearance.lr, exposure.lr, refinement.lr or
    refinement.prior_weight."""
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
class NerfView(Limits):
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
class NerfEval(Reading, Limits):
    """Judge a trained radiance field by a scene's test views, without training, in the ways of four tools."""

    run: Positional[Path]
    """A run's folder, or its field.safetensors."""
    scene: Positional[Path]
    """A folder or file of posed photographs, in the world that the field was trained in."""
    protocol: str = "nerf"
    """Whose way of judging is the headline: nerf, ingp, nerfstudio, nerfbaselines; all are printed."""
    test_every: Annotated[int, arg(metavar="N")] = 1
    """Judge by every n-th test view only, from the first on."""
    eval_budget: Annotated[float, arg(metavar="SECONDS")] = math.inf
    """Judge for so long, about: by fewer test views, then by smaller ones, which the result names; inf takes all."""
    out: Annotated[Path | None, arg(metavar="JSON")] = None
    """Where to write the scores; by default eval.json beside the field."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    backend: str = "auto"
    """The kernel family to use."""


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
class NerfRender(Limits):
    """Draw a trained radiance field along a path of cameras, as a film or frame by frame."""

    field: Positional[Path]
    """A run's folder, or its field.safetensors."""
    out: Positional[Path]
    """A film (.mp4, .webm, .gif), or the folder for frame_0000.png, frame_0001.png ..."""
    path: str = "interpolate"
    """interpolate (the training cameras), orbit, spiral (for cameras that look the same way), test (the cameras that
    --scene tests by), nerfstudio's camera_path.json, or instant-ngp's base_cam.json."""
    scene: Annotated[Path | None, arg(metavar="SCENE")] = None
    """The posed photographs, for --path test."""
    images: Images = None
    """Of --scene: the folder of photographs beside those that it names, for instance images_8."""
    frames: int = 60
    """How many; test cameras and a nerfstudio path have their own number."""
    fps: float = 30.0
    """Frames a second of a film."""
    size: Annotated[str | None, arg(metavar="WxH")] = None
    """Width and height in pixels; by default the path's own or the training cameras'."""
    like: Annotated[int | None, arg(metavar="I")] = None
    """With the appearance of training photograph I, counted from 0; by default the mean of all."""
    depth: bool = False
    """Draw depths too, near ones bright: depth_0000.png ..., or a film of its own, OUT-depth.mp4."""
    normals: bool = False
    """Draw the surfaces' normals too, world axes from -1 to 1 as red, green, blue from 0 to 1: normal_0000.png ..."""
    resume: bool = False
    """Keep the frames in the folder that are already what would be drawn."""
    background: Literal["auto", "white", "black", "none"] = "auto"
    """Behind what is transparent; auto: what was behind the photographs, white where they have alpha; none keeps it."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    backend: str = "auto"
    """The kernel family to use."""


@dataclasses.dataclass(frozen=True)
class NerfExport(Limits):
    """Write a trained radiance field's surface, or its cameras, in the scene's own world and scale."""

    field: Positional[Path]
    """A run's folder, or its field.safetensors."""
    out: Positional[Path]
    """A .ply, .obj, .glb or .stl for the surface, a .json for the cameras (nerfstudio's transforms.json)."""
    box: Annotated[str | None, arg(metavar="SIDE/2 | X0,Y0,Z0,X1,Y1,Z1")] = None
    """Where to look for a surface, in the scene's units; by default the field's box, or where cameras stand within it
    or there is none, what they see no farther from the middle than they are themselves."""
    resolution: int = 256
    """Cells along the box's longest side."""
    threshold: float | None = None
    """The density, per world unit, at which the surface lies; by default where a cell is half opaque, but no more than
    half of what the cameras see has."""
    smallest: Annotated[float, arg(metavar="SHARE")] = 0.01
    """Leave out connected pieces that have less than this part of the largest one's area; 0 keeps all."""
    keep_largest: bool = False
    """Keep the largest connected piece alone."""
    points: Annotated[int | None, arg(metavar="N")] = None
    """Write so many points of the surface instead of triangles (.ply)."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    backend: str = "auto"
    """The kernel family to use."""
