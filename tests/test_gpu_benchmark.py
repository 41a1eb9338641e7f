"""benchmarks/gpu.py without a GPU: the way through it, with stand-ins for what only a GPU has, and what it counts."""

import importlib
import json
import sys
import types
from pathlib import Path

import pytest
import tcnn_stub
import torch
from graph_stub import Stub

from neufield.fitting import steps
from neufield.kernels import tinycudann

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
pytestmark = pytest.mark.usefixtures("one_thread")
DRY = ("--device", "cpu", "--dry")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is CUDA")
def test_without_cuda_one_sentence_and_exit_code_2(gpu, capsys) -> None:
    assert gpu.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "needs a CUDA GPU" in said.err


def test_a_cpu_is_measured_by_nobody(gpu, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        gpu.parse(["--device", "cpu"])
    assert end.value.code == 2
    assert "add --dry" in capsys.readouterr().err


def test_the_way_through_it(gpu, tmp_path, capsys) -> None:
    assert gpu.main([*DRY, "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert set(result["machine"]) >= {"card", "driver", "torch", "triton"}
    assert set(result["workloads"]) == {"W", "V"}
    for part in result["workloads"].values():
        assert list(part["sizes"]) == ["64", "96"]
        assert part["wrong"] == []
        for kinds in part["sizes"].values():
            assert set(kinds) == {"step", "forward"}
            for timed in kinds.values():
                assert {"eager fp16"} < set(timed["variants"])
                sorting = [name for name in timed["variants"] if name.endswith("deterministic")]
                assert len(sorting) == (timed is kinds["step"])
                assert all(row["/ roofline"] > 0 and row["x eager"] > 0 for row in timed["variants"].values())
        errors = part["relative errors"]
        ours = next(values for name, values in errors.items() if name.startswith("neufield fp32"))
        assert max(ours.values()) < 1e-5  # the bound in fp32
        assert any("tiny-cuda-nn: left out: tiny-cuda-nn runs on CUDA" in note for note in part["notes"])
    assert result["image"]["how"] == "EagerStep"
    assert result["image"]["dB after 4 steps"] > 0
    table = (tmp_path / "gpu.md").read_text()
    assert table.rstrip() == capsys.readouterr().out.rstrip()
    assert "these times mean nothing" in table
    assert "| step, 64 points |" in table


def test_what_only_a_gpu_has_takes_its_turn(gpu, tmp_path, monkeypatch) -> None:
    """Replayed steps, and tiny-cuda-nn with and without fusion, by their stand-ins."""
    monkeypatch.setitem(sys.modules, "tinycudann", tcnn_stub.module())
    monkeypatch.setattr(tinycudann, "obstacles", lambda device: [])
    monkeypatch.setattr(steps, "obstacles", lambda *_: [])
    monkeypatch.setattr(sys.modules["gpu_workloads"], "obstacles", lambda *_: [])
    monkeypatch.setattr(steps, "CudaRecorder", lambda device: Stub())
    assert gpu.main([*DRY, "--only", "W,image", "--points", "32", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "gpu.json").read_text())
    part = result["workloads"]["W"]
    timed = part["sizes"]["32"]
    assert {"tiny-cuda-nn", "tiny-cuda-nn, JIT fusion"} < set(timed["step"]["variants"])
    assert any(name.endswith("replayed") for name in timed["step"]["variants"])
    assert not any(name.endswith("replayed") for name in timed["forward"]["variants"])
    assert all("x tcnn" in row for row in timed["step"]["variants"].values())
    assert max(part["relative errors"]["tiny-cuda-nn"].values()) < 1e-2, "our numbers, in its row"
    assert result["image"]["how"] == "CudaGraphStep"


def test_a_variant_that_computes_something_else_is_left_out_and_fails_the_run(gpu, tmp_path, monkeypatch) -> None:
    workloads = sys.modules["gpu_workloads"]
    plain = workloads._plain

    def doubled(*arguments, **more):
        model = plain(*arguments, **more)
        with torch.no_grad():
            next(model.parameters()).mul_(2)
        return model

    monkeypatch.setattr(workloads, "_plain", doubled)
    assert gpu.main([*DRY, "--only", "W", "--points", "32", "--out", str(tmp_path)]) == 1
    part = json.loads((tmp_path / "gpu.json").read_text())["workloads"]["W"]
    assert "eager fp16 does not compute the same function" in part["wrong"][0]
    assert "eager fp16" not in part["sizes"]["32"]["step"]["variants"]


def test_a_deterministic_step_asks_for_the_same_bits_in_both_directions(gpu, monkeypatch) -> None:
    workloads = sys.modules["gpu_workloads"]
    device, workload = torch.device("cpu"), workloads.workloads(tiny=True)["W"]
    found, _ = workloads.variants(workload, device, compiled=False)
    (repeatable,) = [variant for variant in found if variant.repeatable]
    asked: list[bool] = []
    loss_of = workloads.loss_of

    def asking(*arguments: object) -> torch.Tensor:  # a hook on the model would not see a pass that makes the loss, too
        asked.append(torch.are_deterministic_algorithms_enabled())
        return loss_of(*arguments)

    monkeypatch.setattr(workloads, "loss_of", asking)
    table = next(repeatable.model.parameters())
    table.register_hook(lambda _: asked.append(torch.are_deterministic_algorithms_enabled()))
    repeatable.step(repeatable, *workloads.batch(workload, 16, device))()
    assert asked == [True, True]
    assert not torch.are_deterministic_algorithms_enabled()


def test_bytes_and_operations_are_those_counted_by_hand(gpu) -> None:
    workloads = sys.modules["gpu_workloads"]
    w = workloads.workloads(tiny=False)["W"]
    n = 2**14
    entries = 354_184  # of tiny-cuda-nn's image sample
    corners = 16 * 4 * 8  # levels, corners of a square, two float32
    assert workloads.costs(w, n, step=False) == {
        "bytes": n * (8 + 12 + corners),
        "FLOPs": n * 2 * (32 * 64 + 64 * 64 + 64 * 3),
    }
    assert workloads.costs(w, n, step=True) == {
        "bytes": n * (8 + 12 + 12 + 3 * corners) + 8 * 4 * 2 * entries,
        "FLOPs": n * 6 * (32 * 64 + 64 * 64 + 64 * 3),
    }


def test_memory_that_ends_leaves_one_variant_out(gpu) -> None:
    notes: list[str] = []

    def greedy() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    times = gpu.alternate({"small": lambda: None, "large": greedy}, 3, torch.device("cpu"), notes)
    assert len(times["small"]) == 3
    assert "large" not in times
    assert notes == ["large: left out where the card's memory does not suffice"]


def test_the_parity_suite_runs_first_and_its_failure_is_the_runs(gpu, tmp_path, monkeypatch) -> None:
    asked = []

    def run(command, **_):
        asked.append(command)
        return types.SimpleNamespace(returncode=len(asked) - 1, stdout="noise\n3 passed", stderr="")

    monkeypatch.setattr(gpu.subprocess, "run", run)
    found = gpu.run_tests()
    assert found == {"exit code": 1, "marked gpu": "3 passed", "Triton kernels": "3 passed"}
    assert asked[0][-3:] == ["-m", "gpu", "tests"]
    assert all("test_triton_" in path for path in asked[1][6:])
    assert len(asked[1]) > 6
