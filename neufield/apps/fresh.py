"""``neufield fit --fresh``: what is compared, and the table of what came out."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from rich.table import Table

from neufield.apps.console import Terminal
from neufield.apps.options import Fit
from neufield.apps.resolve import choose_field
from neufield.core.errors import ConfigError
from neufield.fields import NeuralField
from neufield.fitting import SPECTRA, FreSh, Selection
from neufield.kernels.dispatch import use_backend
from neufield.presets.fresh import Axis, axis_from, default_axis, draws
from neufield.signals.image import Image

_SHOWN = 5  # candidates


class FreshSearch:
    """The candidates of a run, checked before it begins."""

    def __init__(
        self, image: Image, axis: Axis, fresh: FreSh, make: Callable[[Sequence[str], torch.Generator], NeuralField]
    ) -> None:
        self.image = image
        self.axis = axis
        self.fresh = fresh
        self.make = make
        for settings in axis.settings().values():  # what cannot be built is told before anything is written
            make(settings, torch.Generator())

    @classmethod
    def of(cls, options: Fit, image: Image, settings: Sequence[str], device: torch.device) -> "FreshSearch | None":
        """As the flags say; None without any of them."""
        if not options.fresh and options.fresh_over is None:
            return None
        axis = default_axis(options.preset) if options.fresh_over is None else axis_from(options.fresh_over)
        if any(setting.partition("=")[0] == axis.key for setting in settings):
            raise ConfigError(f"--set {axis.key} and FreSh both choose it; leave one out")

        def make(more: Sequence[str], generator: torch.Generator) -> NeuralField:
            field = choose_field(image, options.preset, [*settings, *more], options.steps, generator).to(device)
            use_backend(field, options.backend, device)
            return field

        return cls(image, axis, FreSh(spectrum=SPECTRA[options.fresh_spectrum], seed=options.seed), make)

    def run(self, console: Terminal) -> dict[str, Any]:
        """Choose, say so, and return what belongs in the result."""
        begun = time.perf_counter()
        selection = self.fresh.select(self.image, self.image.shape, draws(self.axis, self.make))
        seconds = round(time.perf_counter() - begun, 3)
        console.print(_table(selection))
        console.print(f"FreSh took {selection.chosen}, in {seconds:.1f} s")
        return {"chosen": selection.chosen, "distances": dict(selection.distances), "seconds": seconds}

    def field(self, chosen: str) -> NeuralField:
        """The field to train: the same as ``--set`` would have given."""
        return self.make([chosen], torch.Generator().manual_seed(self.fresh.seed))


def _table(selection: Selection) -> Table:
    """The nearest few candidates."""
    table = Table("candidate", "distance of spectra")
    nearest: Mapping[str, float] = dict(sorted(selection.distances.items(), key=lambda item: item[1])[:_SHOWN])
    for name, distance in nearest.items():
        table.add_row(name, f"{distance:.3f}")
    if len(selection.distances) > _SHOWN:
        table.add_row(f"and {len(selection.distances) - _SHOWN} more", "")
    return table
