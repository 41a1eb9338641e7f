"""A view that is looked at while its field is still learning."""

import time
from collections.abc import Callable
from pathlib import Path

from neufield.apps.nerf import views
from neufield.core.files import write_atomically
from neufield.core.interfaces import Evaluator
from neufield.fitting import FitState, evaluate
from neufield.metrics import describe
from neufield.presets.scene import Views
from neufield.renderers import RadianceScene

_FIRST = 5.0  # seconds of training
_SHARE = 0.02  # of the training's time
_PIXELS = 40_000  # of the drawn view, at most


class Throttled:
    """A hook that acts so seldom that it takes ``share`` of the training's time, first after ``first`` seconds.

    A long ``action`` waits long for its next turn; ``clock`` gives seconds.
    """

    def __init__(
        self,
        action: Callable[[FitState], object],
        share: float = _SHARE,
        first: float = _FIRST,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.action = action
        self.share = share
        self.first = first
        self.clock = clock
        self.began: float | None = None  # in the training's seconds, of which a resumed run has some already
        self.spent = 0.0

    def __call__(self, state: FitState) -> None:
        """Do the action, if it is time to."""
        if self.began is None:
            self.began = state.seconds
        if state.stopped or state.seconds - self.began < max(self.first, self.spent / self.share):
            return
        begun = self.clock()
        self.action(state)
        self.spent += self.clock() - begun


class ViewLogger:
    """Draws one view as it is now, beside its photograph, and logs how good the watched pixels are.

    The view is a watched one, or the middle one of those trained on where none is kept out. It is small enough to be
    drawn in a second or so. Nothing random is drawn, and nothing of the model changes.
    """

    def __init__(self, model: RadianceScene, split: Views, evaluator: Evaluator, path: Path) -> None:
        self.model = model
        self.evaluator = evaluator
        self.path = path
        self.kind = "kept out" if split.watched else "trained on"
        frames = split.watched or split.train
        frame = frames[0 if split.watched else len(frames) // 2]
        self.name = frame.name
        self.time = frame.time
        scale = min(1.0, (_PIXELS / (frame.camera.width * frame.camera.height)) ** 0.5)
        self.camera, self.photograph = views.reduced(frame, scale)

    def draw(self, state: FitState) -> None:
        """Write the picture, and the metrics into the state's last row unless it has one."""
        row, metric = state.history[-1], self.evaluator.headline
        if metric.name not in row:
            row |= evaluate(state, self.evaluator).values
        with state.ema.applied(self.model):
            view = views.render_view(self.model, self.camera, time=self.time)
        rendered = views.as_photographed(view, self.photograph, self.model.background)
        label = f"{self.name}, {self.kind}, after {state.step} steps: {describe({metric.name: row[metric.name]})}"
        write_atomically(self.path, views.strip([(label, self.photograph, rendered)]).save)
