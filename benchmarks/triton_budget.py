"""What the Triton programs need of a GPU, found without one: registers, stack and shared memory, from the compiler.

    python benchmarks/triton_budget.py [--write] [--again] [--only TEXT] [--jobs N]

Every ``programs.py`` under neufield/kernels names its ``variants()``. Each is compiled for sm_80 and sm_90 in a process
in which Triton's interpreter is off, with pointers that are multiples of 16 as torch's are; registers and stack are
those that ``cuobjdump`` of Triton's own package reads from the binary, shared memory is what a launch would ask for.
Prints the table and compares it with ``results/triton_budget.json``; ``--write`` makes it the new budget. What has not
changed since (a program's text and that of what it calls, its arguments and constants, and Triton's version) is not
compiled anew without ``--again``. Exit code 1: something is over the budget. A program that fits may be slow; nothing
was run.
"""

import argparse
import ast
import concurrent.futures
import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

CAPABILITIES = (80, 90)
# Shared memory of a block. sm_80 has 163 KiB and sm_90 227, but gpu.obstacles lets cards of 8.6 and 8.9 in, too.
MOST_SHARED = 99 * 1024
# Bytes of stack that are put up with, by a part of a program's name. All on sm_80 and once for a block of points: the
# compiler puts a loop's counter or up to eight numbers away, here to let one more program onto the multiprocessor.
SPILLING: Mapping[str, int] = {
    "field forward, V, fp32, features kept": 32,
    "field train, density, fp32, loss none": 16,
    "field train, V, fp32, loss none": 8,
    "field train, W, fp16, loss l2": 8,
    "field train, color, fp16": 8,
}
BUDGET = Path(__file__).with_name("results") / "triton_budget.json"
_KERNELS = Path(__file__).resolve().parents[1] / "neufield" / "kernels"
_AGAIN = "python benchmarks/triton_budget.py --write"

# "registers" and "stack" (bytes) of a thread, "shared" (bytes) of a block; the "key" of what was compiled
Needs = Mapping[str, Any]
Table = Mapping[str, Mapping[str, Needs]]  # by variant, then by "sm_80"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, print, compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make what was found the budget")
    parser.add_argument("--again", action="store_true", help="compile what has not changed, too")
    parser.add_argument("--only", default="", help="variants whose name has this in it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default %(default)s)")
    options = parser.parse_args(arguments)
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {"triton": "none", "variants": {}}
    found = measure(modules(), options.only, options.jobs, {} if options.again else budget["variants"])
    version = importlib.metadata.version("triton")
    print(report(found, version))
    if options.write:
        kept = budget["variants"] if options.only else {}
        budget = {"triton": version, "variants": {**kept, **found}}
        BUDGET.write_text(json.dumps(budget, indent=1) + "\n")
    wrong = excesses(found, budget, version, whole=not options.only)
    print("\n".join(wrong))
    return 1 if wrong else 0


def modules(folder: Path = _KERNELS) -> list[str]:
    """The names of all modules with programs."""
    places = sorted(folder.rglob("programs.py"))
    return [".".join(path.relative_to(folder.parents[1]).with_suffix("").parts) for path in places]


def measure(names: Sequence[str], only: str = "", jobs: int = 1, known: Table | None = None) -> Table:
    """What all variants of the modules with these ``names`` need, found in processes of their own.

    What is ``known`` by its key is not compiled.
    """
    with tempfile.TemporaryDirectory() as cache:
        # Spawned, so that nothing of this process, which may have the interpreter on, is in them.
        started = multiprocessing.get_context("spawn")
        settings = {"TRITON_CACHE_DIR": cache, "TRITON_INTERPRET": None}
        with _environment(settings), concurrent.futures.ProcessPoolExecutor(jobs, started) as pool:
            tasks = [(module, name) for found in pool.map(_names, names) for module, name in found if only in name]
            assert len({name for _, name in tasks}) == len(tasks), "two variants have one name"
            pairs = [
                (*task, capability, (known or {}).get(task[1], {}).get(f"sm_{capability}", {}))
                for task in tasks
                for capability in CAPABILITIES
            ]
            needs = list(pool.map(_compiled, pairs))
    table: dict[str, dict[str, Needs]] = {name: {} for _, name in tasks}
    for (_, name, capability, _), need in zip(pairs, needs, strict=True):
        table[name][f"sm_{capability}"] = need
    return table


@contextlib.contextmanager
def _environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    """Variables for the processes that are started within; None removes one."""
    before = {name: os.environ.pop(name, None) for name in settings}
    try:
        os.environ |= {name: value for name, value in settings.items() if value is not None}
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@functools.cache
def _variants(module: str) -> dict[str, Any]:
    op = module.split(".")[-2]
    return {f"{op}: {variant.name}": variant for variant in importlib.import_module(module).variants()}


def _names(module: str) -> list[tuple[str, str]]:
    return [(module, name) for name in _variants(module)]


def _compiled(task: tuple[str, str, int, Needs]) -> Needs:
    """What one variant needs on one architecture, or what is known of it."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module, name, capability, known = task
    variant = _variants(module)[name]
    arguments = variant.program.arg_names
    signature = {argument: variant.signature.get(argument, "constexpr") for argument in arguments}
    missing = {argument for argument, kind in signature.items() if kind == "constexpr"} ^ set(variant.constants)
    assert not missing, f"{name}: {', '.join(sorted(missing))} must be in either signature or constants"
    attributes = {
        (place,): [["tt.divisibility", 16]]
        for place, argument in enumerate(arguments)
        if signature[argument].startswith("*")
    }
    source = ASTSource(variant.program, signature, dict(variant.constants), attributes)
    launch = {"num_warps": variant.warps, "enable_fp_fusion": variant.fp_fusion}
    given = [(signature[argument], variant.constants.get(argument)) for argument in arguments]
    meant = (triton.__version__, text(variant.program), given, launch, capability)
    key = hashlib.sha256(repr(meant).encode()).hexdigest()[:16]
    if known.get("key") == key:
        return known
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=launch)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack, local = resources(said)
    return {"registers": registers, "stack": max(stack, local), "shared": int(compiled.metadata.shared), "key": key}


class _Anonymous(ast.NodeTransformer):
    """Gives the names of a program's own variables, arguments and called programs numbers, in their order."""

    def __init__(self, program: Any, numbers: dict[str, str]) -> None:
        self.numbers = numbers
        self.own = set(program.fn.__code__.co_varnames) | {program.fn.__name__}
        self.called = {name: value for name, value in program.fn.__globals__.items() if hasattr(value, "raw_src")}

    def _number(self, name: str) -> str:
        known = name in self.own or name in self.called
        return self.numbers.setdefault(name, f"n{len(self.numbers)}") if known else name

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._number(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self._number(node.arg)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id in self.called:
            for keyword in node.keywords:
                if keyword.arg is not None:
                    keyword.arg = self.numbers.setdefault(keyword.arg, f"n{len(self.numbers)}")
        return self.generic_visit(node)


def text(program: Any) -> list[str]:
    """The statements of ``program`` and of all that it calls, and the numbers that it reads.

    Triton's own hash also has names, docstrings, comments and the lines that functions stand at, on which no
    instruction depends: a sentence mended would have everything compiled anew.
    """
    numbers: dict[str, str] = {}
    found, left, seen = [], [program], set()
    while left:
        current = left.pop(0)
        if current.fn in seen:
            continue
        seen.add(current.fn)
        (function,) = ast.parse(current.src).body
        assert isinstance(function, ast.FunctionDef)
        if ast.get_docstring(function):
            del function.body[0]
        anonymous = _Anonymous(current, numbers)
        function.name = anonymous._number(current.fn.__name__)
        found.append(ast.unparse(anonymous.visit(function)))
        for name in current.fn.__code__.co_names:
            value = current.fn.__globals__.get(name)
            if name in anonymous.called:
                left.append(value)
            elif isinstance(getattr(value, "value", value), (bool, int, float, str)):
                found.append(f"{name} = {value!r}")
    return found


def resources(said: str) -> tuple[int, int, int]:
    """Registers, stack and local memory of a thread, in what cuobjdump says of one program."""
    found = re.search(r"REG:(\d+) STACK:(\d+).*?LOCAL:(\d+)", said)
    assert found, f"cuobjdump says nothing of registers: {said!r}"
    registers, stack, local = map(int, found.groups())
    return registers, stack, local


def excesses(found: Table, budget: Mapping[str, Any], version: str, whole: bool = True) -> list[str]:
    """A sentence for each number that is over the ``budget``, and for what one of the two tables lacks."""
    allowed: Table = budget["variants"]
    wrong = [f"{name} has no budget; add it: {_AGAIN}" for name in found if name not in allowed]
    if whole:
        wrong += [f"{name} has a budget but is no variant any more; {_AGAIN}" for name in allowed if name not in found]
    for name, target, need in _rows(found):
        where = f"{name} on {target}"
        if need["stack"] > max((most for part, most in SPILLING.items() if part in name), default=0):
            wrong.append(
                f"{where} spills: {need['stack']} bytes of stack a thread (a slow path of a libdevice function needs "
                "some, too); take fewer values at a time, smaller blocks or more warps"
            )
        if need["shared"] > MOST_SHARED:
            wrong.append(
                f"{where} wants {need['shared']} bytes of shared memory, but a block has {MOST_SHARED}; take "
                "smaller blocks"
            )
        most = allowed.get(name, {}).get(target, need)["registers"]
        if need["registers"] > most:
            other = "" if version == budget["triton"] else f" (the budget is Triton {budget['triton']}'s)"
            wrong.append(
                f"{where} takes {need['registers']} registers with Triton {version}, {most} are budgeted{other}; "
                f"take fewer, or accept it: {_AGAIN}"
            )
    return wrong


def _rows(table: Table) -> Iterator[tuple[str, str, Needs]]:
    return ((name, target, need) for name, targets in table.items() for target, need in targets.items())


def report(found: Table, version: str) -> str:
    """The table in Markdown."""
    lines = [f"Triton {version}, compiled, not run.", "", "| program | for | registers | stack B | shared B |"]
    lines += ["|---|---|---|---|---|"]
    lines += [f"| {n} | {t} | {v['registers']} | {v['stack']} | {v['shared']} |" for n, t, v in _rows(found)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
