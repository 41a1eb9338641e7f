"""Spatially-adaptive progressive encoding."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.records import Event
from neufield.core.shapes import check_points
from neufield.core.torch_transforms import in_portions
from neufield.encodings.blocks import Blocks
from neufield.encodings.cells import box_blur, windows

_AT_A_TIME = 16_384  # points whose mask is looked up together: in 3-D each reads 216 cells
_MOST_CELLS = 2**24


class SAPE(Encoding):
    """``encoding(x)`` times a mask that opens its channels from coarse to fine, cell by cell (arXiv 2104.09125).

    A grid of ``resolution``^d cells counts how many blocks of channels are open. At first it is one. Every so many
    steps, such that all is open at half of the run, the next block opens in every cell whose mean loss since the last
    time, averaged with its neighbors', is above ``threshold``; a cell once below it stays as it is for ever. The mask
    at a point is an average of cells: a box blur (of 5, or 3 where there are at most 100), then linear interpolation.

    Which channel is coarse says ``encoding.frequencies``, so any encoding will do; the mask multiplies coordinates too.
    Errors are weighted as in the loss they come from, in a radiance field by the samples' share of the light.

    Args:
        encoding: what is masked. A hash grid with ``n_blocks=n_levels`` opens level by level.
        n_blocks: nb, blocks of equal size (the last takes the remainder); by default each is as wide as a point.
        resolution: cells along an axis, at least 3. The paper: 12 for 26 samples in 1-D, 128 in 2-D, 64 in 3-D.
        threshold: epsilon, in the unit of the training loss; 1e-3 of squared errors is 30 dB.
        axes: the coordinates over which the mask varies, by default all (``mask_by`` in the authors' code).
        override: the encoding as it is, with no mask at all, to the bit.

    The authors' code, reproduced: whole blocks open at once (its linear ramp is disabled by an early return), the latch
    is one-way, unvisited cells get the average of their neighbors with unvisited ones as 0. Different here: windows
    are counted in steps also in 3-D (there: one an epoch), and an event's progress decides their length, so that a run
    by time has them too; the derivative by x includes the mask's. The mask itself is not stored: a cell's is a row
    of ones and then zeros, so a count says it, and the mask at a point is the share of cells whose count is beyond.
    """

    opened: Tensor
    reached: Tensor
    loss: Tensor
    hits: Tensor

    def __init__(
        self,
        encoding: Encoding,
        n_blocks: int | None = None,
        resolution: int = 128,
        threshold: float = 1e-3,
        axes: Sequence[int] | None = None,
        override: bool = False,
    ) -> None:
        super().__init__()
        chosen = list(range(encoding.in_dim)) if axes is None else list(axes)
        if not chosen or not set(chosen) <= set(range(encoding.in_dim)):
            raise ValueError(f"axes is {chosen}, but it must be one or more of {list(range(encoding.in_dim))}")
        if resolution < 3 or resolution ** len(chosen) > _MOST_CELLS:
            raise ValueError(
                f"resolution is {resolution}, but in {len(chosen)}-D it must be 3 to "
                f"{int(_MOST_CELLS ** (1 / len(chosen)) + 1e-9)}"
            )
        if threshold < 0:
            raise ValueError(f"threshold is {threshold}, but it must be 0 or above")
        self.encoding = encoding
        self.n_blocks = n_blocks
        self.resolution = resolution
        self.threshold = threshold
        self.axes = None if axes is None else chosen
        self.override = override
        self.in_dim = encoding.in_dim
        self.out_dim = encoding.out_dim
        self.blocks = Blocks.of(encoding, n_blocks)
        cells = resolution ** len(chosen)
        self._axes = chosen
        self._blur = 5 if cells > 100 else 3
        self.register_buffer("opened", torch.ones(cells, dtype=torch.int32))
        self.register_buffer("reached", torch.ones((), dtype=torch.int32))
        self.register_buffer("loss", torch.zeros(cells))
        self.register_buffer("hits", torch.zeros(cells))

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        features = self.encoding(x)
        return features if self.override else features * self.mask(x)

    def mask(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """How far each channel is open at ``x``, from 0 to 1."""
        check_points(x, self.in_dim)
        points = x.reshape(-1, self.in_dim)[:, self._axes]
        by_block = in_portions(self._share_beyond, points, _AT_A_TIME)
        block = self.blocks.of_channels(self.encoding.frequencies).to(x.device)
        return by_block.index_select(1, block).view(*x.shape[:-1], self.out_dim)

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """The encoding's own."""
        return self.encoding.frequencies

    @torch.no_grad()
    def on_step(self, event: Event) -> None:
        """Note where the error is, and at the end of a window open the next block there."""
        self.encoding.on_step(event)
        if self.override or int(self.reached) == self.blocks.count:
            return
        cells, weight = windows(event.x[:, self._axes], self.resolution, 1)
        weight = weight if event.weight is None else weight * event.weight[:, None]
        weight = weight.to(self.hits.dtype)
        self.loss.index_add_(0, cells.flatten(), (weight * event.error[:, None].to(weight.dtype)).flatten())
        self.hits.index_add_(0, cells.flatten(), weight.flatten())
        if event.step >= int(self.reached) * self.blocks.window(event, share=0.5):
            self._open(self._mean_loss() > self.threshold)

    def _share_beyond(self, points: Tensor) -> Tensor:
        """The weight of the cells about ``points (N, axes)`` in which each block (N, blocks) is open."""
        cells, weight = windows(points, self.resolution, self._blur)
        last = self.opened[cells].long() - 1
        share = weight.new_zeros(points.shape[0], self.blocks.count).scatter_add(1, last, weight)
        return share.flip(1).cumsum(1).flip(1)

    def _mean_loss(self) -> Tensor:
        """The mean loss (cells,) of the window, unvisited cells filled in, blurred."""
        shape = [self.resolution] * len(self._axes)
        visited = (self.hits > 0).view(shape)
        mean = torch.where(self.hits > 0, self.loss / self.hits, 0).view(shape)
        members = self._blur ** len(self._axes)
        around = box_blur(mean, self._blur) * (members / (members - 1))  # an unvisited cell itself counts as 0
        return box_blur(torch.where(visited, mean, around), self._blur).flatten()

    def _open(self, busy: Tensor) -> None:
        """Open the next block in cells that kept up so far and are ``busy (cells,)``; start counting anew."""
        going_on = (self.opened == self.reached) & busy
        self.reached += 1
        self.opened[going_on] = self.reached
        self.loss.zero_()
        self.hits.zero_()
