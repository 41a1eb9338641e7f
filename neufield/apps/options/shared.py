"""Flags that several commands have, written once: a command inherits the sets that it needs."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

Images = Annotated[str | None, arg(metavar="FOLDER")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What every command that reads files has."""

    memory_budget: Annotated[str | None, arg(metavar="6GB")] = None
    """What may be taken of the memory for one file or field; by default what the machine has free."""
    threads: Annotated[int | None, arg(metavar="N")] = None
    """Threads to compute with on the CPU; by default one for each core. Fewer leave cores to other programs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine(Limits):
    """Where a field is computed."""

    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes a CUDA GPU where there is one."""
    backend: str = "auto"
    """auto, or the one kernel family to use (see `neufield doctor`); a named one never falls back."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(Machine):
    """How long training takes, where it is written, and how it goes on."""

    steps: Annotated[int | None, arg(metavar="N")] = None
    """Optimizer steps of a run; by default the preset's, more for a large picture."""
    time_budget: Annotated[float | None, arg(metavar="SECONDS")] = None
    """Seconds of training of a run; the learning rate anneals over them. With it, --steps is only a limit."""
    settings: Annotated[
        list[list[str]],
        UseAppendAction,
        arg(
            name="set",
            metavar="KEY=VALUE [KEY=VALUE ...]",
            help="Change one number of the field or its recipe; in a comparison of all, or of one: PRESET:KEY=VALUE.",
        ),
    ] = dataclasses.field(default_factory=list)
    """What is changed of the field or its recipe."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """The folder to write, used as given; by default a new one in runs/, by the name and the time."""
    deterministic: bool = False
    """The same bits every run on CUDA too, where sums otherwise end in any order; slower. No change on a CPU."""
    resume: bool = False
    """Go on with what is in --out: what is finished stays, what was cut off goes on from its last saved state."""
    overwrite: bool = False
    """Replace the run that --out already holds."""
    save_every: float = 20.0
    """Seconds between saves of the resumable state."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seed:
    """What a single run has."""

    seed: int = 0
    """Decides every random number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureTraining:
    """How a picture is learned."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """Type of the matrix products; weights stay fp32."""
    replay: bool = True
    """On CUDA, record a training step once and replay it, where that is possible."""
    sampling: Literal["centers", "continuous"] = "centers"
    """Train on pixel centers, or anywhere on the bilinear picture between them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How the files of a scene are read."""

    images: Images = None
    """The folder of photographs beside those that the scene names, for instance images_8; cameras follow their size."""
    dialect: Literal["auto", "blender", "nerfstudio", "instant-ngp", "llff", "colmap", "colmap-text", "tiny-nerf"] = (
        "auto"
    )
    """Whose files they are, where those of several lie in one folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneTraining(Reading):
    """How a scene's radiance field is wired and taught."""

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
    """Learn K numbers of each photograph that change its colors (weather, light); unseen views get their mean.

    Set its rate, and those of what follows, by appearance.lr, exposure.lr, refinement.lr, refinement.prior_weight.
    """
    exposure: bool = False
    """Learn each photograph's gain and offset per color channel; unseen views get the mean exposure."""
    refine_cameras: bool = False
    """Learn small motions of the training cameras; those of the test views stay as given."""
    background: Literal["auto", "random", "white", "black"] = "auto"
    """Behind the photographs while training; auto: random with alpha, without it the backdrop that their borders show.

    Views with alpha are judged on the protocol's.
    """
    hold_out: Annotated[int, arg(metavar="N")] = 0
    """Training photographs to keep out and watch progress by, for a scene that has no val split."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judging:
    """What a radiance field is judged by."""

    protocol: str = "nerf"
    """Whose way of judging test views is the headline: nerf, ingp, nerfstudio, nerfbaselines; all are printed."""
    test_every: Annotated[int, arg(metavar="N")] = 1
    """Judge by every n-th test view only, from the first on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Serving:
    """Where a viewer's page is."""

    viewer_port: Annotated[int | None, arg(metavar="PORT")] = None
    """The page's port; by default the first free one from 8080."""
    viewer_host: str = "127.0.0.1"
    """Where the page is served: by default to this machine alone, 0.0.0.0 for everybody who reaches it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathOptions:
    """Along which cameras a radiance field is drawn, and how."""

    path: str = "interpolate"
    """Of a radiance field: interpolate (the training cameras), orbit, spiral (for cameras that look the same way), test
    (the cameras that --scene tests by), nerfstudio's camera_path.json, or instant-ngp's base_cam.json."""
    scene: Annotated[Path | None, arg(metavar="SCENE")] = None
    """The posed photographs, for --path test."""
    images: Images = None
    """Of --scene: the folder of photographs beside those that it names, for instance images_8."""
    frames: int = 60
    """How many; test cameras and a nerfstudio path have their own number."""
    fps: float = 30.0
    """Frames a second of a film."""
    size: Annotated[str | None, arg(metavar="WxH")] = None
    """Width and height in pixels, for instance 1920x1080; by default the original's, the path's or the cameras'."""
    like: Annotated[int | None, arg(metavar="I")] = None
    """With the appearance of training photograph I, counted from 0; by default the mean of all."""
    time: Annotated[float | None, arg(metavar="T")] = None
    """Of a field that moves: the moment to draw, in the scene's own unit; by default the film runs from the first to
    the last, and test cameras have their own."""
    depth: bool = False
    """Draw depths too, near ones bright: depth_0000.png ..., or a film of its own, OUT-depth.mp4."""
    normals: bool = False
    """Draw the surfaces' normals too, world axes from -1 to 1 as red, green, blue from 0 to 1: normal_0000.png ..."""
    resume: bool = False
    """Keep the frames in the folder that are already what would be drawn."""
    background: Literal["auto", "white", "black", "none"] = "auto"
    """Behind what is transparent; auto: what was behind the photographs, white where they have alpha; none keeps it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurfaceOptions:
    """Which surface of a radiance field is written."""

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class PortableOptions:
    """How a whole field is written, whatever it holds."""

    to: Literal["weights", "onnx", "torch", "html", "ingp"] | None = None
    """What to write; by default what its suffix says. weights (.safetensors): the field again, in fewer bytes; onnx
    (.onnx) and torch (.pt2, for torch.export.load): a graph that runs without neufield; ingp (.ingp): an instant-ngp
    snapshot, of a radiance field of the preset ngp."""
    storage: Literal["float32", "float16", "int8", "float16-zlib", "int8-zlib"] | None = None
    """How --to weights keeps numbers; int8: 8 bits each and a step a row; zlib: entropy-coded. Default: int8-zlib."""


@dataclasses.dataclass(frozen=True)
class TrainedField(Machine):
    """What every command for a trained field has."""

    field: Positional[Path]
    """A run's folder, or its field.safetensors."""


@dataclasses.dataclass(frozen=True)
class PathRendering(PathOptions, TrainedField):
    """What every command that draws a trained field has."""
