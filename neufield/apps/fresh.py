"""``neufield fit --fresh``: what is compared, and the table of what came out."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from rich.table import Table

from neufield.apps.console import Terminal
from neufield.apps.options import Fit
from neufield.apps.tasks import Subject, Wish
from neufield.apps.tasks.lattice import ImageSubject
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError
from neufield.fields import NeuralField
from neufield.fitting import SPECTRA, FreSh, Selection
from neufield.kernels.dispatch import use_backend
from neufield.presets import find, names
from neufield.presets.fresh import Axis, draws

_SHOWN = 5  # candidates


class FreshSearch:
    """The candidates of a run, checked before it begins."""

    def __init__(
        self,
        subject: ImageSubject,
        axis: Axis,
        fresh: FreSh,
        wish: Callable[[Sequence[Edit]], Wish],
        make: Callable[[Sequence[Edit], torch.Generator], NeuralField],
    ) -> None:
        self.subject, self.axis, self.fresh, self.make, self._wish = subject, axis, fresh, make, wish
        for draw in draws(axis, make).values():  # what cannot be built is told before anything is written
            draw(torch.Generator())

    @classmethod
    def of(cls, options: Fit, subject: Subject, edits: Sequence[Edit]) -> "FreshSearch | None":
        """The search that the flags ask for; None without any of them."""
        if not options.fresh and options.fresh_over is None:
            return None
        if not isinstance(subject, ImageSubject):
            raise ConfigError(f"FreSh compares the spectra of pictures, and {options.file} is none; leave --fresh out")
        axis = default_axis(options.preset) if options.fresh_over is None else axis_from(options.fresh_over)
        if any(edit.path == axis.path for edit in edits):
            raise ConfigError(f"--set {axis.path} and FreSh both choose it; leave one out")

        def wish(more: Sequence[Edit]) -> Wish:
            return subject.wish(options.preset, [*edits, *more])

        def make(more: Sequence[Edit], generator: torch.Generator) -> NeuralField:
            field = subject.field(wish(more), generator)
            use_backend(field, options.backend, subject.device)
            return field

        return cls(subject, axis, FreSh(spectrum=SPECTRA[options.fresh_spectrum], seed=options.seed), wish, make)

    def run(self, console: Terminal) -> dict[str, Any]:
        """Choose, say so, and return what belongs in the result."""
        begun, image = time.perf_counter(), self.subject.image
        selection = self.fresh.select(image, image.shape, draws(self.axis, self.make))
        seconds = round(time.perf_counter() - begun, 3)
        console.print(_table(selection))
        console.print(f"FreSh took {selection.chosen}, in {seconds:.1f} s")
        return {"chosen": selection.chosen, "distances": dict(selection.distances), "seconds": seconds}

    def wish(self, chosen: str) -> Wish:
        """What to train: the same as ``--set`` would have given."""
        return self._wish([self.axis.candidates()[chosen]])


def default_axis(name: str) -> Axis:
    """The axis along which FreSh varies the preset called ``name``."""
    axes = {known: axis for known in names() if (axis := find(known).fresh) is not None}
    if name not in axes:
        raise ConfigError(
            f"FreSh has no candidates of its own for the preset '{name}', only for {', '.join(sorted(axes))}; "
            "name an argument and its values, for instance --fresh-over network.width=32,64"
        )
    return axes[name]


def axis_from(text: str) -> Axis:
    """The axis in "key=10,20,30", or in "key=10:200:10", whose last value counts too."""
    key, equals, values = text.partition("=")
    try:
        if ":" in values:
            first, last, step = (float(part) for part in values.split(":"))
            if not step > 0 or last < first:
                raise ValueError
            numbers = [round(first + i * step, 9) for i in range(int((last - first) / step + 1e-6) + 1)]
        else:
            numbers = [float(part) for part in values.split(",")]
        if not equals or not key:
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"--fresh-over is {text!r}, but it must look like network.omega_0=10,20,30 or network.omega_0=10:200:10"
        ) from None
    return Axis(key, numbers)


def _table(selection: Selection) -> Table:
    """The nearest few candidates."""
    table = Table("candidate", "distance of spectra")
    nearest: Mapping[str, float] = dict(sorted(selection.distances.items(), key=lambda item: item[1])[:_SHOWN])
    for name, distance in nearest.items():
        table.add_row(name, f"{distance:.3f}")
    if len(selection.distances) > _SHOWN:
        table.add_row(f"and {len(selection.distances) - _SHOWN} more", "")
    return table
