"""Finds what would be lost when a scene is written in a format that cannot hold all of it."""

import math
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

import torch

from neufield.formats.scene.pictures import held_out, natural
from neufield.formats.scene.records import Frame, Scene


def has(scene: Scene) -> dict[str, str]:
    """What the scene holds beyond photographs with cameras, as words for a format's ``keeps`` and for the reader."""
    frames = scene.frames
    found = {
        "masks": any(frame.mask for frame in frames),
        "depths": any(frame.depth for frame in frames),
        "time": any(frame.time is not None for frame in frames),
        "bounds": any(frame.near is not None or frame.far is not None for frame in frames),
        "circle": any(frame.circle is not None for frame in frames),
        "box": scene.box is not None,
        "points": scene.points is not None,
        "sightings": scene.points is not None and scene.points.observations is not None,
        "original": not torch.equal(scene.original_from_world, torch.eye(4, dtype=torch.float64)),
    }
    words = {
        "masks": "the masks", "depths": "the depths", "time": "the times", "bounds": "near and far",
        "circle": "the circle that a fisheye shows", "box": "the box of the scene", "points": "the sparse points",
        "sightings": "which photograph saw which point", "original": "the way back to the original frame",
    }  # fmt: skip
    return {key: words[key] for key, there in found.items() if there}


def beyond(scene: Scene, keeps: Collection[str]) -> list[str]:
    """What a format that only ``keeps`` these loses."""
    return [words for key, words in has(scene).items() if key not in keeps]


def lost_split(scene: Scene, order: Sequence[Frame]) -> list[str]:
    """The split, unless a reader that holds every 8th of ``order`` out would find the same, or there is none."""
    splits = {frame.split for frame in scene.frames}
    again = ["test" if out else "train" for out in held_out(len(order), 8)]
    same = [frame.split for frame in order] == again
    return [] if same or splits in ({"train"}, {""}) else ["the split (a reader would hold one frame in 8 out)"]


def naturally(scene: Scene) -> list[Frame]:
    """The frames in the order in which hold-out counts them."""
    return sorted(scene.frames, key=lambda frame: natural(frame.name))


def by_letters(scene: Scene) -> list[Frame]:
    """The frames in the order of their files' names as text, which is LLFF's."""
    return sorted(scene.frames, key=lambda frame: PurePosixPath(frame.name).name)


def lost_lens(scene: Scene) -> list[str]:
    """What of the cameras is more than one focal length, square pixels and a centered principal point."""
    cameras = [frame.camera for frame in scene.frames]
    counts = {
        "the lens distortion": sum(camera.lens != "pinhole" for camera in cameras),
        "the vertical focal length": sum(not math.isclose(c.fx, c.fy, rel_tol=1e-9) for c in cameras),
        "the principal point": sum(abs(c.cx - c.width / 2) + abs(c.cy - c.height / 2) > 1e-9 for c in cameras),
    }
    return [f"{what} ({count} frames)" for what, count in counts.items() if count]
