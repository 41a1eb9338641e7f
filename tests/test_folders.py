"""Folders that are whole or not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neufield.core.errors import DataError
from neufield.core.files import atomic_folder, atomic_path, locked, sweep_temporaries, write_atomically
from neufield.core.locks import Lock


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def fill(path: Path, name: str) -> None:
    with atomic_folder(path) as folder:
        assert folder.parent.parent == path.parent  # a rename within one file system
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


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".neufield-12345678"
    left.mkdir()
    (left / "half").touch()
    with atomic_path(tmp_path / "living") as temporary:
        fill(tmp_path / "scene", "new")
        write_atomically(tmp_path / "file", Path.touch)
        sweep_temporaries(tmp_path)
        assert temporary.exists()
        assert not left.exists()
    assert names(tmp_path) == ["file", "living", "scene", "scene/new"]


def test_a_process_that_is_killed_while_it_writes_leaves_nothing_for_long(tmp_path: Path) -> None:
    code = "import sys, time\nfrom neufield.core.files import *\n"
    code += "with atomic_path(sys.argv[1]), atomic_folder(sys.argv[2]):\n    print(flush=True)\n    time.sleep(600)"
    command = [sys.executable, "-c", code, str(tmp_path / "file.txt"), str(tmp_path / "scene")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(DataError, match=rf"another neufield \(process {child.pid} on .*\) is writing .*scene; wait"):
        fill(tmp_path / "scene", "mine")
    child.kill()
    child.wait()
    child.stdout.close()
    assert len([name for name in names(tmp_path) if name.endswith("/.lock")]) == 2
    fill(tmp_path / "scene", "new")
    assert names(tmp_path) == ["scene", "scene/new"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "scene", "old")
    os.replace(tmp_path / "scene", tmp_path / ".scene.before")

    def stop() -> None:
        with atomic_folder(tmp_path / "scene"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert names(tmp_path) == ["scene", "scene/old"]


def test_one_holds_a_lock(tmp_path: Path) -> None:
    first = Lock.take(tmp_path / "lock")
    assert first is not None
    assert first.works
    assert Lock.take(tmp_path / "lock") is None
    first.release()
    assert names(tmp_path) == []
    (tmp_path / "lock").write_text("process 1 on elsewhere")  # as a killed holder leaves it
    second = Lock.take(tmp_path / "lock")
    assert second is not None
    second.release()


def test_a_file_system_without_locks_is_written_to_all_the_same(tmp_path: Path, monkeypatch, caplog) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("neufield.core.locks.fcntl.flock", refuse)
    (tmp_path / ".neufield-12345678").mkdir()
    with locked(tmp_path / "lock", tmp_path):
        fill(tmp_path / "scene", "new")
    assert {record.getMessage() for record in caplog.records} == {
        f"{path} lies on a file system without locks: let one neufield at a time write there"
        for path in (tmp_path, tmp_path / "scene")
    }
    assert names(tmp_path) == [".neufield-12345678", "scene", "scene/new"]  # whose that is nobody can say


def test_a_file_is_no_place_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "scene").touch()
    with pytest.raises(DataError, match="is a file"):
        fill(tmp_path / "scene", "new")
    with pytest.raises(DataError, match="cannot write"):
        fill(tmp_path / "scene" / "below", "new")
    assert names(tmp_path) == ["scene"]
