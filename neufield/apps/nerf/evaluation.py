"""One rendering of every view, scored as each tool would score it; or of as many as there is time for."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping

from torch import Tensor

from neufield.apps.console import Terminal
from neufield.apps.counting import Counting
from neufield.apps.nerf.effort import evenly, rays_a_second, reduction
from neufield.apps.nerf.eval_result import EvalResult, Scores
from neufield.apps.nerf.views import as_photographed, reduced, render_view
from neufield.core.errors import BackendError, ConfigError, DataError
from neufield.formats.scene import Frame, Scene
from neufield.formats.scene.records import Split
from neufield.metrics.perceptual import Distance, Network, load_lpips
from neufield.metrics.protocols import PROTOCOLS, average, score_all_protocols
from neufield.renderers import RadianceScene
from neufield.signals.posed_images import read_photograph

_TRAINED_ON = 8  # views that are judged where none were kept for it


@dataclasses.dataclass(frozen=True)
class EvalViews:
    """The frames that a model is judged by: of which ``split``, and ``every`` how many of its pictures.

    All of them, or as many as ``seconds`` allow.
    """

    frames: tuple[Frame, ...]
    split: Split
    every: int
    seconds: float = math.inf

    def check(self) -> None:
        """Read every photograph once: a damaged one is better found now than after an hour of training."""
        for frame in self.frames:
            read_photograph(frame)


def choose_judged(scene: Scene, every: int, seconds: float = math.inf) -> EvalViews:
    """Every ``every``-th test view, whatever the protocol, so that protocols compare; without any, training views."""
    if every < 1:
        raise ConfigError(f"--test-every is {every}, but it must be 1 (all test views) or more")
    if not seconds > 0:
        raise ConfigError(f"--eval-budget is {seconds:g}, but it must be above 0 seconds; --no-eval judges nothing")
    test = scene.split("test")
    if test:
        return EvalViews(test[::every], "test", every, seconds)
    train = scene.split("train")[:_TRAINED_ON]
    if not train:
        raise DataError("the scene has neither test nor training photographs; give one that has some to judge by")
    return EvalViews(train, "train", 1, seconds)


def judge(
    model: RadianceScene,
    judged: EvalViews,
    console: Terminal,
    keep: Callable[[int, Frame, Tensor, Tensor], None] = lambda *_: None,
    clock: Callable[[], float] = time.perf_counter,
) -> EvalResult | None:
    """Render views once and score them by every protocol; None where Ctrl-C came before the first was done.

    ``keep`` gets the frame's place, the frame, its photograph (h, w, 4) and the view.
    """
    evaluation = _Judging(model, keep, clock)
    frames, begun, smaller, stopped = judged.frames, clock(), 1, False
    try:
        with Counting(console, f"judging by {judged.split} views", clock) as counting:
            counting.show(0, len(frames))
            if math.isfinite(judged.seconds):
                rays = [frame.camera.width * frame.camera.height for frame in frames]
                smaller = reduction(rays, rays_a_second(model, frames[0].camera, clock), judged.seconds)
            first = clock()
            for done, place in enumerate(evenly(len(frames)), start=1):
                evaluation.see(place, frames[place], smaller)
                planned, left, spent = len(frames), judged.seconds - (first - begun), clock() - first
                if spent * planned > left * done:
                    planned = max(done, int(left * done / max(spent, 1e-9)))
                counting.show(done, planned)
                if done == planned:
                    break
    except KeyboardInterrupt:
        stopped = True
    if not evaluation.scores:
        return None
    ended = "stopped by Ctrl-C" if stopped else ""
    if not stopped and (smaller > 1 or len(evaluation.scores) < len(frames)):
        ended = f"all would have taken longer than {judged.seconds:g} s (--eval-budget)"
    return evaluation.eval_result(judged, smaller, ended, stopped)


class _Judging:
    """Scores by the places of their frames, as they come."""

    def __init__(
        self, model: RadianceScene, keep: Callable[[int, Frame, Tensor, Tensor], None], clock: Callable[[], float]
    ) -> None:
        self.model = model
        self.keep = keep
        self.clock = clock
        self.scores: dict[int, Scores] = {}
        self.seconds = 0.0
        self.distances, self.notes = _distances()

    def see(self, place: int, frame: Frame, smaller: int) -> None:
        """Render one view and score it."""
        camera, photograph = reduced(frame, 1 / smaller)
        begun = self.clock()
        view = render_view(self.model, camera, time=frame.time)
        rendered = as_photographed(view, photograph, self.model.background)
        self.seconds += self.clock() - begun
        try:
            scores = score_all_protocols(rendered, photograph, PROTOCOLS, self.distances)
        except RuntimeError as error:  # a picture smaller than the network can see
            if not self.distances:
                raise
            self.distances = {}
            self.notes += (f"LPIPS is left out: it cannot judge {frame.name} ({str(error).splitlines()[0]})",)
            scores = score_all_protocols(rendered, photograph)
        self.keep(place, frame, photograph, rendered)
        self.scores[place] = scores

    def eval_result(self, judged: EvalViews, smaller: int, ended: str, stopped: bool) -> EvalResult:
        """Summarize what was judged."""
        places = sorted(self.scores)
        each = [self.scores[place] for place in places]
        return EvalResult(
            frames=tuple(judged.frames[place] for place in places),
            split=judged.split,
            every=judged.every,
            there=len(judged.frames),
            reduction=smaller,
            ended=ended,
            stopped=stopped,
            scores={name: average([scores[name] for scores in each], one) for name, one in PROTOCOLS.items()},
            each=each,
            seconds_per_view=self.seconds / len(each),
            notes=self.notes,
        )


def _distances() -> tuple[Mapping[Network, Distance], tuple[str, ...]]:
    """LPIPS by every network that a protocol asks for; where one cannot be had, why."""
    distances: dict[Network, Distance] = {}
    notes = []
    for network in dict.fromkeys(one.lpips for one in PROTOCOLS.values()):
        if network is None:
            continue
        try:
            distances[network] = load_lpips(network)
        except BackendError as error:
            notes.append(str(error))
    return distances, tuple(dict.fromkeys(notes))
