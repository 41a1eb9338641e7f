"""``write_scene``: a scene in any of the dialects, with nothing lost in silence."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from neufield.core.errors import DataError, nearest
from neufield.formats.scene import blender, colmap, llff, nerfstudio, ngp, npz
from neufield.formats.scene.image_writer import ImageWriter
from neufield.formats.scene.records import Scene


class _Writer(NamedTuple):
    """A format: ``unsupported(scene, copy_images)`` lists what it cannot hold, ``write`` writes the rest."""

    unsupported: Callable[[Scene, bool], list[str]]
    write: Callable[[Scene, Path, ImageWriter], None]


_WRITERS = {
    "blender": _Writer(blender.unsupported, blender.write),
    "nerfstudio": _Writer(nerfstudio.unsupported, nerfstudio.write),
    "instant-ngp": _Writer(ngp.unsupported, ngp.write),
    "llff": _Writer(llff.unsupported, llff.write),
    "colmap": _Writer(colmap.unsupported, functools.partial(colmap.write, form="bin")),
    "colmap-text": _Writer(colmap.unsupported, functools.partial(colmap.write, form="txt")),
    "tiny-nerf": _Writer(npz.unsupported, npz.write),
}


def write_scene(scene: Scene, folder: str | Path, dialect: str, lossy: bool = False, copy_images: bool = False) -> None:
    """Write ``scene`` into ``folder`` so that :func:`read_scene` and the dialect's own program read it.

    Args:
        scene: to write.
        folder: is made if it is not there; each file is written beside its place and renamed.
        dialect: one of those of :func:`read_scene`; "colmap" is binary.
        lossy: write although the dialect cannot hold all of the scene.
        copy_images: copy the pictures into ``folder``; otherwise they stay where they are and are referred to by
            relative paths. Pictures in memory are always written.

    Raises DataError that names what would be lost, unless ``lossy``, and for what the dialect cannot express at all.
    """
    if dialect not in _WRITERS:
        raise DataError(f"the dialect '{dialect}' is unknown{nearest(dialect, _WRITERS)}")
    if not scene.frames:
        raise DataError("the scene has no photographs, but at least one was expected; read it again")
    writer = _WRITERS[dialect]
    lost = writer.unsupported(scene, copy_images)
    if lost and not lossy:
        raise DataError(
            f"{dialect} cannot hold {'; '.join(lost)}; pass lossy=True to write the rest, or choose another dialect"
        )
    folder = Path(folder)
    writer.write(scene, folder, ImageWriter(scene, folder, copy_images))
