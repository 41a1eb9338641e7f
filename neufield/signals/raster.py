"""From a field to stored samples, block by block, so that no float copy of a large picture ever exists."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from neufield.core.errors import ConfigError, NonFiniteError
from neufield.core.lattice import blocks, points_at
from neufield.signals.pixels import ImageFacts

BLOCK = 65_536
Predict = Callable[[Tensor], Tensor]
Window = tuple[float, float, float, float]


def evaluate(predict: Predict, x: Tensor, channels: int, device: torch.device | str = "cpu") -> Tensor:
    """``predict`` at points ``x (N, 2)``: float32 (N, channels) on the CPU, without a graph."""
    with torch.no_grad():
        values = predict(x.to(device))
    if values.shape != (len(x), channels):
        raise ValueError(f"the field gave {tuple(values.shape)}, but ({len(x)}, {channels}) was asked for")
    return values.detach().to("cpu", torch.float32)


def stored(values: Tensor, facts: ImageFacts) -> Tensor:
    """Float ``values`` as stored, still float: for integers clipped to [0, 1], scaled to their steps and rounded."""
    if facts.dtype == "float32":
        return values
    return (values.clamp(0, 1) * facts.steps).round()


def as_written(values: Tensor, facts: ImageFacts) -> Tensor:
    """Float ``values`` as they will be after a picture was written and read again: still on the scale of the field."""
    return stored(values, facts) / facts.steps


def render(
    predict: Predict,
    facts: ImageFacts,
    shape: tuple[int, int] | None = None,
    window: Window | None = None,
    progress: Callable[[int, int], object] | None = None,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """A picture of a field: ``predict (N, 2) -> (N, C)`` on a cell-centred lattice, in the storage dtype (h, w, C).

    ``window`` (x0, y0, x1, y1) is the part of the unit box to show, x to the right and y down; ``shape`` (h, w) its
    size in pixels, by default what that part has in the original. ``progress(done, total)`` hears the points finished
    after each block of at most 65,536. Raises ConfigError for an impossible window or shape, NonFiniteError when the
    field gives NaN or infinity.
    """
    x0, y0, x1, y1 = _checked(window or (0.0, 0.0, 1.0, 1.0))
    height, width = shape or (max(1, round(facts.height * (y1 - y0))), max(1, round(facts.width * (x1 - x0))))
    if height < 1 or width < 1:
        raise ConfigError(f"the picture would be {height} rows by {width} columns, but both must be at least 1")
    origin = torch.tensor([y0, x0], dtype=torch.float64)
    extent = torch.tensor([y1 - y0, x1 - x0], dtype=torch.float64)
    total = height * width
    values = np.empty((total, facts.channels), facts.dtype)
    for start, stop in blocks(total, BLOCK):
        x = points_at(torch.arange(start, stop), (height, width))
        block = evaluate(predict, (x * extent + origin).float(), facts.channels, device)
        if not bool(torch.isfinite(block).all()):
            count = int((~torch.isfinite(block)).any(dim=-1).sum())
            raise NonFiniteError(
                f"the field is NaN or infinite at {count} of the {stop - start} pixels from row {start // width} on; "
                f"its training diverged, so fit it again with a smaller learning rate"
            )
        values[start:stop] = stored(block, facts).numpy()
        if progress is not None:
            progress(stop, total)
    return values.reshape(height, width, facts.channels)


def _checked(window: Window) -> Window:
    x0, y0, x1, y1 = window
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ConfigError(
            f"the window {window} is not (x0, y0, x1, y1) with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1; "
            f"the whole picture is (0, 0, 1, 1)"
        )
    return window
