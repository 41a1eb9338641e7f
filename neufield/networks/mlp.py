"""The multilayer perceptron."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Modulation, Network
from neufield.core.records import Event
from neufield.core.shapes import check_choice, check_layers, check_positive
from neufield.functional.activations import ACTIVATIONS
from neufield.kernels.ops import MLPOp


class MLP(Network):
    """``n_hidden_layers`` hidden layers of ``width``, then a linear output layer and ``output_activation``.

    Before hidden layer i in ``skips`` the network's input is appended to the running features (NeRF: layer 5 of 8,
    arXiv 2003.08934, appendix A). ``modulation`` acts between each hidden layer's linear map and its activation.
    Weights start Xavier uniform (tiny-cuda-nn, and the Glorot of the Fourier-features code), biases at zero;
    ``bias=False`` is tiny-cuda-nn's network. ``start`` "torch" draws weights and biases as ``nn.Linear`` does,
    U(+-1/sqrt(n)), the start of most published code: a good half as large, which matters under a modulation that
    normalizes, since what is normalized turns the faster the smaller it is. With activation "sine" the weights start as
    tiny-cuda-nn's SIREN does, omega folded in: U(+-30/n) in the first layer, U(+-sqrt(6/n)) after it.
    ``n_hidden_layers=0`` is one linear map.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        width: int = 64,
        n_hidden_layers: int = 2,
        activation: str = "relu",
        output_activation: str = "none",
        skips: Sequence[int] = (),
        bias: bool = True,
        modulation: Modulation | None = None,
        start: str = "xavier",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, out_dim=out_dim, width=width)
        check_choice("start", start, ("xavier", "torch"))
        if start == "torch" and activation == "sine":
            raise ValueError("start is 'torch', but sines start as a SIREN does; leave start out")
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
        check_layers(n_hidden_layers)
        if any(not 0 < layer < n_hidden_layers for layer in skips):
            raise ValueError(
                f"skips is {list(skips)} with n_hidden_layers={n_hidden_layers}; a skip enters hidden layer 1 to n-1"
            )
        if modulation is not None:
            modulation.check(n_hidden_layers, width)
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.width = width
        self.n_hidden_layers = n_hidden_layers
        self.activation = activation
        self.output_activation = output_activation
        self.skips = list(skips)
        self.bias = bias
        self.modulation = modulation
        self.start = start
        widths = [in_dim] + [width] * n_hidden_layers + [out_dim]
        inputs = [size + in_dim * (layer in self.skips) for layer, size in enumerate(widths[:-1])]
        layers = [nn.Linear(n_in, n_out, bias=bias) for n_in, n_out in zip(inputs, widths[1:], strict=True)]
        self.layers = nn.ModuleList(layers)
        for i, layer in enumerate(layers):
            n_in, n_out = layer.in_features, layer.out_features
            bound = math.sqrt(6 / (n_in + n_out))
            if activation == "sine":
                bound = 30 / n_in if i == 0 else math.sqrt(6 / n_in)
            elif start == "torch":
                bound = 1 / math.sqrt(n_in)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if bias and start == "torch":
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
            elif bias:
                nn.init.zeros_(layer.bias)

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map features ``h`` at unit-box points ``x`` to values."""
        activate = ACTIVATIONS[self.activation]
        features = h
        for i, layer in enumerate(self.layers[:-1]):
            if i in self.skips:
                h = torch.cat([h, features], dim=-1)
            h = layer(h)
            if self.modulation is not None:
                h = self.modulation(h, x, i)
            h = activate(h)
        return ACTIVATIONS[self.output_activation](self.layers[-1](h))

    def op(self) -> MLPOp | None:
        """The chain of layers, for fused kernels; None where something acts between them."""
        if self.skips or self.modulation is not None:
            return None
        layers = cast(list[nn.Linear], list(self.layers))
        biases = [layer.bias for layer in layers] if self.bias else []
        return MLPOp([layer.weight for layer in layers], biases, self.activation, self.output_activation)

    def on_step(self, event: Event) -> None:
        """Pass the event on to the modulation, if there is one."""
        if self.modulation is not None:
            self.modulation.on_step(event)
