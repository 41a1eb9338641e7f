"""The frames of a scene by what they are for, and their images in memory."""

import dataclasses

import torch

from neufield.core.errors import ConfigError, DataError
from neufield.formats.scene import Frame, Scene
from neufield.signals.posed_images import PosedImages, read_photograph

_WATCHED = 3  # views of the val split


@dataclasses.dataclass(frozen=True)
class Views:
    """The frames of a scene by what they are for."""

    train: tuple[Frame, ...]
    watched: tuple[Frame, ...]
    test: tuple[Frame, ...]


def choose_views(scene: Scene, hold_out: int = 0) -> Views:
    """Choose what to train on, to watch (of the val split, else ``hold_out`` of those to train on), and to test by.

    Test views are never watched: who stops or tunes by them has trained on them.
    """
    train, watched = scene.split("train"), scene.split("val")[:_WATCHED]
    if hold_out < 0:
        raise ConfigError(f"--hold-out is {hold_out}, but it must be 0 (none) or more")
    if hold_out and not watched:
        kept_out = {(2 * i + 1) * len(train) // (2 * hold_out) for i in range(hold_out)}  # evenly, not the ends
        watched = tuple(frame for i, frame in enumerate(train) if i in kept_out)
        train = tuple(frame for i, frame in enumerate(train) if i not in kept_out)
    if len(train) < 2:
        raise DataError(
            f"the scene has {len(train)} photographs to train on, but at least two are needed; "
            "add some, or give a scene with another split"
        )
    return Views(train, watched, scene.split("test"))


def scene_images(views: Views) -> PosedImages:
    """The images of the train and watched views, in memory."""
    frames = (*views.train, *views.watched)
    counts = [frame.counts() for frame in frames]
    masks = [None if each is None else torch.from_numpy(each) for each in counts]
    return PosedImages([read_photograph(frame) for frame in frames], masks, held_out=len(views.watched))
