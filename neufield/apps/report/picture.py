"""What is said and drawn of a run on a picture: its scores, the reconstruction, and where it is wrong."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neufield.apps import comparison_page
from neufield.apps.console import Terminal, headline
from neufield.apps.curves import Rows
from neufield.apps.load_field import predictor
from neufield.apps.run_folder import RunFolder
from neufield.apps.tasks.task import Report
from neufield.core.errors import command
from neufield.core.files import write_atomically
from neufield.core.interfaces import Trainable
from neufield.formats.encode import write_image
from neufield.metrics import describe
from neufield.signals.image import Image, render

_WHY = {"steps": "", "target": ", the target was reached", "time-budget": ", the time was up"}


class PictureReport(Report):
    """Judges and draws the picture that is learned."""

    def __init__(self, image: Image) -> None:
        self.image = image

    def judge(self, written: Trainable, folder: RunFolder, history: Rows, console: Terminal) -> Mapping[str, Any]:
        """See :class:`Report`; writes the reconstruction, and a page that compares it with the picture."""
        del history, console
        predict, facts = predictor(written), self.image.facts
        metrics = self.image.evaluate(predict)
        values = render(predict, facts)
        write_image(folder.reconstruction(facts), values, facts)
        page = comparison_page.comparison(self.image, values, metrics.headline.text(metrics.value))
        write_atomically(folder.path / "comparison.png", page.save)
        return metrics.values

    def lines(self, result: Mapping[str, Any], folder: RunFolder) -> Iterable[Any]:
        """See :class:`Report`."""
        after = f" after {result['steps']} steps, {result['seconds']:.1f} s{_WHY[result['stopped_by']]}"
        yield headline(describe(result), after)
        ratio = result["field_bytes"] / max(1, result["source_bytes"])
        sizes = f"field {in_bytes(result['field_bytes'])}, picture file {in_bytes(result['source_bytes'])}"
        yield f"{sizes} ({ratio:.2f} times)"
        yield f"in {_relative(folder.path)}: {folder.contents()}"
        larger = command("neufield", "render", _relative(folder.field), "--scale", 4, "-o", "large.png")
        yield f"see it larger: {larger}"


def in_bytes(count: int) -> str:
    """1.23 MB or 4.5 kB."""
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path
