"""Channels in blocks, from coarse to fine, and how long each waits for its turn."""

import dataclasses

from jaxtyping import Float, Int
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.records import Event


@dataclasses.dataclass(frozen=True)
class Blocks:
    """``n_channels`` in ``count`` blocks of ``size``; what remains belongs to the last one.

    ``windows`` is the number by which SAPE divides a run: nb of its code, which is one less than ``count`` where the
    first block is the coordinates and nobody chose a number.
    """

    n_channels: int
    size: int
    windows: int

    @classmethod
    def of(cls, encoding: Encoding, n_blocks: int | None) -> "Blocks":
        """``n_blocks`` of ``encoding``; by default (None) blocks of as many channels as there are coordinates."""
        channels, dim = encoding.out_dim, encoding.in_dim
        if n_blocks is None:
            return cls(channels, min(dim, channels), max(1, (channels - dim) // dim))
        if not 1 <= n_blocks <= channels:
            raise ValueError(f"n_blocks is {n_blocks}, but {channels} channels make 1 to {channels} blocks")
        return cls(channels, channels // n_blocks, n_blocks)

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return self.n_channels // self.size

    def of_channels(self, frequencies: Float[Tensor, " channels"]) -> Int[Tensor, " channels"]:
        """The block of each channel, ranked by nominal frequency; equals keep their order, so sine before cosine."""
        rank = frequencies.argsort(stable=True).argsort()
        return (rank // self.size).clamp(max=self.count - 1)

    def window(self, event: Event, share: float) -> int:
        """Steps between two blocks, for all to be open after ``share`` of the run; 1 at least.

        In a run by time it changes with the run's speed; block j is due at j windows, so the share stays what it is.
        """
        if not event.progress > 0:
            return event.step + 1
        steps = event.step / event.progress
        return max(1, int(share * steps / self.windows + 1e-6))  # steps is a quotient: 160 may be 159.99999999999997
