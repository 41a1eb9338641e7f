"""Every preset and every radiance preset, as small as its sizes go, and what finite differences say of it."""

import copy
from collections.abc import Callable, Mapping

import torch
from cases import seeded
from torch import Tensor, nn

from neufield.core.interfaces import RadianceField
from neufield.presets import Edit, PresetRequest, RadianceFacts, SignalFacts, customize, find, names

_SMALL = 8  # of every number that makes a preset larger
# The gradient of Finer's detached factor is, on purpose, not that of the function.
_EDITS = {"finer": [Edit("network.activation.detached", False)]}
_FACTS = SignalFacts(dim=2, channels=3, shape=[8, 8], source_bytes=4096)


def small(name: str) -> nn.Module:
    """The preset called ``name`` with small networks and tables."""

    def make(request: PresetRequest) -> nn.Module:
        return customize(find(name)(request.facts, seeded()), request.edits, seeded())

    request = PresetRequest(_FACTS, _EDITS.get(name, []))
    for knob in find(name).sizes:
        request = knob.turned(request, make(request), max(knob.least, _SMALL))
    return shaken(make(request))


class Seen(nn.Module):
    """Density and color (..., 4) of a radiance field, at a point and along what stands behind it (..., 6)."""

    in_dim, out_dim = 6, 4

    def __init__(self, field: RadianceField) -> None:
        super().__init__()
        self.field = field

    def forward(self, x: Tensor) -> Tensor:
        geometry = self.field.geometry(x[..., :3])
        color = self.field.color(geometry.features, nn.functional.normalize(x[..., 3:], dim=-1))
        return torch.cat([geometry.sigma.unsqueeze(-1), color], dim=-1)


def radiance(name: str) -> RadianceField:
    """The radiance preset called ``name``, with eight details along an edge."""
    return shaken(find(name, "radiance")(RadianceFacts(_SMALL), seeded()))


def shaken(field: nn.Module) -> nn.Module:
    """``field`` with noise on tables that start at 1e-4 or at one value, so that they say something."""
    generator = seeded(7)
    with torch.no_grad():
        for name, parameter in field.named_parameters():
            if not ("network" in name and name.endswith((".weight", ".bias"))):
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return field


# Found in the registries: a new preset is held to the contracts without a line here.
MODELS: Mapping[str, Callable[[], nn.Module]] = {
    **{name: lambda name=name: small(name) for name in names()},
    **{f"radiance-{name}": lambda name=name: Seen(radiance(name)) for name in names("radiance")},
}


def inputs(model: nn.Module, n: int = 3) -> Tensor:
    """Points (n, in_dim) within the box."""
    return torch.rand(n, model.in_dim, generator=seeded(1)) * 0.8 + 0.1


def directions(model: nn.Module) -> dict[str, Tensor]:
    """A direction in the space of the parameters, of length 1 or so: a step along it crosses no kink of a ReLU."""
    generator = seeded(2)
    size = sum(p.numel() for p in model.parameters()) ** 0.5
    return {name: torch.randn(p.shape, generator=generator) / size for name, p in model.named_parameters()}


class Differences:
    """Differences of fourth order of a copy of ``model`` in float64: what they leave out is step^4 f^(5) / 30."""

    step = 1e-6

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.model = copy.deepcopy(model).double()
        self.x = x.double()

    def along(self, v: Tensor) -> Tensor:
        """The derivative (N, out) of the values along the points' ``v``."""
        return self._slope(lambda h: self.model(self.x + h * v.double()))

    def along_parameters(self, u: Mapping[str, Tensor]) -> Tensor:
        """The derivative (N, out) of the values along the parameters' ``u``."""
        own = dict(self.model.named_parameters())
        return self._slope(
            lambda h: torch.func.functional_call(
                self.model, {name: p + h * u[name].double() for name, p in own.items()}, (self.x,)
            )
        )

    def jacobian(self) -> Tensor:
        """(N, out, in)."""
        axes = torch.eye(self.x.shape[-1])
        return torch.stack([self.along(axis.expand_as(self.x)) for axis in axes], dim=-1)

    def hessian(self) -> Tensor:
        """(N, in, in) of the sum of the values: differences of float64's gradients."""

        def gradient(x: Tensor) -> Tensor:
            x = x.detach().requires_grad_()
            return torch.autograd.grad(self.model(x).sum(), x)[0]

        axes = torch.eye(self.x.shape[-1], dtype=torch.float64)
        return torch.stack([self._slope(lambda h, axis=axis: gradient(self.x + h * axis)) for axis in axes], dim=-1)

    def _slope(self, at: Callable[[float], Tensor]) -> Tensor:
        with torch.enable_grad():
            near, far = [at(h) - at(-h) for h in (self.step, 2 * self.step)]
            return ((8 * near - far) / (12 * self.step)).detach()
