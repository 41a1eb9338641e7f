"""Finding the native library, choosing an instruction set, doing without it, and its C interface."""

import _ctypes
import ctypes
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cases import seeded

from neufield.apps.doctor import print_report
from neufield.apps.options import Doctor
from neufield.core.errors import BackendError
from neufield.encodings import Grid
from neufield.fields import NeuralField
from neufield.functional import DENSITIES
from neufield.functional.grid import INTERPOLATIONS
from neufield.kernels import native
from neufield.kernels.dispatch import use_backend
from neufield.kernels.field import FUSED_ENCODINGS, HIDDEN_ACTIVATIONS, REGRESSION_LOSSES
from neufield.networks import MLP

HEADER = Path(__file__).parents[1] / "native" / "neufield.h"
CPU = torch.device("cpu")


def small_field() -> NeuralField:
    return NeuralField(Grid(2, 3, 2, 6, generator=seeded()), MLP(6, 3, 16, 1, generator=seeded(1)))


@pytest.mark.native
def test_the_fastest_comes_last_and_is_taken() -> None:
    order = ["portable", "avx2", "avx512", "avx512bf16", "amx"]
    assert native.isas() == [name for name in order if name in native.isas()]
    assert native.isa() == (os.environ.get("NEUFIELD_ISA") or native.isas()[-1])


def test_neufield_isa_forces_one(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was in use before; a fresh process is the test below."""
    monkeypatch.setenv("NEUFIELD_ISA", isa)
    native.use_isa(native.isas()[0])
    assert native.isa() == isa


@pytest.mark.native
def test_neufield_isa_in_a_fresh_process() -> None:
    code = """
import torch
from neufield.kernels import native
from neufield.kernels.grid import CpuGrid, GridSpec
spec = GridSpec(2, 2, 2, 6)
assert not CpuGrid().obstacles(spec, torch.device("cpu"), torch.float32)  # what every call asks first
CpuGrid().encode(torch.rand(5, 2), torch.rand(spec.n_entries, 2), spec)
print(native.call().nf_isa().decode())
"""
    environment = os.environ | {"NEUFIELD_ISA": native.isas()[0]}  # the default is the last
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert ran.stdout.split() == [native.isas()[0]], ran.stderr


@pytest.mark.native
def test_an_unknown_instruction_set_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUFIELD_ISA", "z80")
    with pytest.raises(BackendError, match=r"'z80' \(NEUFIELD_ISA\)") as error:
        small_field()(torch.rand(4, 2))
    said = str(error.value)
    assert all(name in said for name in native.isas())
    assert said.count("known") == 1


@pytest.mark.native
def test_a_misspelt_instruction_set_gets_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUFIELD_ISA", "Portabel")
    with pytest.raises(BackendError, match=r"did you mean 'portable'\?"):
        native.isa()


_WITHOUT = {
    "missing": (None, "are not there"),
    "broken": (b"no library", "could not be loaded"),
    "stale": (Path(_ctypes.__file__).read_bytes(), "built from older sources"),  # a library, with none of our functions
}


@pytest.fixture(params=_WITHOUT)
def without_library(request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """As if the installation had found no compiler, the file were damaged, or left from an older version."""
    content, said = _WITHOUT[request.param]
    if content is not None:
        (tmp_path / ("libneufield" + native._SUFFIXES.get(os.name, ".so"))).write_bytes(content)
    monkeypatch.setattr(native, "_FOLDER", tmp_path)
    monkeypatch.setattr(native, "_announced", threading.Event())
    monkeypatch.delenv("NEUFIELD_ISA", raising=False)
    native._open.cache_clear()
    yield said
    native._open.cache_clear()


def test_without_it_torch_does_the_work(without_library: str, caplog: pytest.LogCaptureFixture) -> None:
    field = small_field()
    with caplog.at_level(logging.WARNING, "neufield"):
        for _ in range(3):
            values = field(torch.rand(4, 2, generator=seeded()))
            values.sum().backward()
    assert [without_library in record.message for record in caplog.records] == [True]  # one line, once
    assert "\n" not in caplog.records[0].message
    assert use_backend(field, "auto", CPU) == "torch"
    field.encoding.backend = field.backend = "torch"
    assert torch.equal(field(torch.rand(4, 2, generator=seeded())), values)
    assert native.isas() == []
    assert native.isa() == ""


def test_without_it_backend_cpu_says_why(without_library: str) -> None:
    for part in (small_field(), small_field().encoding):
        with pytest.raises(BackendError, match=without_library):
            use_backend(part, "cpu", CPU)
    field = small_field()
    field.backend = "cpu"
    with pytest.raises(BackendError, match=without_library):
        field(torch.rand(4, 2))
    with pytest.raises(BackendError, match=without_library):
        native.use_isa("portable")


def test_without_it_doctor_says_why(without_library: str, capsys: pytest.CaptureFixture) -> None:
    print_report(Doctor())
    said = " ".join(re.sub("[^\x20-\x7e]", " ", capsys.readouterr().out).split())
    assert "native kernels:" not in said
    for word in without_library.split():  # a narrow table breaks the sentence into lines
        assert word in said


@pytest.mark.native
def test_doctor_names_the_instruction_sets(capsys: pytest.CaptureFixture) -> None:
    print_report(Doctor())
    assert f"native kernels: {native.isa()}, of {', '.join(native.isas())}" in capsys.readouterr().out


STRUCTURES = {
    "nf_level": native.Level,
    "nf_grid": native.Grid,
    "nf_encoding": native.Encoding,
    "nf_mlp": native.Mlp,
    "nf_march_spec": native.MarchSpec,
    "nf_radiance": native.Radiance,
}
ENUMERATIONS = {
    "nf_interpolation": native.INTERPOLATIONS,
    "nf_activation": native.ACTIVATIONS,
    "nf_front_kind": native.ENCODINGS,
    "nf_loss": native.LOSSES,
    "nf_precision": native.PRECISIONS,
    "nf_density": native.DENSITIES,
    "nf_color_activation": native.COLOR_ACTIVATIONS,
}
OTHER_WORDS = {("nf_density", "relu"): "NF_RAMP", ("nf_color_activation", "none"): "NF_LINEAR_COLOR"}  # no name twice
POINTERS = {
    "nf_grid": native.Grid,
    "nf_encoding": native.Encoding,
    "nf_mlp": native.Mlp,
    "nf_march_spec": native.MarchSpec,
}
C_TYPES = {"int": ctypes.c_int, "int64_t": ctypes.c_int64, "float": ctypes.c_float, "char*": ctypes.c_char_p}
COMPILER = next(filter(None, map(shutil.which, ("gcc", "clang", "cc"))), None)
needs_c = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


def c_fields(name: str) -> list[str]:
    """The members of a structure, read from the header: it is written with one type a line."""
    body = re.search(r"typedef struct \{([^}]*)\} " + name + ";", HEADER.read_text()).group(1)
    body = re.sub(r"//[^\n]*", "", body)
    return [
        word.split()[-1].strip("* ").split("[")[0]
        for line in body.split(";")
        for word in line.split(",")
        if word.strip()
    ]


@needs_c
def test_the_header_is_plain_c_and_ctypes_sees_the_same_structures(tmp_path: Path) -> None:
    lines, expected = [], []
    for name, structure in STRUCTURES.items():
        members = c_fields(name)
        assert len(members) == len(structure._fields_)
        lines.append(f'printf("%zu\\n", sizeof({name}));')
        expected.append(ctypes.sizeof(structure))
        for member, (ours, kind) in zip(members, structure._fields_, strict=True):
            lines.append(f'printf("%zu\\n%zu\\n", offsetof({name}, {member}), sizeof((({name}*)0)->{member}));')
            expected += [getattr(structure, ours).offset, ctypes.sizeof(kind)]
    source, program = tmp_path / "layout.c", tmp_path / "layout"
    body = "\n".join(lines)
    source.write_text(f'#include <stddef.h>\n#include <stdio.h>\n#include "{HEADER}"\nint main(void) {{\n{body}\n}}\n')
    command = [COMPILER, "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", str(source), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    assert list(map(int, printed)) == expected


def test_the_words_of_specs_have_the_headers_numbers() -> None:
    declared = dict(re.findall(r"enum (nf_\w+) \{([^}]*)\};", HEADER.read_text()))
    assert set(declared) == set(ENUMERATIONS)
    for name, words in ENUMERATIONS.items():
        numbers = {c.strip(): int(value) for c, value in re.findall(r"(\w+) = (\d+)", declared[name])}
        ours = {OTHER_WORDS.get((name, word), f"NF_{word.upper()}"): value for word, value in words.items()}
        assert ours == numbers, name


def test_every_word_of_a_spec_that_the_native_kernels_know_is_one_of_the_references() -> None:
    assert set(native.INTERPOLATIONS) == set(INTERPOLATIONS)
    assert tuple(native.ACTIVATIONS) == HIDDEN_ACTIVATIONS
    assert set(native.LOSSES) == set(REGRESSION_LOSSES)
    assert set(native.DENSITIES) == set(DENSITIES)
    assert set(native.ENCODINGS) == {"features", *FUSED_ENCODINGS}


def of_c(argument: str) -> object:
    """What ctypes has for an argument as the header declares it."""
    words = argument.replace("const ", "").replace(" *", "* ").split()
    kind = words[0] + "*" * argument.count("*") if "*" not in words[0] else words[0]
    if kind.startswith("nf_radiance"):
        return ctypes.POINTER(native.Radiance)
    if kind.rstrip("*") in POINTERS:
        return ctypes.POINTER(POINTERS[kind.rstrip("*")])
    if argument.split()[-1] in ("*marched", "marched", "kept") and "*" in argument:
        return ctypes.POINTER(ctypes.c_int64)
    return C_TYPES.get(kind, ctypes.c_void_p)


def test_ctypes_knows_every_function_with_its_arguments() -> None:
    text = re.sub(r"//[^\n]*", "", HEADER.read_text())
    declared = {name: args for name, args in re.findall(r"NF_API[^;]*?\b(nf_\w+)\(([^;]*)\);", text)}
    for name, arguments in declared.items():
        expected = [] if arguments.strip() == "void" else [of_c(each.strip()) for each in arguments.split(",")]
        assert list(native._SIGNATURES.get(name, ())) == expected, name
    assert set(native._SIGNATURES) <= set(declared)


@pytest.mark.native
def test_only_the_interface_is_exported() -> None:
    """Two libraries in one process must not share the insides of one."""
    nm = shutil.which("nm")
    path = next(native._FOLDER.glob("libneufield.*"))
    if nm is None:
        pytest.skip("no nm")
    listed = subprocess.run([nm, "-D", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in listed.splitlines()}
    assert {name for name in names if name.startswith("nf_")} == names
