"""BACON: a coordinate network whose outputs are limited to known bands of frequencies."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Network
from neufield.core.shapes import check_positive
from neufield.core.wrappers import hooked
from neufield.functional.activations import ACTIVATIONS
from neufield.networks.mfn import Filter, Products, check_network, draw_linear


class LatticeFilter(Filter):
    """sin(2 pi k x + b): whole numbers k of cycles per box, drawn evenly from -band .. band on each axis and fixed.

    They are numbers to remember (a buffer), the phases b ~ U(+-pi) learn.
    """

    cycles: Tensor

    def __init__(
        self, in_features: int, out_features: int, bands: Sequence[int], generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.bands = list(bands)
        columns = [torch.randint(-band, band + 1, (out_features,), generator=generator) for band in self.bands]
        self.register_buffer("cycles", torch.stack(columns, dim=-1).to(torch.get_default_dtype()))
        self.bias = nn.Parameter(torch.empty(out_features))
        nn.init.uniform_(self.bias, -math.pi, math.pi, generator=generator)

    def forward(self, x: Float[Tensor, "*points in_features"]) -> Float[Tensor, "*points out_features"]:
        """Sines."""
        return torch.sin(nn.functional.linear(x, 2 * math.pi * self.cycles, self.bias))


class Bacon(Network):
    """BACON (arXiv 2112.04645): a multiplicative filter network with fixed frequencies, and read-outs along the way.

    ``bandwidths`` are the highest frequencies of the last read-out, in cycles per box for each axis: half the samples
    of a lattice. Filter i has the frequencies up to round(bandwidth ``shares[i]``) on each axis, and the product of the
    first filters none beyond their sum, so that the read-out after filter m is a low-pass version by construction,
    for ever. There is one after each of the filters ``readouts`` (the last of which is the last filter), and training
    sees all of them (``outputs``); ``forward`` gives the last.

    Points of the unit box are shifted to [-1/2, 1/2), the official code's place, which only turns phases. Matrices and
    read-outs start U(+-sqrt(6 / width)), as there. A band is not above ``bandwidths`` by more than the rounding of each
    share; the official code rounds the same way, so its bands do not add up to exactly the bandwidth either. The
    shares are those of its picture experiment.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        bandwidths: Sequence[float],
        width: int = 256,
        shares: Sequence[float] = (0.125, 0.125, 0.25, 0.25, 0.25),
        readouts: Sequence[int] = (1, 2, 4),
        output_activation: str = "none",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_network(in_dim, out_dim, width, 0, output_activation)
        check_positive(**{f"bandwidths[{i}]": value for i, value in enumerate(bandwidths)})
        check_positive(**{f"shares[{i}]": value for i, value in enumerate(shares)})
        if len(bandwidths) != in_dim:
            raise ValueError(
                f"bandwidths has {len(bandwidths)} numbers, but it must have one for each of {in_dim} axes"
            )
        if abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"shares is {list(shares)}, which adds up to {sum(shares)}, but they must add up to 1")
        if not readouts or list(readouts) != sorted({*readouts}) or readouts[0] < 0 or readouts[-1] != len(shares) - 1:
            raise ValueError(
                f"readouts is {list(readouts)}, but it must ascend to {len(shares) - 1}, the last of the "
                f"{len(shares)} filters"
            )
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.bandwidths = list(bandwidths)
        self.width = width
        self.shares = list(shares)
        self.readouts = list(readouts)
        self.output_activation = output_activation
        self.bands = [[round(bandwidth * share) for bandwidth in bandwidths] for share in shares]
        filters = [LatticeFilter(in_dim, width, bands, generator) for bands in self.bands]
        bound = math.sqrt(6 / width)
        self.products = Products(filters, width, 6.0, generator)
        self.last = nn.ModuleList([draw_linear(nn.Linear(width, out_dim), bound, generator) for _ in readouts])

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map unit-box coordinates ``h`` to values, with the whole bandwidth."""
        return self._readouts(h)[-1]

    def outputs(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Sequence[Float[Tensor, "*points out"]]:
        """Every read-out, from the narrowest band to the whole."""
        found = self._readouts(h)
        return [*found[:-1], self(h, x)] if hooked(self) else found

    def _readouts(self, h: Tensor) -> list[Tensor]:
        activate = ACTIVATIONS[self.output_activation]
        with torch.autocast(h.device.type, enabled=False):
            products = [z for i, z in enumerate(self.products(h - 0.5)) if i in self.readouts]
            return [activate(last(z)) for last, z in zip(self.last, products, strict=True)]

    def limits(self) -> list[list[int]]:
        """The highest frequency of each read-out on each axis, in cycles per box."""
        return [[sum(axis) for axis in zip(*self.bands[: i + 1], strict=True)] for i in self.readouts]
