"""How many views, and how large, can be rendered in so many seconds."""

import time
from collections.abc import Callable, Iterator, Sequence

from neufield.apps.nerf.views import render_view
from neufield.core.cameras import Camera
from neufield.renderers import RadianceScene

_FEWEST = 3  # views, before they become smaller
_SMALLEST = 8  # times smaller than the photographs, at most
_PROBE = 64  # pixels of the longer side of the view that is timed


def rays_a_second(model: RadianceScene, camera: Camera, clock: Callable[[], float] = time.perf_counter) -> float:
    """Measured on a small view, after a smaller one that pays for what is only done once."""
    seconds = 0.0
    for side in (_PROBE // 4, _PROBE):
        part = min(1.0, side / max(camera.width, camera.height))
        small = camera.resized(max(1, round(camera.width * part)), max(1, round(camera.height * part)))
        begun = clock()
        render_view(model, small)
        seconds = clock() - begun
    return small.width * small.height / max(seconds, 1e-9)


def reduction(rays: Sequence[int], speed: float, seconds: float) -> int:
    """The power of two by which views of so many ``rays`` are smaller, for three of them to be done in ``seconds``.

    1 where they are done at full size. ``speed`` is in rays a second.
    """
    needed = sum(sorted(rays)[-_FEWEST:]) / speed
    smaller = 1
    while smaller < _SMALLEST and needed / smaller**2 > seconds:
        smaller *= 2
    return smaller


def evenly(count: int) -> Iterator[int]:
    """The places below ``count`` in an order of which every beginning is spread over all (van der Corput's)."""
    bits = max(1, (count - 1).bit_length())
    for number in range(1 << bits):
        place = int(f"{number:0{bits}b}"[::-1], 2)
        if place < count:
            yield place
