"""A minute of the fuzzer: every kind of input, every way to spoil it now and then. ``fuzz.py`` by hand goes on."""

import random
from pathlib import Path

import pytest
from fuzz import Case, bad, fuzz, report
from mutations import MUTATIONS
from seeds import Seed

from neufield.core.json_files import parse_json


@pytest.mark.slow
def test_a_minute_of_spoilt_files_finds_nothing() -> None:
    tried = fuzz(600, seed=20, seconds=60)
    assert {case.verdict for case in tried} >= {"read", "refused"}
    assert bad(tried) == [], report(tried)


def test_faults_are_told_from_sentences(tmp_path: Path) -> None:
    seed = Seed("a picture", "picture", tmp_path, "a.png")
    for verdict in ("hang", "crash", "memory", "noise", "no sentence", "traceback KeyError"):
        case = Case(0, seed, "flip", tmp_path, verdict)
        assert bad([case]) == [case]
        assert verdict in report([case])
    assert bad([Case(0, seed, "flip", tmp_path, "refused"), Case(0, seed, "none", tmp_path, "read")]) == []
    assert bad([refused := Case(0, seed, "none", tmp_path, "refused")]) == [refused]


def test_every_mutation_spoils_something() -> None:
    json_text, png = b'{"a": [1, 2, {"b": null}]}', b"\x89PNG\r\n\x1a\n" + bytes(60)
    rng = random.Random(0)
    for name, spoil in MUTATIONS.items():
        if not name.startswith("forge"):
            spoilt = [spoil(data, rng) for data in (json_text, png) for _ in range(20)]
            assert any(data not in (None, json_text, png) for data in spoilt), name
    assert parse_json(json_text.decode(), "the example")
