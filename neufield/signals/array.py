"""Any lattice of numbers as a signal: a sound, a row of a picture, a volume, frames of a film."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.core.interfaces import Signal
from neufield.core.lattice import points_at
from neufield.core.metrics import psnr
from neufield.core.records import Batch
from neufield.core.shapes import check_positive


class Array(Signal):
    """``values (*shape, C)`` on a cell-centred lattice of as many dimensions as ``shape`` has; float32, on the CPU.

    ``train (*shape)`` marks the cells that are sampled, all by default; the score is that of the others, where there
    are any. ``peak`` is what PSNR calls the largest possible value. Cells are drawn evenly with replacement; a step
    that wants at least as many as there are gets each once, in order.
    """

    def __init__(
        self, values: Float[Tensor, "*shape c"], train: Bool[Tensor, "*shape"] | None = None, peak: float = 1.0
    ) -> None:
        check_positive(peak=peak)
        if values.ndim < 2 or values.numel() == 0:
            raise DataError(
                f"values has shape {tuple(values.shape)}, but (*shape, channels) with at least one cell was expected; "
                "for one channel use values.unsqueeze(-1)"
            )
        if not bool(values.isfinite().all()):
            raise DataError("values has a NaN or an infinity, but every number must be finite")
        self.dim = values.ndim - 1
        self.channels = values.shape[-1]
        self.shape = tuple(values.shape[:-1])
        self.peak = peak
        self.values = values.detach().float().cpu()
        chosen = torch.ones(self.shape, dtype=torch.bool) if train is None else train.cpu()
        self._train = chosen.flatten().nonzero().squeeze(-1)
        self._test = (~chosen).flatten().nonzero().squeeze(-1) if not chosen.all() else self._train
        if len(self._train) == 0:
            raise DataError("train marks no cell, but at least one must be there to learn from")

    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        """``x (n, d)`` and ``target (n, C)``; the whole training part, in order, where it has no more than ``n``."""
        del step
        check_positive(n=n)
        index = self._train
        if n < len(index):
            index = index[torch.randint(len(index), (n,), generator=generator, device=generator.device).cpu()]
        return Batch(points_at(index, self.shape), self._at(index))

    def lattice(self, shape: Sequence[int]) -> Float[Tensor, "*shape c"]:
        """The values themselves in their own shape; in another ``shape``, antialiased linear interpolation."""
        if tuple(shape) == self.shape:
            return self.values
        resized = self.values.movedim(-1, 0)
        for axis, size in enumerate(shape):
            check_positive(size=size)
            resized = _resized(resized, axis + 1, size)
        return resized.movedim(0, -1).contiguous()

    def score(
        self, predict: Callable[[Tensor], Tensor], limit: int | None = None, device: torch.device | str = "cpu"
    ) -> dict[str, float]:
        """``mse`` and ``psnr`` (dB) of ``predict (N, d) -> (N, C)`` on the cells that were not trained on, if any."""
        index = self._test
        if limit is not None and limit < len(index):
            index = index[torch.arange(limit) * len(index) // limit]
        total = 0.0
        with torch.no_grad():
            for part in index.split(65_536):
                values = predict(points_at(part, self.shape).to(device)).float().cpu()
                total += float((values - self._at(part)).double().square().sum())
        mse = total / (len(index) * self.channels)
        return {"psnr": psnr(mse, self.peak), "mse": mse}

    def write(self, path: str | Path, values: np.ndarray) -> None:
        """Write ``values`` as .npy."""
        write_atomically(Path(path), lambda target: np.save(target, np.ascontiguousarray(values)))

    def _at(self, index: Tensor) -> Tensor:
        return self.values.view(math.prod(self.shape), self.channels)[index]


def _resized(values: Tensor, axis: int, size: int) -> Tensor:
    """``values`` with ``axis`` resampled to ``size`` cells: antialiased linear interpolation between cell centres."""
    old = values.shape[axis]
    if old == size:
        return values
    flat = values.movedim(axis, -1)
    lines = flat.reshape(1, 1, -1, old)
    out = torch.nn.functional.interpolate(lines, (lines.shape[2], size), mode="bilinear", antialias=True)
    return out.reshape(*flat.shape[:-1], size).movedim(-1, axis)
