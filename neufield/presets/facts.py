"""What a preset may know of a signal."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class SignalFacts:
    """A signal before its field: dimension, channels, the shape of its lattice, bytes of its file."""

    dim: int
    channels: int
    shape: Sequence[int]
    source_bytes: int
