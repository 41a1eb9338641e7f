"""Multiplicative filter networks: products of filters of the coordinates, without an activation."""

import abc
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Network
from neufield.core.shapes import check_choice, check_layers, check_positive
from neufield.functional.activations import ACTIVATIONS


class Filter(nn.Module, abc.ABC):
    """Coordinates (..., in_features) -> (..., out_features), with the signature of ``nn.Linear``."""

    @abc.abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The filters at ``x (..., in_features)``."""


class FourierFilter(Filter):
    """sin(w x + b), w ~ U(+-scale/sqrt(in_features)), b ~ U(+-pi)."""

    def __init__(
        self, in_features: int, out_features: int, scale: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        bound = scale / math.sqrt(in_features)
        self.in_features = in_features
        self.out_features = out_features
        self.scale = scale
        self.linear = nn.Linear(in_features, out_features)
        nn.init.uniform_(self.linear.weight, -bound, bound, generator=generator)
        nn.init.uniform_(self.linear.bias, -math.pi, math.pi, generator=generator)

    def forward(self, x: Float[Tensor, "*points in_features"]) -> Float[Tensor, "*points out_features"]:
        """Sines."""
        return torch.sin(self.linear(x))


class GaborFilter(Filter):
    """sin(w x + b) exp(-gamma/2 |x - mu|^2), mu ~ U(-1, 1), gamma ~ Gamma(alpha, 1), w scaled by sqrt(gamma)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        scale: float = 1.0,
        alpha: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.scale = scale
        self.alpha = alpha
        self.sine = FourierFilter(in_features, out_features, scale, generator)
        self.mu = nn.Parameter(2 * torch.rand(out_features, in_features, generator=generator) - 1)
        self.gamma = nn.Parameter(_gamma(out_features, alpha, generator))
        with torch.no_grad():
            self.sine.linear.weight *= self.gamma.sqrt()[:, None]

    def forward(self, x: Float[Tensor, "*points in_features"]) -> Float[Tensor, "*points out_features"]:
        """Sines under a window."""
        square = x.square().sum(-1, keepdim=True) + self.mu.square().sum(-1) - 2 * x @ self.mu.t()
        return self.sine(x) * torch.exp(-0.5 * self.gamma * square)


class Products(nn.Module):
    """z_0 = g_0(x); z_i = g_i(x) (W_i z_(i-1) + b_i): the recursion that the networks of this kind share.

    W ~ U(+-sqrt(gain / width)); b as PyTorch's.
    """

    def __init__(self, filters: Sequence[Filter], width: int, gain: float, generator: torch.Generator | None) -> None:
        super().__init__()
        self.filters = nn.ModuleList(filters)
        bound = math.sqrt(gain / width)
        self.layers = nn.ModuleList([draw_linear(nn.Linear(width, width), bound, generator) for _ in filters[1:]])

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Iterator[Float[Tensor, "*points width"]]:
        """z_0, z_1, ..., each when it is asked for."""
        z = self.filters[0](x)
        yield z
        for layer, g in zip(self.layers, self.filters[1:], strict=True):
            z = layer(z) * g(x)
            yield z


class FourierNet(Network):
    """A multiplicative filter network of sines (Fathony et al., ICLR 2021, section 3.2): ``n_hidden_layers`` products.

    The frequencies of all filters together start with a deviation that depends on ``scale`` alone: each is PyTorch's
    own linear map times scale / sqrt(n_hidden_layers + 1), on points in [-1, 1], to which those of the unit box are
    mapped inside. The output is a sum of sines, linear in the amplitudes.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        width: int = 256,
        n_hidden_layers: int = 3,
        scale: float = 256.0,
        output_activation: str = "none",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_network(in_dim, out_dim, width, n_hidden_layers, output_activation)
        check_positive(scale=scale)
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.width = width
        self.n_hidden_layers = n_hidden_layers
        self.scale = scale
        self.output_activation = output_activation
        share = scale / math.sqrt(n_hidden_layers + 1)
        filters = [FourierFilter(in_dim, width, share, generator) for _ in range(n_hidden_layers + 1)]
        self.products = Products(filters, width, 1.0, generator)
        self.last = draw_linear(nn.Linear(width, out_dim), 1 / math.sqrt(width), generator)

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map unit-box coordinates ``h`` to values."""
        return read_out(self.products, self.last, h * 2 - 1, ACTIVATIONS[self.output_activation])


class GaborNet(Network):
    """:class:`FourierNet` with a window around each sine (Fathony et al., ICLR 2021, section 3.3).

    ``alpha`` / (n_hidden_layers + 1) is the shape of the Gamma distribution of the windows' precisions. Centers and
    precisions are learned; as in the official code nothing keeps a precision above zero.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        width: int = 256,
        n_hidden_layers: int = 3,
        scale: float = 256.0,
        alpha: float = 6.0,
        output_activation: str = "none",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_network(in_dim, out_dim, width, n_hidden_layers, output_activation)
        check_positive(scale=scale, alpha=alpha)
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.width = width
        self.n_hidden_layers = n_hidden_layers
        self.scale = scale
        self.alpha = alpha
        self.output_activation = output_activation
        n = n_hidden_layers + 1
        filters = [GaborFilter(in_dim, width, scale / math.sqrt(n), alpha / n, generator) for _ in range(n)]
        self.products = Products(filters, width, 1.0, generator)
        self.last = draw_linear(nn.Linear(width, out_dim), 1 / math.sqrt(width), generator)

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map unit-box coordinates ``h`` to values."""
        return read_out(self.products, self.last, h * 2 - 1, ACTIVATIONS[self.output_activation])


def read_out(products: Products, last: nn.Module, x: Tensor, activate: Callable[[Tensor], Tensor]) -> Tensor:
    """``last`` of the last of the ``products``, in full precision: bfloat16 has too few bits for a phase."""
    with torch.autocast(x.device.type, enabled=False):
        *_, z = products(x)
        return activate(last(z))


def draw_linear(layer: nn.Linear, bound: float, generator: torch.Generator | None) -> nn.Linear:
    """``layer`` with weights U(+-bound) and PyTorch's biases U(+-1/sqrt(in_features)), in place."""
    bias_bound = 1 / math.sqrt(layer.in_features)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bias_bound, bias_bound, generator=generator)
    return layer


def check_network(in_dim: int, out_dim: int, width: int, n_hidden_layers: int, output_activation: str) -> None:
    """Refuse what cannot be a network."""
    check_positive(in_dim=in_dim, out_dim=out_dim, width=width)
    check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
    check_layers(n_hidden_layers)


def _gamma(count: int, shape: float, generator: torch.Generator | None) -> Tensor:
    """``count`` draws of Gamma(shape, 1), by inverting its distribution function: torch's own takes no generator."""
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    if uniform.is_meta:  # only the size is wanted
        return uniform.float()
    low, high = torch.zeros_like(uniform), torch.full_like(uniform, 2 * shape + 50)  # beyond it lies less than 1e-20
    for _ in range(60):
        middle = (low + high) / 2
        is_below = torch.special.gammainc(torch.full_like(middle, shape), middle) < uniform
        low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
    return high.float()
