"""One task, trained in one folder: what ``fit`` and ``nerf train`` do once and ``compare`` many times."""

import dataclasses
import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch

import neufield
from neufield.apps import curves
from neufield.apps.console import Terminal
from neufield.apps.identity import environment, field_options
from neufield.apps.options.shared import Training
from neufield.apps.progress import ProgressLine
from neufield.apps.run_folder import RunFolder
from neufield.apps.run_record import Length, RunRecord
from neufield.apps.stopping import saved_on_ctrl_c
from neufield.apps.tasks.task import Hook, Task
from neufield.apps.threads import say_if_busy
from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.core.interfaces import Trainable
from neufield.core.json_files import read_json
from neufield.core.recipe import Recipe
from neufield.field_files import load, save
from neufield.fitting import count_parameters, fit, grown, start
from neufield.kernels.dispatch import use_backend
from neufield.metrics import METRICS

_NO_LIMIT = 1_000_000  # steps, where the time alone decides
_INTEGERS = ("n_params", "steps", "field_bytes", "threads")
_TEXTS = ("stopped_by", "device", "backend", "torch_version")


class Run:
    """A task before, while and after it trains: ``options`` say for how long and how, ``seed`` draws the samples.

    The run ends at the first evaluation whose headline reaches the ``target``, if one is given.
    """

    def __init__(self, task: Task, options: Training, seed: int, target: float | None = None) -> None:
        self.task, self.options, self.seed, self.target = task, options, seed, target
        self.device = next(task.model.parameters()).device
        self.backend = use_backend(task.model, options.backend, self.device)
        by_steps = options.time_budget is None or options.steps is not None
        given = options.steps is not None or (options.time_budget, target) != (None, None)
        self.record = RunRecord(
            {"contents": task.contents, **field_options(task.model), "seed": seed, **task.choices},
            Length(task.model.recipe.steps if by_steps else None, options.time_budget, target, given),
            environment(self.backend, self.device),
        )
        self.state = start(task.model, task.model.recipe, seed, task.drawn_on)

    @property
    def recipe(self) -> Recipe:
        """The model's recipe; under a time budget alone, its steps are no limit."""
        recipe = self.task.model.recipe
        if self.options.time_budget is not None and self.options.steps is None:
            recipe = dataclasses.replace(recipe, steps=_NO_LIMIT)
        return recipe

    @property
    def n_params(self) -> int:
        """How many numbers the model learns in the end, when it has grown."""
        return count_parameters(grown(self.task.model, self.task.model.recipe.plan))

    def restore(self, folder: RunFolder) -> list[str]:
        """Go on from the folder's last save; what is to be said about it, a line each."""
        return folder.restore(self.state, self.record)

    def result(self, folder: RunFolder) -> dict[str, Any] | None:
        """What this run, of this length, has written in ``folder`` if it was finished there, or None."""
        if not folder.finished(self.record):
            return None
        result = read_json(folder.result, "a run's result")
        headline = self.task.evaluator.headline.name
        for key in METRICS.keys() & result.values.keys() | {headline}:  # null: of a perfect copy
            if key not in result.values or result.has(key):
                result.number(key)
        result.number("seconds")
        for key in _INTEGERS:
            result.integer(key, least=0)
        for key in _TEXTS:
            result.text(key)
        if result.integer("seed") != self.seed:
            raise DataError(f"{folder.result} is of seed {result.integer('seed')}, not {self.seed}; remove it")
        return result.values

    def live(self, console: Terminal, title: str = "") -> ProgressLine:
        """The line that says how far it is."""
        task, recipe = self.task, self.recipe

        def work(row: Any) -> float:
            return task.report.work(row, recipe.batch_size)

        metric, budget = task.evaluator.headline, self.options.time_budget
        return ProgressLine(console, recipe.steps, budget, metric, work, task.report.unit, title)

    def train(
        self, folder: RunFolder, hooks: Sequence[Hook], evaluate_every: int | None = None, after: Sequence[Hook] = ()
    ) -> None:
        """Train to the end, saving now and then, and at Ctrl-C; ``hooks`` are called before each save, others after.

        ``evaluate_every`` so many steps, by default the task's.
        """
        task, options = self.task, self.options
        gc.freeze()  # what is there by now would be gone through again and again: 5 % of a short step
        try:
            with saved_on_ctrl_c(self.state, lambda state: folder.save_state(state, self.record)) as look:
                self.state = fit(
                    task.model,
                    task.source,
                    self.recipe,
                    objective=task.objective,
                    time_budget=options.time_budget,
                    target=self.target,
                    evaluator=task.evaluator,
                    evaluate_every=evaluate_every or task.evaluate_every,
                    precision=task.precision,
                    hooks=[*hooks, look, folder.saving(self.record, options.save_every), *after],
                    state=self.state,
                    replay=task.replay,
                )
        finally:
            gc.unfreeze()

    def finish(self, folder: RunFolder, console: Terminal) -> dict[str, Any]:
        """Write everything. The numbers are those of the field as the file gives it back, not of the one in memory."""
        task, state = self.task, self.state
        with state.ema.applied(task.model):
            save(task.model, folder.field, signal=task.info, seed=self.seed)
        judged = task.report.judge(self._written(folder), folder, state.history, console)
        result = {**judged, **self._facts(folder), **task.facts}
        write_atomically(folder.path / "curve.png", curves.curve(state.history, task.evaluator.headline).save)
        folder.write_log(state.history)
        folder.write_result(result)
        return result

    def _written(self, folder: RunFolder) -> Trainable:
        written = load(folder.field).to(self.device)
        use_backend(written, self.options.backend, self.device)
        assert isinstance(written, Trainable)
        return written

    def _facts(self, folder: RunFolder) -> dict[str, Any]:
        """What every run's result says."""
        return {
            "seconds": round(self.state.seconds, 3),
            "steps": self.state.step,
            "stopped_by": self.state.stopped,
            "n_params": count_parameters(self.task.model),
            "field_bytes": folder.field.stat().st_size,
            "source_bytes": self.task.info.source_bytes,
            "preset": self.task.preset,
            "backend": self.backend,
            "device": str(self.device),
            "precision": self.task.precision,
            "deterministic": self.options.deterministic,
            "threads": torch.get_num_threads(),
            "seed": self.seed,
            "version": neufield.__version__,
            "torch_version": torch.__version__,
        }


def carry_out(
    run: Run,
    folder: RunFolder,
    console: Terminal,
    after: Callable[[ProgressLine], Sequence[Hook]] = lambda _: (),
) -> None:
    """Train a run to its end in its claimed ``folder``, and say how it goes and went.

    ``after`` gives hooks that are called after each save, and may say something in the line that shows the progress.
    """
    task, options = run.task, run.options
    resumed = run.restore(folder) if options.resume else []
    for line in [task.about] * bool(task.about):
        console.print(line, soft_wrap=True)
    where = f"{run.device} ({run.backend}, {task.precision})"
    numbers = f"{run.n_params:,} parameters"
    console.print(f"{task.preset}: {numbers} on {where}, {run.record.length}", soft_wrap=True)
    say_if_busy(run.device, console)
    for line in resumed:
        console.print(line, soft_wrap=True)
    watching = task.report.hooks(folder)
    with run.live(console) as live:
        run.train(folder, [*watching, live.show], after=after(live))
    result = run.finish(folder, console)
    for line in task.report.lines(result, folder):
        console.print(line, soft_wrap=True)
