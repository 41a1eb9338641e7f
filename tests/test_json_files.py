"""JSON from strangers: limits, and values asked for by kind; what is wrong is one sentence that names the place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neufield.core.errors import DataError
from neufield.core.json_files import DEEPEST, Keys, parse_json, read_json


def said(call, *arguments) -> str:
    with pytest.raises(DataError) as caught:
        call(*arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 300
    sentence.encode()  # a terminal can show it
    return sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 100_000, "nested more than 64 levels deep"),
        ('{"a":' * 100_000, "nested more than 64 levels deep"),
        ("[" * 65 + "]" * 65, "nested more than 64 levels deep"),
        ("[" * 2000 + "]" * 2000, "nested more than 64 levels deep"),
        ('{"a": "\\ud800.png"}', "holds '\\ud800', half of a character"),
        ('{"\\udfff": 1}', "half of a character"),
        ('{"a" 1}', "not valid JSON: expecting ':' delimiter at line 1, column 6"),
        ("", "not valid JSON"),
        ('{"a": 1}\n{"b": 2}', "not valid JSON: extra data at line 2"),
    ],
)
def test_text_beyond_the_limits_is_refused(text: str, sentence: str) -> None:
    assert sentence in said(parse_json, text, "head")


def test_what_is_within_the_limits_is_read() -> None:
    deep = parse_json("[" * DEEPEST + "]" * DEEPEST, "deep")
    assert json.dumps(deep) == "[" * DEEPEST + "]" * DEEPEST
    assert parse_json('{"a": [1, 2.5, -9223372036854775808, "\\ud83d\\ude00", "é"]}', "x")["a"][2] == -(2**63)
    assert parse_json("1" + "0" * 30, "x") == 1e30
    assert parse_json("9" * 5000, "x") == float("inf")


def test_a_file_may_have_a_mark_and_comments(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": "b//c", // the name\n "n": 1920.0 /* wide */}')
    keys = read_json(tmp_path / "a.json")
    assert (keys.text("a"), keys.integer("n")) == ("b//c", 1920)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\xff\xfe{", "is not text in UTF-8, but a scene was expected"),
        (b"[1]", "is [1], but an object with keys was expected"),
        (b'{"a": }', "is not valid JSON"),
        (None, "cannot read"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, data: bytes | None, sentence: str) -> None:
    if data is not None:
        (tmp_path / "a.json").write_bytes(data)
    assert sentence in said(read_json, tmp_path / "a.json", "a scene")
    assert "cannot read" in said(read_json, tmp_path, "a scene")
    assert "cannot read" in said(read_json, "a\0b", "a scene")


def test_a_file_that_would_fill_the_memory_is_refused_before_it_is_read(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.json").write_text('{"a": "' + "x" * 100_000 + '"}')
    monkeypatch.setenv("NEUFIELD_MEMORY_BUDGET", "2MB")
    assert "a.json needs 2.6 MB, but the memory budget allows 2.0 MB" in said(read_json, tmp_path / "a.json")
    monkeypatch.setenv("NEUFIELD_MEMORY_BUDGET", "3 MB")
    assert len(read_json(tmp_path / "a.json").values["a"]) == 100_000


@pytest.mark.parametrize(
    ("getter", "value", "expected"),
    [
        ("number", "wide", "a finite number"),
        ("number", None, "a finite number"),
        ("number", True, "a finite number"),
        ("number", float("nan"), "a finite number"),
        ("number", float("inf"), "a finite number"),
        ("number", {}, "a finite number"),
        ("integer", 1.5, "a whole number"),
        ("integer", 10**19, "a whole number"),
        ("integer", 1e300, "a whole number"),
        ("text", 3, "a text"),
        ("text", "", "a text"),
        ("text", "a\0b", "a text"),
        ("flag", "false", "true or false"),
        ("flag", 2, "true or false"),
        ("flag", [], "true or false"),
        ("rows", [], "a list with entries"),
        ("rows", {"a": 1}, "a list with entries"),
        ("object", [], "an object"),
        ("objects", [{}, None], "an object"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(getter: str, value: Any, expected: str) -> None:
    sentence = said(getattr(Keys({"key": value}, "scene.json, frame 3"), getter), "key")
    assert sentence.startswith("scene.json, frame 3")
    assert "key" in sentence
    assert expected in sentence


@pytest.mark.parametrize(
    "value",
    [None, "1", 1, [], [1, 2, "3"], [1, 2, None], [[1], [2], [3]], [1, [2], 3], [1, 2, float("inf")], [1, 2, {}]],
)
def test_numbers_of_another_shape_or_kind_are_named(value: Any) -> None:
    assert said(Keys({"key": value}, "scene.json").array, "key", (3,)).startswith("scene.json: 'key' ")


def test_long_words_among_numbers_take_no_memory() -> None:
    assert "numbers were expected" in said(Keys({"key": [0] * 100_000 + ["x" * 10**6]}, "f").array, "key", (3,))


def test_values_of_the_right_kind_are_given() -> None:
    keys = Keys({"n": 3, "x": 2.0, "t": "a", "yes": True, "one": 1, "m": [[1, 2.5]], "o": {"k": [{"n": 1}]}}, "f")
    assert (keys.number("n"), keys.integer("x"), keys.text("t")) == (3.0, 2, "a")
    assert (keys.flag("yes"), keys.flag("one"), keys.flag("absent")) == (True, True, False)
    assert np.array_equal(keys.array("m", (3,), (1, 2)), [[1, 2.5]])
    assert keys.object("o").objects("k")[0].integer("n", least=1) == 1
    assert "did you mean 'yes'" in said(keys.text, "yess") or "no 'yess'" in said(keys.text, "yess")
