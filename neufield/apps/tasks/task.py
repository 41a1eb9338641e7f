"""What is trained: a task is one model on one signal, a subject a signal of which tasks are made, a kind its door."""

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow

from neufield.apps.console import Terminal
from neufield.apps.curves import Rows
from neufield.apps.load_field import load_field, predictor
from neufield.apps.options.distill import Distill
from neufield.apps.options.shared import PathOptions, SurfaceOptions, Training
from neufield.apps.options.signal import Export, Render, View
from neufield.apps.refuse import refuse
from neufield.apps.run_folder import RunFolder
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError, command
from neufield.core.files import write_atomically
from neufield.core.interfaces import Evaluator, Exporter, Objective, Source, Trainable
from neufield.core.metrics import Metric
from neufield.core.signal_info import SignalInfo
from neufield.fitting import FitState
from neufield.presets import SignalFacts
from neufield.signals.exporters import exporter_of

Hook = Callable[[FitState], object]


class Report(abc.ABC):
    """Judges a finished run of one kind of signal, and says and draws what people want to know of it."""

    unit = "points"  # of work

    def work(self, row: Mapping[str, float], batch_size: int) -> float:
        """How many of ``unit`` a step was, by its row of the log."""
        del row
        return batch_size

    def hooks(self, folder: RunFolder) -> Sequence[Hook]:
        """What looks at the model while it trains, in time that is not counted."""
        del folder
        return ()

    @abc.abstractmethod
    def judge(self, written: Trainable, folder: RunFolder, history: Rows, console: Terminal) -> Mapping[str, Any]:
        """Score the field that the file gave back, draw it into ``folder``, and return what the result says of it."""

    @abc.abstractmethod
    def lines(self, result: Mapping[str, Any], folder: RunFolder) -> Iterable[Any]:
        """What is printed of a finished run, ``result`` being all that its file says."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One model that learns one signal: all that a :class:`~neufield.apps.run.Run` must know of either.

    Args:
        info: what the field's file says of the signal.
        source: where samples come from.
        model: what learns, on its device; its recipe is the plan of the training.
        objective: what is minimized; None: what the recipe says.
        evaluator: says while it trains how good the model is.
        report: judges and draws what comes out.
        preset: the name that the model was asked for by.
        contents: digests of what is learned from, each by what it is called in a sentence; a resumed run has the same.
        choices: options beside the model and its recipe that decide what is learned; they stay the same, too.
        facts: what the result says beside what every run's says.
        about: a line for people on what is learned, "" where it was said before.
        evaluate_every: steps between evaluations.
        precision: of matrix products.
        replay: whether CUDA may record a step and replay it.
        drawn_on: where samples are drawn.
    """

    info: SignalInfo
    source: Source
    model: Trainable
    objective: Objective | None
    evaluator: Evaluator
    report: Report
    preset: str
    contents: Mapping[str, str]
    evaluate_every: int
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    about: str = ""
    precision: str = "fp32"
    replay: bool = True
    drawn_on: torch.device | str = "cpu"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a model is to be: a preset by name, changed by ``edits``, made for ``facts`` of a signal if given."""

    preset: str
    edits: Sequence[Edit] = ()
    facts: SignalFacts | None = None


class Subject(abc.ABC):
    """A signal that was opened, of which tasks are made, one for each preset and seed.

    Attributes:
        name: for people, and for folders.
        size: for titles, such as "768 x 512".
        contents: see :class:`Task`.
        headline: the metric by which runs are compared.
        choices: options that all tasks of a comparison must share, also when it goes on.
    """

    name: str
    size: str
    contents: Mapping[str, str]
    headline: Metric
    choices: Mapping[str, Any]

    @abc.abstractmethod
    def wish(self, preset: str, edits: Sequence[Edit] = (), n_params: int | None = None) -> Wish:
        """The preset of that name with those ``edits``, made to have about ``n_params`` parameters if given.

        Raises ConfigError where it cannot be had for this signal.
        """

    @abc.abstractmethod
    def task(self, wish: Wish, seed: int) -> Task:
        """One preset's model for this signal, drawn by ``seed``."""

    @abc.abstractmethod
    def picture(self, folders: Mapping[str, RunFolder], histories: Mapping[str, Sequence[Rows]]) -> Pillow.Image:
        """Finished runs by the names of their presets, side by side, with the learning curves of all their seeds."""


class Kind(abc.ABC):
    """A kind of signal, by the ``name`` that a field's file has for it: how it is opened, and how it comes back.

    ``noun`` is it in a sentence, such as "a picture". A kind that has an exporter need not say how it is drawn.
    """

    name: str
    noun: str
    presets: str = ""  # what is compared where nothing was said

    @abc.abstractmethod
    def accepts(self, path: Path) -> bool:
        """Whether the file or folder looks like a signal of this kind; only its name and type are looked at."""

    @abc.abstractmethod
    def open(self, path: Path, options: Training, device: torch.device, console: Terminal) -> Subject:
        """Read the signal; ``options`` are those of ``fit`` or ``compare``. What is odd about it is printed."""

    def distill(self, options: Distill, info: SignalInfo, device: torch.device, console: Terminal) -> Task:
        """A field of this kind as a teacher, whose file says ``info``."""
        del info, device, console
        raise ConfigError(
            f"{options.teacher} holds {self.noun}, which no command distills; do so from Python, by nf.signals.Teacher"
        )

    def looks(self, path: Path) -> Mapping[str, Any]:
        """What ``info`` says of a signal's own file."""
        return {"signal": {"kind": self.name, "bytes": path.stat().st_size}}

    @abc.abstractmethod
    def holds(self, info: SignalInfo) -> str:
        """What a field's file holds, in words."""

    def exporter(self, info: SignalInfo) -> Exporter:
        """Who writes a field back as a file of its signal's kind; by default the library's for the name."""
        return exporter_of(info)

    def render(self, options: Render, info: SignalInfo, console: Terminal) -> None:
        """Draw a field as a picture, or as many: by default one, its exporter's preview."""
        refuse(options, PathOptions, f"{options.field} holds {self.noun}", "radiance fields")
        if options.crop is not None or options.scale is not None:
            raise ConfigError(
                f"{options.field} holds {self.noun}, but --crop and --scale are for pictures; leave them out"
            )
        exporter = self.exporter(info)
        picture = exporter.preview(predictor(load_field(options.field, options.device, options.backend)))
        write_atomically(options.output, Pillow.fromarray(picture).save)
        console.print(f"{options.output}: {picture.shape[1]} x {picture.shape[0]}", soft_wrap=True)

    def view(self, options: View, info: SignalInfo, console: Terminal) -> None:
        """Show a field until Ctrl-C; by default what to type instead is said."""
        drawn = command("neufield", "render", options.field, "-o", "preview.png")
        raise ConfigError(f"{options.field} holds {self.noun}, of which a page shows nothing; draw it: {drawn}")

    def export(self, options: Export, info: SignalInfo, console: Terminal) -> None:
        """Write a field as a file of what it represents, by default in the signal's own size."""
        refuse(options, SurfaceOptions, f"{options.field} holds {self.noun}", "radiance fields")
        exporter = self.exporter(info)
        exporter.write(options.out, predictor(load_field(options.field, options.device, options.backend)))
        console.print(f"{options.out}: {' x '.join(str(cells) for cells in info.domain.shape or ())}", soft_wrap=True)
