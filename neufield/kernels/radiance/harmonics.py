"""Spherical harmonics of directions, as a fused kernel is told of them."""

import dataclasses
from typing import ClassVar


@dataclasses.dataclass(frozen=True)
class HarmonicsSpec:
    """Real spherical harmonics of unit directions, of bands below ``degree``."""

    degree: int
    kind: ClassVar[str] = "harmonics"
    dim: ClassVar[int] = 3
    table_shape: ClassVar[None] = None

    @property
    def out_dim(self) -> int:
        """Channels."""
        return self.degree**2

    @property
    def text(self) -> str:
        """The spec as JSON."""
        return f'{{"degree": {self.degree}}}'
