"""The box of a scene: instant-ngp's unit cube and its ``aabb_scale``, in world units and back."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neufield.core.errors import DataError
from neufield.core.json_files import Keys
from neufield.formats.scene.read_log import ReadLog

_SCALE, _OFFSET, _LARGEST = 0.33, 0.5, 128


def read_box(whole: Keys, notes: ReadLog) -> tuple[Tensor, Tensor] | None:
    """Lower and upper corner in world units, or None where the file has none of the keys.

    instant-ngp works at ``scale * world + offset``, in a cube of side ``aabb_scale`` around (0.5, 0.5, 0.5); ``aabb``
    is a box in world units that takes the place of ``scale`` and ``offset``.
    """
    if not whole.has("aabb", "aabb_scale", "scale", "offset"):
        return None
    side = whole.number("aabb_scale") if whole.has("aabb_scale") else 1.0
    if side <= 0 or side > _LARGEST or math.frexp(side)[0] != 0.5:
        text = f"'aabb_scale' is {side:g}, but instant-ngp wants a power of two up to {_LARGEST}."
        notes.add("warning", "aabb_scale", text)
    if whole.has("aabb"):
        if whole.has("scale", "offset"):
            notes.add("warning", "aabb", "'aabb' takes the place of 'scale' and 'offset', which are ignored.")
        lower, upper = whole.array("aabb", (2, 3))
        lower, upper = np.minimum(lower, upper), np.maximum(lower, upper)
        middle, half = (lower + upper) / 2, (upper - lower) / 2 * side
    else:
        scale = whole.number("scale") if whole.has("scale") else _SCALE
        offset = whole.array("offset", (3,), ()) if whole.has("offset") else _OFFSET
        if scale == 0:
            raise DataError(
                f"{whole.where}: 'scale' is 0, but a factor was expected; instant-ngp's own default is 0.33"
            )
        middle, half = (0.5 - np.broadcast_to(offset, 3)) / scale, np.full(3, 0.5 * side / abs(scale))
    if not (half > 0).all():
        raise DataError(f"{whole.where}: the box of the scene is empty; correct 'aabb' or 'aabb_scale'")
    return torch.from_numpy(middle - half), torch.from_numpy(middle + half)


def box_keys(box: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """The keys that :func:`read_box` reads ``box`` from: ``aabb_scale`` with its usual scale where they can say it."""
    lower, upper = (corner.numpy() for corner in box)
    middle, sides = (lower + upper) / 2, upper - lower
    doublings = math.log2(sides.max() * _SCALE)
    cube = np.ptp(sides) <= 1e-12 * sides.max()
    if cube and abs(doublings - round(doublings)) < 1e-12 and 0 <= round(doublings) <= 7:
        offset = (0.5 - _SCALE * middle).tolist()
        return {"aabb_scale": 2 ** round(doublings), "scale": _SCALE, "offset": offset}
    return {"aabb_scale": 1, "aabb": [lower.tolist(), upper.tolist()]}
