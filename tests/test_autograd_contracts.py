"""Every preset and every radiance preset under everything that torch differentiates by, against finite differences.

What a fused kernel cannot serve falls back to the parts: no number here may be wrong, and zero is one.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable

import pytest
import torch
from autograd_cases import MODELS, Differences, directions, inputs
from cases import seeded
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from neufield.kernels.dispatch import use_backend

# Largest relative L2 error measured: 1.2e-4, of float32's second derivatives through eleven octaves of sines.
FLOAT32 = 1e-3
# What differences lose: values' rounding, 1e-16 times phases of up to 3e3, over a step of 1e-6.
FLOAT64 = 1e-6
# torch.func.jvp makes use of what torch itself has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]


@dataclasses.dataclass(frozen=True)
class Case:
    """A model with what is known of it. ``v`` is a direction of its points, ``u`` of its parameters."""

    model: nn.Module
    x: Tensor
    v: Tensor
    u: dict[str, Tensor]
    differences: Differences

    @staticmethod
    @functools.cache
    def of(name: str) -> "Case":
        model = MODELS[name]()
        x = inputs(model)
        v = torch.randn(x.shape, generator=seeded(5))
        return Case(model, x, v, directions(model), Differences(model, x))

    @property
    def parameters(self) -> dict[str, Tensor]:
        return dict(self.model.named_parameters())

    @functools.cached_property
    def jacobian(self) -> Tensor:
        return self.differences.jacobian()

    @property
    def steepest(self) -> int:
        """Of the points."""
        return int(self.jacobian.flatten(1).norm(dim=1).argmax())

    @functools.cached_property
    def along_parameters(self) -> Tensor:
        return self.differences.along_parameters(self.u)

    def gradients(self) -> dict[str, Tensor]:
        """Those that a backward pass left; zeros for what only a coarser output reads."""
        return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in self.parameters.items()}

    def along(self, gradients: dict[str, Tensor]) -> Tensor:
        """What gradients by the parameters (..., *shape) say of the direction ``u`` (...)."""
        return sum((gradients[name] * u).flatten(-u.ndim or 1).sum(-1) for name, u in self.u.items())


def near(found: Tensor, expected: Tensor, bound: float = FLOAT32) -> None:
    assert found.shape == expected.shape
    error, size = (found.detach().double() - expected.detach()).norm(), expected.detach().norm()
    assert float(error) <= bound * float(size) + 1e-9  # differences of 1e-16 over 1e-6 are what zeros look like


def jvp(case: Case) -> None:
    found = torch.func.jvp(case.model, (case.x,), (case.v,))[1]
    near(found, (case.jacobian @ case.v.double().unsqueeze(-1)).squeeze(-1))
    found = torch.func.jvp(lambda p: functional_call(case.model, p, (case.x,)), (case.parameters,), (case.u,))[1]
    near(found, case.along_parameters)


def dual_level(case: Case) -> None:
    with forward_ad.dual_level():
        duals = {name: forward_ad.make_dual(p, case.u[name]) for name, p in case.parameters.items()}
        near(forward_ad.unpack_dual(functional_call(case.model, duals, (case.x,))).tangent, case.along_parameters)


def vjp(case: Case) -> None:
    value, back = torch.func.vjp(case.model, case.x)
    g = torch.randn(value.shape, generator=seeded(6))
    near(back(g)[0], (g.double().unsqueeze(1) @ case.jacobian).squeeze(1))
    _, back = torch.func.vjp(lambda p: functional_call(case.model, p, (case.x,)), case.parameters)
    near(case.along(back(g)[0]), (g * case.along_parameters).sum())


def jacobians(case: Case) -> None:
    i = case.steepest
    near(torch.func.jacfwd(case.model)(case.x[i]), case.jacobian[i])
    near(torch.func.jacrev(case.model)(case.x[i]), case.jacobian[i])
    with_graph = torch.autograd.functional.jacobian(lambda x: case.model(x).sum(0), case.x, vectorize=True)
    near(with_graph.transpose(0, 1), case.jacobian)


def hessian(case: Case) -> None:
    found = torch.func.hessian(lambda x: case.model(x).sum())(case.x[case.steepest])
    near(found, case.differences.hessian()[case.steepest])


def vmap(case: Case) -> None:
    near(torch.func.vmap(case.model)(case.x), case.differences.model(case.x.double()).detach())
    near(torch.func.vmap(torch.func.jacrev(case.model))(case.x), case.jacobian)


def gradients_of_each_sample(case: Case) -> None:
    model = copy.deepcopy(case.model)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(model, parameters, (x,)).sum()

    for backend in ("auto", "torch"):
        use_backend(model, backend, torch.device("cpu"))
        found = torch.func.vmap(torch.func.grad(loss), (None, 0))(case.parameters, case.x)
        near(case.along(found), case.along_parameters.sum(-1))


def checkpointing(case: Case) -> None:
    for reentrant in (False, True):
        x = case.x.clone().requires_grad_()
        y = checkpoint(case.model, x, use_reentrant=reentrant)
        case.model.zero_grad()
        y.sum().backward()
        near(x.grad, case.jacobian.sum(1))
        near(case.along(case.gradients()), case.along_parameters.sum())


def without_points(case: Case) -> None:
    """As in training: the points need no gradient, and a fused kernel makes the parameters'."""
    for wrapped in (case.model, lambda x: checkpoint(case.model, x, use_reentrant=False)):
        case.model.zero_grad()
        wrapped(case.x).sum().backward()
        near(case.along(case.gradients()), case.along_parameters.sum())


def float64(case: Case) -> None:
    model, x = case.differences.model, case.x.double().requires_grad_()
    y = model(x)
    assert y.dtype == torch.float64
    parameters = dict(model.named_parameters())
    by_x, *found = torch.autograd.grad(y.sum(), [x, *parameters.values()], create_graph=True, materialize_grads=True)
    near(by_x, case.jacobian.sum(1), FLOAT64)
    near(case.along(dict(zip(parameters, found, strict=True))), case.along_parameters.sum(), FLOAT64)


CONTRACTS: dict[str, Callable[[Case], None]] = {
    contract.__name__: contract
    for contract in (
        jvp, dual_level, vjp, jacobians, hessian, vmap, gradients_of_each_sample, checkpointing, without_points,
        float64,
    )
}  # fmt: skip


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("name", MODELS)
def test_derivatives(name: str, contract: str) -> None:
    CONTRACTS[contract](Case.of(name))
