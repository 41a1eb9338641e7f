"""What torch follows a call with, tangents and transforms, where operators of ours are, which it cannot follow."""

import copy
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from autograd_cases import Differences, directions, radiance, small
from cases import seeded
from native_cases import field_inputs, field_spec, grid_inputs, small_grid
from torch import Tensor, nn
from torch.autograd import forward_ad

from neufield.core.errors import BackendError
from neufield.core.interfaces import Field, RadianceField
from neufield.core.rays import Rays
from neufield.core.records import Batch
from neufield.encodings import Grid
from neufield.kernels import composition
from neufield.kernels.dispatch import use_backend
from neufield.presets import names
from neufield.renderers import Box, OccupancyGrid, render_rays

# torch.func.jvp makes use of what torch itself has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]
BOX = Box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])


def assert_near(found: Tensor, expected: Tensor, bound: float = 1e-4) -> None:
    assert bool((found.detach().double() - expected).norm() <= bound * expected.norm())
    assert bool(expected.any())


def grid() -> Grid:
    made = Grid(2, 4, 2, 8, 4, 1.5, interpolation="smoothstep", generator=seeded())
    nn.init.normal_(made.table, generator=seeded(1))
    return made


def slope() -> tuple[Tensor, list[Tensor]]:
    """A second derivative waiting to be taken: ``contract`` of the grid."""
    encoding, x = grid(), torch.rand(5, 2, generator=seeded(2)).requires_grad_()
    (by_x,) = torch.autograd.grad(encoding(x).square().sum(), x, create_graph=True)
    return by_x, [x, encoding.table]


def curvature() -> tuple[Tensor, list[Tensor]]:
    """A third one, of ``contract`` along a direction."""
    by_x, (x, table) = slope()
    (by_xx,) = torch.autograd.grad(by_x.sum(), x, create_graph=True)
    return by_xx, [x, table]


def weights() -> tuple[Tensor, list[Tensor]]:
    """``scatter``: what the table's gradient depends on."""
    encoding, x = grid(), torch.rand(5, 2, generator=seeded(2)).requires_grad_()
    (by_table,) = torch.autograd.grad(encoding(x).square().sum(), encoding.table, create_graph=True)
    return by_table, [x, encoding.table]


def features() -> tuple[Tensor, list[Tensor]]:
    encoding, x = grid(), torch.rand(5, 2, generator=seeded(2)).requires_grad_()
    return encoding(x), [x, encoding.table]


def values() -> tuple[Tensor, list[Tensor]]:
    field = small("ngp")
    return field(torch.rand(5, 2, generator=seeded(2))), list(field.parameters())


def loss() -> tuple[Tensor, list[Tensor]]:
    field = small("ngp")
    assert isinstance(field, Field)
    found = field.fused_loss(Batch(torch.rand(5, 2, generator=seeded(2)), torch.rand(5, 3, generator=seeded(3))), "l2")
    assert found is not None
    return found[0], list(field.parameters())


def colors() -> tuple[Tensor, list[Tensor]]:
    field = radiance("ngp")
    return render(field, rays(torch.float32)), list(field.parameters())


GRAPHS: dict[str, Callable[[], tuple[Tensor, list[Tensor]]]] = {
    made.__name__: made for made in (features, weights, slope, curvature, values, loss, colors)
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_made_before_is_gone_through_with_tangents(name: str) -> None:
    """A gradient is linear in what it starts from: its tangent is the gradient that starts from the tangent."""
    y, inputs = GRAPHS[name]()
    g, t = torch.randn(2, *y.shape, generator=seeded(4))
    expected = torch.autograd.grad(y, inputs, t, retain_graph=True)
    with forward_ad.dual_level():
        found = torch.autograd.grad(y, inputs, forward_ad.make_dual(g, t), retain_graph=True)
        for one, other in zip(found, expected, strict=True):
            assert_near(forward_ad.unpack_dual(one).tangent, other)
    _, tangents = torch.func.jvp(lambda g: torch.autograd.grad(y, inputs, g, retain_graph=True), (g,), (t,))
    for one, other in zip(tangents, expected, strict=True):
        assert_near(one, other)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_made_before_is_gone_through_for_several_at_once(name: str) -> None:
    y, inputs = GRAPHS[name]()
    several = torch.randn(3, *y.shape, generator=seeded(4))
    each = [torch.autograd.grad(y, inputs, g, retain_graph=True) for g in several]
    batched = torch.autograd.grad(y, inputs, several, is_grads_batched=True, retain_graph=True)
    mapped = torch.func.vmap(lambda g: torch.autograd.grad(y, inputs, g, retain_graph=True))(several)
    for found in (batched, mapped):
        for one, *others in zip(found, *each, strict=True):
            assert_near(one, torch.stack(others))


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_third_derivatives_of_what_was_made_of_features(backend: str) -> None:
    """``contract`` then has two inputs of which one was made of the other: each counts once."""
    encoding = grid()
    use_backend(encoding, backend, torch.device("cpu"))
    found = []
    for made, x in ((encoding, torch.rand(5, 2, generator=seeded(2))), (copy.deepcopy(encoding).double(), None)):
        x = (torch.rand(5, 2, generator=seeded(2)).double() if x is None else x).requires_grad_()
        y = made(x).square().sum()
        for _ in range(3):
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        found.append(y)
    assert_near(*found)


def test_gradients_of_a_composition_are_partial_ones() -> None:
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    z = x.square()
    given = (torch.ones(2), None)
    by_x, by_z, rest = composition.gradients(lambda x, z, w: (x * z, w), (x, z, None), [True, True, False], given, True)
    assert rest is None
    assert torch.equal(by_x, z)
    assert torch.equal(by_z, x)


@pytest.mark.native
def test_operators_refuse_where_their_derivative_would_be_zero() -> None:
    spec, network = small_grid(2), field_spec("grid", "relu", True, 16, 1, 3)
    x, table, mix = [grid_inputs(spec, 20)[key] for key in ("x", "table", "mix")]
    given, op = field_inputs(network, 20), torch.ops.neufield
    calls = (
        lambda x: op.grid_gather(x, table, None, spec.text),
        lambda x: op.grid_scatter(x, mix, None, spec.text),
        lambda x: op.grid_contract(x, table, mix, None, spec.text),
    )
    for call in calls:
        with pytest.raises(BackendError, match="forward-mode derivatives follow only PyTorch's own operations"):
            torch.func.jvp(call, (x,), (x,))
    params = given["params"]
    with pytest.raises(BackendError, match="forward-mode"):
        torch.func.jvp(
            lambda p: op.field_forward(given["x"], given["table"], p, False, network.text), (params,), (params,)
        )


@pytest.mark.native
def test_a_backend_that_was_named_is_refused_in_a_sentence() -> None:
    field, x = small("ngp"), torch.rand(3, 2)
    use_backend(field, "cpu", torch.device("cpu"))
    with pytest.raises(BackendError, match=r"^backend 'cpu' cannot run this field here .*forward-mode.*; use auto$"):
        torch.func.jvp(field, (x,), (x,))
    with pytest.raises(BackendError, match=r"torch.func's transforms"):
        torch.func.vmap(field)(x)


def rays(dtype: torch.dtype, n: int = 6) -> Rays:
    g = seeded(3)
    origins = torch.rand(n, 3, generator=g) * 0.2 - torch.tensor([0.6, 0.0, 0.0]) + torch.tensor([0.0, 0.4, 0.4])
    directions = nn.functional.normalize(torch.randn(n, 3, generator=g) * 0.2 + torch.tensor([1.0, 0.0, 0.0]), dim=1)
    return Rays(
        origins.to(dtype), directions.to(dtype), torch.full((n,), 0.3).to(dtype), torch.full((n,), 1.7).to(dtype)
    )


def render(field: RadianceField, rays: Rays) -> Tensor:
    """Colors, opacities and distances (N, 5), of intervals that stay where they are."""
    sampler = OccupancyGrid(BOX, 0.13, resolution=4)
    view = render_rays(field, sampler, rays, torch.full((1, 3), 0.5, dtype=rays.near.dtype))
    return torch.cat([view.rgb, view.opacity[:, None], view.distance[:, None]], dim=1)


class Rendered(nn.Module):
    """A radiance field as a function of where rays begin."""

    def __init__(self, field: RadianceField) -> None:
        super().__init__()
        self.field = field

    def forward(self, origins: Tensor) -> Tensor:
        given = rays(origins.dtype)
        return render(self.field, Rays(origins, given.directions, given.near, given.far))


@pytest.mark.parametrize("name", names("radiance"))
def test_rendering_has_forward_mode_and_transforms(name: str) -> None:
    model = Rendered(radiance(name))
    origins = rays(torch.float32).origins
    v, u = torch.randn(origins.shape, generator=seeded(5)), directions(model)
    differences, parameters = Differences(model, origins), dict(model.named_parameters())

    def by_parameters(parameters: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(model, parameters, (origins,))

    by_u = differences.along_parameters(u)
    assert_near(torch.func.jvp(model, (origins,), (v,))[1], differences.along(v), 1e-3)
    assert_near(torch.func.jvp(by_parameters, (parameters,), (u,))[1], by_u, 1e-3)
    gradients = torch.func.grad(lambda p: by_parameters(p).sum())(parameters)
    assert_near(sum((gradients[key] * u[key]).sum() for key in u), by_u.sum(), 1e-3)
    by_parameters(parameters).sum().backward()  # by the fused kernel, where there is one
    assert_near(sum((p.grad * u[key]).sum() for key, p in parameters.items() if p.grad is not None), by_u.sum(), 1e-3)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["forward_mode", "functorch", "checkpointing", "double_precision", "wrapped_save"])
def test_what_a_library_user_met(shared_cases: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = runpy.run_path(str(shared_cases / "library.py"))
    found[case]()
    said = [line.partition(" ") for line in capsys.readouterr().out.splitlines()]
    if case == "forward_mode":
        by_jvp, by_differences = [torch.tensor([float(n) for n in text.strip("[]").split(",")]) for _, _, text in said]
        torch.testing.assert_close(by_jvp, by_differences, rtol=0.02, atol=5e-3)  # differences of 1e-3 in float32
    else:
        assert not said
