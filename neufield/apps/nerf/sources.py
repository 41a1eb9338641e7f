"""What ``neufield nerf process`` is given: the photographs of a folder, or a film, and what else lies there."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from neufield.apps.options import NerfProcess
from neufield.core.errors import ConfigError, DataError
from neufield.formats import decode_heif
from neufield.formats.scene.pictures import pictures_in
from neufield.formats.video import FILMS, Stream, find_stream

FEWEST = 3  # photographs: two to train on and one to test by
_HEIF = (".heic", ".heif", ".hif")
_RAW = (".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw")
_WHY = dict.fromkeys(FILMS, "a film is given by its own name") | dict.fromkeys(
    _RAW, "raw: develop them to JPEG, PNG or TIFF first"
)
_OTHER = "no photographs that are read: convert them to PNG or JPEG if they are pictures"


@dataclasses.dataclass(frozen=True)
class Sources:
    """The ``photographs`` to pose, or the ``film``; ``unused`` says of every other file in the folder, why it is."""

    photographs: Sequence[Path] = ()
    film: Stream | None = None
    unused: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def remarks(self) -> list[str]:
        """What was passed over: a sentence for all files, with their kinds and what to do, and one for each stream."""
        return [f"not used: {describe(self.unused)}"] * bool(self.unused) + list(self.film.notes if self.film else ())


def find_sources(options: NerfProcess) -> Sources:
    """The photographs, or the film alone. Raises DataError for fewer than a scene needs."""
    source = options.source
    if not source.exists():
        raise DataError(f"there is no file or folder {source}; check the path")
    if options.frames is not None and options.frames < FEWEST:
        raise ConfigError(f"--frames is {options.frames}, but a scene needs at least {FEWEST}")
    if source.is_file():
        if source in pictures_in(source.parent) and source.suffix.lower() != ".gif":
            raise DataError(f"{source} is one photograph; give the folder that holds all of them, or a video")
        film = find_stream(source)
        if film.frames < FEWEST:
            raise DataError(f"{source} has {film.frames} frames, but a scene needs at least {FEWEST}")
        return Sources(film=film)
    if options.frames is not None:
        raise ConfigError(f"--frames is for a video, but {source} is a folder of photographs; leave it out")
    return _in_folder(source)


def _in_folder(folder: Path) -> Sources:
    photographs, unused = [], {}
    pictures = set(pictures_in(folder))
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix.lower() in _HEIF and not decode_heif.installed():
            unused[path.name] = 'pip install "neufield[heif]" reads them'
        elif path in pictures:
            photographs.append(path)
        else:
            unused[path.name] = _WHY.get(path.suffix.lower(), _OTHER)
    besides = f"; not used: {describe(unused)}" if unused else ""
    if not photographs:
        inside = next((path for path in sorted(folder.iterdir()) if path.is_dir() and pictures_in(path)), None)
        hint = f"those of {inside} are found by that name" if inside else "name the folder that holds them"
        raise DataError(f"there are no photographs in {folder} (PNG, JPEG, TIFF ...); {hint}{besides}")
    if len(photographs) < FEWEST:
        raise DataError(
            f"{folder} holds {len(photographs)} photographs, but a scene needs at least {FEWEST}; add some{besides}"
        )
    return Sources(photographs, unused=unused)


def describe(unused: Mapping[str, str]) -> str:
    """3 .heic (pip install ...), 1 .dng (raw: ...); kinds of one reason together."""
    kinds: dict[str, Counter[str]] = {}
    for name, why in unused.items():
        kinds.setdefault(why, Counter())[Path(name).suffix.lower() or name] += 1
    return ", ".join(
        f"{', '.join(f'{count} {kind}' for kind, count in counts.items())} ({why})" for why, counts in kinds.items()
    )
