"""Where the photographs of a scene lie, and how large they are: found without decoding any."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from neufield.core.errors import DataError, NeufieldError
from neufield.core.files import check_name
from neufield.signals import decode_heif, decode_oiio
from neufield.signals.pixels import as_stored, damaged
from neufield.signals.read import read_image
from neufield.signals.scene.notes import Notebook

# The order in which instant-ngp tries them; a nerf-synthetic path always means .png, which comes first here too.
_SUFFIXES = ("png", "jpg", "jpeg", "bmp", "gif", "tga", "pic", "pnm", "psd", "exr", "webp", "tif", "tiff", "JPG", "PNG")
_PHOTOGRAPH = re.compile(
    r"\.(png|jpe?g|bmp|gif|tga|exr|webp|tiff?|hdr|p[pgn]m|jp2|j2k|jxl|avif|hei[cf]|hif)$", re.IGNORECASE
)
_ORIENTATION = 274


def natural(name: str) -> list[tuple[str, int, str]]:
    """A sort key by which 9.png comes before 10.png."""
    return [(text, int(digits or 0), digits) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def find_picture(root: Path, text: str, notes: Notebook) -> Path | None:
    """The file that ``text`` of a scene in ``root`` means, or None: back-slashes, and suffixes left out, allowed."""
    if "\\" in text:
        notes.add("info", "file_path", "Back-slashes in paths are read as slashes.", text)
    path = Path(os.path.normpath(root / text.replace("\\", "/")))
    if path.is_file():
        return path
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


def picture_size(path: Path, notes: Notebook) -> tuple[int, int]:
    """Width and height of the picture as stored, from its header alone."""
    size, turned = None, False
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if decode_heif.knows(head):
            return decode_heif.size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow thinks of the header is said when the picture is read
            with Image.open(path) as picture:
                turned = _orientation(picture) != 1
                size = picture.size
    except UnidentifiedImageError:
        pass
    except NeufieldError:
        raise
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror or problem}; check its permissions") from None
    except Exception as problem:  # each of Pillow's decoders fails in its own way
        raise damaged(path, problem) from None
    if size is None:
        file = decode_oiio.open_file(path)
        size = (file.spec().width, file.spec().height)
        file.close()
    if turned:
        text = "The photograph has an EXIF orientation; its camera is that of the rows as stored, as other readers do."
        notes.add("warning", "exif", text, path.name)
    return size


def stored_samples(path: Path) -> np.ndarray:
    """The picture (H, W, C) in rows as stored, which is what its camera is for: an EXIF orientation is undone."""
    values, orientation = read_image(path).values, orientation_of(path)
    return np.ascontiguousarray(as_stored(values, orientation)) if orientation != 1 else values


def orientation_of(path: Path) -> int:
    """The EXIF orientation of the picture, 1 to 8; 1, upright, where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                orientation = _orientation(picture)
    except (UnidentifiedImageError, OSError):
        return 1
    return orientation if orientation in range(2, 9) else 1


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation; asked for EXIF that is not there, Pillow decodes the whole picture to look behind it."""
    return picture.getexif().get(_ORIENTATION, 1) if "exif" in picture.info or picture.format == "TIFF" else 1


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
