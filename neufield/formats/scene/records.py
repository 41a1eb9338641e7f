"""The records of posed photographs, whichever file they came from."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, Shaped, UInt8
from torch import Tensor

from neufield.core.cameras import Camera
from neufield.core.errors import DataError
from neufield.formats.read import read_stored
from neufield.formats.scene.fold import beyond_circle, beyond_fold
from neufield.formats.scene.pictures import stored_samples
from neufield.formats.scene.read_log import Note

Split = Literal["train", "val", "test", ""]


@dataclasses.dataclass(frozen=True)
class Mask:
    """Which pixels of a photograph count. Files disagree on the polarity; :meth:`read` has one: True counts.

    ``ignored`` says what the stored picture means: "black" (nerfstudio: zero is ignored) or "white" (instant-ngp's
    ``dynamic_mask_*.png``: non-zero is ignored).
    """

    path: Path
    ignored: Literal["black", "white"] = "black"

    def read(self) -> Bool[np.ndarray, "h w"]:
        """True where the photograph counts."""
        values = read_stored(self.path).values  # as the photograph's
        colors = values[..., :3] if values.shape[2] >= 3 else values[..., :1]
        return np.equal(colors.any(axis=2), self.ignored == "black")

    def doubts(self) -> list[str]:
        """What of the stored picture may not be what was meant."""
        values = read_stored(self.path).values
        found = []
        with self.path.open("rb") as file:
            lossy = file.read(3) == b"\xff\xd8\xff"
        if lossy:
            gray = float(((values > 0) & (values < 255)).mean())
            found.append(
                f"The mask is a JPEG, whose black is not quite 0: {100 * gray:.1f} % of it is gray, which counts as "
                "white. Save it as PNG."
            )
        solid = 1 if values.dtype == np.float32 else np.iinfo(values.dtype).max
        if values.shape[2] in (2, 4) and values[..., -1].min() < solid:
            found.append("The mask has an alpha channel, which is not looked at: its colors decide.")
        return found


@dataclasses.dataclass(frozen=True)
class Depth:
    """A picture of depths: a stored value times ``unit`` is a distance in world units along the viewing axis."""

    path: Path
    unit: float


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One photograph of a scene: its file, its camera, its split, its mask.

    Args:
        name: of the photograph, with forward slashes, relative to the scene's folder where it lies inside.
        image: the picture's file, or its samples (H, W, C) where the scene file holds them itself.
        camera: pose in the file's own world and scale; intrinsics in pixels of the picture as it lies on disk, its
            EXIF orientation not applied.
        split: "train", "val", "test", or "" where the file leaves the frame out of all of them.
        mask: which pixels count; None means all (an alpha channel is the image's own affair).
        circle: radius in pixels around the middle of the picture beyond which a fisheye shows nothing.
        depth: measured depths.
        time: of a moving scene, in the file's own unit.
        near: depth along the viewing axis where the scene begins, in world units.
        far: where it ends.
    """

    name: str
    image: Path | np.ndarray
    camera: Camera
    split: Split = ""
    mask: Mask | None = None
    depth: Depth | None = None
    time: float | None = None
    near: float | None = None
    far: float | None = None
    circle: float | None = None

    def counts(self) -> Bool[np.ndarray, "h w"] | None:
        """True where a pixel shows the scene, by mask, lens and circle; None where all do."""
        beyond = [] if self.circle is None else [beyond_circle(self.camera, self.circle)]
        folded = beyond_fold(self.camera)
        beyond += [] if folded is None else [folded]
        found = [~each.numpy() for each in beyond] + ([] if self.mask is None else [self._masked(self.mask)])
        return functools.reduce(np.logical_and, found) if found else None

    def _masked(self, mask: Mask) -> np.ndarray:
        counts = mask.read()
        if counts.shape != (self.camera.height, self.camera.width):
            height, width = counts.shape
            raise DataError(
                f"the mask {mask.path} is {width} x {height} pixels, but {self.name} is {self.camera.width} x "
                f"{self.camera.height}; bring it to that size, or remove it"
            )
        return counts

    def samples(self) -> Shaped[np.ndarray, "h w c"]:
        """The picture as its camera sees it: rows as stored (``read_image`` would apply an EXIF orientation), sRGB."""
        return _samples(self.image)


@functools.singledispatch
def _samples(image: Any) -> np.ndarray:
    return stored_samples(image)


@_samples.register
def _(image: np.ndarray) -> np.ndarray:
    return image


@dataclasses.dataclass(frozen=True, eq=False)
class Observations:
    """Which frame saw which point where: rows of ``frame (K,)``, ``point (K,)`` and ``pixel (K, 2)`` (x, y)."""

    frame: Int64[Tensor, " k"]
    point: Int64[Tensor, " k"]
    pixel: Float64[Tensor, "k 2"]


@dataclasses.dataclass(frozen=True, eq=False)
class Points:
    """Sparse points of the scene in world units, ``xyz (P, 3)``, with 8-bit colors ``rgb (P, 3)``."""

    xyz: Float64[Tensor, "p 3"]
    rgb: UInt8[Tensor, "p 3"]
    observations: Observations | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """Posed photographs as their file means them, in the file's own world frame and scale.

    Args:
        frames: the photographs that exist, in the file's order.
        dialect: that the file was read as.
        box: lower and upper corner (3,) float64 of what the file says is the scene, in world units.
        points: sparse points.
        original_from_world: (4, 4) float64, takes the file's world back to the frame its maker started from (undoes
            nerfstudio's ``applied_transform`` and ``applied_scale``); the identity where the file does not say.
        absent: the photographs that the file lists and that are not there.
        forward_facing: all cameras look the same way, so that normalized device coordinates are meaningful (LLFF).
        notes: every key that was ignored, every contradiction and how it was decided.
    """

    frames: tuple[Frame, ...]
    dialect: str
    box: tuple[Tensor, Tensor] | None = None
    points: Points | None = None
    original_from_world: Float64[Tensor, "4 4"] = dataclasses.field(
        default_factory=lambda: torch.eye(4, dtype=torch.float64)
    )
    forward_facing: bool = False
    absent: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    def split(self, name: Split) -> tuple[Frame, ...]:
        """The frames of one split, in order."""
        return tuple(frame for frame in self.frames if frame.split == name)
