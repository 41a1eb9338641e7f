"""Rays on disk: written once, gone on with after a kill, refused where they do not fit."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from cases import seeded

from neufield.core.errors import DataError
from neufield.signals.ray_store import RayStore, store_bytes

Usage = namedtuple("Usage", "total used free")


def view(number: int, n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.rand(n, 9, generator=seeded(number))
    return rows[:, :6], rows[:, 6:]


def test_what_was_added_is_sampled_and_a_begun_store_goes_on(tmp_path: Path) -> None:
    store = RayStore.begin(tmp_path / "rays", 3, 5, "teacher")
    store.add(*view(0))
    again = RayStore.begin(tmp_path / "rays", 3, 5, "teacher")
    assert again.n_done == 1
    again.add(*view(1))
    batch = again.sample(200, seeded())
    known = torch.cat([torch.cat(view(i), dim=1) for i in (0, 1)])
    rows = torch.cat([batch.x, batch.needed("target")], dim=1)
    same = (rows[:, None] == known).all(-1)
    assert bool(same.any(1).all())
    assert bool(same.any(0).all())
    assert torch.equal(again.sample(200, seeded()).x, batch.x)
    assert (tmp_path / "rays/rays.f32").stat().st_size == store_bytes(3, 5) == 540


def test_ten_thousand_views_of_the_paper_are_58_gigabytes() -> None:
    assert round(store_bytes(10_000, 400**2) / 1e9) == 58


def test_a_store_of_something_else_is_refused(tmp_path: Path) -> None:
    RayStore.begin(tmp_path, 3, 5, "teacher")
    with pytest.raises(DataError, match=r"whose origin is teacher, but another is wanted; remove it"):
        RayStore.begin(tmp_path, 3, 5, "another")
    with pytest.raises(DataError, match=r"no view yet"):
        RayStore(tmp_path).sample(1, seeded())


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, 10**8))
    with pytest.raises(DataError, match=r"take 0.36 GB, but .* has 0.10 GB free; ask for fewer"):
        RayStore.begin(tmp_path / "rays", 1000, 10_000, "teacher")
    assert list((tmp_path / "rays").iterdir()) == []


@pytest.mark.parametrize("change", [{"n_views": 4}, {"n_done": 9}, {"n_done": "x"}, {"rays_per_view": 0}])
def test_a_damaged_store_is_one_sentence(tmp_path: Path, change: dict) -> None:
    RayStore.begin(tmp_path, 3, 5, "teacher")
    header = json.loads((tmp_path / "rays.json").read_text())
    (tmp_path / "rays.json").write_text(json.dumps(header | change))
    with pytest.raises(DataError, match=r"make it anew|correct it"):
        RayStore(tmp_path)
