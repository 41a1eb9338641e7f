"""Twenty seconds of the fuzzer: every kind of input, all ways to spoil it now and then. ``fuzz.py`` by hand goes on."""

import dataclasses
import math
import random
from pathlib import Path

import pytest
import torch
from fuzz import Case, bad, fuzz, report
from mutations import MUTATIONS
from seeds import Seed

from neufield.core.cameras import Camera
from neufield.core.errors import ConfigError, DataError
from neufield.core.json_files import parse_json
from neufield.formats.scene.fold import beyond_fold, fold_radius
from neufield.formats.scene.pictures import find_picture, natural
from neufield.formats.scene.read_log import ReadLog
from neufield.tcnn import from_tcnn_config


@pytest.mark.slow
def test_twenty_seconds_of_spoilt_files_find_nothing() -> None:
    tried = fuzz(200, seed=20, seconds=20)
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


def test_a_sentence_that_quotes_without_end_is_still_a_sentence() -> None:
    said = str(DataError(f"points.ply has the property '{'9' * 5000}' twice; give it once"))
    assert said == f"points.ply has the property '{'9' * 99} ... twice; give it once"


def test_what_the_fuzzer_found_is_refused(tmp_path: Path) -> None:
    assert find_picture(tmp_path, "/", ReadLog()) is None
    assert natural("9" * 5000) > natural("8")
    with pytest.raises(ConfigError, match="network: "):
        from_tcnn_config({"network": {"n_hidden_layers": 10**19}})
    far = Camera(
        torch.eye(4, dtype=torch.float64), 8, 6, 9.0, 9.0, 4.0, 3.0, "opencv", (0.1, 0.0, 0.0, 1e-308, 0.0, 0.0)
    )
    assert fold_radius(far) == math.inf
    with pytest.raises(DataError, match="looking where pictures of 2000000000 x 2000000000 fold needs"):
        beyond_fold(dataclasses.replace(far, width=2 * 10**9, height=2 * 10**9, distortion=(-0.3, 0, 0, 0, 0, 0)))
