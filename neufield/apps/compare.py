"""``neufield compare``: one signal, several presets, the same budget; every run is one that its own command does."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import neufield
from neufield.apps.console import Terminal
from neufield.apps.identity import check_same
from neufield.apps.leaderboard import Leaderboard, LeaderboardRow
from neufield.apps.options import Compare
from neufield.apps.resolve import choose_device, set_deterministic
from neufield.apps.run import Run
from neufield.apps.run_folder import RunFolder, check_run, default_folder, write_json
from neufield.apps.settings import parse_setting
from neufield.apps.tasks import Subject, Wish, kind_of_file
from neufield.apps.threads import say_if_busy
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError, DataError, NonFiniteError, nearest
from neufield.core.files import write_atomically
from neufield.core.interfaces import Evaluator
from neufield.core.json_files import read_json
from neufield.core.memory import allowed_memory
from neufield.fitting import FitState, evaluate
from neufield.fitting.files import read_header
from neufield.fitting.state import SavedFacts
from neufield.metrics import describe

_NEVER = 10**9  # steps between evaluations by steps; ours go by the clock, and their time is not counted
_FIRST, _RATIO = 0.1, 10**0.1  # seconds of the first evaluation, and from one to the next: 1, 1.26, 1.6, 2, 2.5 ...
_SMALLEST = 100  # parameters
_COPIES = 5  # of the parameters: themselves, gradients, Adam's two moments, and one while a save is written
_SHARE = 0.8  # of the free memory


@dataclasses.dataclass(frozen=True)
class Contender:
    """A preset in this comparison: its ``name``, that of its ``folder``, and what its model is to be."""

    name: str
    folder: str
    wish: Wish


def compare(options: Compare) -> None:
    """Run the whole command. Every wrong option is found before the first step."""
    console = Terminal()
    check_run(options.steps, options.time_budget, options.save_every, options.out, options.resume, options.overwrite)
    kind = kind_of_file(options.file)
    names = _names(options, kind.presets if options.presets is None else options.presets)
    device = choose_device(options.device)
    if options.deterministic:
        set_deterministic(device)
    subject = kind.open(options.file, options, device, console)
    contest = Comparison(options, subject, _contenders(options, names, subject), device)
    contest.check()
    with contest.claimed():
        say_if_busy(device, console)
        contest.run(console)
        contest.report(console)


def _names(options: Compare, text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ConfigError(f"--presets is '{text}', but it must look like ngp,siren,ffn")
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ConfigError(f"--presets has '{twice}' twice; every preset is compared once, with --seeds runs")
    if options.seeds < 1:
        raise ConfigError(f"--seeds is {options.seeds}, but every preset needs at least 1 run")
    _check_size(options.budget_params)
    return names


def _check_size(n_params: int | None) -> None:
    if n_params is None:
        return
    if n_params < _SMALLEST:
        raise ConfigError(f"--budget-params is {n_params:,}, but no preset is that small; give for instance 100000")
    free = allowed_memory()
    needed = 4 * _COPIES * n_params
    if free is not None and needed > _SHARE * free:
        raise ConfigError(
            f"--budget-params is {n_params:,}, whose training takes {needed / 1e9:,.1f} GB, but {free / 1e9:,.1f} GB "
            f"of memory are free; {_SHARE * free / 4 / _COPIES:,.0f} would fit"
        )


def _contenders(options: Compare, names: Sequence[str], subject: Subject) -> list[Contender]:
    folders = {name: Path(name).stem for name in names}
    own = _edits(options, names)
    contenders = []
    for name in names:
        twins = list(folders.values()).count(folders[name]) > 1  # config.json of two folders
        folder = f"{names.index(name)}-{folders[name]}" if twins else folders[name]
        contenders.append(Contender(name, folder, subject.wish(name, own[name], options.budget_params)))
    return contenders


def _edits(options: Compare, names: Sequence[str]) -> dict[str, list[Edit]]:
    """Each preset's edits: ``preset:key=value`` is its own, ``key=value`` everybody's."""
    own: dict[str, list[Edit]] = {name: [] for name in names}
    for setting in itertools.chain.from_iterable(options.settings):
        key = setting.partition("=")[0]
        whose, colon, _ = key.rpartition(":")
        if colon and whose not in own:
            raise ConfigError(f"--set {setting}: '{whose}' is not one of --presets{nearest(whose, names)}")
        for name in [whose] if colon else names:
            own[name].append(parse_setting(setting[len(whose) + 1 :] if colon else setting))
    return own


class Comparison:
    """All runs of a comparison, each in ``<out>/<preset>/seed<n>``, and what is written of them in ``out``."""

    def __init__(
        self, options: Compare, subject: Subject, contenders: Sequence[Contender], device: torch.device
    ) -> None:
        self.options = options
        self.subject = subject
        self.contenders = contenders
        self.device = device
        self.out = options.out or Path()  # where nothing was said, a new folder when all is checked
        # Seed by seed, so that every preset has a run before any has its second.
        self.pairs = [(contender, seed) for seed in range(options.seeds) for contender in contenders]
        self.results: dict[tuple[str, int], Mapping[str, Any]] = {}
        self.failures: dict[tuple[str, int], str] = {}

    @property
    def plan(self) -> dict[str, Any]:
        """What must be the same for all runs, also after a resume; presets, seeds and steps may be added then."""
        options = self.options
        return {
            "contents": self.subject.contents,
            "budget_params": options.budget_params,
            "device": str(self.device),
            "backend": options.backend,
            **self.subject.choices,
        }

    def check(self) -> None:
        """Build each preset once, and look at what ``out`` holds: whatever is wrong is said before anything runs."""
        for contender in self.contenders:
            self._run(contender, 0)
        if self.options.overwrite or self.options.out is None:
            return
        summary = self.out / "compare.json"
        if summary.exists() and self.options.resume:
            check_same(read_json(summary, "a comparison's result").object("plan").values, self.plan, self.out)
        elif summary.exists():
            raise DataError(
                f"--out {self.out} already holds a comparison; add --resume to go on with it, --overwrite to replace "
                "it, or choose another folder"
            )
        for contender, seed in self.pairs:
            folder = self._folder(contender, seed)
            folder.check(self.options.resume, self.options.overwrite)
            result = self._run(contender, seed).result(folder) if folder.state.exists() else None
            if result is not None:
                self.results[contender.name, seed] = result

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Make the folder, keep others out of it, and write what is known before anything ran."""
        resume, overwrite = self.options.resume, self.options.overwrite
        if self.options.out is None:
            self.out = default_folder(f"compare-{self.subject.name}")
        with RunFolder(self.out).claimed(resume, overwrite):
            if overwrite:
                for name in ("compare.json", "compare.md", "compare.png"):
                    (self.out / name).unlink(missing_ok=True)
            for contender, seed in self.pairs:
                self._folder(contender, seed).prepare(resume, overwrite)
            self._write()
            yield

    def run(self, console: Terminal) -> None:
        """What is not finished yet; after each run the tables are written anew."""
        if self.results:
            console.print(f"{len(self.results)} of {len(self.pairs)} runs are finished already")
        for i, (contender, seed) in enumerate(self.pairs):
            if (contender.name, seed) in self.results:
                continue
            title = f"[{i + 1}/{len(self.pairs)}] {contender.name}, seed {seed}:"
            try:
                result = self._train(contender, seed, title, console)
            except NonFiniteError as error:
                self.failures[contender.name, seed] = str(error)
                console.print(f"{title} {error}", style="red", soft_wrap=True)
            else:
                self.results[contender.name, seed] = result
                seconds = f"{result['seconds']:.1f} s, {result['steps']} steps"
                console.print(f"{title} {describe(result)}, {seconds}", soft_wrap=True)
            self._write()

    def report(self, console: Terminal) -> None:
        """The table, the picture and where they are."""
        entries = self._entries()
        if entries:
            write_atomically(self.out / "compare.png", self._picture(entries).save)
            console.print(Leaderboard(entries, self.subject.headline).table(self._title()))
            console.print(
                f"in {self.out}: compare.png, compare.md, compare.json, and every run's folder", soft_wrap=True
            )
        if self.failures:
            (name, seed), why = next(iter(self.failures.items()))
            raise NonFiniteError(
                f"{len(self.failures)} of {len(self.pairs)} runs failed: {name} with seed {seed}: {why}; settings of "
                f"one preset are given as --set {name}:KEY=VALUE"
            )

    def _run(self, contender: Contender, seed: int) -> Run:
        return Run(self.subject.task(contender.wish, seed), self.options, seed)

    def _folder(self, contender: Contender, seed: int) -> RunFolder:
        return RunFolder(self.out / contender.folder / f"seed{seed}")

    def _train(self, contender: Contender, seed: int, title: str, console: Terminal) -> dict[str, Any]:
        run, folder = self._run(contender, seed), self._folder(contender, seed)
        if folder.state.exists():
            for line in run.restore(folder):
                console.print(f"{title} {line}", soft_wrap=True)
        title = f"{title} {run.n_params:,} parameters,"
        with run.live(console, title) as live:
            run.train(folder, [TimedEvaluation(run.task.evaluator), live.show], evaluate_every=_NEVER)
        return run.finish(folder, console)

    def _entries(self) -> list[LeaderboardRow]:
        """The presets that have a finished run."""
        entries = []
        for contender in self.contenders:
            seeds = [seed for name, seed in self.results if name == contender.name]
            if seeds:
                headers = [read_header(self._folder(contender, seed).state, "state") for seed in seeds]
                histories = [SavedFacts(header.get("facts"), contender.name).history for header in headers]
                entries.append(
                    LeaderboardRow(contender.name, [self.results[contender.name, s] for s in seeds], histories)
                )
        return entries

    def _write(self) -> None:
        standings = Leaderboard(self._entries(), self.subject.headline)
        settings = {contender.name: [str(edit) for edit in contender.wish.edits] for contender in self.contenders}
        done = {
            "plan": self.plan,
            "seeds": self.options.seeds,
            "settings": settings,
            "finished": len(self.results) == len(self.pairs),
            "rows": standings.rows(),
            "failures": {f"{name}, seed {seed}": why for (name, seed), why in self.failures.items()},
            "version": neufield.__version__,
            "torch_version": torch.__version__,
        }
        write_json(self.out / "compare.json", done)
        text = standings.markdown(self._title())
        write_atomically(self.out / "compare.md", lambda path: path.write_text(text, encoding="utf-8"))

    def _picture(self, entries: Sequence[LeaderboardRow]) -> Any:
        """Draw the first finished seed of each preset, in the order of the table."""
        entries = Leaderboard(entries, self.subject.headline).entries
        by_name = {contender.name: contender for contender in self.contenders}
        folders = {e.preset: self._folder(by_name[e.preset], e.results[0]["seed"]) for e in entries}
        return self.subject.picture(folders, {entry.preset: entry.histories for entry in entries})

    def _title(self) -> str:
        options = self.options
        budgets = [self.subject.size]
        if options.budget_params is not None:
            budgets.append(f"about {options.budget_params:,} parameters")
        if options.time_budget is not None:
            budgets.append(f"{options.time_budget:g} s of training")
        if options.steps is not None:
            budgets.append(
                f"{options.steps} steps" if options.time_budget is None else f"at most {options.steps} steps"
            )
        seeds = "1 seed" if options.seeds == 1 else f"{options.seeds} seeds, mean ± standard deviation"
        return f"{self.subject.name}, {', '.join(budgets)}, {self.device}; {seeds}"


class TimedEvaluation:
    """A hook that scores the field at moments of training each a quarter later than the last, in uncounted time."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.due = _FIRST

    def __call__(self, state: FitState) -> None:
        """Write the scores into the state's last row when it is time."""
        if state.seconds >= self.due and self.evaluator.headline.name not in state.history[-1]:
            state.history[-1] |= evaluate(state, self.evaluator).values
        if state.seconds >= self.due:
            self.due = _FIRST * _RATIO ** max(0, math.floor(math.log(state.seconds / _FIRST, _RATIO)) + 1)
