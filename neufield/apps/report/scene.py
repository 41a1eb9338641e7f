"""What is said and drawn of a run on a scene: scores by test views in the ways of four tools, and the views."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from neufield.apps.console import Terminal, headline
from neufield.apps.curves import Rows
from neufield.apps.nerf import views
from neufield.apps.nerf.eval_result import EvalResult, print_eval_result
from neufield.apps.nerf.evaluation import EvalViews, judge
from neufield.apps.nerf.view_logger import Throttled, ViewLogger
from neufield.apps.run_folder import RunFolder
from neufield.apps.tasks.task import Hook, Report
from neufield.core.errors import command
from neufield.core.files import sweep_temporaries, write_atomically
from neufield.core.interfaces import Evaluator, Trainable
from neufield.formats.scene import Frame
from neufield.metrics import describe
from neufield.presets.scene import Views
from neufield.renderers import RadianceScene

_SHOWN = 4  # views beside their photographs


class SceneReport(Report):
    """Judges a ``model`` that learns the ``split`` of the scene in ``path``, unless ``judged`` is None, and draws it.

    With ``whole``, Ctrl-C while views are judged leaves the run unfinished; without, what was judged is what counts.
    """

    unit = "rays"

    def __init__(
        self,
        model: RadianceScene,
        split: Views,
        path: Path,
        evaluator: Evaluator,
        judged: EvalViews | None,
        protocol: str,
        whole: bool = False,
    ) -> None:
        self.model, self.split, self.path, self.evaluator = model, split, path, evaluator
        self.judged, self.protocol, self.whole = judged, protocol, whole
        self.eval_result: EvalResult | None = None
        self.console: Terminal | None = None

    def work(self, row: Mapping[str, float], batch_size: int) -> float:
        """See :class:`Report`."""
        del batch_size
        return row["rays"]

    def hooks(self, folder: RunFolder) -> Sequence[Hook]:
        """See :class:`Report`: a view is drawn now and then."""
        return [Throttled(ViewLogger(self.model, self.split, self.evaluator, folder.path / "views.png").draw)]

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C came while views were judged."""
        return self.judged is not None and (self.eval_result is None or self.eval_result.stopped)

    def judge(self, written: Trainable, folder: RunFolder, history: Rows, console: Terminal) -> Mapping[str, Any]:
        """See :class:`Report`; writes the test views, and a few beside their photographs."""
        assert isinstance(written, RadianceScene)
        self.console = console
        if self.judged is not None:
            self.eval_result = _judge(written, self.judged, folder, self.protocol, console)
        if self.whole and self.stopped:
            raise KeyboardInterrupt("stopped while views were judged; --resume and the same --out go on there")
        seconds = max(history[-1]["seconds"], 1e-9)
        found: dict[str, Any] = {} if self.eval_result is None else self.eval_result.record(self.protocol)
        for name, key in (("rays_per_second", "rays"), ("samples_per_second", "marched")):
            found[name] = round(sum(row[key] for row in history) / seconds)
        if written.cameras.refinement is not None:
            found["cameras_turned_degrees"], found["cameras_moved"] = written.cameras.refinement.moved()
        return found

    def lines(self, result: Mapping[str, Any], folder: RunFolder) -> Iterable[Any]:
        """See :class:`Report`."""
        how_fast = f"{result['rays_per_second']:,} rays/s"
        done = f"after {result['steps']} steps, {result['seconds']:.1f} s, {how_fast}"
        found = self.eval_result
        if found is None:
            how = "as --no-eval says" if self.judged is None else "stopped by Ctrl-C before the first view"
            yield f"not judged, {how}, {done}; {command('neufield', 'nerf', 'eval', folder.path, self.path)}"
        else:
            assert self.console is not None
            print_eval_result(found, self.console)
            scores = describe(found.scores[self.protocol])
            yield headline(scores, f", {found.views}, {done}; {found.seconds_per_view:.2f} s a view")
        yield f"in {folder.path}: {folder.contents()}"


def _judge(
    written: RadianceScene, judged: EvalViews, folder: RunFolder, protocol: str, console: Terminal
) -> EvalResult | None:
    """Score views and write them; the first few also beside their photographs."""
    renders: Path = folder.path / "renders"
    renders.mkdir(exist_ok=True)
    sweep_temporaries(renders)
    shown: dict[int, tuple[str, Tensor, Tensor]] = {}

    def keep(place: int, frame: Frame, photograph: Tensor, rendered: Tensor) -> None:
        write_atomically(renders / views.file_of(frame), views.to_picture(views.straight(rendered)).save)
        shown[place] = (frame.name, photograph, rendered)
        if len(shown) > _SHOWN:
            del shown[max(shown)]

    eval_result = judge(written, judged, console, keep)
    if eval_result is not None:
        labeled = [
            (f"{name}: {describe(own[protocol])}", photograph, rendered)
            for (_, (name, photograph, rendered)), own in zip(sorted(shown.items()), eval_result.each, strict=False)
        ]
        write_atomically(folder.path / "views.png", views.strip(labeled).save)
    return eval_result
