"""Sinusoidal representation networks."""

import itertools
import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Modulation, Network
from neufield.core.records import Event
from neufield.core.shapes import check_choice, check_layers, check_positive
from neufield.functional.activations import ACTIVATIONS
from neufield.kernels.ops import MLPOp

BIASES = ("inside", "inside_small", "outside")


class Siren(Network):
    """SIREN (arXiv 2006.09661): a first sine layer, ``n_hidden_layers`` more, and a linear read-out.

    A layer is sin(omega (W h + b)), with ``omega_0`` in the first layer and ``hidden_omega`` after it. W starts
    U(+-1/n) in the first layer and U(+-sqrt(6/n) / hidden_omega) elsewhere, the read-out included (section 3.2).
    Points come from the unit box and are mapped to [-1, 1] inside. With the paper's four sine layers, take
    ``n_hidden_layers=3``.

    The papers differ in the bias, and so in every later number; ``bias`` says which is meant:

    * "inside": sin(omega (W h + b)), b ~ U(+-1/sqrt(n)), PyTorch's default: the official code;
    * "inside_small": the same with b in the range of its W: the code of nonparametric teaching (INT);
    * "outside": sin(omega W h + b), b ~ U(+-1/sqrt(n)): the code of FreSh.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        width: int = 256,
        n_hidden_layers: int = 3,
        omega_0: float = 30.0,
        hidden_omega: float = 30.0,
        bias: str = "inside",
        output_activation: str = "none",
        modulation: Modulation | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, out_dim=out_dim, width=width, omega_0=omega_0, hidden_omega=hidden_omega)
        check_layers(n_hidden_layers)
        check_choice("bias", bias, BIASES)
        check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
        if modulation is not None:
            modulation.check(1 + n_hidden_layers, width)
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.width = width
        self.n_hidden_layers = n_hidden_layers
        self.omega_0 = omega_0
        self.hidden_omega = hidden_omega
        self.bias = bias
        self.output_activation = output_activation
        self.modulation = modulation
        widths = [in_dim] + [width] * (1 + n_hidden_layers) + [out_dim]
        layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
        self.layers = nn.ModuleList(layers)
        for i, layer in enumerate(layers):
            n = layer.in_features
            bound = 1 / n if i == 0 else math.sqrt(6 / n) / hidden_omega
            bias_bound = bound if bias == "inside_small" else 1 / math.sqrt(n)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.uniform_(layer.bias, -bias_bound, bias_bound, generator=generator)

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map unit-box coordinates ``h`` to values."""
        h = h * 2 - 1
        for i, layer in enumerate(cast(list[nn.Linear], list(self.layers[:-1]))):
            omega = self.omega_0 if i == 0 else self.hidden_omega
            # sin(omega W h + b) is sin(omega (W h + b / omega)): one rule for the modulation's place.
            inside = self.bias != "outside"
            h = layer(h) if inside else nn.functional.linear(h, layer.weight, layer.bias / omega)
            if self.modulation is not None:
                h = self.modulation(h, x, i)
            h = torch.sin(omega * h)
        return ACTIVATIONS[self.output_activation](self.layers[-1](h))

    def op(self) -> MLPOp | None:
        """The layers with omega, and the map from the unit box to [-1, 1], multiplied in."""
        if self.modulation is not None:
            return None
        first, *hidden, last = cast(list[nn.Linear], list(self.layers))
        layers = [(first, self.omega_0), *[(layer, self.hidden_omega) for layer in hidden]]
        weights = [layer.weight * omega for layer, omega in layers]
        biases = [layer.bias if self.bias == "outside" else layer.bias * omega for layer, omega in layers]
        biases[0] = biases[0] - weights[0].sum(1)
        weights[0] = weights[0] * 2
        return MLPOp([*weights, last.weight], [*biases, last.bias], "sine", self.output_activation)

    def on_step(self, event: Event) -> None:
        """Pass the event on to the modulation, if there is one."""
        if self.modulation is not None:
            self.modulation.on_step(event)
