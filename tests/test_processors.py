"""Threads that wait asleep, and a word about who else wants the processor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from neufield.apps import cli, threads
from neufield.core import processors

_TINY = ["--set", "encoding.n_levels=2", "encoding.log2_hashmap_size=8", "recipe.batch_size=64", "--steps", "2"]


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Pillow.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("own", "then"),
    [
        ({}, {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5000"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"GOMP_SPINCOUNT": "9"}, {"GOMP_SPINCOUNT": "9"}),
    ],
)
def test_threads_wait_asleep_unless_the_user_says_how(own: dict, then: dict, monkeypatch) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    for name in names:
        monkeypatch.setenv(name, own.get(name, ""))  # so that it is undone
        if name not in own:
            monkeypatch.delenv(name)
    processors.wait_asleep()
    assert {name: os.environ[name] for name in names if name in os.environ} == then


def test_the_app_decides_before_torch_is_loaded(tmp_path: Path) -> None:
    code = """
import json, os, sys
from neufield.core import processors
before, loaded = processors.wait_asleep, []
processors.wait_asleep = lambda: (loaded.append("torch" in sys.modules), before())
from neufield.apps import cli
cli.main(["info", sys.argv[1], "--json"])
print(json.dumps([loaded, os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules]))
"""
    Pillow.new("L", (2, 2)).save(tmp_path / "a.png")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    said = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.png"], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert json.loads(said.splitlines()[-1]) == [[False], "passive", True]


def system(root: Path, running: int) -> Path:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(f"cpu 1 2 3\nprocs_running {running}\nprocs_blocked 0\n")
    return root


def test_a_busy_machine_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert processors.busy(4, tmp_path) == ""  # nobody knows
    assert processors.busy(4, system(tmp_path, 1)) == ""  # ourselves
    assert processors.busy(2, system(tmp_path, 3)) == ""
    assert "busy: 1 thread of another program wants its 4 cores" in processors.busy(4, system(tmp_path, 2))
    assert "busy: 8 threads of other programs want its 4 cores" in processors.busy(4, system(tmp_path, 9))


def test_fit_says_it_once_and_obeys_threads(picture, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(threads, "busy", lambda threads: f"busy beside {threads}")
    before = torch.get_num_threads()
    try:
        cli.main(["fit", picture, "--out", str(tmp_path / "run"), "--threads", str(before + 2), *_TINY])
    finally:
        torch.set_num_threads(before)
    assert capsys.readouterr().out.count(f"note: busy beside {before + 2}\n") == 1
    assert json.loads((tmp_path / "run/result.json").read_text())["threads"] == before + 2


def test_no_threads_are_refused(picture, capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["fit", picture, "--threads", "0"])
    assert "--threads is 0, but at least 1 is needed" in capsys.readouterr().err
