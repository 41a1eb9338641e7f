"""Several encodings side by side."""

import functools
import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Encoding
from neufield.core.records import Event
from neufield.core.shapes import check_choice, check_points

REDUCTIONS = ("concatenation", "sum", "product")


class Composite(Encoding):
    """Each part encodes its own slice of the input; the results are concatenated, summed or multiplied.

    Part i reads ``in_dim`` coordinates from ``starts[i]`` on. By default each starts where the one before ended;
    slices may overlap, so the same coordinates can be encoded twice. ``in_dim`` is how many coordinates there are, if
    some behind those of the parts are read by none.
    """

    def __init__(
        self,
        encodings: Sequence[Encoding],
        starts: Sequence[int] | None = None,
        reduction: str = "concatenation",
        in_dim: int | None = None,
    ) -> None:
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        if not encodings:
            raise ValueError("Composite needs at least one encoding, got an empty list")
        widths = [part.in_dim for part in encodings]
        default = [sum(widths[:i]) for i in range(len(widths))]
        if starts is not None and len(starts) != len(widths):
            raise ValueError(
                f"starts has {len(starts)} entries, but there are {len(widths)} encodings; give one for each"
            )
        outputs = [part.out_dim for part in encodings]
        if reduction != "concatenation" and len(set(outputs)) > 1:
            raise ValueError(f"reduction '{reduction}' needs parts of one width, got {outputs}; use 'concatenation'")
        self.encodings = nn.ModuleList(encodings)
        self.starts = list(default if starts is None else starts)
        self.reduction = reduction
        read = max(start + width for start, width in zip(self.starts, widths, strict=True))
        self.in_dim = read if in_dim is None else in_dim
        if self.in_dim < read:
            raise ValueError(
                f"in_dim is {in_dim}, but the encodings read {read} coordinates; give that, or leave it out"
            )
        self.out_dim = sum(outputs) if reduction == "concatenation" else outputs[0]

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        check_points(x, self.in_dim)
        features = [part(self._slice(x, i)) for i, part in enumerate(self._parts())]
        if self.reduction == "concatenation":
            return torch.cat(features, dim=-1)
        return sum(features[1:], features[0]) if self.reduction == "sum" else math.prod(features[1:], start=features[0])

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """Those of the parts; under a sum or a product, the highest."""
        parts = [part.frequencies for part in self._parts()]
        return torch.cat(parts) if self.reduction == "concatenation" else torch.stack(parts).amax(0)

    def on_step(self, event: Event) -> None:
        """Each part hears of the coordinates that it sees."""
        for i, part in enumerate(self._parts()):
            part.on_step(event.at(functools.partial(self._slice, i=i)))

    def _parts(self) -> list[Encoding]:
        return cast(list[Encoding], list(self.encodings))

    def _slice(self, x: Tensor, i: int) -> Tensor:
        return x[..., self.starts[i] : self.starts[i] + self._parts()[i].in_dim]
