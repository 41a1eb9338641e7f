"""Every command survives kill -9 at any moment, also in the middle of a write (tests/kills.py has the machinery)."""

import random
import sys
from pathlib import Path

import kills
import pytest

_KILLS = 2  # of each command: one at any moment, one while it writes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fork servers are POSIX")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    kills.make_inputs(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", kills.CASES)
def test_killed_at_random_moments_a_command_ends_in_the_same_bits(name: str, inputs: Path, tmp_path: Path) -> None:
    count = kills.survives(kills.CASES[name], inputs, tmp_path, _KILLS, random.Random(0))
    assert count.kills == _KILLS


def test_other_bits_and_what_is_left_behind_are_found(tmp_path: Path) -> None:
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "field.safetensors").write_text("same")
    assert kills.differences(tmp_path / "whole", tmp_path / "broken") == []
    (tmp_path / "broken/field.safetensors").write_text("other")
    (tmp_path / "broken/.neufield-left").mkdir()
    (tmp_path / "whole/a.png").touch()
    found = kills.differences(tmp_path / "whole", tmp_path / "broken")
    assert [line.partition(":")[0] for line in found] == ["only in one", "left behind", "other bits"]
