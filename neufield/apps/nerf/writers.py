"""Where the frames of a path go: numbered pictures in a folder, a film, or one picture."""

import abc
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from neufield.core.errors import ConfigError
from neufield.core.files import claimed, write_atomically
from neufield.formats.encode_video import FILMS, Add, open_film

_STILLS = (".png", ".jpg", ".jpeg")
_MARK = "neufield:frame"  # the key of a PNG's text under which is said what the frame was made of


class Reel(abc.ABC):
    """Takes the frames of a path in their order."""

    @abc.abstractmethod
    def holds(self, index: int, mark: str) -> bool:
        """Whether the frame is there already, made of the same as what ``mark`` stands for."""

    @abc.abstractmethod
    def put(self, index: int, mark: str, picture: Pillow.Image) -> None:
        """Write a frame."""


class Folder(Reel):
    """``<name>_0000.png``, ``<name>_0001.png`` ... in ``path``; each is whole or not there."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    def holds(self, index: int, mark: str) -> bool:
        """See :class:`Reel`."""
        try:
            with Pillow.open(self._file(index)) as picture:
                return picture.info.get(_MARK) == mark
        except OSError:  # absent, or no picture
            return False

    def put(self, index: int, mark: str, picture: Pillow.Image) -> None:
        """See :class:`Reel`."""
        text = PngInfo()
        text.add_text(_MARK, mark)
        write_atomically(self._file(index), lambda path: picture.save(path, pnginfo=text))

    def _file(self, index: int) -> Path:
        return self.path / f"{self.name}_{index:04d}.png"


class Film(Reel):
    """A film that is being written, never half there; ``add`` takes its next frame."""

    def __init__(self, add: Add) -> None:
        self.add = add

    def holds(self, index: int, mark: str) -> bool:
        """See :class:`Reel`."""
        del index, mark
        return False

    def put(self, index: int, mark: str, picture: Pillow.Image) -> None:
        """See :class:`Reel`."""
        del index, mark
        self.add(np.asarray(picture))


class Still(Reel):
    """One picture in a file of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def holds(self, index: int, mark: str) -> bool:
        """See :class:`Reel`."""
        del index, mark
        return False

    def put(self, index: int, mark: str, picture: Pillow.Image) -> None:
        """See :class:`Reel`."""
        del index, mark
        write_atomically(self.path, picture.save)


def is_still(out: Path) -> bool:
    """Whether ``out`` is to be one picture."""
    return out.suffix.lower() in _STILLS and not out.is_dir()


def is_film(out: Path) -> bool:
    """Whether ``out`` is to be a film. Raises ConfigError for the suffix of another kind of file."""
    suffix = out.suffix.lower()
    if suffix in FILMS and not out.is_dir():
        return True
    if not is_still(out) and re.fullmatch(r"\.[a-z][a-z0-9]{1,4}", suffix) and not out.is_dir():
        raise ConfigError(
            f"{out} ends in {out.suffix}, but a film ends in {', '.join(FILMS[:-1])} or {FILMS[-1]}; "
            f"one view in {_STILLS[0]}; for a folder of PNG frames give a name without such an ending"
        )
    return False


@contextlib.contextmanager
def open_reels(out: Path, names: Sequence[str], fps: float) -> Iterator[Mapping[str, Reel]]:
    """A reel for each of ``names``, the views' first: in one folder, or ``x.mp4``, ``x-depth.mp4`` ..."""
    files = {name: out if name == names[0] else out.with_name(f"{out.stem}-{name}{out.suffix}") for name in names}
    if is_still(out):
        yield {name: Still(file) for name, file in files.items()}
        return
    if not is_film(out):
        with claimed(out):
            yield {name: Folder(out, name) for name in names}
        return
    with contextlib.ExitStack() as stack:
        yield {name: Film(stack.enter_context(open_film(film, fps))) for name, film in files.items()}
