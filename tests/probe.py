"""A part that remembers what it was shown and told."""

import torch
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.records import Event


class ProbeEncoding(Encoding):
    """Remembers what it was shown and what it was told."""

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.in_dim = self.out_dim = in_dim
        self.seen: list[Tensor] = []
        self.told: list[Event] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return x

    @property
    def frequencies(self) -> Tensor:
        return torch.zeros(self.out_dim)

    def on_step(self, event: Event) -> None:
        self.told.append(event)
