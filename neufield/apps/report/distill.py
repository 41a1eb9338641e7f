"""What is said and drawn of a distillation: how near the student comes to its teacher, in what size."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from neufield.apps.console import Terminal, headline
from neufield.apps.curves import Rows
from neufield.apps.nerf import views
from neufield.apps.nerf.eval_result import EvalResult
from neufield.apps.nerf.evaluation import EvalViews, judge
from neufield.apps.nerf.view_logger import Throttled
from neufield.apps.report.picture import PictureReport, in_bytes
from neufield.apps.run_folder import RunFolder
from neufield.apps.tasks.task import Hook, Report
from neufield.core.cameras import Camera
from neufield.core.errors import command
from neufield.core.files import write_atomically
from neufield.core.interfaces import Evaluator, Trainable
from neufield.fitting import FitState
from neufield.metrics import PSNR, describe
from neufield.renderers import RadianceScene

_SHOWN = 4  # views, evenly from the teacher's cameras
_PIXELS = 40_000  # of each, at most


@dataclasses.dataclass(frozen=True)
class Origin:
    """The teacher, as results name it."""

    path: str
    n_bytes: int
    n_params: int

    def facts(self) -> dict[str, Any]:
        """What the result's file says of it."""
        return {"teacher": self.path, "teacher_bytes": self.n_bytes, "teacher_params": self.n_params}

    def beside(self, result: Mapping[str, Any]) -> str:
        """Both sizes in a line."""
        ratio = result["field_bytes"] / max(1, self.n_bytes)
        return f"field {in_bytes(result['field_bytes'])}, teacher {in_bytes(self.n_bytes)} ({ratio:.2f} times)"


class TaughtPictureReport(Report):
    """Reports on a picture: ``inner`` judges by what the teacher draws."""

    def __init__(self, inner: PictureReport, origin: Origin) -> None:
        self.inner, self.origin = inner, origin

    def judge(self, written: Trainable, folder: RunFolder, history: Rows, console: Terminal) -> Mapping[str, Any]:
        """See :class:`Report`."""
        return {**self.inner.judge(written, folder, history, console), **self.origin.facts()}

    def lines(self, result: Mapping[str, Any], folder: RunFolder) -> Iterable[Any]:
        """See :class:`Report`."""
        after = f" of the teacher's picture after {result['steps']} steps, {result['seconds']:.1f} s"
        yield headline(describe(result), after)
        yield self.origin.beside(result)
        yield f"in {folder.path}: {folder.contents()}"


class TaughtSceneReport(Report):
    """Reports on a radiance field: scored by the ``evaluator``'s pixels of the teacher, and by views if given."""

    unit = "rays"

    def __init__(
        self,
        teacher: RadianceScene,
        model: RadianceScene,
        evaluator: Evaluator,
        origin: Origin,
        judged: EvalViews | None = None,
        protocol: str = "nerf",
    ) -> None:
        self.teacher, self.model, self.evaluator, self.origin = teacher, model, evaluator, origin
        self.judged, self.protocol = judged, protocol

    def work(self, row: Mapping[str, float], batch_size: int) -> float:
        """See :class:`Report`."""
        del batch_size
        return row["rays"]

    def hooks(self, folder: RunFolder) -> Sequence[Hook]:
        """See :class:`Report`: views are drawn now and then."""

        def draw(state: FitState) -> None:
            with state.ema.applied(self.model):
                self._draw(self.model, folder, f"after {state.step} steps")

        return [Throttled(draw)]

    def judge(self, written: Trainable, folder: RunFolder, history: Rows, console: Terminal) -> Mapping[str, Any]:
        """See :class:`Report`; writes a few views beside the teacher's."""
        assert isinstance(written, RadianceScene)
        with torch.no_grad():
            found = dict(self.evaluator.evaluate(lambda x: written(x).cpu()).values)
        self._draw(written, folder, f"{describe(found)} of the teacher's views")
        seconds = max(history[-1]["seconds"], 1e-9)
        found["rays_per_second"] = round(sum(row["rays"] for row in history) / seconds)
        if self.judged is not None:
            for name, one in (("views_psnr", written), ("teacher_views_psnr", self.teacher)):
                scored = judge(one, self.judged, console)
                if scored is not None:
                    found |= self._scores(name, scored)
        return {**found, **self.origin.facts()}

    def lines(self, result: Mapping[str, Any], folder: RunFolder) -> Iterable[Any]:
        """See :class:`Report`."""
        done = f"after {result['steps']} steps, {result['seconds']:.1f} s, {result['rays_per_second']:,} rays/s"
        yield headline(describe({PSNR.name: result[PSNR.name]}), f" of the teacher's views, {done}")
        if "views_psnr" in result:
            own, taught = PSNR.text(result["views_psnr"]), PSNR.text(result.get("teacher_views_psnr"))
            yield f"by photographs: {own}, the teacher {taught} ({result['views_of']})"
        yield self.origin.beside(result)
        yield f"in {folder.path}: {folder.contents()}"
        yield f"see it: {command('neufield', 'view', folder.path)}"

    def _scores(self, name: str, scored: EvalResult) -> dict[str, Any]:
        return {name: scored.scores[self.protocol][PSNR.name], "views_of": scored.views}

    def _draw(self, model: RadianceScene, folder: RunFolder, label: str) -> None:
        """Teacher | student | error, of a few of the teacher's cameras."""
        count = self.teacher.cameras.count
        chosen = sorted({count * i // _SHOWN for i in range(_SHOWN)})
        rows = []
        for index in chosen:
            camera = _small(self.teacher.cameras.camera(index))
            shown = [views.render_view(one, camera).rgba for one in (self.teacher, model)]
            rows.append((f"camera {index}: {label}", shown[0], shown[1]))
        straight = [(name, views.straight(taught), own) for name, taught, own in rows]
        write_atomically(folder.path / "views.png", views.strip(straight).save)


def _small(camera: Camera) -> Camera:
    scale = min(1.0, (_PIXELS / (camera.width * camera.height)) ** 0.5)
    return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
