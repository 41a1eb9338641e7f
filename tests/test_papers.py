"""The papers' experiments: the runner, and the quick ones themselves."""

import json

import pytest
from cases import without_type_checks

from benchmarks import papers
from benchmarks.experiments.experiment import Experiment, at_least

EXPERIMENTS = papers.discover()


class Fake:
    """An experiment that counts how often it is run."""

    def __init__(self, bound: float = 1.0, **more) -> None:
        self.seeds_run: list[int] = []
        self.experiment = Experiment(
            name="fake",
            title="A fake",
            protocol="Nothing is trained.",
            unit="dB",
            run=self.run,
            check=lambda rows: [at_least("ours", rows["ours"], bound)],
            published={"ours": 3.0},
            seeds=(0, 1),
            **more,
        )

    def run(self, seed: int) -> dict[str, float]:
        self.seeds_run.append(seed)
        return {"ours": 1.0 + seed, "other": 5.0}


def run(folder, fake: Fake, *more: str) -> int:
    return papers.main(["--results", str(folder), *more], [fake.experiment])


def test_the_table_has_the_published_number_ours_and_the_difference(tmp_path, capsys):
    assert run(tmp_path, Fake()) == 0
    said = capsys.readouterr().out
    assert "Nothing is trained." in said
    assert "| ours | 3 | 1.5 | -1.5 |" in said
    assert "| other | - | 5 | - |" in said
    assert "holds: ours: 1.5, to be at least 1" in said
    assert "s recorded in all" in said


def test_a_check_that_does_not_hold_ends_in_exit_code_1(tmp_path, capsys):
    assert run(tmp_path, Fake(bound=2.0)) == 1
    assert "DOES NOT HOLD: fake: ours: 1.5, to be at least 2" in capsys.readouterr().out


def test_what_is_there_is_not_run_again_unless_asked(tmp_path):
    first, second, third = Fake(), Fake(), Fake()
    run(tmp_path, first)
    run(tmp_path, second)
    run(tmp_path, third, "--again")
    assert (first.seeds_run, second.seeds_run, third.seeds_run) == ([0, 1], [], [0, 1])


def test_a_run_that_is_cut_off_keeps_its_finished_seeds(tmp_path):
    broken, whole = Fake(), Fake()

    def stop_at_one(seed: int) -> dict[str, float]:
        if seed == 1:
            raise KeyboardInterrupt
        return Fake.run(broken, seed)

    with pytest.raises(KeyboardInterrupt):
        papers.main(["--results", str(tmp_path)], [Experiment(**{**vars(broken.experiment), "run": stop_at_one})])
    record = json.loads((tmp_path / "fake.json").read_text())
    assert list(record["seeds"]) == ["0"]
    assert record["mean"] == {}
    run(tmp_path, whole)
    assert whole.seeds_run == [1]
    record = json.loads((tmp_path / "fake.json").read_text())
    assert record["mean"] == {"ours": 1.5, "other": 5.0}
    assert record["seeds"]["1"]["rows"] == {"ours": 2.0, "other": 5.0}
    assert record["seeds"]["1"].keys() >= {"seconds", "torch", "neufield", "machine"}


def test_another_protocol_is_another_experiment(tmp_path):
    run(tmp_path, Fake())
    other = Fake()
    other.experiment = Experiment(**{**vars(other.experiment), "protocol": "Twice as long."})
    run(tmp_path, other)
    assert other.seeds_run == [0, 1]


def test_a_stored_value_is_checked_by_today_s_inequality(tmp_path):
    assert run(tmp_path, Fake()) == 0
    assert run(tmp_path, Fake(bound=2.0)) == 1
    assert json.loads((tmp_path / "fake.json").read_text())["checks"][0]["holds"] is False


@pytest.mark.parametrize(
    ("flags", "runs"), [([], ["quick", "small"]), (["--ci"], ["quick"]), (["--full"], ["quick", "small", "huge"])]
)
def test_flags_choose_the_size(flags, runs, tmp_path):
    kinds = {"quick": {"in_ci": True}, "small": {}, "huge": {"full": True}}
    fakes = [Experiment(**{**vars(Fake(**more).experiment), "name": name}) for name, more in kinds.items()]
    papers.main(["--results", str(tmp_path), *flags], fakes)
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(runs)


def test_only_names_an_experiment_even_a_full_one(tmp_path):
    assert run(tmp_path, Fake(full=True), "--only", "fake") == 0
    with pytest.raises(SystemExit, match="no experiment 'fkae'; did you mean 'fake'"):
        run(tmp_path, Fake(), "--only", "fkae")


def test_every_experiment_says_what_it_is():
    for experiment in EXPERIMENTS:
        assert experiment.protocol
        assert experiment.seeds
        assert not (experiment.in_ci and experiment.full)


# The subset must fit into CI, where everything together has seven minutes: seconds as the experiments state them.
def test_ci_s_subset_is_small():
    assert sum(experiment.seconds for experiment in EXPERIMENTS if experiment.in_ci) < 60


def test_the_small_ones_together_stay_below_40_minutes():
    assert sum(experiment.seconds for experiment in EXPERIMENTS if not experiment.full) < 2400


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("experiment", [pytest.param(e, id=e.name) for e in EXPERIMENTS if e.in_ci])
def test_the_statements_of_a_paper_hold(experiment, tmp_path):
    record = papers.Record.read(experiment, tmp_path)
    with without_type_checks():  # thousands of small steps; other tests check the signatures that these call
        record.run(experiment, again=False)
    broken = [check.sentence for check in experiment.check(record.means(experiment)) if not check.holds]
    assert broken == []
