"""One field on one picture, in one folder: what ``neufield fit`` does once and ``neufield compare`` many times."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

import neufield
from neufield.apps import charts, pictures
from neufield.apps.options import Fit
from neufield.apps.run_folder import RunFolder
from neufield.core.config import describe
from neufield.core.files import write_atomically
from neufield.core.json_files import read_json
from neufield.core.recipe import Recipe
from neufield.fields import NeuralField
from neufield.fitting import FitState, count_parameters, fit, start
from neufield.kernels.dispatch import use_backend
from neufield.parts import load, save
from neufield.signals.image import Image, render

_NO_LIMIT = 1_000_000  # steps, where the time alone decides


class PictureRun:
    """A run before, while and after it trains: ``options`` say how, ``field``, on its device, is what learns.

    ``facts`` are what its result shall also say: how the field was chosen.
    """

    def __init__(
        self,
        options: Fit,
        image: Image,
        field: NeuralField,
        folder: RunFolder,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.options = options
        self.image = image
        self.field = field
        self.folder = folder
        self.facts = facts or {}
        self.device = next(field.parameters()).device
        self.backend = use_backend(field, options.backend, self.device)
        self.state = start(field, field.recipe, options.seed)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes this run this run: a saved state of another is refused."""
        return {
            "picture": picture_identity(self.image),
            "field": describe(self.field),
            "seed": self.options.seed,
            "precision": self.options.precision,
            "sampling": self.options.sampling,
        }

    @property
    def recipe(self) -> Recipe:
        """The field's recipe; under a time budget alone, its steps are no limit."""
        recipe = self.field.recipe
        if self.options.time_budget is not None and self.options.steps is None:
            recipe = dataclasses.replace(recipe, steps=_NO_LIMIT)
        return recipe

    def restore(self) -> bool:
        """Go on from the folder's last save; False where there is none."""
        return self.folder.restore(self.state, self.identity)

    def result(self) -> dict[str, Any] | None:
        """What a finished run of the same identity has written, or None."""
        if not self.folder.finished(self.identity):
            return None
        return read_json(self.folder.result, "a run's result").values

    def train(self, hooks: Sequence[Callable[[FitState], Any]], evaluate_every: int) -> None:
        """Train to the end, saving now and then; ``hooks`` are called before each save."""
        self.state = fit(
            self.field,
            self.image,
            self.recipe,
            time_budget=self.options.time_budget,
            target_psnr=self.options.target_psnr,
            evaluate_every=evaluate_every,
            precision=self.options.precision,
            hooks=[*hooks, self.folder.saving(self.identity, self.options.save_every)],
            state=self.state,
            replay=self.options.replay,
        )

    def finish(self) -> dict[str, Any]:
        """Write everything. The numbers are those of the field as the file gives it back, not of the one in memory."""
        image, folder, state = self.image, self.folder, self.state
        facts = dataclasses.asdict(image.facts)
        with state.average.applied(self.field):
            signal = {"kind": "image", "name": image.name, **facts}
            save(self.field, folder.field, signal=signal, seed=self.options.seed)
        written = load(folder.field).to(self.device)
        use_backend(written, self.options.backend, self.device)

        @torch.no_grad()
        def predict(x: torch.Tensor) -> torch.Tensor:
            return written(x.to(self.device)).float().cpu()

        metrics = image.score(predict)
        values = render(predict, image.facts)
        image.write(folder.reconstruction(image.facts), values)
        write_atomically(folder.path / "comparison.png", pictures.comparison(image, values, metrics["psnr"]).save)
        write_atomically(folder.path / "curve.png", charts.curve(state.history).save)
        result = {**metrics, **self._facts(), **self.facts}
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
            "field_bytes": self.folder.field.stat().st_size,
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


def picture_identity(image: Image) -> dict[str, Any]:
    """What makes a picture this picture."""
    return {"name": image.name, "bytes": image.source_bytes, **dataclasses.asdict(image.facts)}
