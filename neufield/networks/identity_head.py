"""No network at all."""

from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Network
from neufield.core.shapes import check_choice, check_positive
from neufield.functional.activations import ACTIVATIONS


class IdentityHead(Network):
    """The features are the values, but for ``output_activation``: for encodings that learn a feature a channel."""

    def __init__(self, in_dim: int, output_activation: str = "none") -> None:
        super().__init__()
        check_positive(in_dim=in_dim)
        check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
        self.in_dim = self.out_dim = in_dim
        self.output_activation = output_activation

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """``h`` itself, activated."""
        del x
        return ACTIVATIONS[self.output_activation](h)
