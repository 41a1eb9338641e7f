"""Presets side by side: the runs, the table, the picture, and what is said to bad input."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run
from finished_runs import COMPARE_OPTIONS
from PIL import Image as Pillow

import neufield as nf
from neufield import presets
from neufield.apps import curves
from neufield.apps.leaderboard import Leaderboard, LeaderboardRow
from neufield.apps.side_by_side import most_telling, side_by_side
from neufield.metrics import PSNR
from neufield.presets.sizes import CLOSE


@pytest.fixture(scope="module")
def picture(finished_runs, tmp_path_factory) -> Path:
    return finished_runs.picture(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def finished(finished_runs, tmp_path_factory) -> Path:
    return finished_runs.compared(tmp_path_factory.mktemp("runs") / "compared")


def test_every_run_is_a_run_of_fit(finished, picture, tmp_path):
    settings = ["recipe.batch_size=256", "network.width=16", "encoding.n_levels=4"]
    run("fit", picture, "--preset", "ngp", "--seed", 1, "--steps", 6, "--set", *settings, "--out", tmp_path / "fit")
    same = finished / "ngp" / "seed1"
    assert (same / "field.safetensors").read_bytes() == (tmp_path / "fit" / "field.safetensors").read_bytes()
    assert {path.name for path in same.iterdir()} == {path.name for path in (tmp_path / "fit").iterdir()}


def test_the_tables_hold_the_means_of_the_runs(finished, capsys):
    told = json.loads((finished / "compare.json").read_text())
    assert told["finished"]
    assert told["seeds"] == 2
    rows = told["rows"]
    assert {row["preset"] for row in rows} == {"ngp", "siren"}
    assert rows[0]["psnr"] >= rows[1]["psnr"]
    for row in rows:
        runs = [json.loads((finished / row["preset"] / f"seed{i}" / "result.json").read_text()) for i in (0, 1)]
        values = [one["psnr"] for one in runs]
        assert row["psnr"] == pytest.approx(np.mean(values))
        assert row["psnr_std"] == pytest.approx(np.std(values, ddof=1))
        assert row["n_params"] == runs[0]["n_params"]
        line = next(line for line in (finished / "compare.md").read_text().splitlines() if row["preset"] in line)
        assert f"{row['psnr']:.2f} ± {row['psnr_std']:.2f}" in line
        assert f"{row['n_params']:,}" in line
    with Pillow.open(finished / "compare.png") as drawn:
        drawn.load()
        assert drawn.width > 1000


def test_a_resumed_comparison_repeats_no_finished_run_and_takes_in_another_preset(finished, picture, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "siren" / "seed1")
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*/seed*/result.json")}
    assert len(kept) == 3
    more = [word.replace("ngp,siren", "ngp,siren,ffn") for word in COMPARE_OPTIONS]
    run("compare", picture, "--out", folder, *more, "--resume")
    assert "3 of 6 runs are finished already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    old, new = (json.loads((f / "compare.json").read_text()) for f in (finished, folder))
    assert {row["preset"] for row in new["rows"]} == {"ngp", "siren", "ffn"}
    siren = [next(row for row in told["rows"] if row["preset"] == "siren")["psnr"] for told in (old, new)]
    assert siren[0] == siren[1]  # the run that was missing gave the same bits


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", presets.names())
@pytest.mark.parametrize("n_params", [30_000, 600_000])
def test_every_preset_comes_near_to_a_number_of_parameters(name, n_params):
    facts = presets.SignalFacts(2, 3, (256, 200), 100_000)
    request = presets.resized(name, maker(name), presets.PresetRequest(facts, []), presets.find(name).sizes, n_params)
    count = sum(p.numel() for p in maker(name)(request).parameters())
    assert abs(count / n_params - 1) <= CLOSE


def maker(name):
    def make(request):
        generator = torch.Generator().manual_seed(0)
        return presets.customize(presets.find(name)(request.facts, generator), request.edits, generator)

    return make


@pytest.mark.parametrize(
    ("name", "n_params", "reason"),
    [
        ("kronecker", 5_000_000, "changing the lattice that it is made for, is 3,1"),  # 2^20 weights a channel
        ("compact", 500, "the nearest that was found, changing the bytes of the file, is 1,"),
    ],
)
def test_a_preset_that_cannot_says_how_near_it_comes(name, n_params, reason):
    request = presets.PresetRequest(presets.SignalFacts(2, 3, (256, 200), 100_000), [])
    with pytest.raises(nf.NeufieldError) as error:
        presets.resized(name, maker(name), request, presets.find(name).sizes, n_params)
    assert f"preset '{name}' cannot have about {n_params:,} parameters" in str(error.value)
    assert reason in str(error.value)


def test_a_lattice_s_product_keeps_the_picture_s_proportion_and_a_split_its_own():
    facts = presets.SignalFacts(2, 3, (300, 200), 1)
    request = presets.resized(
        "kronecker", maker("kronecker"), presets.PresetRequest(facts, []), presets.find("kronecker").sizes, 20_000
    )
    rows, columns, channels = maker("kronecker")(request).encoding.weight.shape
    assert channels == 3
    assert rows / columns == pytest.approx(1.5, abs=0.03)  # of 100 x 67: each is rounded up
    names = presets.find("split_wavelet").sizes
    request = presets.resized("split_wavelet", maker("split_wavelet"), presets.PresetRequest(facts, []), names, 60_000)
    split = maker("split_wavelet")(request).network
    assert split.low.width / split.band.width == pytest.approx(96 / 256, rel=0.05)  # the band alone is refined


def test_levels_keep_the_finest(generator):
    field = presets.find("ngp")(presets.SignalFacts(2, 3, (256, 256), 1), generator)
    request = (
        presets.find("ngp")
        .sizes[1]
        .turned(presets.PresetRequest(presets.SignalFacts(2, 3, (256, 256), 1), []), field, 11)
    )
    other = presets.customize(field, request.edits)
    assert other.encoding.n_levels == 11
    resolutions = [f.encoding.spec.levels[-1].resolution for f in (field, other)]
    assert resolutions[1] == pytest.approx(resolutions[0], abs=1)  # exp and log in float32 decide the last vertex


def test_a_budget_of_parameters_is_kept(picture, tmp_path):
    run("compare", picture, "--out", tmp_path, "--presets", "siren,ffn", "--seeds", 1, "--steps", 1,
        "--set", "recipe.batch_size=64", "--budget-params", 20_000)  # fmt: skip
    for row in json.loads((tmp_path / "compare.json").read_text())["rows"]:
        assert abs(row["n_params"] / 20_000 - 1) <= CLOSE
        assert math.isnan(row["psnr_std"] or math.nan)  # null: one run has no spread


def test_a_size_that_the_user_set_stays(picture, tmp_path, capsys):
    said = fails(capsys, "compare", picture, "--out", tmp_path / "run", "--presets", "siren", "--budget-params", 20_000,
                 "--set", "siren:network.width=8")  # fmt: skip
    assert "preset 'siren' cannot have about 20,000 parameters" in said
    assert "its settings fix its sizes" in said
    assert not (tmp_path / "run").exists()


# --- bad input ----------------------------------------------------------------------------------------------------


def fails(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as exit_:
        run(*arguments)
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("neufield: ")
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--presets", "ngp,sirn"], "no preset 'sirn'; did you mean 'siren'?"),
        (["--presets", "ngp,siren,ngp"], "--presets has 'ngp' twice"),
        (["--presets", "ngp,,siren"], "must look like ngp,siren,ffn"),
        (["--presets", ""], "must look like ngp,siren,ffn"),
        (["--budget-params", "0"], "--budget-params is 0"),
        (["--budget-params", "-5"], "--budget-params is -5"),
        (["--budget-params", "1000000000000000"], "of memory are free"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--steps", "0"], "--steps is 0"),
        (["--time-budget", "-1"], "--time-budget is -1"),
        (["--device", "tpu"], "device 'tpu' cannot be used here"),
        (["--backend", "triton"], "backend 'triton'"),
        (["--set", "sirne:recipe.lr=1"], "'sirne' is not one of --presets; did you mean 'siren'?"),
        (["--set", "ngp:encoding.n_level=8"], "no 'n_level' here; did you mean 'n_levels'?"),
        (["--set", "encoding.n_levels=8"], "no 'n_levels' here"),  # siren has none
        (["--resume", "--overwrite"], "contradict"),
    ],
)
def test_a_bad_option_is_one_sentence_before_anything_runs(options, sentence, picture, tmp_path, capsys):
    said = fails(capsys, "compare", picture, "--out", tmp_path / "run", "--presets", "ngp,siren", *options)
    assert sentence in said
    assert not (tmp_path / "run").exists()


def test_a_missing_picture_is_one_sentence(tmp_path, capsys):
    said = fails(capsys, "compare", tmp_path / "none.png", "--out", tmp_path / "run")
    assert "none.png" in said
    assert not (tmp_path / "run").exists()


def test_a_comparison_is_neither_overwritten_nor_mixed_by_accident(finished, picture, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert "already holds a comparison" in fails(capsys, "compare", picture, "--out", finished, *COMPARE_OPTIONS)
    fewer = [*COMPARE_OPTIONS, "--steps", 5]
    assert "the run in" in fails(capsys, "compare", picture, "--out", finished, *fewer, "--resume")
    other = [*COMPARE_OPTIONS, "--set", "siren:network.width=8"]
    assert "width=16, but now width=8" in fails(capsys, "compare", picture, "--out", finished, *other, "--resume")
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_run_that_diverges_leaves_the_others(picture, tmp_path, capsys):
    said = fails(capsys, "compare", picture, "--out", tmp_path, "--presets", "siren,ngp", "--seeds", 1, "--steps", 3,
                 "--set", "recipe.batch_size=256", "network.width=16", "siren:recipe.lr=1e38")  # fmt: skip
    assert "1 of 2 runs failed: siren with seed 0" in said
    told = json.loads((tmp_path / "compare.json").read_text())
    assert [row["preset"] for row in told["rows"]] == ["ngp"]
    assert "siren, seed 0" in told["failures"]
    assert not told["finished"]


# --- tables and pictures ------------------------------------------------------------------------------------------


def _standing(name: str, *psnrs: float | None, seconds: float = 10.0) -> LeaderboardRow:
    results = [
        {"seed": i, "psnr": p, "ssim": 0.5, "n_params": 10, "seconds": seconds, "steps": 3, "field_bytes": 7,
         "stopped_by": "steps", "device": "cpu", "backend": "torch", "threads": 1, "torch_version": "2"}
        for i, p in enumerate(psnrs)
    ]  # fmt: skip
    history = [{"seconds": 1.05, "psnr": 20.0}, {"seconds": 1.5, "loss": 1.0}, {"seconds": 4.0, "psnr": 26.0}]
    return LeaderboardRow(name, results, [history] * len(psnrs))


def test_what_a_run_had_reached_at_a_moment():
    entry = _standing("a", 30.0, 32.0)
    assert math.isnan(entry.at(0.5, PSNR))
    assert entry.at(1.0, PSNR) == 20.0  # 5 % later still tells
    assert entry.at(3.0, PSNR) == 20.0
    assert entry.at(100.0, PSNR) == 26.0  # a run that is over stays where it was


def test_a_perfect_copy_is_infinite_and_first():
    standings = Leaderboard([_standing("a", 30.0, 32.0), _standing("b", None, 40.0)], PSNR)
    assert [entry.preset for entry in standings.entries] == ["b", "a"]
    body = standings.markdown("title").splitlines()
    assert "| b | inf |" in body[4]
    assert "| a | 31.00 ± 1.41 |" in body[5]


@pytest.mark.parametrize(
    ("longest", "moments"), [(10.0, [0.2, 0.5, 2, 5]), (0.3, [0.01, 0.02, 0.1, 0.2]), (100.0, [2, 5, 20, 50])]
)
def test_moments_are_round_and_before_the_end(longest, moments):
    assert Leaderboard([_standing("a", 30.0, seconds=longest)], PSNR).moments == moments


def test_round_numbers():
    assert curves.round_numbers(0.02, 3) == [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]


def test_the_most_telling_window_is_where_the_errors_differ():
    same = np.zeros((100, 160), np.float32)
    same[:40, :40] = 90  # large, but everybody's
    other = same.copy()
    other[60:90, 100:130] = 20
    top, left, side = most_telling([same, other])
    assert 60 - side < top < 90
    assert 100 - side < left < 130
    assert most_telling([same])[:2] == (0, 0)


def test_the_picture_has_a_tile_for_each_preset_in_its_color(picture):
    image = nf.signals.Image(picture)
    worse = image.pixels.copy()
    worse[10:20, 30:40] = 0
    names = [f"preset{i}" for i in range(9)]
    history = [{"seconds": 1.0, "psnr": 20.0}, {"seconds": 2.0, "psnr": 30.0}]
    drawn = side_by_side(image, dict.fromkeys(names, worse), {name: [history] for name in names})
    colors = {color for _, color in drawn.getcolors(1 << 24)}
    assert {curves.color(i) for i in range(9)} <= colors
    one = side_by_side(image, {"a": worse}, {"a": [history]})
    assert one.height < drawn.height


def test_curves_of_nothing_are_drawn():
    assert curves.curve([], PSNR).size == (720, 420)
    assert curves.curves({"a": [[]]}, PSNR).width == 1200
