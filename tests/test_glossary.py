"""Each word of the glossary (docs/conventions.md) has one meaning, and is defined where the table says."""

import ast
import importlib
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

import neufield

PAGE = Path(__file__).resolve().parents[1] / "docs/conventions.md"
PACKAGE = Path(neufield.__file__).parent
ROWS = re.findall(r"^\| ([^|*]+) \| [^|]+ \| `(neufield[\w.]*)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def has(path: str) -> bool:
    """Whether a module, or what a module or a class in it defines or annotates, goes by this dotted ``path``."""
    found: object = importlib.import_module("neufield")
    for name in path.split(".")[1:]:
        if isinstance(found, ModuleType):
            try:
                found = getattr(found, name, None) or importlib.import_module(f"{found.__name__}.{name}")
            except ModuleNotFoundError:
                return False
        elif hasattr(found, name):
            found = getattr(found, name)
        else:
            return name in getattr(found, "__annotations__", {})
    return True


def test_the_table_is_read_whole() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    sections = [line for line in lines if line.startswith("| **")]
    assert len(sections) >= 5
    assert len(ROWS) == len(lines) - len(sections) - 2 > 50


@pytest.mark.parametrize(("word", "where"), ROWS, ids=[word for word, _ in ROWS])
def test_a_word_is_defined_where_the_glossary_says(word: str, where: str) -> None:
    assert has(where)


def test_a_place_that_does_not_exist_is_noticed() -> None:
    assert has("neufield.core.records.StepContext.progress")
    for path in ("neufield.core.record", "neufield.core.records.Betch", "neufield.core.records.Batch.y"):
        assert not has(path)


def test_a_word_stands_once() -> None:
    assert [word for word, n in Counter(word for word, _ in ROWS).items() if n > 1] == []


# What the glossary's words were called once, and words that had several meanings.
RETIRED = {
    "Looked", "Rendered", "Histogram", "Photographs", "Sightings", "Placing", "Notebook", "Habits", "Chain", "Chains",
    "PosedField", "PassThrough", "WaveNetwork", "CanonicalRadiance", "VectorMatrixRadiance", "NeuralRadiance", "Taught",
    "VoxelRadiance", "LocalCosine", "Launched", "Replayed", "Judged", "Verdict", "Contest", "Entrant", "Glances",
    "Front", "FRONT", "Seldom", "sum_before", "even_edges", "counted_from", "ask_for_same_bits", "regress", "trunk",
}  # fmt: skip
BRITISH = re.compile(
    r"colour|centre|optimis[ei]|minimis[ei]|regularis|normalis|serialis|initialis|neighbour|behaviour|learnt|recognis",
    re.I,
)


def identifiers(tree: ast.AST) -> set[str]:
    """Every name that stands in ``tree``: of functions, classes, arguments, variables and attributes."""
    found = (getattr(node, key, None) for node in ast.walk(tree) for key in ("name", "arg", "id", "attr"))
    return {name for name in found if isinstance(name, str)}


def test_retired_words_and_british_spelling_do_not_come_back() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        names = identifiers(ast.parse(path.read_text(encoding="utf-8")))
        wrong += [f"{path.relative_to(PACKAGE)}: {name}" for name in names if name in RETIRED or BRITISH.search(name)]
    assert wrong == []


def test_identifiers_are_found_everywhere() -> None:
    tree = ast.parse("class A:\n    b: int\n    def c(self, d): return self.e")
    assert identifiers(tree) >= {"A", "b", "c", "d", "e"}


def test_sentences_and_pages_are_in_american_spelling() -> None:
    root = PAGE.parents[1]
    pages = [root / "README.md", root / "ARCHITECTURE.md", *PAGE.parent.rglob("*.md"), *PACKAGE.rglob("*.py")]
    wrong = []
    for path in sorted(pages):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            wrong += [f"{path.relative_to(root)}:{number}: {word}" for word in BRITISH.findall(line)]
    assert wrong == []
