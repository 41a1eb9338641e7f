"""Every Triton program, compiled ahead of time, within its committed budget. Not run: there is no GPU here."""

import importlib.util
import json
import textwrap
from pathlib import Path

import pytest

from benchmarks import triton_budget

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
NEED = {"registers": 40, "stack": 0, "shared": 1024}
BUDGET = {"triton": "3.9.0", "variants": {"grid: gather": {"sm_80": NEED}}}

# A sum that fits, and one that keeps 256 numbers a thread where a single warp is given 64 registers.
PROGRAMS = """
import triton
import triton.language as tl
from neufield.kernels.gpu import Variant

@triton.jit
def add(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, i < n) + tl.load(y + i, i < n), i < n)

@triton.jit
def normalize(x, y, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a = tl.load(x + i)
    tl.store(y + i, a / tl.sum(a))

def variants():
    pointers = {"x": "*fp32", "y": "*fp32"}
    return [
        Variant("add", add, {**pointers, "n": "i32"}, {"BLOCK": 256}),
        Variant("normalize", normalize, pointers, {"BLOCK": 8192}, warps=1),
    ]
"""


@needs_triton
def test_every_program_stays_within_its_budget():
    """What has changed since the budget was written is compiled; the rest is what it was."""
    budget = json.loads(triton_budget.BUDGET.read_text())
    found = triton_budget.measure(triton_budget.modules(), jobs=2, known=budget["variants"])
    assert found
    assert triton_budget.excesses(found, budget, importlib.metadata.version("triton")) == []


def test_the_house_is_searched_for_programs():
    kernels = Path(triton_budget.__file__).parents[1] / "neufield" / "kernels"
    there = {path.parent.name for path in kernels.glob("*/programs.py")}
    assert {name.split(".")[2] for name in triton_budget.modules()} == there


@needs_triton
def test_a_program_is_compiled_and_a_spill_is_seen(tmp_path, monkeypatch):
    folder = tmp_path / "other" / "kernels" / "toy"
    folder.mkdir(parents=True)
    (folder / "programs.py").write_text(textwrap.dedent(PROGRAMS))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # as the other tests have it
    names = triton_budget.modules(folder.parent)
    assert names == ["other.kernels.toy.programs"]
    found = triton_budget.measure(names)
    assert {(name, target) for name, targets in found.items() for target in targets} == {
        (name, target) for name in ("toy: add", "toy: normalize") for target in ("sm_80", "sm_90")
    }
    for need in found["toy: add"].values():
        assert 8 <= need["registers"] <= 64
        assert need["stack"] == 0
    for need in found["toy: normalize"].values():
        assert need["stack"] > 0
    said = triton_budget.excesses(found, {"triton": "0", "variants": found}, "0")
    assert len(said) == 2
    marked = {
        name: {target: need | {"stack": 77} for target, need in targets.items()} for name, targets in found.items()
    }
    marked["toy: add"]["sm_90"] |= {"key": "another"}
    told = PROGRAMS.replace("    i = tl.program_id", '    """Words change nothing."""\n    i = tl.program_id')
    told = told.replace("i = ", "at = ").replace(" + i", " + at").replace("i < n", "at < n")  # nor do names
    (folder / "programs.py").write_text("# Nor do lines above.\n\n" + told)
    again = triton_budget.measure(names, "add", known=marked)
    assert again["toy: add"]["sm_80"]["stack"] == 77, "known by its key"
    assert again["toy: add"]["sm_90"] == found["toy: add"]["sm_90"], "compiled, since the key is another"
    assert all("toy: normalize on sm_" in sentence and "spills" in sentence for sentence in said)


def excesses(found: dict, version: str = "3.9.0", **more) -> list[str]:
    return triton_budget.excesses(found, BUDGET, version, **more)


def test_what_is_within_the_budget_is_not_complained_about():
    assert excesses({"grid: gather": {"sm_80": NEED}}) == []
    assert excesses({"grid: gather": {"sm_80": {**NEED, "registers": 30, "shared": 99 * 1024}}}) == []


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"stack": 8}, ["grid: gather on sm_80 spills: 8 bytes", "smaller blocks"]),
        ({"shared": 99 * 1024 + 1}, ["wants 101377 bytes of shared memory, but a block has 101376"]),
        ({"registers": 41}, ["takes 41 registers with Triton 3.9.0, 40 are budgeted; take fewer", "--write"]),
    ],
)
def test_what_is_over_the_budget_is_a_sentence(change: dict, parts: list[str]):
    (said,) = excesses({"grid: gather": {"sm_80": NEED | change}})
    assert all(part in said for part in parts)


def test_what_is_known_to_spill_may_not_spill_more():
    part, most = next(iter(triton_budget.SPILLING.items()))
    known = {"triton": BUDGET["triton"], "variants": {part: {"sm_80": NEED}}}
    assert triton_budget.excesses({part: {"sm_80": NEED | {"stack": most}}}, known, BUDGET["triton"]) == []
    (said,) = triton_budget.excesses({part: {"sm_80": NEED | {"stack": most + 8}}}, known, BUDGET["triton"])
    assert "spills" in said


def test_another_compiler_is_named():
    (said,) = excesses({"grid: gather": {"sm_80": NEED | {"registers": 50}}}, "3.10.0")
    assert "with Triton 3.10.0, 40 are budgeted (the budget is Triton 3.9.0's)" in said


def test_programs_without_a_budget_and_budgets_without_a_program():
    new, gone = excesses({"grid: other": {"sm_80": NEED}})
    assert "grid: other has no budget; add it: python benchmarks/triton_budget.py --write" in new
    assert "grid: gather has a budget but is no variant" in gone
    assert excesses({}, whole=False) == []


def test_what_cuobjdump_says_is_read():
    said = "Function add:\n  REG:32 STACK:16 SHARED:0 LOCAL:8 CONSTANT[0]:388 TEXTURE:0 SURFACE:0 SAMPLER:0"
    assert triton_budget.resources(said) == (32, 16, 8)


@needs_triton
def test_the_command_prints_writes_and_answers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(triton_budget, "BUDGET", tmp_path / "budget.json")
    monkeypatch.setattr(triton_budget, "measure", lambda *_: {"grid: gather": {"sm_80": NEED}})
    assert triton_budget.main(["--write"]) == 0
    assert "| grid: gather | sm_80 | 40 | 0 | 1024 |" in capsys.readouterr().out
    monkeypatch.setattr(triton_budget, "measure", lambda *_: {"grid: gather": {"sm_80": NEED | {"stack": 4}}})
    assert triton_budget.main([]) == 1
    assert "spills" in capsys.readouterr().out
