"""The house keeps its shape: who imports whom, what is exported, what is forbidden."""

import ast
import importlib
import inspect
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import neufield

ROOT = Path(neufield.__file__).resolve().parent
TESTS = Path(__file__).resolve().parent
NATIVE = TESTS.parent / "native"
# A room imports those of lower floors only: core <- ... <- apps. A new room: a number here, a row in ARCHITECTURE.md.
FLOORS = {
    "_version": 0, "core": 0, "formats": 1, "functional": 1, "kernels": 2, "networks": 3, "encodings": 4, "fields": 4,
    "renderers": 4, "metrics": 4, "signals": 5, "fitting": 5, "field_files": 6, "parts": 6, "tcnn": 6, "interchange": 6,
    "presets": 6, "apps": 7,
}  # fmt: skip
SIBLINGS = [{room for room, floor in FLOORS.items() if floor == level} for level in (4, 5)]


def long_functions(source: str) -> list[str]:
    """The functions of more than 60 lines in ``source`` without a comment "# Long because ..." above them."""
    lines, found = source.splitlines(), []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > 60:
            above = min(at.lineno for at in (node, *node.decorator_list)) - 2
            if not lines[above].strip().startswith("# Long because "):
                found.append(node.name)
    return found


def test_files_and_functions_fit_a_page_or_say_why() -> None:
    sources = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}
    lengths = {name: source.count("\n") for name, source in sources.items()}
    assert {name: length for name, length in lengths.items() if length > 320} == {}
    assert statistics.median(lengths.values()) <= 120
    found = {name: long_functions(source) for name, source in sources.items()}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_a_long_function_is_found() -> None:
    body = "@cached\ndef f(x):\n" + "    x += 1\n" * 60
    assert long_functions(body) == ["f"]
    assert long_functions("# Long because it is a test.\n" + body) == []
    assert long_functions("def f(x):\n" + "    x += 1\n" * 59) == []


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


# Every file of the package, as "core/records" for core/records.py.
TREES = {path.relative_to(ROOT).with_suffix("").as_posix(): tree_of(path) for path in sorted(ROOT.rglob("*.py"))}


def rooms_imported(tree: ast.AST) -> Iterator[str]:
    """The room, or "" for the root package itself, of each import of neufield that runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name neufield in full"
            package, _, rest = (node.module or "").partition(".")
            if package == "neufield":
                inside = [rest.split(".")[0]] if rest else [a.name if a.name in FLOORS else "" for a in node.names]
                yield from inside
        elif isinstance(node, ast.Import):
            for alias in node.names:
                package, _, rest = alias.name.partition(".")
                if package == "neufield":
                    yield rest.split(".")[0]
        else:
            yield from rooms_imported(node)


def test_imports_go_down_and_siblings_do_not_meet() -> None:
    wrong = []
    for name, tree in TREES.items():
        room = name.split("/")[0]
        for other in rooms_imported(tree):
            if name == "__init__" and other != "_version":
                wrong.append(f"{name} imports {other}, but it loads its rooms when they are asked for")
            elif name == "__init__" or other in {"", room}:
                continue
            elif FLOORS[other] > FLOORS[room]:
                wrong.append(f"{name} imports {other}, which stands above it")
            elif any({room, other} <= siblings for siblings in SIBLINGS):
                wrong.append(f"{name} imports its sibling {other}; hand the object in instead")
    assert wrong == []


def test_the_import_graph_is_read_at_all() -> None:
    assert set(rooms_imported(TREES["parts"])) >= {"core", "encodings", "fields", "renderers"}
    assert "" in set(rooms_imported(TREES["apps/doctor"]))
    assert {name.split("/")[0] for name in TREES} - {"__init__"} == FLOORS.keys()


def file_of(module: str) -> str | None:
    """The file that ``module`` of neufield is, as a key of TREES; None of what is not a module."""
    name = module.partition(".")[2].replace(".", "/")
    return next((file for file in (name, f"{name}/__init__".lstrip("/")) if file in TREES), None)


def files_imported(name: str) -> set[str]:
    """What the file imports anywhere, within functions and for types alike; of a package the file that is meant."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {file_of(alias.name) for alias in node.names if alias.name.partition(".")[0] == "neufield"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "neufield":
            found |= {file_of(f"{node.module}.{alias.name}") or file_of(node.module) for alias in node.names}
    return found - {name, None}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A circle in the graph, first name and last the same; empty where there is none."""
    done: set[str] = set()

    def search(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        done.add(name)
        return next(filter(None, (search(other, [*path, name]) for other in sorted(graph[name]))), [])

    return next(filter(None, (search(name, []) for name in graph)), [])


def test_no_file_imports_in_a_circle() -> None:
    graph = {name: files_imported(name) for name in TREES}
    assert len(graph["presets/editing"]) > 5
    assert circle(graph) == []


def test_no_native_header_includes_in_a_circle() -> None:
    files = [path for path in NATIVE.iterdir() if path.suffix in {".h", ".hpp", ".cpp"}]
    graph = {path.name: set(re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE)) for path in files}
    assert any(graph.values())
    assert circle(graph) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_every_exported_name_resolves() -> None:
    wrong = []
    for name in TREES:
        module = importlib.import_module("neufield." + name.replace("/", ".").removesuffix(".__init__"))
        exported = getattr(module, "__all__", [])
        wrong += [f"{name}.__all__ has {item} twice" for item, n in Counter(exported).items() if n > 1]
        wrong += [f"{name}.__all__ has {item}" for item in exported if not hasattr(module, item)]
    assert wrong == []


def test_the_interfaces_say_what_they_take() -> None:
    functions = [node for node in ast.walk(TREES["core/interfaces"]) if isinstance(node, ast.FunctionDef)]
    assert len(functions) > 10
    for function in functions:
        assert function.args.vararg is None, f"{function.name} takes *{function.args.vararg}"
        assert function.args.kwarg is None, f"{function.name} takes **{function.args.kwarg}"


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[str, Any]]:
    """Every node of these kinds in the package, with the file's name."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield name, node


RUNNING_MODULES = ("pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib")
RUNNING_CALLS = ("eval", "exec", "compile", "__import__", "torch.load", "torch.save")


def test_nothing_runs_code_from_a_file() -> None:
    wrong = []
    for name, node in nodes(ast.Import, ast.ImportFrom):
        modules = {alias.name for alias in node.names} | {getattr(node, "module", None)}
        wrong += [f"{name} imports {it}" for it in modules & set(RUNNING_MODULES)]
    for name, node in nodes(ast.Call):
        if ast.unparse(node.func) in RUNNING_CALLS or "allow_pickle" in {keyword.arg for keyword in node.keywords}:
            wrong.append(f"{name}: {ast.unparse(node)}")
    assert wrong == []


def test_json_is_parsed_by_one_door() -> None:
    found = {(name, node.attr) for name, node in nodes(ast.Attribute)}
    found |= {(name, node.id) for name, node in nodes(ast.Name)}
    found |= {(name, alias.name) for name, node in nodes(ast.ImportFrom) for alias in node.names}
    parsers = {name for name, word in found if word in {"loads", "JSONDecoder", "JSONDecodeError"}}
    assert parsers == {"core/json_files"}, "parse it with core.json_files, which has limits and speaks of places"


# Of rich: what is only handed to a console. A Progress is made by apps/console.py, and is here for signatures.
DRAWN = {"rich.box", "rich.table.Table", "rich.text.Text", "rich.tree.Tree", "rich.progress.Progress"}
DRAWN |= {f"rich.progress.{name}Column" for name in ("Bar", "MofNComplete", "TimeRemaining")}
PRINTING = {"apps/console", "apps/standard_error"}  # the second says what went wrong, without rich


def test_one_place_prints_and_nothing_is_markup_there() -> None:
    wrong = []
    for name, node in nodes(ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            imported = {alias.name for alias in node.names if alias.name.partition(".")[0] == "rich"}
        else:
            rich = (node.module or "").partition(".")[0] == "rich"
            imported = {f"{node.module}.{alias.name}" for alias in node.names if rich} - DRAWN
        wrong += [f"{name} imports {it}" for it in imported if name not in PRINTING]
    for name, node in nodes(ast.Call):
        version = name == "apps/cli" and ast.unparse(node) == "print(f'neufield {neufield.__version__}')"
        prints = ast.unparse(node.func) in {"print", "Progress", "Text.from_markup"}
        markup = "markup" in {keyword.arg for keyword in node.keywords}
        if name not in PRINTING and (markup or (prints and not version)):
            wrong.append(f"{name}: {ast.unparse(node)}")
    assert wrong == []


# Who reads the first line alone, in a list or a tip, does not see what such a word hangs on.
HANGING = {"Of", "By", "As", "In", "With", "Without", "From", "On", "For", "To", "And", "Or"}


def hanging_docstrings(tree: ast.AST) -> list[str]:
    """The first lines of docstrings that begin with a preposition or a conjunction."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    return [text.splitlines()[0] for text in texts if text and text.split()[0] in HANGING]


def test_docstrings_begin_with_a_subject_or_a_verb() -> None:
    assert {name: found for name, tree in TREES.items() if (found := hanging_docstrings(tree))} == {}


def test_a_hanging_docstring_is_found() -> None:
    tree = ast.parse('"""A file."""\ndef f():\n    """Of the box."""\ndef g():\n    """Offers it."""')
    assert hanging_docstrings(tree) == ["Of the box."]


def documented_arguments(docstring: str) -> list[str]:
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    return re.findall(r"^    (\*{0,2}\w+)(?: \(.*?\))?:", section[1], re.MULTILINE) if section else []


def test_documented_arguments_exist_in_the_signature() -> None:
    wrong = []
    for name, node in nodes(ast.FunctionDef, ast.ClassDef):
        documented = documented_arguments(ast.get_docstring(node) or "")
        function = node
        if isinstance(node, ast.ClassDef):
            function = next((f for f in node.body if getattr(f, "name", "") == "__init__"), None)
        if function:
            arguments = function.args
            known = {a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs}
        else:  # a dataclass
            known = {ast.unparse(f.target) for f in node.body if isinstance(f, ast.AnnAssign)}
        wrong += [f"{name}: {node.name} documents {it}" for it in documented if it not in known]
    assert wrong == []


def test_sections_of_arguments_are_read() -> None:
    text = "Do.\n\nArgs:\n    first: one, with\n        more: text\n    second (int): two.\n\nReturns:\n    third: no"
    assert documented_arguments(text) == ["first", "second"]
    assert documented_arguments(inspect.getdoc(neufield.fit))


def dropped_comparisons(tree: ast.AST) -> list[str]:
    """Calls whose answer nobody reads, of functions whose name ends in close or equal."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func).rpartition(".")[2]
            closes_a_file = called == "close" and not node.value.args
            if called.endswith(("close", "equal")) and not called.startswith("assert") and not closes_a_file:
                found.append(f"{called}, line {node.lineno}")
    return found


def test_no_test_drops_the_answer_of_a_comparison() -> None:
    found = {path.name: dropped_comparisons(tree_of(path)) for path in TESTS.rglob("*.py")}
    assert {name: dropped for name, dropped in found.items() if dropped} == {}


def test_no_test_imports_from_another() -> None:
    """What several need is a helper's: a module of tests that is imported brings its fixtures and marks along."""
    found = []
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [f"{path.name} imports {module}" for module in modules if module.startswith("test_")]
    assert found == []


def test_a_dropped_comparison_is_found() -> None:
    assert dropped_comparisons(ast.parse("torch.equal(a, b)\nnp.allclose(a, b)")) != []
    assert dropped_comparisons(ast.parse("assert torch.equal(a, b)\nassert_close(a, b)\nfile.close()")) == []


def test_every_package_that_is_required_is_imported() -> None:
    """And what is imported besides, at a module's top, is nothing that nobody requires."""
    text = (TESTS.parent / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    required = {"PIL" if name == "pillow" else name for name in re.findall(r'"([A-Za-z]+)', listed)}
    imported = {
        name.partition(".")[0]
        for _, node in nodes(ast.Import, ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert len(required) >= 8
    assert required - imported == set()


def paths_named(text: str) -> set[str]:
    """Paths of files and folders in ``text``: with a slash and no blank, in backquotes."""
    return {path for path in re.findall(r"`([\w./]+)`", text) if "/" in path}


def test_every_path_that_the_pages_on_the_house_name_exists() -> None:
    root = TESTS.parent
    wrong = []
    for page, least in (("ARCHITECTURE.md", 50), ("docs/decisions.md", 5), ("docs/extend.md", 30)):
        named = paths_named((root / page).read_text(encoding="utf-8"))
        assert len(named) >= least
        wrong += [f"{page}: {path}" for path in named if not (root / path).exists() and not (ROOT / path).exists()]
    assert wrong == []


def test_the_table_of_rooms_is_that_of_the_imports() -> None:
    """Each room of FLOORS stands on its floor in ARCHITECTURE.md, but for the version, which imports nothing."""
    text = (TESTS.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", text, re.MULTILINE)
    stands = {room: int(floor) for floor, rooms in rows for room in re.findall(r"`neufield/(\w+)", rooms)}
    assert stands == {room: floor for room, floor in FLOORS.items() if room != "_version"}


def test_a_path_is_found() -> None:
    assert paths_named("in `core/a.py`, `presets/` and `core.a`, not a/b or `a b/c`") == {"core/a.py", "presets/"}
