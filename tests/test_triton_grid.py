"""The Triton grid against the float64 reference: in Triton's interpreter, or on a GPU where there is one."""

import dataclasses
import math

import pytest
import references
import torch
import triton
import triton.language as tl
from cases import seeded
from native_cases import (
    assert_near,
    exact_points,
    grid_case,
    grid_derivatives,
    grid_inputs,
    normal,
    relative,
    small_grid,
)
from torch import Tensor
from torch.torch_version import TorchVersion

from neufield.core.errors import BackendError
from neufield.encodings import Grid
from neufield.functional.grid import INTERPOLATIONS
from neufield.functional.grid_levels import STORAGES
from neufield.kernels.dispatch import select
from neufield.kernels.grid import (
    KERNELS,
    GridSpec,
    TorchGrid,
    TritonGrid,
    launch_shapes,
    operators,
    sorted_sum,
)
from neufield.kernels.grid import triton as launches
from neufield.kernels.grid.sorted_programs import _within_runs

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
KERNEL = TritonGrid()
TOLERANCE = KERNEL.tolerance[torch.float32]  # which says where it comes from


@pytest.fixture(autouse=True)
def operators_by_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU the operators get CPU tensors, and Triton's interpreter does the work."""
    for name in ("gather", "scatter", "contract"):
        monkeypatch.setattr(operators.cpu, name, getattr(launches, name))


def moved(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.to(DEVICE) for name, value in inputs.items()}


def returned(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in found.items()}


def assert_parity(spec: GridSpec, n: int) -> None:
    inputs, truth = grid_case(spec, n)
    found = grid_derivatives(KERNEL, spec, moved(inputs), torch.float32)
    assert_near(returned(found), truth, TOLERANCE, spec)


# Every dimension, number of features, storage and interpolation, and each pair of the last two.
@pytest.mark.parametrize(
    ("dim", "features", "storage", "interpolation"),
    [
        (1, 4, "hash", "smoothstep"),
        (1, 2, "tiled", "nearest"),
        (2, 2, "hash", "linear"),
        (2, 4, "dense", "smoothstep"),
        (2, 1, "tiled", "linear"),
        (3, 1, "hash", "nearest"),
        (3, 2, "dense", "nearest"),
        (3, 2, "dense", "linear"),
        (3, 2, "tiled", "smoothstep"),
        (4, 1, "hash", "linear"),
    ],
)
def test_values_and_both_orders_of_derivatives(dim: int, features: int, storage: str, interpolation: str) -> None:
    assert_parity(small_grid(dim, features, storage, interpolation), 29)


def test_eight_features() -> None:
    spec = GridSpec(2, 2, 8, 5, 5, 2.0, interpolation="smoothstep")
    assert {level.hashed for level in spec.levels} == {True, False}
    assert_parity(spec, 11)


LINE = GridSpec(1, 5, 2, 3, 3, 2.0)
BLOCK, GROUP = [launches.shape(LINE)[name] for name in ("BLOCK", "GROUP")]


@pytest.mark.parametrize("n", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_any_number_of_points_and_levels(n: int) -> None:
    assert LINE.n_levels % GROUP != 0
    assert_parity(LINE, n)


def edges(dim: int) -> Tensor:
    """All corners of the unit box, and points of [-3, 4]."""
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * dim).view(-1, dim)
    return torch.cat([corners, exact_points(30, dim, seed=9, low=-3, high=4)])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_values_on_the_edges_of_the_box_and_outside(dim: int, storage: str) -> None:
    spec, x = small_grid(dim, 1, storage), edges(dim)
    table = normal(spec.n_entries, 1, seed=7)
    truth = TorchGrid().encode(x.double(), table.double(), spec)
    assert relative(KERNEL.encode(x.to(DEVICE), table.to(DEVICE), spec).cpu(), truth) <= TOLERANCE


def test_a_table_of_one_entry() -> None:
    """2^32 divided by its size has no 32 bits."""
    spec = GridSpec(2, 2, 1, 19, 1, 2.0, "tiled")
    assert spec.levels[0].size == 1
    x, table = exact_points(20, 2, low=-1, high=2), normal(spec.n_entries, 1, seed=7)
    truth = TorchGrid().encode(x.double(), table.double(), spec)
    assert relative(KERNEL.encode(x.to(DEVICE), table.to(DEVICE), spec).cpu(), truth) <= TOLERANCE


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # NumPy's, in the interpreter
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # in Triton 3.6's, whose fma rounds twice
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_nan_infinity_and_huge_coordinates_stay_within_the_table(interpolation: str) -> None:
    """No other point notices, and the table's gradient is finite wherever a sound point's is all there is."""
    strange = torch.tensor([math.nan, math.inf, -math.inf, 3e38, 1e9, 3e9, -3e9, 1e-42])
    spec = small_grid(2, 1, interpolation=interpolation)
    x = torch.full((len(strange) + 20, 2), 0.3)
    x[10 : 10 + len(strange), 1] = strange
    table = normal(spec.n_entries, 1, seed=7)
    values = KERNEL.encode(x.to(DEVICE), table.to(DEVICE), spec).cpu()
    assert bool(values[10:13].isnan().all())
    assert torch.equal(values[:10], values[:1].expand(10, -1))
    assert torch.equal(values[-10:], values[:1].expand(10, -1))


@pytest.mark.skipif(
    DEVICE.type == "cpu" and TorchVersion(triton.__version__) < (3, 9),
    reason="the interpreter of Triton before 3.9 rounds fma twice",
)
def test_positions_are_rounded_once() -> None:
    """The table alternates between 0 and 1, so that the value is the place within the cell, without a rounding."""
    spec = GridSpec(1, 16, 1, 19, 16, 1.447, "dense")
    scale = spec.levels[15].scale
    powers = 2.0 ** torch.arange(1, int(math.log2(scale)) + 1)
    x = ((powers[:, None] - 0.5 * torch.rand(len(powers), 50, generator=seeded(3))) / scale).flatten()
    once = torch.tensor([references.grid_position(value, scale, single=True) for value in x.tolist()])
    differ = once != x * torch.tensor(scale) + 0.5
    assert int(differ.sum()) > 32  # or the test shows little
    x, once = x[differ], once[differ]
    table = torch.cat([torch.arange(v.size) % 2.0 for v in spec.levels])[:, None]
    values = KERNEL.encode(x[:, None].to(DEVICE), table.to(DEVICE), spec)[:, 15].cpu()
    place = once - once.floor()
    assert torch.equal(values, torch.where(once.floor() % 2 == 0, place, 1 - place))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tables_of_16_bits(dtype: torch.dtype) -> None:
    """Features and the table's gradient have its type; what is computed in between is float32."""
    spec = small_grid(2)
    inputs = grid_inputs(spec, 30)
    table = inputs["table"].to(dtype)
    truth = TorchGrid().encode(inputs["x"].double(), wide := table.double().requires_grad_(), spec)
    truth.backward(inputs["mix"].double())
    leaf = table.to(DEVICE).requires_grad_()
    values = KERNEL.encode(inputs["x"].to(DEVICE), leaf, spec)
    values.backward(inputs["mix"].to(DEVICE, dtype))
    assert values.dtype == leaf.grad.dtype == dtype
    assert relative(values.cpu(), truth) <= KERNEL.tolerance[dtype]
    assert relative(leaf.grad.cpu(), wide.grad) <= KERNEL.tolerance[dtype]


def test_inputs_of_any_strides() -> None:
    spec = small_grid(2)
    plain = moved(grid_inputs(spec, 30))
    turned = {name: value.t().contiguous().t() for name, value in plain.items()}
    assert not turned["x"].is_contiguous()
    found = []
    for tensors in (plain, turned):
        x, table, mix, along = [tensors[name] for name in ("x", "table", "mix", "along")]
        found.append([launches.gather(x, table, along, spec), launches.contract(x, table, mix, along, spec)])
        found[-1].append(launches.scatter(x, mix, along, spec))
    assert all(map(torch.equal, *found))


@pytest.fixture
def same_bits() -> None:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


class Refused:
    def __getitem__(self, grid: tuple) -> None:
        raise AssertionError("the atomic program was launched")


# Every dimension, number of features, storage and interpolation; one of each with a direction and one without.
@pytest.mark.parametrize(
    ("spec", "along"),
    [
        (small_grid(1, 8), True),
        (small_grid(2, 1, "tiled", "smoothstep"), True),
        (small_grid(3), False),
        (small_grid(2, 4, "dense", "nearest"), False),
        (small_grid(2), True),
    ],
)
def test_the_sorted_gradient_is_the_atomic_one_and_has_the_same_bits_every_time(
    spec: GridSpec, along: bool, same_bits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neufield.kernels.grid import programs

    inputs = moved(grid_inputs(spec, 29))
    arguments = (inputs["x"], inputs["mix"], inputs["along"] if along else None, spec)
    torch.use_deterministic_algorithms(False)
    atomic = launches.scatter(*arguments)
    torch.use_deterministic_algorithms(True)
    monkeypatch.setattr(programs, "scatter", Refused())
    monkeypatch.setattr(sorted_sum, "RUN", 32)  # of the interpreter's time; and so more than one pass
    first, second = launches.scatter(*arguments), launches.scatter(*arguments)
    assert torch.equal(first, second)
    assert relative(first, atomic) <= TOLERANCE


RUNS = {
    "one run over all blocks": [40],
    "each row once": [1] * 40,
    "runs that end with a block": [8, 16, 4, 4, 8],
    "runs over two blocks and three": [5, 7, 18, 2, 1, 7],
    "less than a block": [3, 2],
    "a block and one": [8, 1],
    "one": [1],
}


@pytest.mark.parametrize("lengths", RUNS.values(), ids=RUNS)
def test_sums_of_sorted_rows(lengths: list[int]) -> None:
    """Blocks of 8: up to three passes. Whole numbers, so that every order has the same sum."""
    rows = torch.repeat_interleave(torch.arange(len(lengths)) * 2, torch.tensor(lengths)).int()
    shares = torch.randint(-9, 10, (len(rows), 2), generator=seeded(4)).float()
    truth = torch.zeros(2 * len(lengths), 2).index_add_(0, rows, shares)
    found = torch.zeros_like(truth).to(DEVICE)
    sorted_sum.add_up(found, rows.to(DEVICE), shares.to(DEVICE), 8)
    assert torch.equal(found.cpu(), truth)


@triton.jit
def bracketed(sums, starts, left, right):
    """a + b + c of ``_within_runs``, begun with either of the two."""
    at = tl.arange(0, 64)
    a, b, c = (
        (tl.load(sums + at), tl.load(starts + at)),
        (tl.load(sums + 64 + at), tl.load(starts + 64 + at)),
        (tl.load(sums + 128 + at), tl.load(starts + 128 + at)),
    )
    ab = _within_runs(a[0], a[1], b[0], b[1])
    bc = _within_runs(b[0], b[1], c[0], c[1])
    first = _within_runs(ab[0], ab[1], c[0], c[1])
    second = _within_runs(a[0], a[1], bc[0], bc[1])
    tl.store(left + at, first[0])
    tl.store(right + at, second[0])
    tl.store(left + 64 + at, first[1].to(tl.float32))
    tl.store(right + 64 + at, second[1].to(tl.float32))


def test_neighbors_may_be_added_up_in_any_order() -> None:
    """As a GPU's scan does; the interpreter's goes from the first to the last."""
    sums = torch.randint(-9, 10, (3, 64), generator=seeded(4)).float().to(DEVICE)
    starts = torch.randint(0, 2, (3, 64), generator=seeded(5)).int().to(DEVICE)
    left, right = torch.zeros(2, 64, device=DEVICE), torch.ones(2, 64, device=DEVICE)
    bracketed[(1,)](sums, starts, left, right)
    assert torch.equal(left, right)


def test_the_records_of_levels_are_made_once() -> None:
    spec = small_grid(2)
    assert launches.levels(spec, DEVICE) is launches.levels(dataclasses.replace(spec), DEVICE)


def test_which_levels_are_hashed() -> None:
    kinds = [GridSpec(3, 2, storage="dense"), GridSpec(3, 2, log2_hashmap_size=4), small_grid(3)]
    assert list(map(launch_shapes.hashed, kinds)) == ["none", "all", "some"]


@pytest.mark.parametrize(
    ("spec", "dtype", "words"),
    [
        (GridSpec(2), torch.float32, "run on CUDA, not on cpu"),
        (GridSpec(2, n_features_per_level=3), torch.float32, "1, 2, 4 or 8 features per level, not 3"),
        (GridSpec(2), torch.float64, "not float64"),
        (GridSpec(3, 16, 8, 26, 1024, 1.0), torch.float32, "fewer than 2^31 numbers"),
    ],
)
def test_obstacles_are_sentences(spec: GridSpec, dtype: torch.dtype, words: str) -> None:
    obstacles = KERNEL.obstacles(spec, torch.device("cpu"), dtype)
    assert any(words in sentence for sentence in obstacles)
    assert all(
        sentence[0].islower() and sentence.endswith(".") for sentence in obstacles if "Triton is" not in sentence
    )


def test_no_cpu_gets_the_interpreter_unasked() -> None:
    cpu = torch.device("cpu")
    assert select("grid", KERNELS, GridSpec(2), cpu).name != "triton"
    with pytest.raises(BackendError, match="the Triton kernels run on CUDA, not on cpu"):
        select("grid", KERNELS, GridSpec(2), cpu, backend="triton")
    grid = Grid(2, 2)
    grid.backend = "triton"
    with pytest.raises(BackendError, match="on CUDA"):
        grid(torch.rand(3, 2))


def test_auto_takes_triton_where_nothing_is_in_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches.gpu, "obstacles", lambda device: ())
    assert select("grid", KERNELS, GridSpec(2), torch.device("cuda")).name == "triton"
    assert select("grid", KERNELS, GridSpec(2, n_features_per_level=3), torch.device("cuda")).name == "torch"
