"""A field of a picture as a picture of any size."""

import math

from neufield.apps.console import Terminal, bars
from neufield.apps.load_field import load_field, predictor
from neufield.apps.options import Render
from neufield.core.errors import ConfigError
from neufield.core.memory import check_budget
from neufield.formats.encode import write_image
from neufield.formats.pixels import ImageFacts
from neufield.signals.image import render

_LARGEST_SCALE = 100_000
Window = tuple[float, float, float, float]


def render_image(options: Render, facts: ImageFacts, console: Terminal) -> None:
    """Draw the picture that the field in ``options`` holds, which was one of ``facts``."""
    window = _window(options.crop, facts)
    shape = _shape(options, facts, window)
    # The picture as float32, as it is written, and what the encoder makes of it.
    needed = 3 * 4 * math.prod(shape) * facts.channels
    check_budget(needed, f"a picture of {shape[1]} x {shape[0]}", "take a smaller --scale or --size, or a --crop")
    predict = predictor(load_field(options.field, options.device, options.backend))
    with bars(console) as progress:
        task = progress.add_task(f"rendering {shape[1]} x {shape[0]}", total=math.prod(shape))
        values = render(
            predict,
            facts,
            shape,
            window,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    write_image(options.output, values, facts)
    console.print(f"{options.output}: {shape[1]} x {shape[0]}", soft_wrap=True)


def _window(crop: str | None, facts: ImageFacts) -> Window:
    if crop is None:
        return (0.0, 0.0, 1.0, 1.0)
    x0, y0, x1, y1 = _numbers("--crop", crop, ",", 4, "100,50,300,200")
    if not (0 <= x0 < x1 <= facts.width and 0 <= y0 < y1 <= facts.height):
        raise ConfigError(
            f"--crop is {crop}, but x0 < x1 must lie in 0..{facts.width} and y0 < y1 in 0..{facts.height}"
        )
    return (x0 / facts.width, y0 / facts.height, x1 / facts.width, y1 / facts.height)


def _shape(options: Render, facts: ImageFacts, window: Window) -> tuple[int, int]:
    """Rows and columns of the picture to draw."""
    if options.size is not None and options.scale is not None:
        raise ConfigError("--size and --scale contradict each other; give one of them")
    if options.size is not None:
        width, height = _numbers("--size", options.size.lower(), "x", 2, "1920x1080")
        if width < 1 or height < 1 or width != int(width) or height != int(height):
            raise ConfigError(f"--size is {options.size}, but it must be whole numbers above 0, for instance 1920x1080")
        return int(height), int(width)
    scale = 1.0 if options.scale is None else options.scale
    if not 0 < scale <= _LARGEST_SCALE:
        raise ConfigError(f"--scale is {scale}, but it must be above 0 and at most {_LARGEST_SCALE:,}")
    x0, y0, x1, y1 = window
    return max(1, round(facts.height * (y1 - y0) * scale)), max(1, round(facts.width * (x1 - x0) * scale))


def _numbers(flag: str, text: str, separator: str, count: int, example: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(separator)]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise ConfigError(f"{flag} is {text!r}, but it must look like {example}")
    return numbers
