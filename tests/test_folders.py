"""Folders that are whole or not there."""

import os
from pathlib import Path

import pytest

from neufield.core.errors import DataError
from neufield.core.files import atomic_folder, sweep_temporaries


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def fill(path: Path, name: str) -> None:
    with atomic_folder(path) as folder:
        assert folder.parent == path.parent  # a rename within one file system
        (folder / name).touch()


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    fill(tmp_path / "deep" / "scene", "old")
    assert names(tmp_path) == ["deep", "deep/scene", "deep/scene/old"]
    fill(tmp_path / "deep" / "scene", "new")
    assert names(tmp_path) == ["deep", "deep/scene", "deep/scene/new"]
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "deep" / "scene").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_what_is_stopped_leaves_what_was_there(kind: type[BaseException], tmp_path: Path) -> None:
    fill(tmp_path / "scene", "old")

    def stop() -> None:
        with atomic_folder(tmp_path / "scene") as folder:
            (folder / "new").touch()
            raise kind

    with pytest.raises(kind):
        stop()
    assert names(tmp_path) == ["scene", "scene/old"]


def test_a_rename_that_fails_brings_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "scene", "old")
    replace = os.replace

    def fail_onto_the_scene(source: Path, target: Path) -> None:
        if target == tmp_path / "scene" and (Path(source) / "new").exists():
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_onto_the_scene)
    with pytest.raises(DataError, match="No space left on device; what was there before is untouched"):
        fill(tmp_path / "scene", "new")
    assert names(tmp_path) == ["scene", "scene/old"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".neufield-scene-new-12345678"
    left.mkdir()
    (left / "half").touch()
    other = tmp_path / ".neufield-other-new-12345678"
    other.mkdir()
    fill(tmp_path / "scene", "new")
    assert names(tmp_path) == [other.name, "scene", "scene/new"]
    (tmp_path / ".neufield-file").touch()
    sweep_temporaries(tmp_path)  # of files: the folder is of somebody who is writing another scene
    assert names(tmp_path) == [other.name, "scene", "scene/new"]


def test_a_file_is_no_place_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "scene").touch()
    with pytest.raises(DataError, match="is a file"):
        fill(tmp_path / "scene", "new")
    with pytest.raises(DataError, match="cannot write"):
        fill(tmp_path / "scene" / "below", "new")
    assert names(tmp_path) == ["scene"]
