"""``neufield nerf process``: photographs or a video in, a scene with poses out, which ``nerf train`` reads."""

import contextlib
import dataclasses
import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from neufield.apps.console import Terminal, bars, words
from neufield.apps.nerf.posing import MODELS, Colmap, Tick, all_pairs, neighboring_pairs, registered
from neufield.apps.nerf.sources import FEWEST, Sources, describe, find_sources
from neufield.apps.options import NerfProcess
from neufield.core.errors import DataError, command, some
from neufield.core.files import atomic_folder
from neufield.formats.encode import write_image
from neufield.formats.pixels import facts_of
from neufield.formats.read import read_stored
from neufield.formats.scene.pictures import orientation_of
from neufield.formats.video import evenly_spaced_frames, sharpest_frames

_FRAMES = 120  # of a video, where nobody says how many
_ALL_PAIRS = 200  # photographs up to which every one is compared with every other
_KEPT = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".tga")  # COLMAP reads the rest of ours in no or few builds
_RESULT = "process.json"
_OURS = {"images", "sparse", _RESULT}
_PICK = {"sharp": sharpest_frames, "even": evenly_spaced_frames}


@dataclasses.dataclass(frozen=True)
class ImageRecord:
    """A picture in the scene's folder of images: its ``name`` there, its size in pixels, its EXIF orientation."""

    name: str
    size: tuple[int, int]
    orientation: int = 1


def process(options: NerfProcess) -> None:
    """Gather, pose, and put everything into place at once. Every wrong option is found before the first step."""
    console = Terminal()
    _check_out(options.out, options.overwrite)
    sources = find_sources(options)
    for remark in sources.remarks():
        console.print(f"note: {remark}", style="yellow", soft_wrap=True)
    begun = time.perf_counter()
    with atomic_folder(options.out) as folder, _bars(console) as bars:
        work = folder / "work"
        work.mkdir()
        colmap = Colmap(folder / "images", work)  # better missed now than after the video
        photographs = _gather(options, sources, folder / "images", bars)
        model = _pose(options, colmap, photographs, sources, bars)
        posed = [image.name for image in registered(model)]
        (folder / "sparse" / "0").mkdir(parents=True)
        model.write(str(folder / "sparse" / "0"))
        shutil.rmtree(work)
        names = [photograph.name for photograph in photographs]
        result = _result(options, colmap, model, names, posed) | {"not_used": dict(sources.unused)}
        result |= {"notes": sources.remarks(), "seconds": round(time.perf_counter() - begun, 1)}
        (folder / _RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    left_out = result["left_out"]
    console.print(
        f"{options.out}: {len(posed)} of {len(names)} photographs posed"
        f"{f' (not {some(left_out)})' if left_out else ''}, {result['points']:,} points, "
        f"{result['reprojection_error']:.2f} pixels off on average, in {result['seconds']:.0f} s",
        soft_wrap=True,
    )
    console.print(command("neufield", "nerf", "train", options.out), soft_wrap=True)


def _check_out(out: Path, overwrite: bool) -> None:
    """Refuse to replace anything but a scene of ours, and that only where it is asked for."""
    if out.exists() and not out.is_dir():
        raise DataError(f"--out {out} is a file, but a folder is written; choose another name")
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    foreign = sorted(there - _OURS) if _RESULT in there else sorted(there)
    if foreign:
        raise DataError(f"--out {out} holds other things ({some(foreign)}); choose another folder")
    if there and not overwrite:
        raise DataError(
            f"--out {out} already holds a processed scene; add --overwrite to replace it, or choose another folder"
        )


def _gather(options: NerfProcess, sources: Sources, images: Path, bars: Progress) -> list[ImageRecord]:
    """Put the photographs, or frames of the video, into ``images``."""
    images.mkdir()
    taken: list[ImageRecord] = []
    if sources.film is None:
        with _bar(bars, "reading the photographs", len(sources.photographs)) as tick:
            for path in sources.photographs:
                taken.append(_copy(path, images))
                tick(len(taken))
        return taken
    total = sources.film.frames
    count = min(options.frames or _FRAMES, total)
    with _bar(bars, "reading the video", count) as tick:
        for place, values in _PICK[options.pick](options.source, count):
            name = f"frame_{place:0{len(str(total))}d}.png"
            write_image(images / name, values, facts_of(values, "srgb"))
            taken.append(ImageRecord(name, (values.shape[1], values.shape[0])))
            tick(len(taken))
    return taken


def _copy(path: Path, images: Path) -> ImageRecord:
    """Copy it byte for byte, or write a PNG of the same pixels, rows as stored, where COLMAP would not read it."""
    pixels = read_stored(path)  # COLMAP takes what a damaged file still holds for the whole of it
    values = pixels.values
    if values.dtype == np.float32:
        raise DataError(f"{path} holds floating-point samples, but photographs of 8 or 16 bits were expected")
    name = re.sub(r"[\s#]", "_", path.name)  # COLMAP's list of pairs is of words
    if path.suffix.lower() in _KEPT:
        name = _free(name, images)
        shutil.copyfile(path, images / name)
    else:
        name = _free(f"{name}.png", images)
        write_image(images / name, values, facts_of(values, "srgb", pixels.profile))
    return ImageRecord(name, (values.shape[1], values.shape[0]), orientation_of(path))


def _free(name: str, images: Path) -> str:
    while (images / name).exists():
        name = f"_{name}"
    return name


def _pose(
    options: NerfProcess, colmap: Colmap, photographs: Sequence[ImageRecord], sources: Sources, bars: Progress
) -> Any:
    """The reconstruction, level, with as many photographs as asked for."""
    names = [photograph.name for photograph in photographs]
    for size in dict.fromkeys(photograph.size for photograph in photographs):
        same = [photograph.name for photograph in photographs if photograph.size == size]
        colmap.add(same, options.camera_model, options.share_intrinsics)
    with _bar(bars, "extracting features", len(names)) as tick:
        colmap.extract(names, tick)
    sequential = _sequential(options, len(names))
    pairs = neighboring_pairs(names) if sequential else all_pairs(names)
    with _bar(bars, "matching", len(pairs)) as tick:
        colmap.match(pairs, sequential, tick)
    with _bar(bars, "placing", len(names)) as tick:
        model = colmap.reconstruct(tick)
    needed = _needed(options, len(names))
    posed = 0 if model is None else len(registered(model))
    if posed < needed:
        unused = sources.unused
        besides = f" ({len(unused)} other files were not used: {describe(unused)})" if unused else ""
        accept = " or more --frames" * options.source.is_file()
        accept += f", or accept these with --min-registered {posed}" if posed >= FEWEST else ""
        raise DataError(
            f"only {posed} of {len(names)} photographs could be posed{besides}, but {needed} are needed; give sharp "
            f"ones that show texture and overlap by two thirds{accept}"
        )
    colmap.level(model, {photograph.name: photograph.orientation for photograph in photographs})
    return model


def _sequential(options: NerfProcess, count: int) -> bool:
    if options.matching == "auto":
        return options.source.is_file() or count > _ALL_PAIRS
    return options.matching == "sequential"


def _needed(options: NerfProcess, count: int) -> int:
    """How many photographs must have found a pose: by default half of them."""
    if options.min_registered is None:
        return max(FEWEST, -(-count // 2))
    return max(FEWEST, options.min_registered)


def _result(
    options: NerfProcess, colmap: Colmap, model: Any, names: Sequence[str], posed: Sequence[str]
) -> dict[str, Any]:
    return {
        "source": str(options.source),
        "photographs": len(names),
        "posed": len(posed),
        "left_out": sorted(set(names) - set(posed)),
        "points": model.num_points3D(),
        "reprojection_error": model.compute_mean_reprojection_error(),
        "cameras": len(model.cameras),
        "camera_model": MODELS[options.camera_model],
        "matching": "sequential" if _sequential(options, len(names)) else "exhaustive",
        "pycolmap": colmap.pycolmap.__version__,
    }


def _bars(console: Terminal) -> Progress:
    return bars(console, words(), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())


@contextlib.contextmanager
def _bar(bars: Progress, doing: str, total: int) -> Iterator[Tick]:
    task = bars.add_task(doing, total=total)

    def tick(done: int) -> None:
        bars.update(task, completed=done)

    yield tick
    bars.update(task, completed=total)
