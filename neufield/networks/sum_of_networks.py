"""A sum of two networks: what is smooth, and what oscillates."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Network, Resampled
from neufield.core.records import Event
from neufield.core.shapes import check_choice
from neufield.functional.activations import ACTIVATIONS


class SumOfNetworks(Network):
    """low(x) + band(x), trained together (arXiv 2310.00545, the split of complex wavelet networks).

    A network of nearly analytic wavelets keeps to its band at any depth, and so cannot make low frequencies: ``low``
    makes them, with a real scaling function as its template (a :class:`Wire` with ``omega=0``), and ``band`` the rest
    (a :class:`Wire` with omega three times its scale or more).
    """

    def __init__(self, low: Network, band: Network, output_activation: str = "none") -> None:
        super().__init__()
        check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
        if (low.in_dim, low.out_dim) != (band.in_dim, band.out_dim):
            raise ValueError(
                f"low maps {low.in_dim} features to {low.out_dim} and band {band.in_dim} to {band.out_dim}, "
                "but both must be the same"
            )
        self.low = low
        self.band = band
        self.output_activation = output_activation
        self.in_dim = low.in_dim
        self.out_dim = low.out_dim

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map features ``h`` to values."""
        return ACTIVATIONS[self.output_activation](self.low(h, x) + self.band(h, x))

    def init_from_signal(self, signal: Resampled, generator: torch.Generator | None = None) -> None:
        """Show both networks the signal."""
        self.low.init_from_signal(signal, generator)
        self.band.init_from_signal(signal, generator)

    def on_step(self, event: Event) -> None:
        """Pass the event on to both networks."""
        self.low.on_step(event)
        self.band.on_step(event)
