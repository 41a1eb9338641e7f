"""From a field to stored samples, block by block, so that no float copy of a large picture ever exists."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from neufield.core.errors import ConfigError, NonFiniteError
from neufield.core.lattice import blocks, points_at
from neufield.signals.pixels import ImageFacts

BLOCK = 65_536
Predict = Callable[[Tensor], Tensor]
Window = tuple[float, float, float, float]


def evaluate(
    predict: Predict, x: Float[Tensor, "n 2"], channels: int, device: torch.device | str = "cpu"
) -> Float[Tensor, "n c"]:
    """``predict`` at points ``x (N, 2)``: float32 (N, channels) on the CPU, without a graph."""
    with torch.no_grad():
        values = predict(x.to(device))
    if values.shape != (len(x), channels):
        raise ValueError(f"the field gave {tuple(values.shape)}, but ({len(x)}, {channels}) was asked for")
    return values.detach().to("cpu", torch.float32)


def storage(values: Shaped[np.ndarray, "h w c"]) -> Shaped[Tensor, "h*w c"]:
    """Stored ``values`` (H, W, C) as a flat (H * W, C) tensor, sharing memory where numpy lets it; for :func:`floats`.

    torch gathers few things from uint16, so those travel as int16 of the same bits.
    """
    values = np.require(values, requirements=("C", "W"))
    bits = values.view(np.int16) if values.dtype == np.uint16 else values
    return torch.from_numpy(bits.reshape(-1, values.shape[-1]))


def floats(flat: Shaped[Tensor, "n c"], facts: ImageFacts) -> Float[Tensor, "n c"]:
    """A new float32 tensor of what rows of :func:`storage` stand for: integers divided by their steps."""
    numbers = flat.int().bitwise_and_(0xFFFF) if facts.dtype == "uint16" else flat
    return numbers.to(torch.float32, copy=True).div_(facts.steps)


def stored(values: Float[Tensor, "*any"], facts: ImageFacts) -> Float[Tensor, "*any"]:
    """Float ``values`` as stored, still float: for integers clipped to [0, 1], scaled to their steps and rounded."""
    if facts.dtype == "float32":
        return values
    return (values.clamp(0, 1) * facts.steps).round()


def as_written(values: Float[Tensor, "*any"], facts: ImageFacts) -> Float[Tensor, "*any"]:
    """Float ``values`` as they will be after a picture was written and read again: still on the scale of the field."""
    return stored(values, facts) / facts.steps


def render(
    predict: Predict,
    facts: ImageFacts,
    shape: tuple[int, int] | None = None,
    window: Window | None = None,
    progress: Callable[[int, int], object] | None = None,
    device: torch.device | str = "cpu",
) -> Shaped[np.ndarray, "h w c"]:
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
