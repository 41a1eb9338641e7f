"""Fields as graphs that run without neufield: written, run back, and refused where they would say something else."""

import json
import sys

import pytest
import torch
from autograd_cases import radiance
from ball import write_ball
from cases import seeded, without_type_checks
from commands import run
from image_files import info_of
from small_fits import small_field

import neufield as nf
from neufield import presets
from neufield.apps import programs
from neufield.core.errors import BackendError
from neufield.formats import scene
from neufield.renderers import Box


@pytest.fixture(autouse=True)
def _sizes_may_be_symbols():
    """While it is written down, the number of points is no int."""
    with without_type_checks():
        yield


@pytest.fixture
def saved(tmp_path):
    nf.save(small_field(), tmp_path / "field.safetensors", signal=info_of((8, 8), 3))
    return tmp_path / "field.safetensors"


def test_a_field_runs_from_its_torch_file(saved, capsys):
    run("export", saved, "--to", "torch")
    assert "x -> values" in capsys.readouterr().out
    extra_files = {"neufield": ""}
    again = torch.export.load(saved.with_name("exported.pt2"), extra_files=extra_files).module()
    x = torch.rand(7, 2, generator=seeded())
    # The same operations of torch's own, in the order of its plain kernels: about 8 units in the last place of 1.
    torch.testing.assert_close(again(x), nf.load(saved)(x), rtol=1e-6, atol=1e-6)
    assert json.loads(extra_files["neufield"])["signal"]["kind"] == "image"


def small_scene(tmp_path, **options):
    posed = scene.read_scene(write_ball(tmp_path / "ball", train=3, test=1))
    return presets.radiance_scene(posed, "ngp", bounds=Box([-1.0] * 3, [1.0] * 3), resolution=16, **options)


def test_a_scene_is_its_density_and_color_with_the_mean_code(tmp_path):
    model = small_scene(tmp_path, appearance=2)
    with torch.no_grad():
        model.appearance.codes.normal_(generator=seeded())
    program = programs.program_of(model)
    again = programs.exported(program).module()
    points, directions = program.example(9)
    density, color = again(points, directions)
    code = model.appearance.codes.mean(0).expand(9, -1)
    cond = nf.core.rays.Conditioning(code=code)
    geometry = model.field.geometry(points, cond)
    torch.testing.assert_close(density, geometry.sigma, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(color, model.field.color(geometry.features, directions, cond), rtol=1e-5, atol=1e-6)


def test_a_graph_that_says_something_else_is_not_written(saved, monkeypatch):
    other = programs.exported(programs.program_of(small_field(seed=1)))
    monkeypatch.setattr(programs, "exported", lambda program: other)
    out = saved.with_name("a.pt2")
    with pytest.raises(BackendError, match=r"the graph is off by .* of the largest value"):
        programs.write_torch(programs.program_of(nf.load(saved)), out, {})
    assert not out.exists()


def test_without_the_packages_there_is_one_sentence(saved, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SystemExit) as ended:
        run("export", saved, "a.onnx")
    assert ended.value.code == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert 'needs onnxscript, which is not installed; pip install "neufield[export]"' in said


class Ranks(torch.nn.Module):
    """What permutohedral lattices and SAPE sort by, with equal numbers."""

    inputs, outputs = ("x",), ("values",)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ties = (8 * x).round()
        return torch.cat([ties.argsort(stable=True, dim=-1, descending=down).float() for down in (False, True)], -1)

    def example(self, n: int) -> tuple[torch.Tensor, ...]:
        return (torch.rand(n, 24, generator=seeded(n)),)


class Unknown(Ranks):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


def test_onnx_sorts_equal_numbers_as_we_do(tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    assert "off by at most 0 of" in programs.write_onnx(Ranks(), tmp_path / "a.onnx", {})


def test_what_onnx_does_not_have_is_one_sentence(tmp_path):
    pytest.importorskip("onnxscript")
    with pytest.raises(BackendError, match=r"ONNX has no operators for this field \(.*\); write --to torch") as caught:
        programs.write_onnx(Unknown(), tmp_path / "a.onnx", {})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["grid", "radiance"])
def test_onnxruntime_computes_the_same(name, tmp_path):
    """Of each of the two kinds one; --to onnx compares whatever is written."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model = small_field() if name == "grid" else radiance("ngp")
    program = programs.program_of(model)
    said = programs.write_onnx(program, tmp_path / "a.onnx", {"neufield": "{}"})
    assert "run by onnxruntime, off by at most" in said
    session = runtime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == list(program.inputs)
    assert session.get_modelmeta().custom_metadata_map == {"neufield": "{}"}
