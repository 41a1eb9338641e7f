"""Which fields run fused and which part by part, and that both give what backend "torch" gives."""

import copy
import math

import pytest
import torch
from cases import seeded, without_type_checks
from native_cases import exact_points, relative
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from neufield.core.errors import BackendError
from neufield.core.interfaces import Modulation
from neufield.encodings import Frequency, GaussianFourier, Grid, Identity
from neufield.fields import NeuralField
from neufield.kernels import native
from neufield.kernels.dispatch import use_backend
from neufield.kernels.field import CpuField
from neufield.networks import MLP, Siren
from neufield.networks.siren import BIASES

CPU = torch.device("cpu")
TOLERANCE = CpuField.tolerance[torch.float32]  # which says where it comes from
pytestmark = pytest.mark.usefixtures("one_thread")


class Calls(TorchDispatchMode):
    """Counts the native ops that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "neufield":
            self.names.append(func._opname)
        return func(*args, **(kwargs or {}))


class Doubling(Modulation):
    """The simplest thing between a linear map and its activation."""

    def forward(self, h: Tensor, x: Tensor, layer: int) -> Tensor:
        return 2 * h


def grid(interpolation: str = "linear", dim: int = 2) -> Grid:
    """Integer scales: on multiples of 2^-10 every precision finds the same positions."""
    found = Grid(dim, 4, 2, 7, 3, 2.0, interpolation=interpolation, generator=seeded())
    nn.init.normal_(found.table, generator=seeded(1))
    return found


def mlp(encoding, activation: str = "silu", width: int = 32, **others) -> MLP:
    return MLP(encoding.out_dim, 3, width, 2, activation, generator=seeded(2), **others)


def behind(encoding, **others) -> NeuralField:
    return NeuralField(encoding, mlp(encoding, **others))


FUSED = {
    "grid": lambda: behind(grid()),
    "grid-smoothstep": lambda: behind(grid("smoothstep", 3), activation="sine"),
    "grid-no-bias": lambda: behind(grid(), bias=False, activation="relu"),
    "grid-sigmoid": lambda: behind(grid(), output_activation="sigmoid"),
    "frequency": lambda: behind(Frequency(2, 4)),
    "gaussian": lambda: behind(GaussianFourier(2, 8, 2.0, generator=seeded())),
    "identity": lambda: behind(Identity(2, 2.0, -1.0)),
    "linear": lambda: NeuralField(grid(), MLP(8, 3, 8, 0, generator=seeded(2))),
    **{f"siren-{bias}": lambda bias=bias: siren(bias) for bias in BIASES},
}
PARTS = {
    "skips": (lambda: behind(grid(), skips=[1]), "grid"),
    "modulation": (lambda: behind(grid(), modulation=Doubling()), "grid"),
    "activation": (lambda: behind(grid(), activation="gelu"), "grid"),
    "wide": (lambda: behind(grid(), width=257), "grid"),
    "deep": (lambda: NeuralField(grid(), MLP(8, 3, 8, 9, generator=seeded(2))), "grid"),
    "float64": (lambda: behind(grid()).double(), "torch"),
    "wide-frequency": (lambda: behind(Frequency(2, 4), width=257), "torch"),
}


def siren(bias: str = "inside") -> NeuralField:
    encoding = Identity(2)
    network = Siren(2, 3, 32, 2, 30.0, 30.0, bias, output_activation="signed_to_unit", generator=seeded(3))
    return NeuralField(encoding, network)


def truth_of(field: NeuralField) -> NeuralField:
    """The same field in float64, by torch."""
    twin = copy.deepcopy(field).double()
    use_backend(twin, "torch", CPU)
    return twin


def results(field: NeuralField, x: Tensor) -> dict[str, Tensor]:
    y = field(x)
    mix = torch.randn(y.shape, generator=seeded(9)).to(y.dtype)
    names = [name for name, _ in field.named_parameters()]
    return {"values": y} | dict(zip(names, torch.autograd.grad(y, list(field.parameters()), mix), strict=True))


def assert_as_torch(field: NeuralField, tolerance: float) -> None:
    x = exact_points(75, field.in_dim)
    found, truth = results(field, x), results(truth_of(field), x.double())
    errors = {name: relative(value, truth[name]) for name, value in found.items()}
    assert all(error <= tolerance for error in errors.values()), errors


def ops_of(field: NeuralField, x: Tensor) -> set[str]:
    with Calls() as calls:
        field(x)
    return set(calls.names)


@pytest.mark.parametrize("name", FUSED)
def test_fused_fields(isa: str, name: str) -> None:
    field = FUSED[name]()
    x = exact_points(20, field.in_dim)
    assert ops_of(field, x) == {"field_forward"}
    assert field.kernel_name(CPU) == "cpu"
    assert use_backend(field, "cpu", CPU) == "cpu"
    # A phase of omega * z, up to about 100 in Siren, is known to 2^-24 of itself: 100 * 2^-24 = 6e-6 a layer, three
    # layers. The others as the kernel says.
    assert_as_torch(field, 2e-5 if name.startswith("siren") else TOLERANCE)


@pytest.mark.parametrize("name", PARTS)
def test_fields_that_go_part_by_part(isa: str, name: str) -> None:
    make, kernel = PARTS[name]
    field = make()
    x = exact_points(20, field.in_dim).to(next(field.parameters()).dtype)
    assert ops_of(field, x) == ({"grid_gather"} if kernel == "grid" else set())
    assert field.kernel_name(CPU) == "torch"
    if name == "float64":
        assert torch.equal(field(x), truth_of(field)(x))
    else:
        assert_as_torch(field, TOLERANCE)
    with pytest.raises(BackendError, match="use auto"):
        use_backend(field, "cpu", CPU)


def test_backend_torch_calls_no_native_op() -> None:
    field = behind(grid())
    use_backend(field, "torch", CPU)
    assert ops_of(field, exact_points(20, 2)) == set()


@pytest.mark.parametrize("bias", BIASES)
def test_siren_means_the_same_with_its_omegas_folded_in(bias: str) -> None:
    """Exactly the function, in float64: 1e-12 is rounding of phases up to 1e3 at 1e-16 each, through three layers."""
    network = siren(bias).network.double()
    chain = network.op()
    x = torch.rand(50, 2, generator=seeded(), dtype=torch.float64)
    h = x
    for weight, shift in zip(chain.weights[:-1], chain.biases[:-1], strict=True):
        h = torch.sin(h @ weight.t() + shift)
    y = h @ chain.weights[-1].t() + chain.biases[-1]
    torch.testing.assert_close((y + 1) / 2, network(x, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["grid-smoothstep", "frequency", "siren-inside"])
def test_an_eikonal_loss_has_torchs_gradient(isa: str, name: str) -> None:
    """Which parts serve is up to the field; the numbers are not."""
    field = FUSED[name]()
    found = []
    for part, dtype in ((field, torch.float32), (truth_of(field), torch.float64)):
        x = exact_points(70, field.in_dim).to(dtype).requires_grad_()
        (slope,) = torch.autograd.grad(part(x)[:, 0].sum(), x, create_graph=True)
        loss = (slope.norm(dim=1) - 1).square().mean()
        wanted = [parameter for name, parameter in part.named_parameters() if not name.endswith("2.bias")]
        found.append([loss, *torch.autograd.grad(loss, wanted, materialize_grads=True)])
    # Twice the passes of a gradient and squares of numbers of order 1; Siren's phases as above.
    tolerance = 1e-4 if name.startswith("siren") else 4 * TOLERANCE
    assert max(map(relative, *found)) <= tolerance


@pytest.mark.native
def test_bfloat16_autocast_without_the_hardware_goes_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "has_bf16", lambda: False, raising=False)
    field = behind(grid())
    with torch.autocast("cpu", torch.bfloat16):
        assert ops_of(field, exact_points(20, 2)) == {"grid_gather"}
        field.backend = "cpu"
        with pytest.raises(BackendError, match="bfloat16"):
            field(exact_points(20, 2))


def test_any_leading_shape() -> None:
    field = behind(grid())
    x = exact_points(24, 2)
    y = field(x)
    for shape in ((24,), (2, 12), (2, 3, 4), (4, 0)):
        part = x[: math.prod(shape)].view(*shape, 2)
        assert torch.equal(field(part), y[: math.prod(shape)].view(*shape, 3))
    assert torch.equal(field(x[0]), field(x[:1])[0])


@pytest.mark.parametrize("name", ["grid", "frequency"])
def test_points_of_another_dimension_are_refused(name: str) -> None:
    """As the encoding alone does; the native code would read beyond their end."""
    field = FUSED[name]()
    with without_type_checks(), pytest.raises(ValueError, match="2"):
        field(torch.rand(30, 1))


def test_an_encoding_in_another_precision_is_not_read_as_float32() -> None:
    field = NeuralField(grid().double(), MLP(8, 3, 16, 1))
    try:
        values = field(exact_points(20, 2))
    except (RuntimeError, TypeError, BackendError):
        return  # as torch does with parts of two precisions
    assert relative(values, truth_of(field)(exact_points(20, 2).double())) <= TOLERANCE
