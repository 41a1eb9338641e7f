"""The command line from end to end, and what it says to bad input."""

import contextlib
import csv
import importlib
import json
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import run
from finished_runs import FIT_OPTIONS, FIT_STEPS
from PIL import Image as Pillow
from safetensors.torch import save_file

import neufield as nf
from neufield.apps import commands


@pytest.fixture(scope="module")
def picture(finished_runs, tmp_path_factory) -> Path:
    return finished_runs.picture(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def finished(finished_runs, tmp_path_factory) -> Path:
    """The folder of a finished run."""
    return finished_runs.fitted(tmp_path_factory.mktemp("runs") / "waves")


def test_a_run_folder_holds_everything(finished, picture):
    result = json.loads((finished / "result.json").read_text())
    assert result.keys() >= {"psnr", "ssim", "seconds", "steps", "n_params", "field_bytes", "source_bytes"}
    assert result.keys() >= {"backend", "precision", "seed", "version"}
    assert all(not isinstance(value, (dict, list)) for value in result.values())
    assert result["psnr"] > 25
    assert result["steps"] == FIT_STEPS
    assert result["field_bytes"] == (finished / "field.safetensors").stat().st_size
    assert result["source_bytes"] == picture.stat().st_size
    assert (finished / "state.safetensors").exists()
    with (finished / "log.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, FIT_STEPS + 1))
    for name in ("reconstruction.png", "comparison.png", "curve.png"):
        with Pillow.open(finished / name) as drawn:
            drawn.load()


def test_the_reported_psnr_is_that_of_the_written_picture(finished, picture):
    with Pillow.open(picture) as original, Pillow.open(finished / "reconstruction.png") as drawn:
        error = (np.asarray(original, float) - np.asarray(drawn, float)) / 255
    psnr = -10 * np.log10(np.square(error).mean())
    # float32 sums over 7200 values
    assert json.loads((finished / "result.json").read_text())["psnr"] == pytest.approx(psnr, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ([], (60, 40)),
        (["--scale", "4"], (240, 160)),
        (["--size", "33x21"], (33, 21)),
        (["--crop", "10,5,30,25"], (20, 20)),
        (["--crop", "10,5,30,25", "--scale", "3"], (60, 60)),
    ],
)
def test_render_draws_any_size(finished, tmp_path, options, size):
    run("render", finished / "field.safetensors", "-o", tmp_path / "out.png", *options)
    with Pillow.open(tmp_path / "out.png") as drawn:
        assert drawn.size == size


def test_render_at_the_own_size_is_the_reconstruction(finished, tmp_path):
    run("render", finished / "field.safetensors", "-o", tmp_path / "out.png")
    with Pillow.open(tmp_path / "out.png") as a, Pillow.open(finished / "reconstruction.png") as b:
        assert np.array_equal(np.asarray(a), np.asarray(b))


def test_a_crop_shows_the_same_pixels(finished, tmp_path):
    run("render", finished / "field.safetensors", "-o", tmp_path / "out.png", "--crop", "10,5,30,25")
    with Pillow.open(tmp_path / "out.png") as a, Pillow.open(finished / "reconstruction.png") as b:
        difference = np.asarray(a, int) - np.asarray(b, int)[5:25, 10:30]
    # The crop's coordinates differ in the last float32 bit, which may turn a rounding by one step.
    assert np.abs(difference).max() <= 1


def test_info_describes_fields_states_and_pictures(finished, picture, capsys):
    run("info", finished / "field.safetensors", "--json")
    assert json.loads(capsys.readouterr().out)["field"]["encoding"]["n_levels"] == 5
    run("info", finished / "state.safetensors", "--json")
    assert json.loads(capsys.readouterr().out)["facts"]["step"] == 200
    run("info", picture)
    assert "height: 40" in capsys.readouterr().out


def test_info_knows_a_field_by_what_is_in_it(finished, tmp_path, capsys):
    for name in ("field.bin", "field", "field.png"):
        shutil.copy(finished / "field.safetensors", tmp_path / name)
        run("info", tmp_path / name)
        assert "encoding encodings.Grid" in capsys.readouterr().out


def test_what_is_to_be_typed_next_can_be_pasted(picture, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("fit", picture, "--out", "my $HOME's", *FIT_OPTIONS, "--steps", 2)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("see it larger: "))
    words = shlex.split(line.removeprefix("see it larger: "))
    assert words[:3] == ["neufield", "render", "my $HOME's/field.safetensors"]
    run(*words[1:])
    with Pillow.open("large.png") as drawn:
        assert drawn.size == (240, 160)


def test_doctor_names_versions_and_backends(capsys):
    run("doctor")
    said = capsys.readouterr().out
    assert nf.__version__ in said
    assert "torch" in said
    assert "cuda" in said


def test_resume_of_a_finished_run_reports_it_again(finished, picture, capsys):
    before = (finished / "field.safetensors").read_bytes()
    run("fit", picture, "--out", finished, *FIT_OPTIONS, "--resume")
    assert "after 200 steps" in capsys.readouterr().out
    assert (finished / "field.safetensors").read_bytes() == before


@pytest.mark.parametrize("preset", ["ffn", "siren", "nerf_frequency", "compact"])
def test_every_preset_runs(preset, picture, tmp_path):
    run("fit", picture, "--preset", preset, "--steps", 2, "--out", tmp_path / preset)
    assert (tmp_path / preset / "result.json").exists()


def test_a_tcnn_config_is_a_preset(picture, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"encoding": {"otype": "HashGrid", "n_levels": 4, "log2_hashmap_size": 10}} // tcnn')
    run("fit", picture, "--preset", config, "--steps", 2, "--out", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["preset"].endswith("config.json")


def test_a_quiet_terminal_gets_no_progress_line(picture, tmp_path, capsys):
    run("fit", picture, "--out", tmp_path / "run", *FIT_OPTIONS, "--steps", 3)
    said = capsys.readouterr().out
    assert "\r" not in said
    assert "points/s" not in said


def test_a_high_dynamic_range_picture_trains_on_relative_error(tmp_path):
    nf.formats.write_image(tmp_path / "sun.exr", *_sun())
    run("fit", tmp_path / "sun.exr", "--out", tmp_path / "run", *FIT_OPTIONS, "--steps", 3)
    assert nf.load(tmp_path / "run" / "field.safetensors").recipe.loss == "relative_l2"
    assert (tmp_path / "run" / "reconstruction.exr").exists()


def _sun():
    y, x = np.mgrid[0:24, 0:24].astype(np.float32)
    values = np.exp(-((x - 12) ** 2 + (y - 12) ** 2) / 20)[..., None].repeat(3, -1) * 50
    return values, nf.signals.Image(values).facts


# --- bad input: one sentence, exit code 2, nothing half-written ---------------------------------------------------


def broken(kind: str, folder: Path, good: Path) -> Path:
    """A picture file with something wrong."""
    path = folder / f"{kind}.png"
    data = good.read_bytes()
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path = path.with_suffix(".jpg")
        Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:900])
    elif kind == "text":
        path.write_text("not a picture")
    elif kind == "zero_pixels":
        path.write_bytes(data[:16] + bytes(4) + data[20:])
    elif kind == "one_pixel":
        Pillow.new("RGB", (1, 1)).save(path)
    elif kind == "nan":
        path = path.with_suffix(".exr")
        values, facts = _sun()
        nf.formats.write_image(path, values, facts)
        values[3, 4] = np.nan
        nf.formats.write_image(path, values, facts)
    return path


def fails(capsys, *arguments: object) -> str:
    """The one sentence with which ``neufield`` refuses, after checking that it is one and ends in exit code 2."""
    with pytest.raises(SystemExit) as exit_:
        run(*arguments)
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("neufield: ")
    assert len(said.splitlines()) == 1
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "no file"),
        ("folder", "is a folder"),
        ("empty", "empty"),
        ("truncated", "truncated|damaged|cut"),
        ("text", "not a picture|text|unknown|not an image"),
        ("zero_pixels", "0"),
        ("one_pixel", "single pixel"),
        ("nan", "NaN"),
    ],
)
def test_a_bad_picture_is_one_sentence(kind, sentence, picture, tmp_path, capsys):
    path = broken(kind, tmp_path, picture)
    said = fails(capsys, "fit", path, "--steps", 2, "--out", tmp_path / "run")
    assert path.name in said
    assert any(word in said for word in sentence.split("|")), said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--preset", "npg"], "no preset 'npg'; did you mean 'ngp'?"),
        (["--preset", "none.json"], "cannot read none.json"),
        (["--set", "encoding.n_level=8"], "no 'n_level' here; did you mean 'n_levels'?"),
        (["--set", "encodin.n_levels=8"], "no 'encodin' here; did you mean 'encoding'?"),
        (["--set", "encoding.n_levels=eight"], "encoding.n_levels is 'eight', but it must be a whole number"),
        (["--set", "encoding.n_levels=-1"], "n_levels is -1"),
        (["--set", "encoding.type=Gird"], "did you mean 'Grid'?"),
        (["--set", "recipe.loss=l3"], "'l3'"),
        (["--set", "recipe.lr"], "not of the form key=value"),
        (["--steps", "0"], "--steps is 0"),
        (["--steps", "-5"], "--steps is -5"),
        (["--time-budget", "0"], "--time-budget is 0"),
        (["--time-budget", "1e400"], "--time-budget is inf"),
        (["--seed", str(2**64)], "--seed is 18446744073709551616, but it must be a whole number from 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--target-psnr", "nan"], "--target-psnr is nan"),
        (["--device", "tpu"], "device 'tpu' cannot be used here"),
        (["--device", "mps"], "device 'mps' cannot be used here: neufield computes on a CPU or on CUDA"),
        (["--device", "meta"], "device 'meta' cannot be used here"),
        (["--backend", "triton"], "backend 'triton' cannot run"),
        (
            ["--backend", "bogus"],
            "backend 'bogus' does not exist for this field; known: auto, cpu, triton, tcnn, torch",
        ),
        (["--backend", "tritn"], "torch; did you mean 'triton'?"),
        (["--resume", "--overwrite"], "contradict"),
    ],
)
def test_a_bad_option_is_one_sentence(options, sentence, picture, tmp_path, capsys):
    said = fails(capsys, "fit", picture, "--out", tmp_path / "run", *options)
    assert sentence in said
    assert not (tmp_path / "run").exists()


def test_resume_without_a_folder_says_which(picture, capsys):
    assert "--resume needs --out" in fails(capsys, "fit", picture, "--resume")


def test_an_unwritable_out_is_told_before_training(picture, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert "cannot write to" in fails(capsys, "fit", picture, "--out", out)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_finished_run_is_not_overwritten_by_accident(finished, picture, capsys):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    assert "already holds a run" in fails(capsys, "fit", picture, "--out", finished)
    assert "started with seed=0, but now seed=1" in fails(
        capsys, "fit", picture, "--out", finished, *FIT_OPTIONS, "--resume", "--seed", 1
    )
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


@contextlib.contextmanager
def full_disk(room: int):
    """Every file that grows beyond ``room`` bytes fails to be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_during_a_run_is_one_sentence(picture, tmp_path, capsys):
    with full_disk(room=50_000):
        said = fails(capsys, "fit", picture, "--out", tmp_path / "run", *FIT_OPTIONS, "--steps", 5)
    assert "cannot write" in said
    assert "state.safetensors" in said
    assert list((tmp_path / "run").iterdir()) == []


def test_a_disk_that_fills_during_a_save_leaves_the_old_field(finished, tmp_path):
    path = tmp_path / "field.safetensors"
    field = nf.load(finished / "field.safetensors")
    nf.save(field, path, seed=0)
    before = path.read_bytes()
    with full_disk(room=len(before) // 2), pytest.raises(nf.NeufieldError, match="what was there before is untouched"):
        nf.save(field, path, seed=1)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--size", "10"], "--size is '10', but it must look like 1920x1080"),
        (["--size", "0x10"], "--size is 0x10"),
        (["--scale", "-1"], "--scale is -1.0"),
        (["--scale", "1e300"], "at most 100,000"),
        (["--scale", "50000"], "a picture of 3000000 x"),
        (["--scale", "2", "--size", "3x3"], "contradict"),
        (["--crop", "1,2,3"], "--crop is '1,2,3'"),
        (["--crop", "10,5,90,20"], "0..60"),
    ],
)
def test_a_bad_rendering_is_one_sentence(options, sentence, finished, tmp_path, capsys):
    said = fails(capsys, "render", finished / "field.safetensors", "-o", tmp_path / "out.png", *options)
    assert sentence in said
    assert not (tmp_path / "out.png").exists()


def test_a_foreign_file_is_not_rendered(tmp_path, picture, capsys):
    save_file({"a": nf.networks.Siren(1, 1, 4).layers[0].weight.detach()}, tmp_path / "other.safetensors")
    assert "not one of neufield's" in fails(capsys, "render", tmp_path / "other.safetensors", "-o", tmp_path / "o.png")
    assert "is no .safetensors file" in fails(capsys, "render", picture, "-o", tmp_path / "o.png")


def test_an_unknown_flag_ends_in_exit_code_2(capsys):
    with pytest.raises(SystemExit) as exit_:
        run("fit", "a.png", "--stesp", 3)
    assert exit_.value.code == 2
    assert "--steps" in capsys.readouterr().err


def test_every_command_has_a_function_and_the_entry_loads_nothing():
    for kind in commands.FUNCTIONS:
        module, name = commands.FUNCTIONS[kind]
        assert callable(getattr(importlib.import_module(f"neufield.apps.{module}"), name))
    code = "import sys, neufield.apps.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "neufield.apps.cli" in loaded
    assert set(loaded) & {"tyro", "rich", "torch", "numpy", "neufield.apps.options"} == set()  # Ctrl-C may come early


def test_help_loads_what_parses_and_nothing_that_computes_or_draws():
    code = "import sys\nfrom neufield.apps import cli\ntry:\n cli.main(['--help'])\n"
    code += "except SystemExit:\n print(*sys.modules)"
    *_, loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "tyro" in loaded.split()
    assert set(loaded.split()) & {"torch", "numpy", "rich.progress", "neufield.apps.console"} == set()
