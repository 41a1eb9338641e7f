"""What there is of memory, what a training will take of it, and what is said when it ends."""

import os
import re
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import SIDE, write_ball
from PIL import Image as Pillow
from torch import Tensor, nn

from neufield import presets
from neufield.apps import cli
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError, DataError
from neufield.core.interfaces import RadianceField
from neufield.core.memory import budget_of, check_budget, explain_exhaustion, free_memory, parse_bytes
from neufield.core.rays import Conditioning, Geometry
from neufield.core.reckoning import within_budget
from neufield.formats.scene import read_scene
from neufield.presets.scene import MemoryPlan, choose_views, memory_plan, plan_memory, radiance_scene
from neufield.presets.scene.memory_plan import kept_bytes
from neufield.renderers import Box

GB = 10**9


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


INFO = {"proc/meminfo": "MemTotal:       9000 kB\nMemFree:  100 kB\nMemAvailable:    5000 kB\n"}
V2 = "sys/fs/cgroup/"
V1 = "sys/fs/cgroup/memory/"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 5000 * 1024),
        ({V2 + "memory.max": "max\n", V2 + "memory.current": "77\n"}, 5000 * 1024),
        ({V2 + "memory.max": "9999999999999\n", V2 + "memory.current": "77\n"}, 5000 * 1024),
        ({V2 + "memory.max": "1000000\n", V2 + "memory.current": "300000\n"}, 700_000),
        # Files that were read are in the way only until somebody needs the place.
        ({V2 + "memory.max": "1000000\n", V2 + "memory.current": "300000\n",
          V2 + "memory.stat": "anon 5\ninactive_file 200000\n"}, 900_000),
        ({V2 + "memory.max": "100\n", V2 + "memory.current": "300\n"}, 0),
        ({V1 + "memory.limit_in_bytes": "1000000\n", V1 + "memory.usage_in_bytes": "300000\n",
          V1 + "memory.stat": "inactive_file 9\ntotal_inactive_file 100000\n"}, 800_000),
    ],
)  # fmt: skip
def test_free_memory_is_what_is_available_here(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert free_memory(write(tmp_path, INFO | files)) == expected


def test_this_machine_has_some() -> None:
    free = free_memory()
    assert free is None or 2**20 < free < 2**50


def failure(attempt) -> BaseException:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        attempt()
    return caught.value


@pytest.mark.parametrize(
    "attempt",
    [lambda: torch.empty(2**50), lambda: torch.empty(2**62, 2**62), lambda: np.empty(2**50), lambda: bytearray(2**60)],
)
def test_failed_allocations_are_told_apart_from_other_errors(attempt) -> None:
    sentence = explain_exhaustion(failure(attempt))
    assert sentence is not None
    assert sentence.startswith("the memory does not suffice")
    assert "--resume" in sentence


def test_the_size_is_told_where_it_is_known() -> None:
    assert "for another 4,503,599.6 GB" in (explain_exhaustion(failure(lambda: torch.empty(2**50))) or "")
    cuda = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    assert explain_exhaustion(cuda) is not None
    assert explain_exhaustion(failure(lambda: torch.ones(2) @ torch.ones(3))) is None
    assert explain_exhaustion(ValueError("memory")) is None


@pytest.mark.parametrize(
    ("text", "count"), [("6GB", 6 * GB), ("1.5 gb", 3 * GB // 2), ("800MB", 8 * 10**8), ("4096", 4096), ("7 B", 7)]
)
def test_amounts_of_memory_are_read(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "much", "-3GB", "0", "0GB", "1e9", "3GiB", "9" * 400])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="6GB"):
        parse_bytes(text)


def test_what_is_beyond_the_budget_is_refused_before_it_is_built(monkeypatch) -> None:
    monkeypatch.delenv("NEUFIELD_MEMORY_BUDGET", raising=False)
    check_budget(1, "a", "b")
    with pytest.raises(DataError, match=r"a needs 2000000000.0 TB, but .* of memory are free; b$"):
        check_budget(2 * 10**21, "a", "b")
    with (
        budget_of("5MB"),
        pytest.raises(
            DataError, match=r"a needs 5.1 MB, but the memory budget allows 5.0 MB; b, or .* --memory-budget 5.1MB$"
        ),
    ):
        check_budget(5_000_001, "a", "b")
    with budget_of("5MB"):
        check_budget(5_000_000, "a", "b")
    with budget_of("5000000TB"):  # the user knows better
        check_budget(2 * 10**18, "a", "b")
    monkeypatch.setattr("neufield.core.memory.free_memory", lambda: None)
    check_budget(2 * 10**21, "a", "b")


def test_a_command_takes_a_budget_for_itself_only(tmp_path: Path, capsys) -> None:
    (tmp_path / "config.json").write_text("{}" + " " * 100_000)
    Pillow.new("RGB", (8, 8)).save(tmp_path / "p.png")
    with pytest.raises(SystemExit):
        cli.main(["fit", str(tmp_path / "p.png"), "--preset", str(tmp_path / "config.json"), "--memory-budget", "1MB"])
    assert "the memory budget allows" in capsys.readouterr().err
    assert "NEUFIELD_MEMORY_BUDGET" not in os.environ


def test_a_fit_reckons_with_its_optimizer_before_it_trains(tmp_path: Path, capsys) -> None:
    Pillow.new("RGB", (8, 8)).save(tmp_path / "p.png")
    large = ["--set", "encoding.log2_hashmap_size=16", "encoding.n_levels=16", "encoding.storage=hash",
             "encoding.base_resolution=300"]  # fmt: skip
    with pytest.raises(SystemExit) as ended:  # a table of 8 MB, which would be trained in 40
        cli.main(["fit", str(tmp_path / "p.png"), "--out", str(tmp_path / "r"), "--memory-budget", "20MB", *large])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert re.search(
        r"the field with its optimizer needs \d+\.\d MB, but the memory budget allows 20\.0 MB; make", said
    )
    assert not (tmp_path / "r").exists()


DEEP = {"network": {"otype": "MLP", "n_neurons": 64, "n_hidden_layers": 10_000}}
LARGE = {"encoding": {"otype": "HashGrid", "log2_hashmap_size": 24, "n_features_per_level": 8}}  # of 7 GB


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (DEEP, "more than 10,000 tensors; give it fewer layers"),
        (LARGE, "this tiny-cuda-nn config needs .* GB, but the memory budget allows 1.0 GB; make it smaller"),
    ],
)
def test_a_config_beyond_the_budget_is_refused_before_it_is_built(config: dict, sentence: str, monkeypatch) -> None:
    monkeypatch.setenv("NEUFIELD_MEMORY_BUDGET", "1GB")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=sentence):
        presets.from_tcnn_config(config)
    field = presets.siren()
    with pytest.raises(DataError, match=r"this field needs .* GB"):
        presets.customize(field, [Edit("network.width", 100000)])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB; the field would take millions


@pytest.mark.parametrize("name", presets.names())
def test_what_is_measured_first_is_drawn_as_if_it_had_not_been(name: str) -> None:
    facts = presets.SignalFacts(2, 3, (8, 8), 1000)
    plain = presets.find(name)(facts, torch.Generator().manual_seed(1))
    measured = within_budget(lambda drawn: presets.find(name)(facts, drawn), torch.Generator().manual_seed(1), name)
    assert all(torch.equal(v, measured.state_dict()[key]) for key, v in plain.state_dict().items())


class Linear(RadianceField):
    """Of which it is known by hand what autograd keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(3, 8))
        self.second = nn.Parameter(torch.randn(8, 8))

    def geometry(self, x: Tensor, cond: Conditioning | None = None) -> Geometry:
        features = torch.relu(x @ self.first) @ self.second
        return Geometry(features[..., 0], features[..., 0], features)

    def color(self, features: Tensor, d: Tensor, cond: Conditioning | None = None) -> Tensor:
        return torch.sigmoid(features[..., :3])


def test_what_a_point_keeps_is_counted() -> None:
    # The point itself (3 numbers) for the first matrix, the ReLU's result (8) for itself and the second, and the
    # sigmoid's (3); not the second matrix, which is there anyway.
    assert kept_bytes(Linear()) == 4 * (3 + 8 + 3)


def test_the_plan_counts_everything(tmp_path: Path) -> None:
    scene = read_scene(write_ball(tmp_path, train=3, test=1))
    split = choose_views(scene, 0)
    for ema, copies in ((0.0, 5), (0.95, 7)):  # with averaged weights
        edits = [Edit("recipe.batch_size", 1000), Edit("recipe.ema", ema)]
        model = radiance_scene(scene, "ngp", views=split, bounds=Box([-1.0] * 3, [1.0] * 3), resolution=16, edits=edits)
        planned = plan_memory(split.train, model)
        learned = 4 * sum(p.numel() for p in model.parameters())
        assert planned.photographs == 3 * SIDE * SIDE * 4
        assert 0 <= planned.model - copies * learned < 20 * 16**3  # and the grid of occupied cells
        assert planned.step == 4 * 1000 * kept_bytes(model.field)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((6 * GB, 1, 1), "the photographs take 6.0 GB in memory, but 10.0 GB are free; scale them down"),
        ((4 * GB, 3 * GB, 2 * GB), "the model and its optimizer take about 3.0 GB .*--resolution"),
        ((4 * GB, 2 * GB, 3 * GB), "a training step takes about 3.0 GB .*recipe.batch_size"),
        ((1, 1, 32_000 * GB), "about 32,000.0 GB in memory"),
        ((4 * GB, 3 * GB, GB // 2), None),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_change(sizes, said: str | None, monkeypatch) -> None:
    monkeypatch.setattr(memory_plan, "allowed_memory", lambda: 10 * GB)
    planned = MemoryPlan(*sizes, torch.device("cpu"))
    assert "10.0 GB are free" in str(planned)
    if said is None:
        return planned.check()
    with pytest.raises(DataError, match=said):
        planned.check()
    monkeypatch.setattr(memory_plan, "allowed_memory", lambda: None)  # a system that does not say
    planned.check()
    assert "free" not in str(planned)
    return None


def test_a_command_that_runs_out_of_memory_ends_in_one_sentence(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_ball(tmp_path / "ball", train=3, test=1)
    with pytest.raises(SystemExit) as ended:
        cli.main(["nerf", "train", "ball", "--preset", "voxels", "--resolution", "20000"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "the preset voxels of this size needs" in error
    assert error.endswith("of memory are free; make it smaller\n")
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_other_errors_are_not_hidden(monkeypatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(cli, "run", fail)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        cli.main(["doctor"])
