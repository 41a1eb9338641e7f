"""``--deterministic``: which commands have it, and what it asks of torch."""

import os
from pathlib import Path

import pytest
import torch

from neufield.apps import cli
from neufield.apps.resolve import set_deterministic


class AskedError(Exception):
    pass


@pytest.mark.parametrize(
    ("module", "command"), [("fit", ["fit"]), ("compare", ["compare"]), ("nerf.train", ["nerf", "train"])]
)
def test_it_is_asked_for_before_anything_else_happens(module, command, tmp_path, monkeypatch):
    def asked(device: torch.device) -> None:
        assert device == torch.device("cpu")
        raise AskedError

    monkeypatch.setattr(f"neufield.apps.{module}.set_deterministic", asked)
    with pytest.raises(AskedError):
        cli.main([*command, str(tmp_path / "none.png"), "--deterministic", "--device", "cpu"])


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")  # after both, what the test sets is taken away again
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    yield
    torch.use_deterministic_algorithms(False)


def test_on_a_cpu_nothing_is_to_be_asked(restored):
    set_deterministic(torch.device("cpu"))
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_on_cuda_torch_and_cublas_are_told(restored):
    set_deterministic(torch.device("cuda", 1))
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_run_says_whether_it_was(tmp_path: Path):
    from json import loads

    from PIL import Image

    Image.new("RGB", (16, 16), (9, 99, 199)).save(tmp_path / "flat.png")
    quick = ["--steps", "2", "--set", "encoding.n_levels=2", "--device", "cpu"]
    cli.main(["fit", str(tmp_path / "flat.png"), "--deterministic", "--out", str(tmp_path / "run"), *quick])
    assert loads((tmp_path / "run/result.json").read_text())["deterministic"] is True
