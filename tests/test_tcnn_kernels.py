"""tiny-cuda-nn as a backend: its layout by stored numbers, the rest with a stand-in, itself where there is one."""

import sys
import types

import pytest
import tcnn_stub
import torch
from cases import seeded
from grid_numbers import STORED, stored_points, stored_spec, stored_table
from native_cases import exact_points, normal, relative

import neufield.tcnn as configs
from neufield.apps import cli
from neufield.core.errors import BackendError, ConfigError
from neufield.encodings import Grid, SphericalHarmonics
from neufield.fields import EncodedRadiance, NeuralField
from neufield.kernels import tinycudann
from neufield.kernels.dispatch import select, use_backend
from neufield.kernels.field import FieldSpec, FrequencySpec, TcnnField, evaluate
from neufield.kernels.field.tcnn import Packed
from neufield.kernels.grid import KERNELS, GridSpec, TcnnGrid, TorchGrid
from neufield.networks import MLP

pytestmark = pytest.mark.usefixtures("one_thread")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SMALL = GridSpec(2, 3, 1, 6, 3, 4.0)  # of test_grid_numbers: powers of 2
FIELD = FieldSpec(3, 2, 16, 2, "relu", bias=False, encoding=SMALL, precision="bf16")
HALF = TcnnField.tolerance[torch.float32]

# By hand, from references.grid_encode's numbers for the two points of test_grid_numbers (2-D, hash, linear) and the
# weights of ``stored_params``, in Python's own loops (``slow_field``), written down on the day this file began.
STORED_FIELD = [[0.1373202117, -0.0027928309], [0.0333242029, 0.0072123715]]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """``import tinycudann`` finds the stand-in."""
    from neufield.kernels.field import tcnn as field_tcnn
    from neufield.kernels.grid import tcnn as grid_tcnn

    made = tcnn_stub.module()
    monkeypatch.setitem(sys.modules, "tinycudann", made)
    for cache in (tinycudann._broken, field_tcnn._network, grid_tcnn._encoding):
        cache.cache_clear()
    yield made
    for cache in (tinycudann._broken, field_tcnn._network, grid_tcnn._encoding):
        cache.cache_clear()


def stored_params(spec: FieldSpec) -> torch.Tensor:
    """Number i is (29 i mod 61 - 30) / 61."""
    count = sum(n_out * n_in for n_out, n_in in spec.shapes)
    return (29 * torch.arange(count, dtype=torch.float64) % 61 - 30) / 61


def slow_field(features: list[float], spec: FieldSpec) -> list[float]:
    """One point through the network, number by number."""
    at, h = 0, features
    for layer, (n_out, n_in) in enumerate(spec.shapes):
        sums = []
        for row in range(n_out):
            weights = [(29 * (at + row * n_in + i) % 61 - 30) / 61 for i in range(n_in)]
            sums.append(sum(w * value for w, value in zip(weights, h, strict=True)))
        at += n_out * n_in
        h = [max(0.0, value) for value in sums] if layer < spec.n_hidden_layers else sums
    return h


def stored_inputs(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return stored_points(2).to(dtype), stored_table(SMALL.n_entries).to(dtype), stored_params(FIELD).to(dtype)


def test_the_fields_values_have_not_moved_since_they_were_stored() -> None:
    expected = torch.tensor(STORED_FIELD, dtype=torch.float64)
    slow = [slow_field(features, FIELD) for features in STORED[2, "hash", "linear"]]
    # Features with 10 decimals through weights below 1/2, 16 of them a sum.
    torch.testing.assert_close(torch.tensor(slow, dtype=torch.float64), expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(evaluate(*stored_inputs(torch.float64), FIELD), expected, rtol=0, atol=1e-8)


def test_the_stand_in_computes_the_stored_values_from_tinycudanns_row(stub) -> None:
    x, table, params = stored_inputs()
    found = TcnnField().evaluate(x, table, params, FIELD)
    assert found.dtype == torch.float32
    assert relative(found, torch.tensor(STORED_FIELD)) < HALF


@pytest.mark.parametrize("key", [key for key in STORED if key[0] in (2, 3, 4)], ids=lambda key: "-".join(map(str, key)))
def test_the_stand_in_encodes_to_the_stored_values(stub, key: tuple[int, str, str]) -> None:
    spec = stored_spec(*key)
    table = stored_table(spec.n_entries).float()
    found = TcnnGrid().encode(stored_points(key[0]).float(), table, spec)
    # Stored with 10 decimals, from points that float32 rounds: 12.5 is far outside, at a scale of 47.
    torch.testing.assert_close(found, torch.tensor(STORED[key]), rtol=0, atol=2e-5)


def test_the_row_begins_with_the_network_and_ends_with_the_table() -> None:
    """Places counted by hand: 3 features and 2 outputs fill up to 16, so three matrices are 16 x 16."""
    layout = Packed(FIELD, dtype=torch.float32)
    _, table, params = stored_inputs()
    row = layout.pack(table, params)
    assert row.shape == (3 * 256 + SMALL.n_entries,)
    first, second, last = params.split([48, 256, 32])
    assert torch.equal(row[:19], torch.cat([first[:3], torch.zeros(13), first[3:6]]))
    assert torch.equal(row[256:512], second)
    assert torch.equal(row[512:544], last)
    assert torch.equal(row[544:768], torch.zeros(224))
    assert torch.equal(row[768:], table.flatten())


@pytest.mark.parametrize("alignment", [16, 8])
@pytest.mark.parametrize("shape", [(2, 1, 1, 16), (3, 17, 2, 32), (4, 3, 5, 128)], ids=str)
def test_there_and_back_are_the_same_numbers(shape: tuple[int, int, int, int], alignment: int) -> None:
    dim, out_dim, hidden, width = shape
    grid = GridSpec(dim, 3, 2, 6, 3, 2.0)
    spec = FieldSpec(6, out_dim, width, hidden, "relu", bias=False, encoding=grid)
    layout = Packed(spec, alignment, torch.float32)
    table = normal(grid.n_entries, 2, seed=1)
    params = normal(sum(a * b for a, b in spec.shapes), seed=2)
    again = layout.unpack(layout.pack(table, params))
    assert torch.equal(again[0], table)
    assert torch.equal(again[1], params)
    row = normal(layout.size, seed=3)
    filled = layout.pack(*layout.unpack(row))
    assert torch.equal(filled[filled != 0], row[filled != 0]), "every number comes back to its place"


def test_a_grid_is_handed_over_without_a_copy(stub) -> None:
    table = stored_table(SMALL.n_entries).float()
    TcnnGrid().encode(stored_points(2).float(), table, SMALL)
    from neufield.kernels.grid.tcnn import _encoding

    (seen,) = _encoding(SMALL).seen
    assert seen.data_ptr() == table.data_ptr()
    assert _encoding(SMALL).params.numel() == 0, "its own numbers are gone"
    assert _encoding(SMALL).jit_fusion


def test_fusion_is_as_it_was_asked_for(stub) -> None:
    from neufield.kernels.field.tcnn import _network

    assert _network(FIELD, True).jit_fusion
    assert not _network(FIELD, False).jit_fusion


def gradients(function, x, table, params, mix) -> list[torch.Tensor]:
    leaves = [table.clone().requires_grad_(), params.clone().requires_grad_()]
    y = function(x, *leaves)
    return [y, *torch.autograd.grad(y, leaves, mix.to(y.dtype))]


@pytest.mark.parametrize("size", [1.0, 1e-9, 1e9])
def test_gradients_come_back_whatever_their_size(stub, size: float) -> None:
    """A mean over a million points is lost in fp16, and a sum over them is not finite, unless they are scaled."""
    _, table, params = stored_inputs()
    x, mix = exact_points(70, 2), normal(70, 2, seed=5) * size
    truth = gradients(lambda *v: evaluate(*v, FIELD), *[t.double() for t in (x, table, params)], mix.double())
    found = gradients(lambda *v: TcnnField().evaluate(*v, FIELD), x, table, params, mix)
    assert [relative(a, b) < 2 * HALF for a, b in zip(found, truth, strict=True)] == [True] * 3


def test_a_loss_and_its_gradients(stub) -> None:
    x, table, params = stored_inputs()
    target, weight = normal(2, 2, seed=1), torch.tensor([1.0, 3.0])
    leaves = [table.clone().requires_grad_(), params.clone().requires_grad_()]
    total, error = TcnnField().fused_loss(x, *leaves, target, weight, "l2", FIELD)
    expected = (torch.tensor(STORED_FIELD) - target).square().mean(1)
    assert relative(error, expected) < 2 * HALF
    assert relative(total, (expected * weight).mean()) < 2 * HALF
    assert all(g.isfinite().all() for g in torch.autograd.grad(total, leaves))


def test_a_network_alone(stub) -> None:
    """As a radiance field's for its color; inputs that fill up a multiple of 16 do not matter."""
    spec = FieldSpec(19, 3, 32, 2, "relu", bias=False, precision="bf16")
    h, params, mix = normal(40, 19, seed=1), normal(spec.n_params, seed=2) / 5, normal(40, 3, seed=3)
    found = []
    for compute, dtype in ((TcnnField().evaluate, torch.float32), (evaluate, torch.float64)):
        leaves = [h.to(dtype).requires_grad_(), params.to(dtype).requires_grad_()]
        y = compute(leaves[0], None, leaves[1], spec)
        found.append([y, *torch.autograd.grad(y, leaves, mix.to(y.dtype))])
    assert [relative(a, b) < 2 * HALF for a, b in zip(*found, strict=True)] == [True] * 3


def test_the_color_of_a_radiance_field_is_the_named_backends_or_refused(stub, monkeypatch) -> None:
    made = {
        name: EncodedRadiance(
            Grid(3, 4, 2, 8, generator=seeded()), MLP(8, 16, 16, 1, bias=False, generator=seeded(1)),
            SphericalHarmonics(2),
            MLP(20, 3, 16, 1, output_activation="sigmoid", bias=name == "biased", generator=seeded(2)),
        )
        for name in ("plain", "biased")
    }  # fmt: skip
    monkeypatch.setattr(tinycudann, "obstacles", lambda device: [])
    with torch.autocast("cpu", torch.bfloat16):
        assert use_backend(made["plain"], "tcnn", torch.device("cpu")) == "tcnn"
        features, d = normal(9, 16, seed=3), torch.nn.functional.normalize(normal(9, 3, seed=4))
        fast = made["plain"].color(features, d)
        with pytest.raises(BackendError, match=r"'tcnn' cannot run the color network here.*no biases"):
            use_backend(made["biased"], "tcnn", torch.device("cpu"))
    use_backend(made["plain"], "torch", torch.device("cpu"))
    exact = made["plain"].color(features, d)
    assert not torch.equal(fast, exact)
    torch.testing.assert_close(fast, exact, rtol=0, atol=HALF)


def test_second_derivatives_are_the_references(stub) -> None:
    """tiny-cuda-nn leaves out those of its parameters' gradients, without a word."""
    spec = GridSpec(2, 3, 2, 6, 3, 2.0)
    x = exact_points(20, 2)
    found = []
    for kernel in (TcnnGrid(), TorchGrid()):
        table = normal(spec.n_entries, 2, seed=1).requires_grad_()
        mix = normal(20, 6, seed=2).requires_grad_()
        (by_table,) = torch.autograd.grad(kernel.encode(x, table, spec), table, mix, create_graph=True)
        found.append(torch.autograd.grad(by_table.square().sum(), mix)[0])
    assert relative(*found) < TcnnGrid.tolerance[torch.float32]


def test_no_points_at_all(stub) -> None:
    _, table, params = stored_inputs()
    leaf = params.clone().requires_grad_()
    y = TcnnField().evaluate(torch.zeros(0, 2), table, leaf, FIELD)
    assert y.shape == (0, 2)
    assert not torch.autograd.grad(y.sum(), leaf)[0].any()
    assert TcnnGrid().encode(torch.zeros(0, 2), table, SMALL).shape == (0, 3)


def replaced(**changes: object) -> FieldSpec:
    return FieldSpec(**{**{name: getattr(FIELD, name) for name in FIELD.__dataclass_fields__}, **changes})


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        (replaced(bias=True), "no biases; build the network with bias=False"),
        (replaced(width=48), "16, 32, 64 or 128, not 2 of 48"),
        (replaced(n_hidden_layers=0), "not 0 of 16"),
        (replaced(activation="sine"), "not 'sine'"),
        (replaced(precision="fp32"), "--precision bf16"),
        (replaced(encoding=FrequencySpec(2, 4), in_dim=16), "a network, alone or behind a grid, nothing else"),
        (replaced(encoding=GridSpec(1, 3), in_dim=6), "2 to 4 dimensions, not 1"),
        (replaced(encoding=GridSpec(2, 3, 3), in_dim=9), "1, 2, 4 or 8 features a level, not 3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_tiny_cuda_nn_lacks_is_a_sentence(stub, monkeypatch, spec: FieldSpec, part: str) -> None:
    monkeypatch.setattr(tinycudann, "obstacles", lambda device: [])
    assert TcnnField().obstacles(FIELD, CUDA, torch.float32) == []
    (said,) = TcnnField().obstacles(spec, CUDA, torch.float32)
    assert part in said


def test_levels_that_it_miscounts_and_too_many_of_them(stub, monkeypatch) -> None:
    monkeypatch.setattr(tinycudann, "obstacles", lambda device: [])
    fine = GridSpec(2, 1, 1, 19, 65_536, 2.0, "tiled")
    assert "reads one row" in TcnnGrid().obstacles(fine, CUDA, torch.float32)[0]
    assert TcnnGrid().obstacles(GridSpec(2, 1, 1, 19, 65_535, 2.0, "hash"), CUDA, torch.float32) == []
    many = GridSpec(2, 129, 1, 4, 2, 1.0)
    assert "at most 128 levels" in TcnnGrid().obstacles(many, CUDA, torch.float32)[0]
    assert "not float64" in TcnnGrid().obstacles(SMALL, CUDA, torch.float64)[0]


def test_where_it_is_absent_the_sentence_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tinycudann", None)
    for device, count in ((CUDA, 1), (CPU, 2)):
        said = tinycudann.obstacles(device)
        assert len(said) == count
        assert "pip install --no-build-isolation" in said[-1]


def test_a_tinycudann_that_does_not_load_or_is_old(monkeypatch) -> None:
    class Broken:
        def __getattr__(self, name):
            raise OSError("Could not find compatible tinycudann extension for compute capability 80.\nmore")

    monkeypatch.setattr(tinycudann, "module", lambda: Broken().anything)
    said = tinycudann._broken.__wrapped__() or ""
    assert "compute capability 80." in said
    assert "build it anew" in said
    assert "\n" not in said
    monkeypatch.setattr(tinycudann, "module", lambda: types.ModuleType("tinycudann"))
    assert "older than 2.0" in (tinycudann._broken.__wrapped__() or "")


def test_it_serves_where_cuda_is_and_it_loads(stub, monkeypatch) -> None:
    assert tinycudann.obstacles(CUDA) == []
    with monkeypatch.context() as patch:
        patch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
        assert "in any order" in tinycudann.obstacles(CUDA)[0]
    assert select("grid", [TcnnGrid()], SMALL, CUDA).name == "tcnn"
    assert "tcnn" in [kernel.name for kernel in KERNELS]
    with pytest.raises(BackendError, match="tiny-cuda-nn runs on CUDA, not on cpu"):
        select("grid", KERNELS, SMALL, CPU, backend="tcnn")


def test_doctor_says_why_each_gpu_backend_is_absent(capsys, monkeypatch) -> None:
    for name in ("tinycudann", "nerfacc", "triton"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setenv("COLUMNS", "500")
    cli.main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    for name, part in (
        ("tcnn", "tinycudann is not installed; it is compiled"),
        ("nerfacc", "nerfacc is not installed"),
    ):
        rows = [line for line in lines if f"│ {name} " in line]
        assert rows
        assert all(part in row and "on CUDA, not on cpu" in row for row in rows)


def make_field(bias: bool = False) -> NeuralField:
    generator = torch.Generator().manual_seed(3)
    grid = Grid(2, 3, 1, 6, 3, 4.0, generator=generator)
    return NeuralField(grid, MLP(3, 2, 16, 2, bias=bias, generator=generator))


@pytest.mark.parametrize("alignment", [16, 8])
def test_weights_move_between_a_field_and_tiny_cuda_nn(alignment: int) -> None:
    """Its checkpoints are this row, in either of its networks' widths."""
    field, other = make_field(), make_field()
    row = configs.to_tcnn_params(field, alignment)
    assert row.dtype == torch.float32
    assert torch.equal(row[-SMALL.n_entries :], field.encoding.table.detach().flatten())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    configs.load_tcnn_params(other, row)
    assert all(torch.equal(a, b) for a, b in zip(field.parameters(), other.parameters(), strict=True))


def test_a_row_of_another_size_and_a_field_it_cannot_hold_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"5 numbers, but .* has \d+, or \d+ with CutlassMLP before version 1\.6"):
        configs.load_tcnn_params(make_field(), torch.zeros(5))
    with pytest.raises(ConfigError, match="biases"):
        configs.to_tcnn_params(make_field(bias=True))


@pytest.mark.gpu
def test_against_tiny_cuda_nn_itself() -> None:
    pytest.importorskip("tinycudann", reason="tinycudann is not installed", exc_type=Exception)
    x, table, params = [t.cuda() for t in stored_inputs()]
    expected = torch.tensor(STORED_FIELD, device="cuda")
    for fusion in (False, True):
        assert relative(TcnnField(fusion).evaluate(x, table, params, FIELD), expected) < HALF
    for key, values in STORED.items():
        spec = stored_spec(*key)
        if not TcnnGrid().obstacles(spec, CUDA, torch.float32):
            found = TcnnGrid().encode(
                stored_points(key[0]).float().cuda(), stored_table(spec.n_entries).float().cuda(), spec
            )
            torch.testing.assert_close(found.cpu(), torch.tensor(values), rtol=0, atol=2e-5)
    x, mix = exact_points(1000, 2).cuda(), normal(1000, 2, seed=5).cuda() / 1000
    truth = gradients(lambda *v: evaluate(*v, FIELD), x.double(), table.double(), params.double(), mix.double())
    found = gradients(lambda *v: TcnnField().evaluate(*v, FIELD), x, table, params, mix)
    assert all(relative(a, b) < 2 * HALF for a, b in zip(found, truth, strict=True))
