"""The tables of papers at a small scale: rows beside the published ones, and the inequalities that must hold.

    python benchmarks/papers.py [--only NAME ...] [--ci | --full] [--again] [--results FOLDER]

Runs ``EXPERIMENTS`` of every module in benchmarks/experiments/ (their contract: experiments/experiment.py). The values
of each seed go to benchmarks/results/papers/<experiment>.json as they are finished, and what is there is not run again,
but checked again, unless ``--again`` is given. ``--ci`` leaves only the quick ones, ``--full`` adds those for a GPU.
The exit code is 1 when a check does not hold.
"""

import argparse
import dataclasses
import importlib
import json
import math
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "papers"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # so that the package of experiments is found as benchmarks.experiments

from benchmarks.experiments.experiment import Check, Experiment, Rows  # noqa: E402
from neufield.core.errors import nearest  # noqa: E402
from neufield.core.files import write_atomically  # noqa: E402
from neufield.core.memory import keep_freed_memory  # noqa: E402


def discover() -> list[Experiment]:
    """All experiments of all modules, in the order of the modules' names."""
    folder = ROOT / "benchmarks" / "experiments"
    found: list[Experiment] = []
    for module in sorted(info.name for info in pkgutil.iter_modules([str(folder)])):
        if not module.startswith("_"):
            found += getattr(importlib.import_module(f"benchmarks.experiments.{module}"), "EXPERIMENTS", ())
    names = [experiment.name for experiment in found]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"two experiments are called '{twice}'; the second would overwrite the first one's results")
    return found


def chosen(experiments: Sequence[Experiment], only: Sequence[str], ci: bool, full: bool) -> list[Experiment]:
    """Those named, whatever they are; otherwise CI's subset, or all but the full ones, or all."""
    known = {experiment.name for experiment in experiments}
    for name in only:
        if name not in known:
            raise SystemExit(f"papers.py: there is no experiment '{name}'{nearest(name, known)}")
    if only:
        return [experiment for experiment in experiments if experiment.name in only]
    return [e for e in experiments if (e.in_ci if ci else full or not e.full)]


@dataclasses.dataclass
class Record:
    """What is known of an experiment: the rows of each seed, and where and how long it ran."""

    path: Path
    seeds: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, experiment: Experiment, folder: Path) -> "Record":
        """What is in ``folder``; nothing, where it was another protocol."""
        path = folder / f"{experiment.name}.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        same = kept.get("protocol") == experiment.protocol
        return cls(path, kept["seeds"] if same else {})

    def run(self, experiment: Experiment, again: bool) -> float:
        """Run the seeds that are missing, or all; each is written when it is finished. Returns the seconds."""
        spent = 0.0
        for seed in experiment.seeds:
            if again or str(seed) not in self.seeds:
                began, working = time.perf_counter(), time.process_time()
                rows = {name: float(value) for name, value in experiment.run(seed).items()}
                seconds = time.perf_counter() - began
                spent += seconds
                cpu = round(time.process_time() - working, 2)  # says more than seconds where others work too
                self.seeds[str(seed)] = {"rows": rows, "seconds": round(seconds, 2), "cpu_seconds": cpu, **_here()}
                self.write(experiment)
        return spent

    def write(self, experiment: Experiment) -> None:
        """Everything, whole or not at all."""
        means = self.means(experiment)
        record = {
            "name": experiment.name,
            "title": experiment.title,
            "protocol": experiment.protocol,
            "unit": experiment.unit,
            "source": experiment.source,
            "published": dict(experiment.published),
            "mean": means,
            "checks": [dataclasses.asdict(check) for check in _checks(experiment, means)],
            "seconds": round(sum(one["seconds"] for one in self.seeds.values()), 2),
            "seeds": self.seeds,
        }
        write_atomically(self.path, lambda path: path.write_text(json.dumps(record, indent=2) + "\n"))

    def means(self, experiment: Experiment) -> dict[str, float]:
        """Of each row over those of the experiment's seeds that were run; {} before all were."""
        runs = [self.seeds[str(seed)]["rows"] for seed in experiment.seeds if str(seed) in self.seeds]
        if len(runs) < len(experiment.seeds):
            return {}
        return {name: sum(run[name] for run in runs) / len(runs) for name in runs[0]}


def _checks(experiment: Experiment, means: Rows) -> Sequence[Check]:
    return experiment.check(means) if means else ()


def _here() -> dict[str, Any]:
    """Versions and machine."""
    import torch

    import neufield

    return {
        "neufield": neufield.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
    }


def table(experiment: Experiment, means: Rows, seconds: float) -> str:
    """The protocol, a row for each number, and each check with its verdict."""
    lines = [f"## {experiment.title} ({experiment.name})", "", experiment.protocol]
    lines += [f"Published: {experiment.source}."] if experiment.source else []
    unit = f" {experiment.unit}" if experiment.unit else ""
    lines += ["", f"| row | published{unit} | ours{unit} | difference |", "|---|---|---|---|"]
    for name, value in means.items():
        theirs = experiment.published.get(name, math.nan)
        known = not math.isnan(theirs)
        published, difference = (f"{theirs:.4g}", f"{value - theirs:+.3g}") if known else ("-", "-")
        lines.append(f"| {name} | {published} | {value:.4g} | {difference} |")
    verdicts = [(check, "holds" if check.holds else "DOES NOT HOLD") for check in _checks(experiment, means)]
    lines += ["", *(f"- {verdict}: {check.sentence}" for check, verdict in verdicts), "", f"{seconds:.1f} s", ""]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, experiments: Sequence[Experiment] | None = None) -> int:
    """Run, print, and say by the exit code whether everything holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these experiments, and no other")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--ci", action="store_true", help="the subset that CI runs")
    size.add_argument("--full", action="store_true", help="the published sizes too, which want a GPU")
    parser.add_argument("--again", action="store_true", help="run what is there already")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON files lie")
    options = parser.parse_args(arguments)
    wanted = chosen(discover() if experiments is None else experiments, options.only, options.ci, options.full)
    keep_freed_memory()
    failed: list[str] = []
    spent = recorded = 0.0
    for experiment in wanted:
        record = Record.read(experiment, options.results)
        seconds = record.run(experiment, options.again)
        record.write(experiment)  # the checks may be others than when the values were written
        means = record.means(experiment)
        print(table(experiment, means, seconds), flush=True)
        failed += [f"{experiment.name}: {c.sentence}" for c in _checks(experiment, means) if not c.holds]
        spent += seconds
        recorded += sum(one["seconds"] for one in record.seeds.values())
    print(f"{len(wanted)} experiments, {spent:.0f} s now, {recorded:.0f} s recorded in all")
    for sentence in failed:
        print(f"DOES NOT HOLD: {sentence}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
