"""Progressive encoding, the same everywhere: what SAPE is compared with."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.records import Event
from neufield.core.shapes import check_points
from neufield.encodings.blocks import Blocks


class Progressive(Encoding):
    """``encoding(x)`` times one mask for all points, opened from coarse to fine: SAPE's global variant (2104.09125).

    The first block of channels is open from the start. Each window another follows, its mask rising from 0 to 1 during
    the first half of it; windows are such that the last ends at three quarters of the run. When the mean loss of a step
    falls below ``threshold``, the mask stays as it is for good.

    ``n_blocks``, the order of channels, ``threshold`` and ``override`` are as in :class:`SAPE`.
    """

    opened: Tensor
    rising: Tensor
    best: Tensor

    def __init__(
        self, encoding: Encoding, n_blocks: int | None = None, threshold: float = 1e-3, override: bool = False
    ) -> None:
        super().__init__()
        if threshold < 0:
            raise ValueError(f"threshold is {threshold}, but it must be 0 or above")
        self.encoding = encoding
        self.n_blocks = n_blocks
        self.threshold = threshold
        self.override = override
        self.in_dim = encoding.in_dim
        self.out_dim = encoding.out_dim
        self.blocks = Blocks.of(encoding, n_blocks)
        self.register_buffer("opened", torch.ones((), dtype=torch.int32))
        self.register_buffer("rising", torch.zeros(()))
        self.register_buffer("best", torch.full((), torch.inf))

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        check_points(x, self.in_dim)
        features = self.encoding(x)
        return features if self.override else features * self.mask().to(features)

    def mask(self) -> Float[Tensor, " out_dim"]:
        """How far each channel is open, from 0 to 1."""
        block = self.blocks.of_channels(self.encoding.frequencies).to(self.opened.device)
        return torch.where(block < self.opened, 1.0, torch.where(block == self.opened, self.rising, 0.0))

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """The encoding's own."""
        return self.encoding.frequencies

    @torch.no_grad()
    def on_step(self, event: Event) -> None:
        """Open a little further, unless the loss has been small enough."""
        self.encoding.on_step(event)
        if self.override or int(self.opened) >= self.blocks.count or float(self.best) < self.threshold:
            return
        if len(event.error):
            self.best.clamp_(max=float(_mean(event)))
        window = self.blocks.window(event, share=0.75)
        if event.step >= int(self.opened) * window:
            self.opened += 1
        into = event.step - (int(self.opened) - 1) * window
        self.rising.fill_(min(1.0, 2 * into / window))


def _mean(event: Event) -> Tensor:
    if event.weight is None:
        return event.error.mean()
    return (event.error * event.weight).sum() / event.weight.sum().clamp(min=1e-12)
