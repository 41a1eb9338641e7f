"""Layers of which a part is periodic."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.shapes import check_positive


class FANLinear(nn.Module):
    """y = [cos(W_p x), sin(W_p x), gelu(W_g x + b)], in place of ``nn.Linear`` *and* its activation (arXiv 2410.02675).

    ``p_ratio``, below 0.5, of the outputs are cosines and as many are sines (eq. 9 and 10). With ``gated`` the periodic
    part is multiplied by sigmoid(g) and the rest by 1 - sigmoid(g), g one learned number that starts normal; with
    ``periodic_bias`` W_p x gets a bias too, as in the official code. Weights and biases start as those of
    ``nn.Linear``, U(+-1 / sqrt(in_features)): **low frequencies**, so scale the inputs up for anything that oscillates.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        p_ratio: float = 0.25,
        periodic_bias: bool = False,
        gated: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_features=in_features, out_features=out_features)
        if not 0 < p_ratio < 0.5:
            raise ValueError(f"p_ratio is {p_ratio}, but it must be between 0 and 0.5: sines and cosines have it each")
        self.in_features = in_features
        self.out_features = out_features
        self.p_ratio = p_ratio
        n = int(out_features * p_ratio)
        self.periodic = nn.Linear(in_features, n, periodic_bias)
        self.rest = nn.Linear(in_features, out_features - 2 * n, bias)
        for parameter in (*self.periodic.parameters(), *self.rest.parameters()):
            nn.init.uniform_(parameter, -(in_features**-0.5), in_features**-0.5, generator=generator)
        self.gate = nn.Parameter(torch.randn(1, generator=generator)) if gated else None

    def forward(self, x: Float[Tensor, "*points n_in"]) -> Float[Tensor, "*points n_out"]:
        """Map features ``x``."""
        phase, rest = self.periodic(x), F.gelu(self.rest(x))
        waves = torch.cat([phase.cos(), phase.sin()], dim=-1)
        if self.gate is not None:
            share = torch.sigmoid(self.gate)
            waves, rest = waves * share, rest * (1 - share)
        return torch.cat([waves, rest], dim=-1)
