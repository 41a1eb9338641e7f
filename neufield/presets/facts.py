"""The facts of a signal or a scene, of which a preset takes as arguments those that it has a name for."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class SignalFacts:
    """What a preset is told of a signal: dimension, channels, the shape of its lattice, bytes of its file."""

    dim: int
    channels: int
    shape: Sequence[int]
    source_bytes: int

    def arguments(self) -> Mapping[str, Any]:
        """The facts by the names that presets give them."""
        return {"dim": self.dim, "out_dim": self.channels, "shape": self.shape, "max_bytes": self.source_bytes}


@dataclasses.dataclass(frozen=True)
class RadianceFacts:
    """What a preset is told of a scene: details along an edge of the box (None: its own), an image's code's length."""

    resolution: int | None = None
    code_dim: int = 0

    def arguments(self) -> Mapping[str, Any]:
        """The facts by the names that presets give them; what is not wanted is left out."""
        named = {"resolution": self.resolution, "code_dim": self.code_dim}
        return {name: value for name, value in named.items() if value}
