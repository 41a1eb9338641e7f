"""One field on one picture, in one folder: what ``neufield fit`` does once and ``neufield compare`` many times."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

import neufield
from neufield.apps import comparison_page, curves
from neufield.apps.identity import environment, field_options
from neufield.apps.options import Fit
from neufield.apps.run import Length, Run
from neufield.apps.run_folder import RunFolder
from neufield.apps.stopping import saved_on_ctrl_c
from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.core.json_files import read_json
from neufield.core.memory import check_budget
from neufield.core.recipe import Recipe
from neufield.core.reckoning import training_bytes
from neufield.fields import NeuralField
from neufield.fitting import FitState, count_parameters, fit, start
from neufield.kernels.dispatch import use_backend
from neufield.metrics import METRICS
from neufield.parts import load, save
from neufield.signals.image import Image, render, write_image

_NO_LIMIT = 1_000_000  # steps, where the time alone decides


class PictureRun:
    """A run before, while and after it trains: ``options`` say how, ``field``, on its device, is what learns.

    ``contents`` are the picture's (``identity.picture_contents``). ``facts`` are what its result shall also say: how
    the field was chosen.
    """

    def __init__(
        self,
        options: Fit,
        image: Image,
        field: NeuralField,
        contents: Mapping[str, str],
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.options = options
        self.image = image
        self.field = field
        self.facts = facts or {}
        self.device = next(field.parameters()).device
        self.backend = use_backend(field, options.backend, self.device)
        if self.device.type == "cpu":  # a GPU's memory is its own
            needed = training_bytes(field, bool(field.recipe.ema))
            check_budget(needed, "the field with its optimiser", "make it smaller by --set")
        self.state = start(field, field.recipe, options.seed)
        choices = {"seed": options.seed, "precision": options.precision, "sampling": options.sampling}
        budgets = (options.time_budget, options.target_psnr)
        by_steps = options.time_budget is None or options.steps is not None
        given = options.steps is not None or budgets != (None, None)
        self.run = Run(
            {"contents": contents, **field_options(field), **choices},
            Length(field.recipe.steps if by_steps else None, *budgets, given),
            environment(self.backend, self.device),
        )

    @property
    def recipe(self) -> Recipe:
        """The field's recipe; under a time budget alone, its steps are no limit."""
        recipe = self.field.recipe
        if self.options.time_budget is not None and self.options.steps is None:
            recipe = dataclasses.replace(recipe, steps=_NO_LIMIT)
        return recipe

    def restore(self, folder: RunFolder) -> list[str]:
        """Go on from the folder's last save; what is to be said about it, a line each."""
        return folder.restore(self.state, self.run)

    def result(self, folder: RunFolder) -> dict[str, Any] | None:
        """What this run, of this length, has written in ``folder`` if it was finished there, or None."""
        if not folder.finished(self.run):
            return None
        result = read_json(folder.result, "a run's result")
        for key in METRICS.keys() & result.values.keys() | {self.image.headline.name}:  # null: of a perfect copy
            if key not in result.values or result.has(key):
                result.number(key)
        result.number("seconds")
        for key in ("n_params", "steps", "field_bytes", "threads"):
            result.integer(key, least=0)
        for key in ("stopped_by", "device", "backend", "torch_version"):
            result.text(key)
        if result.integer("seed") != self.options.seed:
            raise DataError(f"{folder.result} is of seed {result.integer('seed')}, not {self.options.seed}; remove it")
        return result.values

    def train(self, folder: RunFolder, hooks: Sequence[Callable[[FitState], Any]], evaluate_every: int) -> None:
        """Train to the end, saving now and then, and at Ctrl-C; ``hooks`` are called before each save."""
        with saved_on_ctrl_c(self.state, lambda state: folder.save_state(state, self.run)) as look:
            self.state = fit(
                self.field,
                self.image,
                self.recipe,
                time_budget=self.options.time_budget,
                target=self.options.target_psnr,
                evaluate_every=evaluate_every,
                precision=self.options.precision,
                hooks=[*hooks, look, folder.saving(self.run, self.options.save_every)],
                state=self.state,
                replay=self.options.replay,
            )

    def finish(self, folder: RunFolder) -> dict[str, Any]:
        """Write everything. The numbers are those of the field as the file gives it back, not of the one in memory."""
        image, state = self.image, self.state
        with state.average.applied(self.field):
            save(self.field, folder.field, signal=image.info, seed=self.options.seed)
        written = load(folder.field).to(self.device)
        use_backend(written, self.options.backend, self.device)

        @torch.no_grad()
        def predict(x: torch.Tensor) -> torch.Tensor:
            return written(x.to(self.device)).float().cpu()

        metrics = image.evaluate(predict)
        values = render(predict, image.facts)
        write_image(folder.reconstruction(image.facts), values, image.facts)
        page = comparison_page.comparison(image, values, metrics.headline.text(metrics.value))
        write_atomically(folder.path / "comparison.png", page.save)
        write_atomically(folder.path / "curve.png", curves.curve(state.history, metrics.headline).save)
        result = {**metrics.values, "field_bytes": folder.field.stat().st_size, **self._facts(), **self.facts}
        folder.write_log(state.history)
        folder.write_result(result)
        return result

    def _facts(self) -> dict[str, Any]:
        image, options = self.image, self.options
        return {
            "seconds": round(self.state.seconds, 3),
            "steps": self.state.step,
            "stopped_by": self.state.stopped,
            "n_params": count_parameters(self.field),
            "source_bytes": image.source_bytes,
            "source": str(options.file),
            "preset": options.preset,
            "width": image.facts.width,
            "height": image.facts.height,
            "channels": image.facts.channels,
            "peak": image.facts.peak,
            "backend": self.backend,
            "device": str(self.device),
            "precision": options.precision,
            "deterministic": options.deterministic,
            "threads": torch.get_num_threads(),
            "seed": options.seed,
            "version": neufield.__version__,
            "torch_version": torch.__version__,
        }
