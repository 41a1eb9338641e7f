"""What benchmarks/gpu.py runs: W and V of cpu_workloads, who computes them, and what they cost at least."""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator

import torch
from cpu_workloads import WORKLOADS, Workload
from torch import Tensor, nn
from torch_side import Chunked, PlainField, PlainGrid, mse, relative

from neufield.core.recipe import Constant, Recipe
from neufield.core.records import Batch
from neufield.encodings import Grid
from neufield.fields import NeuralField
from neufield.fitting import Regression, start
from neufield.fitting.steps import EagerStep, make_stepper, obstacles
from neufield.kernels import tinycudann
from neufield.kernels.field.tcnn import Packed, network_config
from neufield.kernels.grid import GridSpec
from neufield.kernels.grid.tcnn import config
from neufield.networks import MLP

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# Relative L2 error that is still the same function; the issue asks for 1e-5 and 5e-3 of ours, and the table says what
# each has. A wrong corner shows as 3e-4 in fp32; half precision measured 6e-2 in a table's gradient (cpu_workloads).
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-1, "fp16": 1e-1}
_CHUNK = 2**18  # points at a time of the eager side, at 25 kB each


@dataclasses.dataclass
class Variant:
    """One way to compute a workload. ``step`` makes a function that takes a training step on a batch."""

    name: str
    side: str  # "ours", "eager", "compiled" or "tcnn"
    model: nn.Module
    precision: str
    step: Callable[["Variant", Tensor, Tensor], Callable[[], object]]
    gradients: Callable[[nn.Module], list[Tensor]]  # the table's first
    repeatable: bool = False  # whether the table's gradient is sorted: the same bits in every run
    errors: dict[str, float] = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def sorting(self) -> Iterator[None]:
        """What ``--deterministic`` asks of torch, where the variant is ``repeatable``; of the backward pass, too."""
        before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        try:
            torch.use_deterministic_algorithms(self.repeatable, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            torch.utils.deterministic.fill_uninitialized_memory = before[1]  # type: ignore[attr-defined]

    def computing(self, device: torch.device) -> contextlib.AbstractContextManager:
        """The context in which the model's products have the variant's precision."""
        dtype = DTYPES[self.precision]
        return torch.autocast(device.type, dtype) if dtype and self.side != "tcnn" else contextlib.nullcontext()


def workloads(tiny: bool) -> dict[str, Workload]:
    """W and V; ``tiny`` ones for a look at the program itself."""
    found = {key: WORKLOADS[key] for key in ("W", "V")}
    if not tiny:
        return found
    small = {key: GridSpec(value.spec.dim, 4, 2, 8, 4, 2.0) for key, value in found.items() if value.spec}
    return {k: dataclasses.replace(v, spec=small[k], shapes=(8, 16, 16, v.shapes[-1])) for k, v in found.items()}


def batch(workload: Workload, points: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Points and targets."""
    assert workload.spec is not None
    generator = torch.Generator(device).manual_seed(1)
    x = torch.rand(points, workload.spec.dim, generator=generator, device=device)
    return x, torch.rand(points, workload.shapes[-1], generator=generator, device=device)


def field_of(workload: Workload, device: torch.device) -> NeuralField:
    """The workload as a field of ours."""
    spec, generator = workload.spec, torch.Generator().manual_seed(0)
    assert spec is not None
    numbers = {name: getattr(spec, name) for name in ("n_levels", "log2_hashmap_size", "base_resolution")}
    grid = Grid(spec.dim, per_level_scale=spec.per_level_scale, generator=generator, **numbers)
    with torch.no_grad():
        grid.table.mul_(workload.table_scale)
    network = MLP(grid.out_dim, workload.shapes[-1], workload.shapes[1], bias=False, generator=generator)
    recipe = Recipe(lr=workload.rate, schedule=Constant())
    return NeuralField(grid, network, recipe).to(device)


def variants(workload: Workload, device: torch.device, compiled: bool) -> tuple[list[Variant], list[str]]:
    """Who can compute ``workload``, and a note on each who cannot."""
    field = field_of(workload, device)
    found, notes = [], []
    for precision, dtype in DTYPES.items():
        name = f"neufield {precision}"
        with torch.autocast(device.type, dtype) if dtype else contextlib.nullcontext():
            kernel = field.kernel_name(device)
            computed = field.op().spec(device).precision
        if computed != precision:
            notes.append(f"{name}: left out: a field is computed in {computed} when {precision} is asked for")
            continue
        own = Variant(f"{name} ({kernel})", "ours", copy.deepcopy(field), precision, _step, _parts)
        found.append(own)
        if precision == "bf16":
            name = f"{own.name}, deterministic"
            found.append(dataclasses.replace(own, name=name, model=copy.deepcopy(field), repeatable=True, errors={}))
        reasons = obstacles(own.model, Regression(), device)
        if reasons:
            notes.append(f"{name}, replayed: left out: {' '.join(reasons)}")
        else:
            name = f"{own.name}, replayed"
            found.append(Variant(name, "ours", copy.deepcopy(field), precision, _replayed, _parts))
    found.append(Variant("eager fp16", "eager", _plain(workload, field), "fp16", _step, _parts))
    if compiled:
        model = torch.compile(_plain(workload, field, exact_positions=True), dynamic=False)
        found.append(Variant("torch.compile fp16", "compiled", model, "fp16", _step, _parts))
    reasons = tinycudann.obstacles(device)
    if reasons:
        notes.append(f"tiny-cuda-nn: left out: {' '.join(reasons)}")
    else:
        fusing = (False, True) if tinycudann.module().supports_jit_fusion() else (False,)
        found += [_tcnn(field, device, fusion) for fusion in fusing]
    return found, notes


def _parts(model: nn.Module) -> list[Tensor]:
    table, *weights = [parameter.grad for parameter in model.parameters()]
    return [table, torch.cat([weight.flatten() for weight in weights])]


def _plain(workload: Workload, field: NeuralField, exact_positions: bool = False) -> nn.Module:
    weights = [layer.weight for layer in field.network.layers]
    grid = PlainGrid(workload.spec, field.encoding.table, "rows", exact_positions)
    return Chunked(PlainField(grid, weights, workload.activation).to(weights[0].device), _CHUNK)


def _tcnn(field: NeuralField, device: torch.device, fusion: bool) -> Variant:
    """tiny-cuda-nn's own module, as its users have it, with our numbers in it."""
    spec = field.op().spec(device)
    layout = Packed(spec, dtype=torch.float32)
    model = tinycudann.module().NetworkWithInputEncoding(
        spec.encoding.dim, spec.out_dim, config(spec.encoding), network_config(spec)
    )
    model.jit_fusion = fusion
    with torch.no_grad():
        model.params.copy_(layout.pack(field.encoding.table, field.network.op().params()))
    name = f"tiny-cuda-nn{', JIT fusion' if fusion else ''}"
    return Variant(name, "tcnn", model, "fp16", _step, lambda made: list(layout.unpack(made.params.grad)))


def _step(variant: Variant, x: Tensor, target: Tensor) -> Callable[[], object]:
    parameters = list(variant.model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-2, betas=(0.9, 0.99), eps=1e-15, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with variant.sorting():
            with variant.computing(x.device):
                loss = loss_of(variant, x, target)
            loss.backward()
        optimizer.step()

    return step


def _replayed(variant: Variant, x: Tensor, target: Tensor) -> Callable[[], object]:
    field = variant.model
    launched = EagerStep(field, start(field, field.recipe), Regression(), lambda: variant.computing(x.device))
    stepper = make_stepper(launched, x.device, replay=True)
    return lambda: stepper.take(Batch(x, target), 0.0)


def loss_of(variant: Variant, x: Tensor, target: Tensor) -> Tensor:
    """The plain L2 loss, in float32."""
    if variant.side == "tcnn":
        return nn.functional.mse_loss(variant.model(x).float(), target)
    return mse(variant.model, x, target)


def check(workload: Workload, found: list[Variant], points: int, device: torch.device) -> list[str]:
    """Fill in the variants' errors against float64; a sentence for each that computes another function."""
    x, target = batch(workload, points, device)
    field = field_of(workload, device)
    weights = [layer.weight.double() for layer in field.network.layers]
    grid = PlainGrid(workload.spec, field.encoding.table.double(), "rows").to(device)
    truth = Variant("truth", "eager", PlainField(grid, weights, workload.activation), "fp32", _step, _parts)
    expected = _outcome(truth, x.double(), target.double())
    wrong = []
    for variant in found:
        variant.errors = {name: relative(value, expected[name]) for name, value in _outcome(variant, x, target).items()}
        if any(not error <= TOLERANCE[variant.precision] for error in variant.errors.values()):
            wrong.append(f"{variant.name} does not compute the same function: relative errors {variant.errors}")
    return wrong


def _outcome(variant: Variant, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    variant.model.zero_grad(set_to_none=True)
    with variant.sorting():
        with variant.computing(x.device):
            with torch.no_grad():
                values = variant.model(x)
            loss = loss_of(variant, x, target)
        loss.backward()
    table, network = [gradient.clone() for gradient in variant.gradients(variant.model)]
    variant.model.zero_grad(set_to_none=True)
    return {"values": values, "table gradient": table, "network gradient": network}


def costs(workload: Workload, points: int, step: bool) -> dict[str, float]:
    """Bytes that must be moved and floating point operations that must be made, whoever computes.

    Points and values; of the grid each corner's row, read and, in a step, added to (read and written); in a step the
    table's gradient is cleared, and Adam reads four numbers of each parameter and writes three. A network's numbers and
    what is recomputed do not count.
    """
    spec = workload.spec
    assert spec is not None
    corners = points * spec.n_levels * 2**spec.dim * 4 * spec.n_features_per_level
    table = 4 * spec.n_entries * spec.n_features_per_level
    moved = points * 4 * (spec.dim + workload.shapes[-1]) + corners
    if step:
        moved += points * 4 * workload.shapes[-1] + 2 * corners + 8 * table
    return {"bytes": moved, "FLOPs": (3 if step else 1) * 2 * workload.macs * points}
