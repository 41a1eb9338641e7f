"""Values on a cell-centered lattice of any dimension as a signal: a sound, a picture, a film, a volume."""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

from neufield.core.domain import Domain
from neufield.core.errors import DataError
from neufield.core.interfaces import Evaluator, Exporter, Resampled, Source
from neufield.core.lattice import blocks, points_at
from neufield.core.metrics import Metrics
from neufield.core.records import Batch
from neufield.core.shapes import check_choice, check_positive
from neufield.core.signal_info import Fact, SignalInfo, digest_of
from neufield.metrics import PSNR, SsimBands, psnr
from neufield.signals.cells import evenly_spaced, interpolated, one_of_each_run, resized
from neufield.signals.drawing import BLOCK, Predict, evaluate
from neufield.signals.exporters import exporter_of
from neufield.signals.stored import Stored, as_written

_SAMPLINGS = ("centers", "continuous")


class Lattice(Source, Evaluator, Exporter, Resampled):
    """Samples (*shape, C) that stay as stored (uint8, uint16 or float32) and become floats a batch at a time.

    Targets are ``stored value / 255`` or ``/ 65535``, floats as they are. ``sampling`` "centers" takes cells
    (:func:`~neufield.signals.cells.one_of_each_run`): every one equally often, and all of them where a step wants at
    least as many as there are. "continuous" draws points uniformly, with linearly interpolated targets.

    Args:
        values: the samples, one row of channels for each cell.
        domain: its axes, with as many cells along each as ``values`` has; by default cells of length 1.
        kind: what a field's file says that this is, and by which :func:`~neufield.signals.exporters.exporter_of` finds
            who writes it.
        name: for people.
        sampling: where samples are taken.
        train: (*shape), the cells that are sampled; the field is then judged by the others.
        peak: what PSNR calls the largest possible value.
        source_bytes: the size of the file; by default that of the values.
        facts: what else the kind's exporter must know.
        notes: sentences about what was found in the file.
    """

    headline = PSNR

    def __init__(
        self,
        values: Shaped[np.ndarray, "*shape c"],
        domain: Domain | None = None,
        *,
        kind: str = "lattice",
        name: str = "array",
        sampling: str = "centers",
        train: Bool[Tensor, "*shape"] | None = None,
        peak: float = 1.0,
        source_bytes: int | None = None,
        facts: Mapping[str, Fact] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        check_choice("sampling", sampling, _SAMPLINGS)
        check_positive(peak=peak)
        self.shape = values.shape[:-1]
        self.domain = domain or Domain.lattice(self.shape)
        if self.domain.shape != self.shape:
            raise DataError(
                f"the domain has {self.domain.shape} cells, but the values {self.shape}; give axes with as many"
            )
        self.dim, self.channels = len(self.shape), values.shape[-1]
        self.kind, self.name, self.sampling, self.peak, self.notes = kind, name, sampling, peak, notes
        self.source_bytes = values.nbytes if source_bytes is None else source_bytes
        self._facts = facts or {}
        self._stored = Stored(values)
        self._train, self._test = _parts(train, sampling)

    @functools.cached_property
    def info(self) -> SignalInfo:
        """What a field's file says of this signal."""
        facts = {"dtype": self._stored.dtype, "peak": self.peak, **self._facts}
        return SignalInfo(
            self.kind,
            self.name,
            self.domain,
            self.channels,
            self.source_bytes,
            digest_of(self.values, str(self.domain).encode(), str(sorted(facts.items())).encode()),
            facts,
            self.notes,
        )

    @property
    def values(self) -> Shaped[np.ndarray, "*shape c"]:
        """The samples as stored; shares the signal's memory."""
        return self._stored.values

    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        """``x (n, d)`` and ``target (n, C)``, float32 on the CPU; depends on ``generator`` and ``step`` alone."""
        check_positive(n=n)
        if self.sampling == "continuous":
            x = torch.rand(n, self.dim, generator=generator, device=generator.device).cpu()
            return Batch(x, interpolated(self._stored.at, x, self.domain.axes, self.shape))
        count = math.prod(self.shape) if self._train is None else len(self._train)
        cells = one_of_each_run(count, n, step, generator.initial_seed())
        if self._train is not None:
            cells = self._train[cells]
        return Batch(points_at(cells, self.shape), self._stored.at(cells))

    def lattice(self, shape: Sequence[int]) -> Float[Tensor, "*shape c"]:
        """The values as float32 (*shape, C): exact in their own shape, antialiased in any other."""
        if len(shape) != self.dim or min(shape) < 1:
            raise ValueError(f"shape is {tuple(shape)}, but {self.dim} numbers of cells above 0 were expected")

        def narrow(band: Tensor) -> Tensor:
            for axis in reversed(range(1, self.dim)):
                band = resized(band, axis, shape[axis])
            return band

        bands = [narrow(self._band(first, last)) for first, last in self._bands()]
        return resized(torch.cat(bands), 0, shape[0]).contiguous()

    def evaluate(self, predict: Predict, limit: int | None = None) -> Metrics:
        """``psnr`` (dB), ``mse`` and, of all cells of two dimensions, ``ssim`` of ``predict (N, d) -> (N, C)``.

        Measured on values as they would be written: integers clipped and rounded, floats as they are. By the cells that
        are not trained on, where there are any, else by all; with a ``limit`` only on at most so many, evenly spaced.
        """
        if limit is not None:
            check_positive(limit=limit)
            return self._metrics(*self._error_at(predict, self._few(limit)))
        if self._test is not None:
            return self._metrics(*self._error_at(predict, self._test))
        total = 0.0
        similarity = SsimBands(self.shape[0], self.shape[1], self.channels, self.peak) if self.dim == 2 else None
        for values, target in self._compared(predict):
            total += float((values - target).double().square().sum())
            if similarity is not None:
                similarity.add(values, target)
        found = self._metrics(total, math.prod(self.shape))
        return found if similarity is None else Metrics({**found.values, "ssim": similarity.value()}, PSNR)

    def write(self, path: str | Path, predict: Predict, size: Sequence[int] | None = None) -> None:
        """See :class:`~neufield.core.interfaces.Exporter`."""
        exporter_of(self.info).write(Path(path), predict, size)

    def preview(self, predict: Predict, size: Sequence[int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """See :class:`~neufield.core.interfaces.Exporter`."""
        return exporter_of(self.info).preview(predict, size)

    def _bands(self) -> Iterator[tuple[int, int]]:
        """Ranges along the first axis with about as many cells as are worked on at once."""
        return blocks(self.shape[0], max(1, BLOCK // math.prod(self.shape[1:])))

    def _band(self, first: int, last: int) -> Float[Tensor, "*band c"]:
        row = math.prod(self.shape[1:])
        return self._stored.between(first * row, last * row).view(last - first, *self.shape[1:], self.channels)

    def _compared(self, predict: Predict) -> Iterator[tuple[Tensor, Tensor]]:
        """Bands (R, ..., C) of the prediction as written and of the signal, in order."""
        row = math.prod(self.shape[1:])
        for first, last in self._bands():
            cells = torch.arange(first * row, last * row)
            parts = [evaluate(predict, points_at(part, self.shape), self.channels) for part in cells.split(BLOCK)]
            target = self._band(first, last)
            yield as_written(torch.cat(parts), self._stored.dtype).view(target.shape), target

    def _few(self, limit: int) -> Tensor:
        """At most ``limit`` of the cells to judge by."""
        if self._test is None:
            return evenly_spaced(self.shape, limit)
        n = min(limit, len(self._test))
        return self._test[torch.arange(n) * len(self._test) // n]

    def _error_at(self, predict: Predict, cells: Tensor) -> tuple[float, int]:
        """The sum of squared errors at flat ``cells``, and how many these are."""
        total = 0.0
        for part in cells.split(BLOCK):
            values = evaluate(predict, points_at(part, self.shape), self.channels)
            total += float((as_written(values, self._stored.dtype) - self._stored.at(part)).double().square().sum())
        return total, len(cells)

    def _metrics(self, squares: float, cells: int) -> Metrics:
        mse = squares / (cells * self.channels)
        return Metrics({PSNR.name: psnr(mse, self.peak), "mse": mse}, PSNR)


def _parts(train: Tensor | None, sampling: str) -> tuple[Tensor | None, Tensor | None]:
    """Flat cells to train on and to judge by; None is all of them."""
    if train is None:
        return None, None
    if sampling != "centers":
        raise ValueError("train marks cells, but sampling 'continuous' draws points between them; leave one out")
    marked = train.flatten().cpu()
    if not bool(marked.any()):
        raise DataError("train marks no cell, but at least one must be there to learn from")
    left = (~marked).nonzero().squeeze(-1)
    return marked.nonzero().squeeze(-1), left if len(left) else None
