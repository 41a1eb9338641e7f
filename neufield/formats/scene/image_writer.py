"""Where a written scene has its pictures: referred to by relative paths, or copied beside it."""

import functools
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.formats.encode import write_image
from neufield.formats.pixels import facts_of
from neufield.formats.scene.records import Frame, Scene, Split


def by_split(scene: Scene) -> dict[Split, list[Frame]]:
    """The frames of each split that has any, those of no split left out."""
    splits: dict[Split, list[Frame]] = {}
    for frame in scene.frames:
        if frame.split:
            splits.setdefault(frame.split, []).append(frame)
    return splits


def save_text(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and rename it."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


class ImageWriter:
    """Puts the pictures of ``scene`` in ``folder`` and says the paths that a file there calls them by.

    Samples that lie in memory are always written, as PNG; files only when ``copy`` is set.
    """

    def __init__(self, scene: Scene, folder: Path, copy: bool) -> None:
        self.folder = folder
        self.copy = copy
        self._names = dict(zip(map(id, scene.frames), copied_names(scene), strict=True))

    def picture(self, frame: Frame, under: str = "") -> str:
        """The photograph's path from the folder ``under`` (inside the scene's)."""
        base = self.folder / under
        name = self._names[id(frame)]
        target = base / (name.removeprefix(f"{under}/") if under else name)
        return _relative(_place(frame.image, target, self.copy), base)

    def name(self, frame: Frame) -> str:
        """The photograph's name, as it would be copied."""
        return self._names[id(frame)]

    def mask(self, frame: Frame) -> str:
        """The path of the mask in nerfstudio's polarity: black is ignored."""
        mask = _given(frame.mask)
        target = self.folder / "masks" / PurePosixPath(self._names[id(frame)]).with_suffix(".png")
        if mask.ignored == "black":
            target = target.with_suffix(mask.path.suffix)
            return _relative(_place(mask.path, target, self.copy), self.folder)
        return _relative(_place(_picture(mask.read()), target, True), self.folder)

    def mask_beside(self, frame: Frame, path: Path) -> None:
        """Put the mask at ``path`` from the folder in instant-ngp's polarity, if it is not there and may be put."""
        target = self.folder / path
        if frame.mask is None or _same(frame.mask.path, target) or not self.copy:
            return
        if frame.mask.ignored == "white" and frame.mask.path.suffix == target.suffix:
            _place(frame.mask.path, target, True)
        else:
            _place(_picture(~frame.mask.read()), target, True)

    def depth(self, frame: Frame) -> str:
        """The path of the depths."""
        source = _given(frame.depth).path
        target = self.folder / "depths" / PurePosixPath(self._names[id(frame)]).with_suffix(source.suffix)
        return _relative(_place(source, target, self.copy), self.folder)


def copied_names(scene: Scene) -> list[str]:
    """A name inside the folder for each photograph, all different."""
    names = []
    for frame in scene.frames:
        name = PurePosixPath(frame.name.replace("\\", "/"))
        inside = name.name if name.is_absolute() or ".." in name.parts else name.as_posix()
        names.append(_named(frame.image, inside))
    if len({name.lower() for name in names}) < len(names):
        width = len(str(len(names)))
        names = [f"images/{i:0{width}d}_{PurePosixPath(name).name}" for i, name in enumerate(names)]
    return names


@functools.singledispatch
def _named(image: Any, name: str) -> str:
    return str(PurePosixPath(name).with_suffix(image.suffix))


@_named.register
def _(image: np.ndarray, name: str) -> str:
    return f"images/{PurePosixPath(name).name}" if name.endswith(".png") else f"images/{name}.png"


@functools.singledispatch
def _place(image: Any, target: Path, copy: bool) -> Path:
    """Where the picture lies in the end."""
    if not copy or _same(image, target):
        return image
    try:
        write_atomically(target, lambda temporary: shutil.copyfile(image, temporary))
    except OSError as problem:
        raise DataError(f"cannot copy {image}: {problem.strerror or problem}; check its permissions") from None
    return target


@_place.register
def _(image: np.ndarray, target: Path, copy: bool) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    write_image(target, image, facts_of(image, "srgb"))
    return target


def _picture(marked: np.ndarray) -> np.ndarray:
    return (marked[..., None] * np.uint8(255)).astype(np.uint8)


def _given(thing: Any) -> Any:
    assert thing is not None, "the writer asks only for what the frame has"
    return thing


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.exists() and one.samefile(other)


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()
