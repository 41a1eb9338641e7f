"""What benchmarks/cpu.py runs: five workloads, and for each the variants that compute the same function."""

import copy
import dataclasses
import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch_side import Chunked, PlainField, PlainGrid, PlainSiren, eikonal, mse, relative

from neufield.core.errors import BackendError
from neufield.encodings import Grid, Identity
from neufield.fields import NeuralField
from neufield.kernels.dispatch import use_backend
from neufield.kernels.grid import GridSpec
from neufield.networks import MLP, Siren

POINTS = 65_536
OMEGA = 30.0
_CHUNK = 65_536  # eager PyTorch is no faster on more points at once, and needs 25 kB for each

# Relative L2 error against the same function in float64, positions rounded to float32 as everywhere.
# fp32: at most 3e-6 was measured (sums of 32 to 256 float32 products, layer upon layer, and of thousands of points in a
# table row); a wrong corner, a missing factor or two roundings of a position instead of one show as 3e-4 or more.
# bf16: 8-bit mantissas measured 5e-3 in values and 6e-2 in table gradients (specs/cpu_kernels.md, section 3).
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-1}


@dataclasses.dataclass(frozen=True)
class Workload:
    """One field, and what is done with it."""

    title: str
    spec: GridSpec | None  # None: a SIREN
    shapes: tuple[int, ...]
    kinds: tuple[str, ...]  # "step" and "forward"
    activation: str = "relu"
    points: int = POINTS
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] = mse
    rate: float = 1e-2
    table_scale: float = 1e4  # from +-1e-4: large enough for a wrong corner to show

    @property
    def macs(self) -> int:
        """Multiply-adds of the network's products for one point."""
        return sum(a * b for a, b in zip(self.shapes[:-1], self.shapes[1:], strict=True))

    @property
    def has_floor(self) -> bool:
        """Second derivatives have no agreed floor."""
        return self.loss is mse


_W = GridSpec(2, log2_hashmap_size=15, per_level_scale=1.5)
_V = GridSpec(3, per_level_scale=1.447)
WORKLOADS = {
    "W": Workload("2-D, 16 x 2, 2^15, network 64 x 2 -> 3", _W, (32, 64, 64, 3), ("step", "forward")),
    "V": Workload("3-D, 16 x 2, 2^19, network 64 x 2 -> 16", _V, (32, 64, 64, 16), ("step", "forward")),
    "S": Workload(
        "SIREN 256 (first sine layer and 3 more) -> 3, image of 256 x 256",
        None,
        (2, 256, 256, 256, 256, 3),
        ("step", "forward"),
        rate=1e-4,
    ),
    "Q": Workload("W's field, 2^20 points, forward only", _W, (32, 64, 64, 3), ("forward",), points=2**20),
    "E": Workload(
        "3-D distance, 16 x 2, 2^19, network 64 x 2 SiLU -> 1, eikonal loss",
        _V,
        (32, 64, 64, 1),
        ("step",),
        activation="silu",
        loss=eikonal,
        rate=1e-3,
        table_scale=1e2,
    ),
}


@dataclasses.dataclass
class Variant:
    """One way to compute a workload. ``side``: "ours", "own torch", "eager" or "compiled"."""

    name: str
    side: str
    model: nn.Module
    precision: str = "fp32"
    errors: dict[str, float] = dataclasses.field(default_factory=dict)

    def computing(self) -> torch.autocast:
        """The context in which the model's products have the variant's precision."""
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bf16")


def batch(workload: Workload, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points and targets."""
    if workload.spec is None:
        side = round(workload.points**0.5)
        centers = (torch.arange(side) + 0.5) / side
        x = torch.cartesian_prod(centers, centers)
    else:
        x = torch.rand(workload.points, workload.spec.dim, generator=generator)
    return x, torch.rand(workload.points, workload.shapes[-1], generator=generator)


def variants(workload: Workload, precisions: list[str], compiled: bool) -> tuple[list[Variant], nn.Module, list[str]]:
    """The variants, the same function in float64, and notes on those that cannot be."""
    field = _field(workload)
    found, notes = [], []
    for precision in precisions:
        variant = Variant(f"neufield cpu, {precision}", "ours", copy.deepcopy(field), precision)
        try:
            with variant.computing():
                use_backend(variant.model, "cpu", torch.device("cpu"))
            found.append(variant)
        except BackendError as error:
            notes.append(f"{variant.name}: left out: {error}")
    own = Variant("neufield torch", "own torch", copy.deepcopy(field))
    use_backend(own.model, "torch", torch.device("cpu"))
    found.append(own)
    found += [Variant(name, "eager", model) for name, model in _plain(workload, field).items()]
    if any(variant.precision == "bf16" for variant in found):
        found += [Variant(f"{v.name}, bf16", "eager", copy.deepcopy(v.model), "bf16") for v in found[-2:-1]]
    if compiled:
        # The compiler does not keep addcmul's single rounding.
        name, model = list(_plain(workload, field, exact_positions=True).items())[-1]
        found.append(Variant(f"torch.compile, {name}", "compiled", torch.compile(model, dynamic=False)))
    return found, _truth(workload, field), notes


def _field(workload: Workload) -> NeuralField:
    generator = torch.Generator().manual_seed(0)
    if workload.spec is None:
        hidden = len(workload.shapes) - 3
        network = Siren(2, workload.shapes[-1], workload.shapes[1], hidden, OMEGA, OMEGA, generator=generator)
        return NeuralField(Identity(2), network)
    spec = workload.spec
    grid = Grid(
        spec.dim,
        log2_hashmap_size=spec.log2_hashmap_size,
        per_level_scale=spec.per_level_scale,
        generator=generator,
    )
    with torch.no_grad():
        grid.table.mul_(workload.table_scale)
    network = MLP(grid.out_dim, workload.shapes[-1], activation=workload.activation, bias=False, generator=generator)
    return NeuralField(grid, network)


def _plain(workload: Workload, field: NeuralField, exact_positions: bool = False) -> dict[str, nn.Module]:
    """The eager variants by name; the last is the one to compile."""
    layers = list(field.network.layers)
    if workload.spec is None:
        return {
            "eager, omega in the weights": PlainSiren(layers, OMEGA, folded=True),
            "eager, sin(omega * linear)": PlainSiren(layers, OMEGA, folded=False),
        }
    weights, table = [layer.weight for layer in layers], field.encoding.table
    models: dict[str, nn.Module] = {}
    for name, gather in (("embedding_bag + index_put_", "bag"), ("table[idx]", "rows")):
        grid = PlainGrid(workload.spec, table, gather, exact_positions)
        model: nn.Module = PlainField(grid, weights, workload.activation)
        models[f"eager, {name}"] = Chunked(model, _CHUNK) if workload.points > _CHUNK else model
    return models


def _truth(workload: Workload, field: NeuralField) -> nn.Module:
    layers = [copy.deepcopy(layer).double() for layer in field.network.layers]
    if workload.spec is None:
        return PlainSiren(layers, OMEGA, folded=False)
    grid = PlainGrid(workload.spec, field.encoding.table.double(), "rows")
    return Chunked(PlainField(grid, [layer.weight for layer in layers], workload.activation), _CHUNK)


def outcome(workload: Workload, variant: Variant, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Values and, where there are steps, the loss's gradient by the grid's table and by the network's weights."""
    with torch.no_grad(), variant.computing():
        found = {"values": variant.model(x)}
    if "step" in workload.kinds:
        variant.model.zero_grad(set_to_none=True)
        with variant.computing():
            loss = workload.loss(variant.model, x, target)
        loss.backward()
        gradients = [parameter.grad for parameter in variant.model.parameters()]
        if workload.spec is not None:
            found["table gradient"] = gradients.pop(0)
        found["network gradient"] = torch.cat([gradient.flatten() for gradient in gradients])
        variant.model.zero_grad(set_to_none=True)
    return {name: value.detach() for name, value in found.items()}


def check(workload: Workload, variant: Variant, truth: dict[str, Tensor], x: Tensor, target: Tensor) -> None:
    """Fill in ``variant.errors``; AssertionError where the variant computes another function."""
    found = outcome(workload, variant, x, target)
    variant.errors = {name: relative(found[name], value) for name, value in truth.items()}
    wrong = {name: error for name, error in variant.errors.items() if not error <= TOLERANCE[variant.precision]}
    assert not wrong, f"{variant.name} does not compute the same function; relative errors: {wrong}"


def peers() -> list[str]:
    """One line on each peer."""
    lines = []
    for name, reason in (
        ("tinycudann", "it runs on NVIDIA GPUs only, and this is about CPUs"),
        ("drjit", "its level sizes are rounded differently, so that it computes another function"),
    ):
        there = importlib.util.find_spec(name) is not None
        lines.append(f"{name}: no column: {reason if there else 'not importable here'}")
    return lines
