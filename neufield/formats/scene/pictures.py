"""Where the photographs of a scene lie, and how large they are: found without decoding any."""

import functools
import os
import re
from pathlib import Path

import numpy as np

from neufield.core.errors import DataError
from neufield.core.files import check_name
from neufield.formats.color import name_of as name_of_profile
from neufield.formats.color import to_srgb
from neufield.formats.metadata import read_metadata
from neufield.formats.pixels import eight_bit
from neufield.formats.read import read_stored
from neufield.formats.scene.read_log import ReadLog

# The order in which instant-ngp tries them; a nerf-synthetic path always means .png, which comes first here too.
_SUFFIXES = ("png", "jpg", "jpeg", "bmp", "gif", "tga", "pic", "pnm", "psd", "exr", "webp", "tif", "tiff", "JPG", "PNG")
_DIGITS = 1000  # of a number in a name that is counted by; Python's own limit is 4300
_PHOTOGRAPH = re.compile(
    r"\.(png|jpe?g|bmp|gif|tga|exr|webp|tiff?|hdr|p[pgn]m|jp2|j2k|jxl|avif|hei[cf]|hif)$", re.IGNORECASE
)


def natural(name: str) -> list[tuple[str, int, str]]:
    """A sort key by which 9.png comes before 10.png."""
    return [(text, int(digits[:_DIGITS] or 0), digits) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def find_picture(root: Path, text: str, notes: ReadLog) -> Path | None:
    """The file that ``text`` of a scene in ``root`` means, or None: back-slashes, and suffixes left out, allowed."""
    if "\\" in text:
        notes.add("info", "file_path", "Back-slashes in paths are read as slashes.", text)
    path = Path(os.path.normpath(root / text.replace("\\", "/")))
    if path.is_file():
        return path
    spelt = _spelt(path)
    if spelt is not None:
        notes.add(
            "warning", "file_path", "The name differs from the file's in capital letters; the file is read.", text
        )
        return spelt
    if not path.name:  # of "/", which is no picture
        return None
    found = [p for p in (path.with_name(f"{path.name}.{suffix}") for suffix in _SUFFIXES) if p.is_file()]
    if not found:
        return None
    kinds = list(dict.fromkeys(p.suffix for p in found))
    if len(kinds) > 1:
        text = f"The path has no suffix and {' and '.join(kinds)} exist; {kinds[0]} is read."
        notes.add("warning", "file_path", text, path.name)
    else:
        notes.add("info", "file_path", f"The path has no suffix; {kinds[0]} was found.", path.name)
    return found[0]


def _spelt(path: Path) -> Path | None:
    """The file that ``path`` would be where capital letters do not count, as on the disk that it was written on."""
    if not path.parent.is_dir():
        parent = _spelt_folder(path.parent)
        return None if parent is None else _spelt(parent / path.name)
    found = _names(path.parent, path.parent.stat().st_mtime_ns).get(path.name.casefold())
    return path.with_name(found) if found and path.with_name(found).is_file() else None


def _spelt_folder(path: Path) -> Path | None:
    if path.is_dir():
        return path
    above = _spelt_folder(path.parent) if path.parent != path else None
    found = None if above is None else _names(above, above.stat().st_mtime_ns).get(path.name.casefold())
    return None if above is None or found is None or not (above / found).is_dir() else above / found


@functools.lru_cache(maxsize=64)
def _names(folder: Path, changed: int) -> dict[str, str]:
    """What is in ``folder``, last ``changed`` then, without capital letters -> as it is spelt."""
    try:
        return {name.casefold(): name for name in sorted(os.listdir(folder), reverse=True)}
    except OSError:  # a folder that may not be listed
        return {}


def picture_size(path: Path, notes: ReadLog) -> tuple[int, int]:
    """Width and height of the picture in its rows as stored, from its header alone."""
    told = read_metadata(path)
    if told.orientation != 1:
        text = "The photograph has an EXIF orientation; its camera is that of the rows as stored, as other readers do."
        notes.add("warning", "exif", text, path.name)
    if told.profile:
        text = f"The photograph has the color profile '{name_of_profile(told.profile)}'; it is converted to sRGB."
        notes.add("info", "color", text, path.name)
    for text in told.notes:
        notes.add("warning", "picture", text)
    return told.width, told.height


def stored_samples(path: Path) -> np.ndarray:
    """The picture (H, W, C) in rows as stored, which is what its camera is for: an orientation is not applied.

    Colors are sRGB: where the picture has another profile they are converted, and 16 bits become 8.
    """
    pixels = read_stored(path)
    return to_srgb(eight_bit(pixels.values), pixels.profile) if pixels.profile else pixels.values


def orientation_of(path: Path) -> int:
    """The orientation of the picture, EXIF tag 274; 1, upright, where there is none."""
    return read_metadata(path).orientation


def name_of(path: Path, root: Path) -> str:
    """The name of a frame: its path from ``root``, or the whole path where it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def pictures_in(folder: Path) -> list[Path]:
    """The photographs directly in ``folder``, sorted letter by letter, masks of instant-ngp aside."""
    found = [
        path
        for path in folder.iterdir()
        if _PHOTOGRAPH.search(path.name) and not path.name.startswith((".", "dynamic_mask_"))
    ]
    for path in found:
        check_name(path.name)
    return sorted(found, key=lambda path: path.name)


def image_folders(root: Path, wish: str | None) -> list[Path]:
    """Folders that may hold the photographs: the one wished for, else images, images_2, images_4 ..."""
    if wish is not None:
        if not (root / wish).is_dir():
            raise DataError(f"there is no folder {root / wish}; name a folder of photographs inside {root}")
        return [root / wish]
    found = [p for p in root.iterdir() if p.is_dir() and re.fullmatch(r"images(_\d+)?", p.name)]
    return sorted(found, key=lambda path: natural(path.name))


def held_out(count: int, every: int) -> list[bool]:
    """Which of ``count`` sorted frames are for testing: one in ``every``, from the first; none where 0 is asked for."""
    if every < 0:
        raise ValueError(f"holdout is {every}, but it must be 0 (none) or the distance between test frames, such as 8")
    return [every > 0 and count > 1 and index % every == 0 for index in range(count)]
