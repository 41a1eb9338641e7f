"""An encoding and a network as one op: what stands in front, and a chain of linear maps with activations between."""

import dataclasses

from neufield.kernels.grid.spec import GridSpec

HIDDEN_ACTIVATIONS = ("none", "relu", "leaky_relu", "silu", "sine")  # in the order of native/neufield.h


@dataclasses.dataclass(frozen=True)
class FrequencySpec:
    """Octaves of sines: channels (axis, octave, sine | cosine) of 2^k pi x."""

    dim: int
    n_frequencies: int

    @property
    def out_dim(self) -> int:
        """Channels."""
        return self.dim * self.n_frequencies * 2


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """``n_hidden_layers`` linear maps of ``width``, each followed by ``activation``, and one more linear map.

    ``front`` turns points into the ``in_dim`` features of the first; None where the features are given.
    ``precision`` is that of the matrix products: "fp32" or "bf16".
    """

    in_dim: int
    out_dim: int
    width: int
    n_hidden_layers: int
    activation: str
    bias: bool
    front: GridSpec | FrequencySpec | None = None
    precision: str = "fp32"

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(out, in) of each linear map."""
        widths = [self.in_dim] + [self.width] * self.n_hidden_layers + [self.out_dim]
        return list(zip(widths[1:], widths[:-1], strict=True))
