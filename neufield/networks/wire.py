"""WIRE: networks of complex Gabor wavelets."""

import math
from typing import cast

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from neufield.core.errors import ConfigError
from neufield.core.interfaces import Network, Resampled
from neufield.core.shapes import check_choice, check_layers, check_positive
from neufield.functional.activations import ACTIVATIONS
from neufield.networks.maxima import Atoms, ModulusMaxima

_FAINTEST = -40.0  # e^-40 = 4e-18, a billionth of what float32 can add to 1


def wavelet(z: Tensor, omega: float, scale: float) -> Complex[Tensor, "*shape"]:
    """The atom exp(i omega z_1 - scale^2 (|z_1|^2 + ... + |z_n|^2)) of ``z (..., n)``, real or complex.

    An atom fainter than e^-40 is 0: nobody would see it, but its products are denormal numbers, with which a CPU
    computes several times more slowly.
    """
    squares = z.real.square() + z.imag.square() if z.is_complex() else z.square()
    exponent = -(scale**2) * squares.sum(-1)
    first = z[..., 0]
    if z.is_complex():
        exponent = exponent - omega * first.imag
        first = first.real
    return torch.polar(torch.exp(exponent.masked_fill(exponent < _FAINTEST, -math.inf)), omega * first)


class ComplexLinear(nn.Module):
    """``nn.Linear`` with complex numbers, kept as pairs of real ones: ``weight (out, in, 2)`` and ``bias (out, 2)``.

    Real and imaginary parts start U(+-1/sqrt(in_features)), as PyTorch's own complex layer does. An optimizer and a
    file see real numbers only; the two parts are independent coordinates for Adam.
    """

    def __init__(self, in_features: int, out_features: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features, 2))
        self.bias = nn.Parameter(torch.empty(out_features, 2))
        nn.init.uniform_(self.weight, -bound, bound, generator=generator)
        nn.init.uniform_(self.bias, -bound, bound, generator=generator)

    def forward(self, h: Complex[Tensor, "*points in_features"]) -> Complex[Tensor, "*points out_features"]:
        """W h + b."""
        return nn.functional.linear(h, torch.view_as_complex(self.weight), torch.view_as_complex(self.bias))


class Wire(Network):
    """WIRE (arXiv 2301.05187): a real linear map, ``n_hidden_layers`` complex ones, wavelets after each; a real part.

    A unit is psi(z) = exp(i ``omega`` z_1 - ``scale``^2 sum_k |z_k|^2) of its ``n_maps`` linear maps z_k of the layer
    before: 1 is the paper's network, 2 its two-dimensional variant, the signal's dimension the atoms that the algebra
    of complex wavelets is about. With ``omega=0`` psi is a Gaussian, a real scaling function (:class:`SumOfNetworks`).
    A layer has int(width / sqrt(2 n_maps)) units, so that there are about as many real numbers as in a real network of
    ``width``. Points come from the unit box and are mapped to [-1, 1] inside. All maps start as PyTorch's own; where
    the first layer's atoms are may also be read off the signal (``start``, used by ``init_from_signal``).

    ``omega`` and ``scale`` are fixed and the same in every layer, as in the official code, where the imaginary part of
    the last bias is a parameter that never learns: kept, so that the counts agree. A modulation is not offered: CAM's
    norm and the like are not defined on complex numbers. bfloat16 is not used inside.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        width: int = 256,
        n_hidden_layers: int = 2,
        omega: float = 20.0,
        scale: float = 10.0,
        n_maps: int = 1,
        start: ModulusMaxima | None = None,
        output_activation: str = "none",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, out_dim=out_dim, width=width, scale=scale, n_maps=n_maps)
        check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
        check_layers(n_hidden_layers)
        if omega < 0:
            raise ValueError(f"omega is {omega}, but it must be 0 or above")
        if start is not None and n_maps > in_dim:
            raise ValueError(f"n_maps is {n_maps}, but start knows only in_dim={in_dim} directions for an atom's maps")
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.width = width
        self.n_hidden_layers = n_hidden_layers
        self.omega = omega
        self.scale = scale
        self.n_maps = n_maps
        self.start = start
        self.output_activation = output_activation
        self.n_units = max(1, int(width / math.sqrt(2 * n_maps)))
        self.first = nn.Linear(in_dim, self.n_units * n_maps)
        bound = 1 / math.sqrt(in_dim)
        nn.init.uniform_(self.first.weight, -bound, bound, generator=generator)
        nn.init.uniform_(self.first.bias, -bound, bound, generator=generator)
        sizes = [self.n_units * n_maps] * n_hidden_layers + [out_dim]
        self.layers = nn.ModuleList([ComplexLinear(self.n_units, size, generator) for size in sizes])

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map unit-box coordinates ``h`` to values."""
        with torch.autocast(h.device.type, enabled=False):
            atoms = self.hidden(h)[-1]
            return ACTIVATIONS[self.output_activation](self.layers[-1](atoms).real)

    def hidden(self, h: Float[Tensor, "*points in_dim"]) -> list[Complex[Tensor, "*points units"]]:
        """The wavelets of each layer at unit-box coordinates ``h``."""
        atoms = [self._wavelets(self.first(h * 2 - 1))]
        for layer in cast(list[ComplexLinear], list(self.layers[:-1])):
            atoms.append(self._wavelets(layer(atoms[-1])))
        return atoms

    def init_from_signal(self, signal: Resampled, generator: torch.Generator | None = None) -> None:
        """Put the first layer's atoms where ``start`` finds the signal's singularities."""
        if self.start is None:
            return
        if signal.dim != self.in_dim:
            raise ConfigError(
                f"start places atoms on points of {signal.dim} dimensions, but the network takes {self.in_dim}; "
                "without an encoding it takes the points themselves (encoding.type=Identity)"
            )
        self.place(self.start(signal, self.n_units, generator))

    @torch.no_grad()
    def place(self, atoms: Atoms) -> None:
        """Make the first units wavelets around the ``atoms``' points, oscillating along their normals.

        The modulus of unit t falls as exp(-|y|^2 / 2), y (d,) being the distance from the point in the atom's widths,
        or, with ``n_maps`` below d, its part along the normal and so many minus 1 directions across. Units beyond the
        number of atoms, and all later layers, stay as they are.
        """
        n, dim = atoms.points.shape
        if dim != self.in_dim or self.n_maps > dim or n > self.n_units:
            raise ValueError(
                f"{n} atoms in {dim} dimensions cannot be placed in {self.n_units} units with in_dim={self.in_dim} "
                f"and n_maps={self.n_maps}"
            )
        frames = atoms.frames[:, : self.n_maps] / (math.sqrt(2) * self.scale)
        # first(2 x - 1) is to be frames (x - point).
        bias = (frames * (0.5 - atoms.points)[:, None]).sum(-1)
        self.first.weight.view(self.n_units, self.n_maps, dim)[:n] = (frames / 2).to(self.first.weight)
        self.first.bias.view(self.n_units, self.n_maps)[:n] = bias.to(self.first.bias)

    def _wavelets(self, z: Tensor) -> Tensor:
        return wavelet(z.unflatten(-1, (self.n_units, self.n_maps)), self.omega, self.scale)
