"""``neufield compare``: one picture, several presets, the same budget; every run is one that ``neufield fit`` does."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neufield
from neufield import presets
from neufield.apps.console import Terminal
from neufield.apps.identity import check_same, picture_contents
from neufield.apps.leaderboard import Leaderboard, LeaderboardRow
from neufield.apps.options import Compare, Fit
from neufield.apps.picture_run import PictureRun
from neufield.apps.progress import ProgressLine
from neufield.apps.resolve import choose_device, choose_field, choose_size, facts_of, set_deterministic
from neufield.apps.run_folder import RunFolder, check_run, default_folder, write_json
from neufield.apps.settings import parse_setting
from neufield.apps.side_by_side import side_by_side
from neufield.apps.threads import say_if_busy
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError, DataError, NonFiniteError, nearest
from neufield.core.files import write_atomically
from neufield.core.interfaces import Evaluator
from neufield.core.json_files import read_json
from neufield.core.memory import allowed_memory
from neufield.fitting import FitState, count_parameters, evaluate
from neufield.fitting.files import read_header
from neufield.fitting.state import SavedFacts
from neufield.metrics import describe
from neufield.signals.image import Image

_NEVER = 10**9  # steps between evaluations by steps; ours go by the clock, and their time is not counted
_FIRST, _RATIO = 0.1, 10**0.1  # seconds of the first evaluation, and from one to the next: 1, 1.26, 1.6, 2, 2.5 ...
_SMALLEST = 100  # parameters
_COPIES = 5  # of the parameters: themselves, gradients, Adam's two moments, and one while a save is written
_SHARE = 0.8  # of the free memory


@dataclasses.dataclass(frozen=True)
class Contender:
    """A preset in this comparison: its ``name``, that of its ``folder``, and what its field is built from."""

    name: str
    folder: str
    request: presets.PresetRequest


def compare(options: Compare) -> None:
    """Run the whole command. Every wrong option is found before the first step."""
    console = Terminal()
    check_run(options.steps, options.time_budget, options.save_every, options.out, options.resume, options.overwrite)
    names = _names(options)
    device = choose_device(options.device)
    if options.deterministic:
        set_deterministic(device)
    image = Image(options.file, options.sampling)
    contest = Comparison(options, image, _entrants(options, names, image), device)
    contest.check()
    with contest.claimed():
        for note in image.notes:
            console.print(f"note: {note}", style="yellow")
        say_if_busy(device, console)
        contest.run(console)
        contest.report(console)


def _names(options: Compare) -> list[str]:
    names = [name.strip() for name in options.presets.split(",")]
    if not all(names):
        raise ConfigError(f"--presets is '{options.presets}', but it must look like ngp,siren,ffn")
    for name in names:
        if not name.endswith(".json"):
            presets.find(name)
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


def _entrants(options: Compare, names: Sequence[str], image: Image) -> list[Contender]:
    folders = {name: Path(name).stem for name in names}
    own = _edits(options, names)
    entrants = []
    for name in names:
        request = presets.PresetRequest(facts_of(image), own[name])
        if options.budget_params is not None:
            request = choose_size(image, name, request, options.budget_params)
        twins = list(folders.values()).count(folders[name]) > 1  # config.json of two folders
        entrants.append(Contender(name, f"{names.index(name)}-{folders[name]}" if twins else folders[name], request))
    return entrants


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

    def __init__(self, options: Compare, image: Image, entrants: Sequence[Contender], device: torch.device) -> None:
        self.options = options
        self.image = image
        self.entrants = entrants
        self.device = device
        self.contents = picture_contents(image)
        self.out = options.out or Path()  # where nothing was said, a new folder when all is checked
        # Seed by seed, so that every preset has a run before any has its second.
        self.pairs = [(entrant, seed) for seed in range(options.seeds) for entrant in entrants]
        self.results: dict[tuple[str, int], Mapping[str, Any]] = {}
        self.failures: dict[tuple[str, int], str] = {}

    @property
    def plan(self) -> dict[str, Any]:
        """What must be the same for all runs, also after a resume; presets, seeds and steps may be added then."""
        options = self.options
        return {
            "contents": self.contents,
            "budget_params": options.budget_params,
            "device": str(self.device),
            "backend": options.backend,
        }

    def check(self) -> None:
        """Build each preset once, and look at what ``out`` holds: whatever is wrong is said before anything runs."""
        for entrant in self.entrants:
            self._run(entrant, 0)
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
        for entrant, seed in self.pairs:
            folder = self._folder(entrant, seed)
            folder.check(self.options.resume, self.options.overwrite)
            result = self._run(entrant, seed).result(folder) if folder.state.exists() else None
            if result is not None:
                self.results[entrant.name, seed] = result

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Make the folder, keep others out of it, and write what is known before anything ran."""
        resume, overwrite = self.options.resume, self.options.overwrite
        if self.options.out is None:
            self.out = default_folder(f"compare-{self.image.name}")
        with RunFolder(self.out).claimed(resume, overwrite):
            if overwrite:
                for name in ("compare.json", "compare.md", "compare.png"):
                    (self.out / name).unlink(missing_ok=True)
            for entrant, seed in self.pairs:
                self._folder(entrant, seed).prepare(resume, overwrite)
            self._write()
            yield

    def run(self, console: Terminal) -> None:
        """What is not finished yet; after each run the tables are written anew."""
        if self.results:
            console.print(f"{len(self.results)} of {len(self.pairs)} runs are finished already")
        for i, (entrant, seed) in enumerate(self.pairs):
            if (entrant.name, seed) in self.results:
                continue
            title = f"[{i + 1}/{len(self.pairs)}] {entrant.name}, seed {seed}:"
            try:
                result = self._train(entrant, seed, title, console)
            except NonFiniteError as error:
                self.failures[entrant.name, seed] = str(error)
                console.print(f"{title} {error}", style="red", soft_wrap=True)
            else:
                self.results[entrant.name, seed] = result
                seconds = f"{result['seconds']:.1f} s, {result['steps']} steps"
                console.print(f"{title} {describe(result)}, {seconds}", soft_wrap=True)
            self._write()

    def report(self, console: Terminal) -> None:
        """The table, the picture and where they are."""
        entries = self._entries()
        if entries:
            write_atomically(self.out / "compare.png", self._picture(entries).save)
            console.print(Leaderboard(entries, self.image.headline).table(self._title()))
            console.print(
                f"in {self.out}: compare.png, compare.md, compare.json, and every run's folder", soft_wrap=True
            )
        if self.failures:
            (name, seed), why = next(iter(self.failures.items()))
            raise NonFiniteError(
                f"{len(self.failures)} of {len(self.pairs)} runs failed: {name} with seed {seed}: {why}; settings of "
                f"one preset are given as --set {name}:KEY=VALUE"
            )

    def _run(self, entrant: Contender, seed: int) -> PictureRun:
        options = self.options
        fit = Fit(
            options.file,
            preset=entrant.name,
            steps=options.steps,
            time_budget=options.time_budget,
            seed=seed,
            device=options.device,
            backend=options.backend,
            precision=options.precision,
            deterministic=options.deterministic,
            replay=options.replay,
            sampling=options.sampling,
            save_every=options.save_every,
        )
        generator = torch.Generator().manual_seed(seed)
        field = choose_field(
            self.image, entrant.name, entrant.request.edits, options.steps, generator, entrant.request.facts
        ).to(self.device)
        return PictureRun(fit, self.image, field, self.contents)

    def _folder(self, entrant: Contender, seed: int) -> RunFolder:
        return RunFolder(self.out / entrant.folder / f"seed{seed}")

    def _train(self, entrant: Contender, seed: int, title: str, console: Terminal) -> dict[str, Any]:
        run, folder = self._run(entrant, seed), self._folder(entrant, seed)
        if folder.state.exists():
            for line in run.restore(folder):
                console.print(f"{title} {line}", soft_wrap=True)
        batch = run.recipe.batch_size
        steps, budget = run.recipe.steps, self.options.time_budget
        title = f"{title} {count_parameters(run.field):,} parameters,"
        with ProgressLine(console, steps, budget, self.image.headline, lambda _: batch, title=title) as live:
            run.train(folder, [TimedEvaluation(self.image), live.show], evaluate_every=_NEVER)
        return run.finish(folder)

    def _entries(self) -> list[LeaderboardRow]:
        """The presets that have a finished run."""
        entries = []
        for entrant in self.entrants:
            seeds = [seed for name, seed in self.results if name == entrant.name]
            if seeds:
                headers = [read_header(self._folder(entrant, seed).state, "state") for seed in seeds]
                histories = [SavedFacts(header.get("facts"), entrant.name).history for header in headers]
                entries.append(LeaderboardRow(entrant.name, [self.results[entrant.name, s] for s in seeds], histories))
        return entries

    def _write(self) -> None:
        standings = Leaderboard(self._entries(), self.image.headline)
        settings = {entrant.name: [str(edit) for edit in entrant.request.edits] for entrant in self.entrants}
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
        """From the first finished seed of each preset, in the order of the table."""
        entries = Leaderboard(entries, self.image.headline).entries
        by_name = {entrant.name: entrant for entrant in self.entrants}
        reconstructions: dict[str, np.ndarray] = {}
        for entry in entries:
            folder = self._folder(by_name[entry.preset], entry.results[0]["seed"])
            reconstructions[entry.preset] = Image(folder.reconstruction(self.image.facts)).pixels
        return side_by_side(self.image, reconstructions, {entry.preset: entry.histories for entry in entries})

    def _title(self) -> str:
        options, facts = self.options, self.image.facts
        budgets = [f"{facts.width} x {facts.height}"]
        if options.budget_params is not None:
            budgets.append(f"about {options.budget_params:,} parameters")
        if options.time_budget is not None:
            budgets.append(f"{options.time_budget:g} s of training")
        if options.steps is not None:
            budgets.append(
                f"{options.steps} steps" if options.time_budget is None else f"at most {options.steps} steps"
            )
        seeds = "1 seed" if options.seeds == 1 else f"{options.seeds} seeds, mean ± standard deviation"
        return f"{self.image.name}, {', '.join(budgets)}, {self.device}; {seeds}"


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
