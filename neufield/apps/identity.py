"""What a run is known by: digests of what it learns from, the options that decide what it learns, and its machine."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import neufield
from neufield.core.cameras import Camera
from neufield.core.config import describe
from neufield.core.errors import DataError
from neufield.core.interfaces import Trainable
from neufield.core.json_files import one_line, parse_json
from neufield.core.signal_info import digest_of
from neufield.formats.scene import Frame
from neufield.kernels import native
from neufield.signals.image import Image
from neufield.signals.posed_images import PosedImages

_SHOWN = 3  # things that changed


def picture_contents(image: Image) -> dict[str, str]:
    """The samples of a picture, as they were read: another file of its name is another picture."""
    return {f"the picture {image.name}": image.info.digest}


def scene_contents(frames: Sequence[Frame], photographs: PosedImages) -> dict[str, str]:
    """The pixels and the camera of each of the ``frames``, which ``photographs`` holds in this order, and the masks."""
    contents = {}
    for i, frame in enumerate(frames):
        contents[f"the photograph {frame.name}"] = photographs.digests[i]
        contents[f"the camera of {frame.name}"] = digest_of(_camera(frame.camera))
    if photographs.counting is not None:
        contents["the masks"] = digest_of(photographs.counting.cpu().numpy())
    return contents


def field_options(field: Trainable) -> dict[str, Any]:
    """What a field is and how it learns, but for how long: a run may go on for longer."""
    described, recipe = describe(field), describe(field.recipe)
    described.pop("recipe", None)
    del recipe["steps"]
    return {"field": described, "recipe": recipe}


def environment(backend: str, device: torch.device) -> dict[str, str]:
    """What changes the last bits of a run, by what it is called in a sentence."""
    found = {
        "neufield": neufield.__version__,
        "torch": torch.__version__,
        "backend": backend,
        "device": device.type,
        "threads": str(torch.get_num_threads()),
        "torch's instructions": torch.backends.cpu.get_cpu_capability(),
    }
    return found | ({"instructions": native.isa()} if native.obstacle() is None else {})


def check_same(saved: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> None:
    """Raise DataError naming in what the run saved in ``path`` and the one asked for differ.

    "contents" are what a run learns from, by what they are called in a sentence; all else are options.
    """
    given = parse_json(one_line(given), "the identity")  # as it was saved
    contents = saved.get("contents", {})
    changed = list(_changes(contents if isinstance(contents, dict) else {}, given.get("contents", {})))
    if changed:
        more = f" (and {len(changed) - _SHOWN} more)" if len(changed) > _SHOWN else ""
        raise DataError(
            f"the run in {path} cannot go on, because since it was started {', '.join(changed[:_SHOWN])}{more}; "
            "bring back what it learned from, or begin another run with --overwrite or another --out"
        )
    _check_options(saved, given, path)


def changed_environment(saved: Mapping[str, Any], given: Mapping[str, str]) -> list[str]:
    """A line about what differs, none where nothing does."""
    differ = [key for key in {**saved, **given} if saved.get(key) != given.get(key)]
    was, now = (", ".join(f"{key} {values.get(key, 'none')}" for key in differ) for values in (saved, given))
    return [f"note: saved with {was}, it goes on with {now}; its last bits may differ for that"] if differ else []


def _changes(saved: Mapping[str, str], given: Mapping[str, str]) -> Iterator[str]:
    for name in {**given, **saved}:
        if name not in given:
            yield f"{name} is gone"
        elif name not in saved:
            yield f"{name} was added"
        elif saved[name] != given[name]:
            yield f"{name} has changed"


def _check_options(saved: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> None:
    for key in {**given, **saved}:
        was, now = saved.get(key), given.get(key)
        if was == now:
            continue
        if isinstance(was, dict) and isinstance(now, dict):
            _check_options(was, now, path)
        raise DataError(
            f"the run in {path} was started with {key}={was}, but now {key}={now}; "
            "give the same options to --resume, or another --out"
        )


def _camera(camera: Camera) -> bytes:
    return json.dumps({**vars(camera), "to_world": camera.to_world.tolist()}, sort_keys=True).encode()
