"""``neufield export --to onnx`` and ``--to torch``: a field as a graph of plain operations, which runs without us.

A field of values takes points ``x`` (n, d) of the unit box to ``values`` (n, C). A radiance field takes ``points``
(n, 3) of the unit box, and unit ``directions`` (n, 3) in the world, to ``density`` (n,) per world unit and ``color``
(n, 3): marching along rays is for who calls it. What is written is run back and compared.
"""

import importlib
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neufield._version import __version__
from neufield.apps.console import Terminal
from neufield.apps.load_field import load_field
from neufield.apps.options import ExportAny
from neufield.core.config import describe
from neufield.core.errors import BackendError, DataError
from neufield.core.extras import available, extra
from neufield.core.files import atomic_path
from neufield.core.interfaces import Field, RadianceField
from neufield.core.rays import Conditioning
from neufield.field_files import load_facts
from neufield.renderers import RadianceScene

_EXAMPLE, _COMPARED = 20, 4096  # points; not equal, for what is written takes any number
# Relative to the largest value. Another order of sums moves a phase of 3e3 (eleven octaves of sines) by 2^-24 of that,
# 2e-4; a graph that computes something else is off by the values themselves.
_AGREES = 1e-3
_LARGEST = 2**31 - 2**20  # bytes of one ONNX file, which is one message of protobuf


class Values(nn.Module):
    """A field of values by the names of what goes in and out."""

    inputs, outputs = ("x",), ("values",)

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, C)."""
        return self.field(x)

    def example(self, n: int) -> tuple[Tensor, ...]:
        """Random inputs, the same every time."""
        return (torch.rand(n, self.field.in_dim, generator=torch.Generator().manual_seed(n)),)


class Radiance(nn.Module):
    """A radiance field by the names of what goes in and out; ``code`` (1, k) is the photographs' mean."""

    mean_code: Tensor | None

    inputs, outputs = ("points", "directions"), ("density", "color")

    def __init__(self, field: RadianceField, code: Tensor | None = None) -> None:
        super().__init__()
        self.field = field
        self.register_buffer("mean_code", code)

    def forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3), (n, 3) -> (n,), (n, 3)."""
        cond = None if self.mean_code is None else Conditioning(code=self.mean_code.expand(points.shape[0], -1))
        geometry = self.field.geometry(points, cond)
        return geometry.sigma, self.field.color(geometry.features, directions, cond)

    def example(self, n: int) -> tuple[Tensor, ...]:
        """Random inputs, the same every time."""
        generator = torch.Generator().manual_seed(n)
        directions = nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=1)
        return torch.rand(n, 3, generator=generator), directions


Program = Values | Radiance


def program_of(field: nn.Module) -> Program:
    """What is written of a field, in evaluation mode and without gradients."""
    if isinstance(field, RadianceScene):
        code = None if field.appearance is None else field.appearance.alone().codes.detach()
        found: Program = Radiance(field.field, code)
    elif isinstance(field, RadianceField):
        if field.code_dim:
            raise DataError("its color takes codes of photographs, of which the file has none; export its scene")
        found = Radiance(field)
    else:
        assert isinstance(field, Field)
        found = Values(field)
    return found.eval().requires_grad_(False)


def exported(program: Program) -> torch.export.ExportedProgram:
    """``program`` as torch.export writes it down, for any number of points."""
    inputs = program.example(_EXAMPLE)
    n = torch.export.Dim("n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about torch
        return torch.export.export(program, inputs, dynamic_shapes=tuple({0: n} for _ in inputs), strict=False)


def write_torch(program: Program, path: Path, metadata: dict[str, str]) -> str:
    """Write a ``.pt2`` for torch.export.load, load it, and say how near it is."""
    with atomic_path(path) as temporary:
        torch.export.save(exported(program), temporary, extra_files=metadata)
        again = torch.export.load(temporary).module()
        return _agreement(program, lambda inputs: again(*inputs), "torch.export.load")


def write_onnx(program: Program, path: Path, metadata: dict[str, str]) -> str:
    """Write an ``.onnx``, run it with onnxruntime where that is installed, and say how near it is."""
    size = sum(value.nbytes for value in program.state_dict().values())
    if size > _LARGEST:
        raise DataError(f"an .onnx holds up to 2 GB, but the field has {size / 1e9:.1f}; write --to torch instead")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about torch
        for module in ("onnx", "onnxscript"):
            extra(module, "export", "--to onnx")
        try:
            made = torch.onnx.export(
                exported(program),
                program.example(_EXAMPLE),
                dynamo=True,
                verbose=False,
                input_names=list(program.inputs),
                output_names=list(program.outputs),
                custom_translation_table={torch.ops.aten.sort.stable: _stable_sort},
            )
        except torch.onnx.errors.OnnxExporterError as error:
            last = str(error.__cause__ or error).strip().splitlines()[-1].partition(". See ")[0]
            raise BackendError(f"ONNX has no operators for this field ({last}); write --to torch instead") from None
    assert made is not None
    for key, text in metadata.items():
        made.model.metadata_props[key] = text
    with atomic_path(path) as temporary:
        made.save(temporary)
        if not available("onnxruntime"):
            return 'not run back, for onnxruntime is not installed: pip install "neufield[export]"'
        return _agreement(program, _session(temporary, program), "onnxruntime")


def export_torch(options: ExportAny, path: Path, out: Path, console: Terminal) -> None:
    """Write the field in ``path`` for torch.export.load."""
    _export(options, path, out, console, write_torch)


def export_onnx(options: ExportAny, path: Path, out: Path, console: Terminal) -> None:
    """Write the field in ``path`` as ONNX."""
    _export(options, path, out, console, write_onnx)


def _export(
    options: ExportAny,
    path: Path,
    out: Path,
    console: Terminal,
    write: Callable[[Program, Path, dict[str, str]], str],
) -> None:
    if out.suffix.lower() == ".onnx":
        extra("onnxscript", "export", "--to onnx")  # better now than after the field was read
    field = load_field(path, "cpu", options.backend)
    program = program_of(field)
    metadata = {"neufield": json.dumps(_facts(field, path))}
    said = write(program, out, metadata)
    ways = f"{', '.join(program.inputs)} -> {', '.join(program.outputs)}"
    console.print(f"{out}: {ways}, {out.stat().st_size:,} bytes; {said}", soft_wrap=True)


def _facts(field: nn.Module, path: Path) -> dict[str, Any]:
    """What a program must know to use the graph: of what it is, and where the unit box lies in the world."""
    facts = {"neufield_version": __version__, "signal": load_facts(path).get("signal")}
    return facts | ({"space": describe(field.space)} if isinstance(field, RadianceScene) else {})


def _stable_sort(x: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """Torch's stable sort, which torch's exporter lacks: of equal numbers ONNX's TopK has the first one first."""
    del stable
    op = importlib.import_module("onnxscript").opset18
    size = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
    values, places = op.TopK(x, size, axis=dim, largest=int(descending), sorted=1)
    return values, places


def _session(path: Path, program: Program) -> Callable[[Sequence[Tensor]], Any]:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    try:
        session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions, which share no base
        first = (str(error).splitlines() or [""])[0]
        raise BackendError(f"onnxruntime cannot run this field's graph ({first}); write --to torch instead") from None

    def run(inputs: Sequence[Tensor]) -> Any:
        found = session.run(None, {name: x.numpy() for name, x in zip(program.inputs, inputs, strict=True)})
        return tuple(map(torch.from_numpy, found))

    return run


@torch.no_grad()
def _agreement(program: Program, again: Callable[[Sequence[Tensor]], Any], by: str) -> str:
    """How near what was written is to the field, in words; raises BackendError where it is not."""
    inputs = program.example(_COMPARED)
    worst = 0.0
    for found, expected in zip(_tuple(again(inputs)), _tuple(program(*inputs)), strict=True):
        largest = float(expected.abs().max()) or 1.0
        worst = max(worst, float((found - expected).abs().max()) / largest)
    if not worst <= _AGREES:
        raise BackendError(
            f"run by {by}, the graph is off by {worst:.2g} of the largest value, but {_AGREES:g} was expected; nothing "
            "was written"
        )
    return f"run by {by}, off by at most {worst:.1g} of the largest value at {_COMPARED:,} points"


def _tuple(values: Any) -> tuple[Tensor, ...]:
    return values if isinstance(values, tuple) else tuple(values) if isinstance(values, list) else (values,)
