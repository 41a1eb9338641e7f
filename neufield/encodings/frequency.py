"""Fixed octaves of sines, or of triangles: NeRF's positional encoding and its cheap cousin."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points, check_positive
from neufield.functional import positional_encoding
from neufield.kernels.field import FrequencySpec
from neufield.kernels.ops import EncodingOp


class Frequency(Encoding):
    """NeRF's positional encoding (arXiv 2003.08934, eq. 4): sin(2^k pi x), cos(2^k pi x), k < ``n_frequencies``.

    Layout and factor pi are tiny-cuda-nn's: per input dimension, per octave, the pair (sin, cos). Here x is in [0, 1];
    papers that feed [-1, 1] see twice our frequency at the same k, so give one octave more to match them.
    """

    def __init__(self, in_dim: int, n_frequencies: int = 12) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, n_frequencies=n_frequencies)
        self.in_dim = in_dim
        self.n_frequencies = n_frequencies
        self.out_dim = in_dim * n_frequencies * 2

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        check_points(x, self.in_dim)
        return positional_encoding(x, self.n_frequencies)

    def op(self) -> EncodingOp:
        """A fused kernel can compute it."""
        return EncodingOp(FrequencySpec(self.in_dim, self.n_frequencies))

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """2^k / 2 cycles per box."""
        return (torch.exp2(torch.arange(self.n_frequencies)) / 2).repeat_interleave(2).repeat(self.in_dim)


class TriangleWave(Encoding):
    """Triangle waves of period 2^(1-k) with a small phase step per octave (arXiv 2106.12372, as tiny-cuda-nn has it).

    v = 2^(k-1) x + k/4; y = 4 |v - floor(v) - 1/2| - 1, in [-1, 1]. Second derivatives are zero.
    """

    def __init__(self, in_dim: int, n_frequencies: int = 12) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, n_frequencies=n_frequencies)
        self.in_dim = in_dim
        self.n_frequencies = n_frequencies
        self.out_dim = in_dim * n_frequencies

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        check_points(x, self.in_dim)
        octaves = torch.arange(self.n_frequencies, dtype=x.dtype, device=x.device)
        value = x.unsqueeze(-1) * torch.exp2(octaves - 1) + octaves * 0.25
        return ((value - value.floor() - 0.5).abs() * 4 - 1).flatten(-2)

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """2^(k-1) cycles per box."""
        return torch.exp2(torch.arange(self.n_frequencies) - 1.0).repeat(self.in_dim)
