"""The house keeps its shape: who imports whom, what is exported, what is forbidden, what an import costs."""

import ast
import importlib
import inspect
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import neufield

ROOT = Path(neufield.__file__).resolve().parent
TESTS = Path(__file__).resolve().parent
FILES = {path.relative_to(ROOT).with_suffix("").as_posix(): path for path in sorted(ROOT.rglob("*.py"))}
# core <- kernels <- {siblings} <- {parts, tcnn, presets} <- apps; a new room needs a line here.
FLOORS = {
    "core": 0, "kernels": 1, "encodings": 2, "fields": 2, "renderers": 2, "signals": 2, "fitting": 2,
    "parts": 3, "tcnn": 3, "presets": 3, "presets_radiance": 3, "apps": 4,
}  # fmt: skip
SIBLINGS = {room for room, floor in FLOORS.items() if floor == 2}
every_file = pytest.mark.parametrize("name", FILES)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


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


@every_file
def test_imports_go_down_and_siblings_do_not_meet(name: str) -> None:
    if name == "__init__":
        assert list(rooms_imported(tree_of(FILES[name]))) == []  # it loads its rooms when they are asked for
        return
    room = name.split("/")[0]
    for other in rooms_imported(tree_of(FILES[name])):
        if other and other != room:
            assert FLOORS[other] <= FLOORS[room], f"{name} imports {other}, which stands above it"
            assert not {room, other} <= SIBLINGS, f"{name} imports its sibling {other}; hand the object in instead"


def test_the_import_graph_is_read_at_all() -> None:
    assert set(rooms_imported(tree_of(FILES["parts"]))) >= {"core", "encodings", "fields", "fitting"}
    assert "" in set(rooms_imported(tree_of(FILES["fitting/files"])))
    assert {name.split("/")[0] for name in FILES} - {"__init__"} == FLOORS.keys()


@every_file
def test_every_exported_name_resolves(name: str) -> None:
    module = importlib.import_module("neufield." + name.replace("/", ".").removesuffix(".__init__"))
    exported = getattr(module, "__all__", [])
    assert len(exported) == len(set(exported))
    for item in exported:
        assert hasattr(module, item), f"{name}.__all__ has {item}"


def test_the_interfaces_say_what_they_take() -> None:
    functions = [node for node in ast.walk(tree_of(FILES["core/interfaces"])) if isinstance(node, ast.FunctionDef)]
    assert len(functions) > 10
    for function in functions:
        assert function.args.vararg is None, f"{function.name} takes *{function.args.vararg}"
        assert function.args.kwarg is None, f"{function.name} takes **{function.args.kwarg}"


@every_file
def test_nothing_runs_code_from_a_file(name: str) -> None:
    for node in ast.walk(tree_of(FILES[name])):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not modules & {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"eval", "exec", "compile", "__import__", "torch.load", "torch.save"}
            assert "allow_pickle" not in {keyword.arg for keyword in node.keywords}


@every_file
def test_json_is_parsed_by_one_door(name: str) -> None:
    found = {node.attr for node in ast.walk(tree_of(FILES[name])) if isinstance(node, ast.Attribute)}
    named = {node.id for node in ast.walk(tree_of(FILES[name])) if isinstance(node, ast.Name)}
    imported = {a.name for n in ast.walk(tree_of(FILES[name])) if isinstance(n, ast.ImportFrom) for a in n.names}
    parses = bool((found | named | imported) & {"loads", "JSONDecoder", "JSONDecodeError"})
    assert parses == (name == "core/json_files"), "parse it with core.json_files, which has limits and speaks of places"


# Of rich: what is only handed to a console. A Progress is made by apps/console.py, and is here for signatures.
DRAWN = {"rich.box", "rich.table.Table", "rich.text.Text", "rich.tree.Tree", "rich.progress.Progress"}
DRAWN |= {f"rich.progress.{name}Column" for name in ("Bar", "MofNComplete", "TimeRemaining")}


@every_file
def test_one_place_prints_and_nothing_is_markup_there(name: str) -> None:
    if name in {"apps/console", "apps/standard_error"}:  # the second says what went wrong, without rich
        return
    for node in ast.walk(tree_of(FILES[name])):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "rich":
            assert {f"{node.module}.{alias.name}" for alias in node.names} <= DRAWN, name
        elif isinstance(node, ast.Import):
            assert "rich" not in {alias.name.partition(".")[0] for alias in node.names}, name
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            version = name == "apps/cli" and ast.unparse(node) == "print(f'neufield {neufield.__version__}')"
            assert version or called not in {"print", "Progress", "Text.from_markup"}, f"{name} calls {called}"
            assert "markup" not in {keyword.arg for keyword in node.keywords}, f"{name} asks for markup"


def documented_arguments(docstring: str) -> list[str]:
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    return re.findall(r"^    (\*{0,2}\w+)(?: \(.*?\))?:", section[1], re.MULTILINE) if section else []


@every_file
def test_documented_arguments_exist_in_the_signature(name: str) -> None:
    for node in ast.walk(tree_of(FILES[name])):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            function = node
            if isinstance(node, ast.ClassDef):
                function = next((f for f in node.body if getattr(f, "name", "") == "__init__"), None)
            documented = documented_arguments(ast.get_docstring(node) or "")
            if documented:
                if function:
                    arguments = function.args
                    known = {a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs}
                else:  # a dataclass
                    known = {f.target.id for f in node.body if isinstance(f, ast.AnnAssign)}
                assert set(documented) <= known, f"{name}: {node.name} documents {set(documented) - known}"


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


@pytest.mark.parametrize("path", sorted(TESTS.glob("*.py")), ids=lambda path: path.stem)
def test_no_test_drops_the_answer_of_a_comparison(path: Path) -> None:
    assert dropped_comparisons(tree_of(path)) == []


def test_a_dropped_comparison_is_found() -> None:
    assert dropped_comparisons(ast.parse("torch.equal(a, b)\nnp.allclose(a, b)")) != []
    assert dropped_comparisons(ast.parse("assert torch.equal(a, b)\nassert_close(a, b)\nfile.close()")) == []


def in_a_new_process(code: str) -> dict:
    """What ``code`` leaves in ``answer``, from an interpreter that has imported nothing of ours."""
    program = f"import json, sys, time\n{code}\nprint(json.dumps(answer))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    return json.loads(result.stdout)


def test_import_neufield_alone_costs_next_to_nothing() -> None:
    code = "start = time.perf_counter()\nimport neufield\nseconds = time.perf_counter() - start\n"
    code += "answer = {'seconds': seconds, 'modules': list(sys.modules)}"
    answers = [in_a_new_process(code) for _ in range(5)]
    assert "torch" not in answers[0]["modules"]
    # Measured 0.02 s on 2 busy cores.
    assert statistics.median(answer["seconds"] for answer in answers) < 0.5


def test_the_library_adds_under_a_second_to_torch_and_loads_no_app() -> None:
    code = (
        "start = time.process_time()\nimport torch\nmiddle = time.process_time()\nimport neufield as nf\n"
        "nf.encodings, nf.fields, nf.presets, nf.fit, nf.load, nf.save, nf.Recipe\n"
        "seconds = time.process_time() - middle\n"
        "answer = {'torch': middle - start, 'neufield': seconds, 'modules': list(sys.modules)}"
    )
    answers = [in_a_new_process(code) for _ in range(3)]
    # Measured 0.4 to 0.5 s of a processor's time, beside 2 s for torch itself; by the clock it is the neighbours', too.
    assert statistics.median(answer["neufield"] for answer in answers) < 1.0
    loaded = {module.partition(".")[0] for module in answers[0]["modules"]}
    assert "torch" in loaded
    apps = {"tyro", "rich", "imageio", "OpenImageIO", "PIL", "matplotlib", "scipy", "skimage", "beartype", "hypothesis"}
    assert loaded & apps == set()
    assert not any(module.startswith("neufield.apps") for module in answers[0]["modules"])


# What a computer with nothing but torch has not; numpy, jaxtyping (in every signature) and safetensors come along.
ABSENT = (
    "tyro", "rich", "imageio", "PIL", "OpenImageIO", "av", "pycolmap", "viser", "nerfacc", "tinycudann", "triton",
    "lpips", "torchvision", "scipy", "skimage", "matplotlib", "beartype", "hypothesis",
)  # fmt: skip
BARE = f"""
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {ABSENT} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
import tempfile, torch
import neufield as nf
"""


def test_the_library_trains_saves_and_loads_where_only_torch_is() -> None:
    code = """
from neufield.renderers import Box, Occupancy, look
from neufield.core.records import Rays
field = nf.presets.ngp(dim=2, out_dim=3, shape=(8, 8))
state = nf.fit(field, nf.signals.Array(torch.rand(8, 8, 3)), nf.Recipe(steps=2, batch_size=16))
with tempfile.TemporaryDirectory() as folder:
    nf.save(field, folder + "/field.safetensors")
    same = torch.equal(nf.load(folder + "/field.safetensors")(torch.zeros(1, 2)), field(torch.zeros(1, 2)))
ray = torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[0.0, 0.0, -1.0]])
box = Box([-1, -1, -1], [1, 1, 1])
radiance = nf.presets_radiance.radiance_ngp(resolution=8)
view = look(radiance, Occupancy(box, step=0.5), Rays(*ray, *box.clip(*ray)), background=torch.ones(1, 3))
rooms = [getattr(nf, name) for name in nf.__all__]
answer = {"steps": state.step, "same": same, "shape": list(view.rgb.shape)}
"""
    assert in_a_new_process(BARE + code) == {"steps": 2, "same": True, "shape": [1, 3]}


def test_a_picture_where_no_package_reads_one_is_a_sentence() -> None:
    code = """
try:
    nf.signals.Image
except nf.NeufieldError as error:
    answer = str(error)
"""
    said = in_a_new_process(BARE + code)
    assert re.fullmatch(r"signals\.Image needs (\w+), which is not installed; pip install \w+", said)
