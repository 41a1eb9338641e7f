"""Photographs with poses as a signal: samples are pixels of any of them."""

import copy
import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from neufield.core.domain import Axis, Domain
from neufield.core.errors import DataError
from neufield.core.interfaces import Evaluator, Source
from neufield.core.metrics import Metrics
from neufield.core.records import Batch, Counts
from neufield.core.signal_info import SignalInfo, digest_of
from neufield.formats.pixels import eight_bit
from neufield.formats.scene.records import Frame
from neufield.metrics import PSNR, psnr

_FEWEST, _MOST = 64, 2**18  # rays a step
_GUESS = 64  # intervals a ray, before anything is known
_DAMPING = 0.5  # of the way to the budget: one step's rays are no better than a sample of the next one's
_SCORED_PIXELS = 8192
_AT_ONCE = 2048  # of them: a pixel of an untrained field is hundreds of points


def rays_for(budget: int, last: Counts | None) -> int:
    """Choose as many rays as ``budget`` marched intervals are good for, by how many the last step's rays took."""
    if last is None:
        return min(max(_FEWEST, budget // _GUESS), _MOST)
    change = (budget / max(1, last.points)) ** _DAMPING
    return round(min(max(last.samples * min(max(change, 0.5), 2.0), _FEWEST), _MOST))


class PosedImages(Source, Evaluator):
    """Images in memory as uint8 RGBA, of any sizes. Points are (image, column, row), targets RGBA in [0, 1].

    The first counts ``images``; the middle of the first pixel is (0.5, 0.5). Where a mask says that a pixel is to be
    ignored it is never sampled.

    Args:
        images: (height, width, 4) uint8 each; alpha is straight.
        masks: for each image None, or (height, width) with True where a pixel counts.
        held_out: so many of the last images are never sampled, and are what ``evaluate`` judges by; without any, it
            judges by the sampled ones.
        background: what ``evaluate`` puts pixels with alpha on, (3,) in [0, 1].
        rays: how many a step has, by the recipe's ``batch_size``, which counts marched intervals, and what the step
            before cost.

    ``opaque`` says of each image whether it has no alpha.
    """

    channels = 4
    headline = PSNR

    def __init__(
        self,
        images: Sequence[UInt8[Tensor, "_ _ 4"]],
        masks: Sequence[Bool[Tensor, "_ _"] | None] | None = None,
        held_out: int = 0,
        background: Sequence[float] = (1.0, 1.0, 1.0),
        rays: Callable[[int, Counts | None], int] = rays_for,
    ) -> None:
        if not 0 <= held_out < len(images):
            raise ValueError(
                f"held_out is {held_out}, but of {len(images)} images at least one must be left to train on"
            )
        self.held_out = held_out
        self.background = background
        self.rays = rays
        self.opaque = torch.tensor([bool((image[..., 3] == 255).all()) for image in images])
        self.sizes = torch.tensor([image.shape[:2] for image in images])
        counts = self.sizes.prod(dim=1)
        self._first = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        self._pixels = torch.cat([image.reshape(-1, 4) for image in images])
        self._n_sampled = int(self._first[len(images) - held_out])
        self._counting: Tensor | None = None
        if masks is not None and any(mask is not None for mask in masks):
            flat = [
                torch.ones(int(n), dtype=torch.bool) if mask is None else mask.reshape(-1)
                for mask, n in zip(masks, counts, strict=True)
            ]
            self._counting = torch.cat(flat)[: self._n_sampled].nonzero()[:, 0]
            if not len(self._counting):
                raise DataError("the masks ignore every pixel of every photograph; check which of their colors counts")

    def to(self, device: torch.device | str) -> "PosedImages":
        """The same photographs on ``device``, whose generators then draw the samples."""
        moved = copy.copy(self)
        moved.sizes, moved._first, moved._pixels = (t.to(device) for t in (self.sizes, self._first, self._pixels))
        moved.opaque = self.opaque.to(device)
        moved._counting = None if self._counting is None else self._counting.to(device)
        return moved

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self._pixels.device

    @property
    def nbytes(self) -> int:
        """What the pixels take in memory."""
        return self._pixels.nbytes

    @property
    def counting(self) -> Tensor | None:
        """The indices that masks leave to be sampled, of all pixels row by row through image after image."""
        return self._counting

    @functools.cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each image's pixels as they are kept."""
        return tuple(digest_of(self.stored(i).cpu().numpy()) for i in range(len(self.sizes)))

    @property
    def info(self) -> SignalInfo:
        """What a field's file says of them; the axes are those of the points that are sampled."""
        height, width = self.sizes.amax(dim=0).tolist()
        axes = (("image", len(self.sizes), ""), ("column", width, "px"), ("row", height, "px"))
        domain = Domain(tuple(Axis(name, 0.0, float(stop), unit) for name, stop, unit in axes))
        digest = digest_of("".join(self.digests).encode())
        return SignalInfo("scene", "photographs", domain, self.channels, self.nbytes, digest)

    def stored(self, index: int) -> UInt8[Tensor, "n 4"]:
        """The pixels of one image as they are kept, row by row."""
        return self._pixels[int(self._first[index]) : int(self._first[index + 1])]

    @property
    def n_sampled(self) -> int:
        """How many of the images are trained on."""
        return len(self.sizes) - self.held_out

    def border(self, index: int) -> UInt8[Tensor, "N 3"]:
        """The colors of the outermost pixels of one image that is trained on, but for those that its mask ignores."""
        begin = int(self._first[index])
        height, width = self.sizes[index].tolist()
        number = torch.arange(height * width, device=self.device).view(height, width)
        edges = (number[0], number[-1], number[1:-1, 0], number[1:-1, -1])
        chosen = begin + torch.cat(edges).unique()
        if self._counting is not None:
            place = torch.searchsorted(self._counting, chosen).clamp(max=len(self._counting) - 1)
            chosen = chosen[self._counting[place] == chosen]
        return self._pixels[chosen, :3]

    def batch_size(self, budget: int, last: Counts | None) -> int:
        """Give as many rays as the policy ``rays`` says."""
        return self.rays(budget, last)

    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        """``n`` pixels, any pixel of any image alike, with repetition."""
        del step
        total = self._n_sampled if self._counting is None else len(self._counting)
        chosen = torch.randint(total, (n,), generator=generator, device=generator.device).to(self.device)
        return self.at(chosen if self._counting is None else self._counting[chosen])

    def evenly(self, n: int) -> Batch:
        """``n`` pixels, or all, evenly from those that are sampled."""
        total = self._n_sampled if self._counting is None else len(self._counting)
        n = min(n, total)
        chosen = torch.arange(n, device=self.device) * total // n
        return self.at(chosen if self._counting is None else self._counting[chosen])

    def at(self, index: Tensor) -> Batch:
        """The pixels ``index (N,)``, counted row by row through image after image."""
        image = torch.searchsorted(self._first, index, right=True) - 1
        within = index - self._first[image]
        width = self.sizes[image, 1]
        row = torch.div(within, width, rounding_mode="floor")
        x = torch.stack([image, within - row * width, row], dim=1).float()
        x[:, 1:] += 0.5
        return Batch(x, self._pixels[index].float() / 255)

    def image(self, index: int) -> Batch:
        """All pixels of one image, row by row."""
        begin, end = self._first[index : index + 2].tolist()
        return self.at(torch.arange(begin, end, device=self.device))

    def evaluate(self, predict: Callable[[Tensor], Tensor], limit: int | None = None) -> Metrics:
        """PSNR in dB of ``predict`` (N, 3) -> (N, 3) on a fixed choice of pixels, over the background."""
        begin, end = (self._n_sampled, len(self._pixels)) if self.held_out else (0, self._n_sampled)
        n = min(limit or _SCORED_PIXELS, _SCORED_PIXELS, end - begin)
        batch = self.at(begin + torch.arange(n, device=self.device) * (end - begin) // n)
        target = batch.needed("target").cpu()
        alpha = target[:, 3:]
        wanted = target[:, :3] * alpha + (1 - alpha) * target.new_tensor(self.background)
        with torch.no_grad():
            predicted = torch.cat([predict(x) for x in batch.x.split(_AT_ONCE)]).cpu()
        return Metrics({PSNR.name: psnr((predicted.clamp(0, 1) - wanted).square().mean())}, PSNR)


def read_photograph(frame: Frame) -> UInt8[Tensor, "h w 4"]:
    """A frame's pixels as 8-bit RGBA, of the size its camera says."""
    values = frame.samples()
    if values.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"{frame.name} holds {values.dtype} samples, but photographs of 8 or 16 bits were expected; "
            "convert it to PNG"
        )
    values = eight_bit(values)
    height, width, channels = values.shape
    if (width, height) != (frame.camera.width, frame.camera.height):
        raise DataError(
            f"{frame.name} is {width} x {height}, but its camera is for {frame.camera.width} x {frame.camera.height}; "
            "correct the scene's sizes"
        )
    rgba = np.full((height, width, 4), 255, dtype=np.uint8)
    rgba[..., :3] = values[..., :3] if channels >= 3 else values[..., :1]
    if channels in (2, 4):
        rgba[..., 3] = values[..., -1]
    return torch.from_numpy(rgba)
