"""A saved state is believed only after all of it was checked: a bad one is a sentence, and the run stays as it was."""

import math
from pathlib import Path

import pytest
import torch
from forged import forge
from PIL import Image as Pillow
from small_fits import small_field, waves

from neufield.apps import cli
from neufield.apps.run_folder import RunFolder
from neufield.core.errors import DataError
from neufield.core.recipe import Recipe
from neufield.fitting import FitState, fit, start
from neufield.fitting.files import read_tensors, write_tensors
from neufield.fitting.objectives import objective_of

TABLE = "encoding.table"


@pytest.fixture(scope="module")
def trained() -> FitState:
    return fit(small_field(ema=0.9, steps=5), waves(), seed=3)


def copy_of(state: FitState) -> tuple[dict, dict]:
    facts = state.facts()
    return {k: v.clone() for k, v in state.tensors().items()}, facts | {"history": [dict(r) for r in facts["history"]]}


def only_one_number(tensors, facts):
    tensors[f"optimizer.exp_avg.{TABLE}"] = torch.zeros(1)


def without_slot(tensors, facts):
    del tensors[f"optimizer.exp_avg_sq.{TABLE}"]


def without_step(tensors, facts):
    del tensors[f"optimizer.step.{TABLE}"]


def slots_in_double(tensors, facts):
    tensors[f"optimizer.exp_avg.{TABLE}"] = tensors[f"optimizer.exp_avg.{TABLE}"].double()


def other_shape(tensors, facts):
    tensors[f"model.{TABLE}"] = tensors[f"model.{TABLE}"].t().contiguous()


def without_average(tensors, facts):
    del tensors[f"average.{TABLE}"]


def unknown_tensor(tensors, facts):
    tensors["model.more"] = torch.zeros(3)


def short_generator(tensors, facts):
    tensors["generator"] = tensors["generator"][:-1]


def spoilt_generator(tensors, facts):
    tensors["generator"] = torch.full_like(tensors["generator"], 255)


BAD_TENSORS = [
    only_one_number, without_slot, without_step, slots_in_double, other_shape, without_average, unknown_tensor,
    short_generator, spoilt_generator,
]  # fmt: skip


@pytest.mark.parametrize("name", [f"optimizer.exp_avg.{TABLE}", f"model.{TABLE}", f"average.{TABLE}"])
def test_a_state_with_nan_is_damaged_and_says_where(trained: FitState, name: str) -> None:
    tensors, facts = copy_of(trained)
    tensors[name][0, 0] = math.nan
    fresh = start(small_field(ema=0.9, seed=9), small_field(ema=0.9).recipe, seed=9)
    with pytest.raises(DataError, match=rf"^the state is damaged: {name} holds NaN; begin anew with --overwrite$"):
        fresh.restore(tensors, facts)
    assert fresh.step == 0


@pytest.mark.parametrize("spoil", BAD_TENSORS)
def test_a_state_with_other_tensors_changes_nothing(trained: FitState, spoil) -> None:
    tensors, facts = copy_of(trained)
    spoil(tensors, facts)
    fresh = start(small_field(ema=0.9, seed=9), small_field(ema=0.9).recipe, seed=9)
    before, _ = copy_of(fresh)
    with pytest.raises(DataError, match=r"^the state is damaged, or belongs to another") as caught:
        fresh.restore(tensors, facts)
    assert "\n" not in str(caught.value)
    after = fresh.tensors()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert (fresh.step, fresh.history) == (0, [])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step", -1), ("step", 1.5), ("step", True), ("step", "5"), ("step", None), ("step", 1e300),
        ("seconds", math.nan), ("seconds", math.inf), ("seconds", []), ("average_count", -3), ("stopped", 3),
        ("stopped", None), ("history", None), ("history", {}), ("history", [3]), ("history", [{"step": "one"}]),
        ("history", [{"loss": None}]), ("history", [{"loss": {}}]),
    ],
)  # fmt: skip
def test_facts_of_another_kind_change_nothing(trained: FitState, key: str, value: object) -> None:
    tensors, facts = copy_of(trained)
    fresh = start(small_field(ema=0.9, seed=9), small_field(ema=0.9).recipe, seed=9)
    before, _ = copy_of(fresh)
    for bad in (facts | {key: value}, {name: fact for name, fact in facts.items() if name != key}, None, []):
        with pytest.raises(DataError, match="the facts of the state"):
            fresh.restore(tensors, bad)
    assert all(torch.equal(value, before[name]) for name, value in fresh.tensors().items())


@pytest.mark.parametrize(
    "memory",
    [
        {"step": torch.tensor(1)},
        {"step": torch.tensor(1.5), "size": torch.tensor(4), "chosen": torch.arange(2), "x": torch.zeros(2, 2)},
        {"step": torch.tensor(1), "size": torch.tensor(4), "chosen": torch.tensor([4]), "x": torch.zeros(1, 2)},
        {"step": torch.tensor(1), "size": torch.tensor(4), "chosen": torch.tensor([-1]), "x": torch.zeros(1, 2)},
        {"step": torch.tensor(1), "size": torch.tensor(4), "chosen": torch.tensor([1]), "x": torch.zeros(2, 2)},
        {"step": torch.tensor(1), "size": torch.tensor(4), "chosen": torch.tensor([1.0]), "x": torch.zeros(1, 2)},
    ],
)
def test_a_memory_of_other_samples_is_refused(memory: dict) -> None:
    from neufield.core.sample_selection import INT

    with pytest.raises(DataError, match="begin anew with --overwrite"):
        objective_of(Recipe(sample_selection=INT())).load_state_dict(memory)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run of a tiny picture."""
    folder = tmp_path_factory.mktemp("run")
    Pillow.new("RGB", (8, 8), "red").save(folder / "p.png")
    cli.main(resume_of(folder)[:-1])
    return folder


def resume_of(folder: Path) -> list[str]:
    sizes = ["encoding.n_levels=2", "encoding.log2_hashmap_size=4", "network.width=8", "recipe.batch_size=16"]
    return ["fit", str(folder / "p.png"), "--out", str(folder / "r"), "--steps", "3", "--set", *sizes, "--resume"]


def header_is(header, tensors):
    header["facts"] = None


def slot_of_one_number(header, tensors):
    tensors[f"optimizer.exp_avg.{TABLE}"] = torch.zeros(1)


@pytest.mark.parametrize("change", [header_is, slot_of_one_number])
def test_a_run_goes_on_from_no_forged_state(run: Path, change, capsys) -> None:
    folder = RunFolder(run / "r")
    good = folder.state.read_bytes()
    forge(folder.state, "state", change)
    folder.result.unlink(missing_ok=True)  # as if it had been killed before the end
    forged = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    with pytest.raises(SystemExit) as ended:
        cli.main(resume_of(run))
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == forged
    folder.state.write_bytes(good)
    cli.main(resume_of(run))
    assert folder.result.exists()


def test_a_state_round_trips_through_its_file(trained: FitState, tmp_path: Path) -> None:
    write_tensors(tmp_path / "s", "state", trained.tensors(), {"facts": trained.facts()})
    tensors, header = read_tensors(tmp_path / "s", "state")
    fresh = start(small_field(ema=0.9, seed=9), small_field(ema=0.9).recipe, seed=9)
    fresh.restore(tensors, header["facts"], str(tmp_path / "s"))
    assert all(torch.equal(value, fresh.tensors()[name]) for name, value in trained.tensors().items())
    assert fresh.facts() == trained.facts()
