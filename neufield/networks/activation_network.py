"""Networks with one activation that has a scale of its own: FINER, Gaussians, real Gabor atoms."""

import abc
import dataclasses
import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Modulation, Network
from neufield.core.records import Event
from neufield.core.shapes import check_choice, check_layers, check_positive
from neufield.functional.activations import ACTIVATIONS


class ScaledActivation(abc.ABC):
    """An activation together with how the linear maps around it start."""

    @abc.abstractmethod
    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """What layer ``layer``, counted from 0, makes of ``z (..., width)``, element by element."""

    def start(self, linear: nn.Linear, layer: int, generator: torch.Generator | None) -> None:
        """Draw the weights before layer ``layer``, or of the read-out, in place: PyTorch's U(+-1/sqrt(n)) at first."""
        del layer
        bound = 1 / math.sqrt(linear.in_features)
        nn.init.uniform_(linear.weight, -bound, bound, generator=generator)
        nn.init.uniform_(linear.bias, -bound, bound, generator=generator)


@dataclasses.dataclass(frozen=True)
class Finer(ScaledActivation):
    """FINER's sin(omega (|z| + 1) z), ``omega_0`` in the first layer and ``hidden_omega`` after it (arXiv 2312.02434).

    Weights start as SIREN's; the first bias U(+-first_bias), for None as PyTorch's: a larger one begins with higher
    frequencies. As in the official code the gradient does not see the factor |z| + 1. So the field's derivatives by
    its points are not the true ones either; where they matter (an eikonal loss, an equation), say ``detached=False``.
    """

    omega_0: float = 30.0
    hidden_omega: float = 30.0
    first_bias: float | None = None
    detached: bool = True

    def __post_init__(self) -> None:
        check_positive(omega_0=self.omega_0, hidden_omega=self.hidden_omega)
        if self.first_bias is not None and not self.first_bias >= 0:
            raise ValueError(f"first_bias is {self.first_bias}, but it must be 0 or above")

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """sin(omega (|z| + 1) z)."""
        factor = z.abs() + 1
        if self.detached:
            factor = factor.detach()
        return torch.sin((self.hidden_omega if layer else self.omega_0) * factor * z)

    def start(self, linear: nn.Linear, layer: int, generator: torch.Generator | None) -> None:
        """U(+-1/n) in the first layer, U(+-sqrt(6/n) / hidden_omega) after it, the read-out included."""
        n = linear.in_features
        bound = math.sqrt(6 / n) / self.hidden_omega if layer else 1 / n
        bias_bound = 1 / math.sqrt(n) if layer or self.first_bias is None else self.first_bias
        nn.init.uniform_(linear.weight, -bound, bound, generator=generator)
        nn.init.uniform_(linear.bias, -bias_bound, bias_bound, generator=generator)


@dataclasses.dataclass(frozen=True)
class Gauss(ScaledActivation):
    """exp(-(scale z)^2) (Gaussian activated fields, arXiv 2111.15135, as in WIRE's and FINER's codes)."""

    scale: float = 30.0

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """exp(-(scale z)^2)."""
        del layer
        return torch.exp(-(self.scale * z).square())


@dataclasses.dataclass(frozen=True)
class Gabor(ScaledActivation):
    """cos(omega z) exp(-(scale z)^2): the real part of WIRE's atom (arXiv 2301.05187), with real numbers throughout."""

    omega: float = 20.0
    scale: float = 10.0

    def __post_init__(self) -> None:
        check_positive(omega=self.omega, scale=self.scale)

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """cos(omega z) exp(-(scale z)^2)."""
        del layer
        return torch.cos(self.omega * z) * torch.exp(-(self.scale * z).square())


class ActivationNetwork(Network):
    """``activation`` after a first linear map and ``n_hidden_layers`` more, then a linear read-out: SIREN's shape.

    Points come from the unit box and are mapped to [-1, 1] inside, where all of these papers work.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        activation: ScaledActivation,
        width: int = 256,
        n_hidden_layers: int = 3,
        output_activation: str = "none",
        modulation: Modulation | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, out_dim=out_dim, width=width)
        check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
        check_layers(n_hidden_layers)
        if modulation is not None:
            modulation.check(1 + n_hidden_layers, width)
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.activation = activation
        self.width = width
        self.n_hidden_layers = n_hidden_layers
        self.output_activation = output_activation
        self.modulation = modulation
        widths = [in_dim] + [width] * (1 + n_hidden_layers) + [out_dim]
        layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
        self.layers = nn.ModuleList(layers)
        for i, layer in enumerate(layers):
            activation.start(layer, i, generator)

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map unit-box coordinates ``h`` to values."""
        h = h * 2 - 1
        for i, layer in enumerate(self.layers[:-1]):
            h = layer(h)
            if self.modulation is not None:
                h = self.modulation(h, x, i)
            h = self.activation(h, i)
        return ACTIVATIONS[self.output_activation](self.layers[-1](h))

    def on_step(self, event: Event) -> None:
        """Pass the event on to the modulation, if there is one."""
        if self.modulation is not None:
            self.modulation.on_step(event)
