"""Pictures, and other values on a lattice, as tasks."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow

from neufield import presets
from neufield.apps.console import Terminal
from neufield.apps.curves import Rows
from neufield.apps.options.distill import Distill
from neufield.apps.options.shared import Judging, PathOptions, PictureTraining, SceneTraining, Training
from neufield.apps.options.signal import Render, View
from neufield.apps.refuse import refuse
from neufield.apps.render import render_image
from neufield.apps.report.picture import PictureReport, in_bytes
from neufield.apps.resolve import choose_field, choose_size, facts_of
from neufield.apps.run_folder import RunFolder
from neufield.apps.side_by_side import side_by_side
from neufield.apps.tasks.distill import picture_task
from neufield.apps.tasks.task import Kind, Subject, Task, Wish
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError, DataError, command
from neufield.core.memory import check_budget
from neufield.core.reckoning import training_bytes
from neufield.core.signal_info import SignalInfo
from neufield.fields import NeuralField
from neufield.signals.exporters import image_facts
from neufield.signals.image import Image

_CHANNELS = {1: "gray", 2: "gray + alpha", 3: "RGB", 4: "RGBA"}


class ImageSubject(Subject):
    """A picture in memory: that of the file in ``path``, or an ``image`` that was made otherwise."""

    def __init__(self, path: Path, options: Training, device: torch.device, image: Image | None = None) -> None:
        how = options if isinstance(options, PictureTraining) else PictureTraining()
        self.path, self.options, self.how, self.device = path, options, how, device
        self.image = image or Image(path, how.sampling)
        self.name, self.headline = self.image.name, self.image.headline
        self.size = f"{self.image.facts.width} x {self.image.facts.height}"
        self.contents = {f"the picture {self.name}": self.image.info.digest}
        self.choices: Mapping[str, str] = {}

    def wish(self, preset: str, edits: Sequence[Edit] = (), n_params: int | None = None) -> Wish:
        """See :class:`Subject`."""
        if not preset.endswith(".json"):
            presets.find(preset)
        request = presets.PresetRequest(facts_of(self.image), list(edits))
        if n_params is not None:
            request = choose_size(self.image, preset, request, n_params)
        return Wish(preset, request.edits, request.facts)

    def field(self, wish: Wish, generator: torch.Generator) -> NeuralField:
        """The wish's field for this picture, on its device."""
        field = choose_field(self.image, wish.preset, wish.edits, self.options.steps, generator, wish.facts)
        return field.to(self.device)

    def task(self, wish: Wish, seed: int) -> Task:
        """See :class:`Subject`."""
        field = self.field(wish, torch.Generator().manual_seed(seed))
        facts = self.image.facts
        if self.device.type == "cpu":  # a GPU's memory is its own
            needed = training_bytes(field, bool(field.recipe.ema))
            check_budget(needed, "the field with its optimizer", "make it smaller by --set")
        return Task(
            self.image.info,
            self.image,
            field,
            None,
            self.image,
            PictureReport(self.image),
            wish.preset,
            self.contents,
            max(1, field.recipe.steps // 20),
            {"precision": self.how.precision, "sampling": self.how.sampling},
            {
                "source": str(self.path),
                "width": facts.width,
                "height": facts.height,
                "channels": facts.channels,
                "peak": facts.peak,
            },
            f"{self.name}: {self.size} {_CHANNELS[facts.channels]} {facts.dtype}, {in_bytes(self.image.source_bytes)}",
            self.how.precision,
            self.how.replay,
        )

    def picture(self, folders: Mapping[str, RunFolder], histories: Mapping[str, Sequence[Rows]]) -> Pillow.Image:
        """See :class:`Subject`."""
        drawn = {name: Image(folder.reconstruction(self.image.facts)).pixels for name, folder in folders.items()}
        return side_by_side(self.image, drawn, histories)


class ImageKind(Kind):
    """Pictures of any format that can be read."""

    name, noun = "image", "a picture"
    presets = "ngp,ffn,siren"

    def accepts(self, path: Path) -> bool:
        """See :class:`Kind`: it takes what no other kind does."""
        del path
        return False

    def open(self, path: Path, options: Training, device: torch.device, console: Terminal) -> Subject:
        """See :class:`Kind`."""
        refuse(options, SceneTraining, f"{path} is a picture", "scenes of posed photographs")
        refuse(options, Judging, f"{path} is a picture", "scenes of posed photographs")
        subject = ImageSubject(path, options, device)
        for note in subject.image.notes:
            console.print(f"note: {note}", style="yellow")
        return subject

    def distill(self, options: Distill, info: SignalInfo, device: torch.device, console: Terminal) -> Task:
        """See :class:`Kind`."""
        return picture_task(options, info, device, console, ImageSubject)

    def looks(self, path: Path) -> Mapping[str, Any]:
        """See :class:`Kind`."""
        image = Image(path)
        return {"picture": {**dataclasses.asdict(image.facts), "bytes": image.source_bytes, "notes": list(image.notes)}}

    def holds(self, info: SignalInfo) -> str:
        """See :class:`Kind`."""
        facts = image_facts(info)
        return f"a picture of {facts.width} x {facts.height}, {_CHANNELS[facts.channels]} {facts.dtype}"

    def render(self, options: Render, info: SignalInfo, console: Terminal) -> None:
        """See :class:`Kind`."""
        refuse(options, PathOptions, f"{options.field} holds a picture", "radiance fields", but=("size",))
        render_image(options, image_facts(info, str(options.field)), console)

    def view(self, options: View, info: SignalInfo, console: Terminal) -> None:
        """See :class:`Kind`."""
        larger = command("neufield", "render", options.field, "--scale", 4, "-o", "large.png")
        raise ConfigError(f"{options.field} holds a picture, which any program shows once it is drawn: {larger}")


class LatticeKind(Kind):
    """Values on a lattice of any dimension, which the library fits."""

    name, noun = "lattice", "a lattice"

    def accepts(self, path: Path) -> bool:
        """See :class:`Kind`."""
        del path
        return False

    def open(self, path: Path, options: Training, device: torch.device, console: Terminal) -> Subject:
        """See :class:`Kind`."""
        raise DataError(f"{path} is no picture; fit values on a lattice from Python, with nf.signals.Array")

    def holds(self, info: SignalInfo) -> str:
        """See :class:`Kind`."""
        shape = " x ".join(str(cells) for cells in info.domain.shape or ())
        return f"a lattice of {shape} with {info.channels} numbers each"


KINDS = (ImageKind(), LatticeKind())
