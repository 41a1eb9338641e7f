"""The one thread that owns the model draws for all who look: between a training's steps, or all the time after it."""

import abc
import threading
import time
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from neufield.apps.nerf import views
from neufield.apps.nerf.schedule import Piece, Schedule, Share
from neufield.core.cameras import Camera
from neufield.core.rays import RenderOutput
from neufield.fitting import FitState
from neufield.metrics import PSNR
from neufield.renderers import RadianceScene

PICTURES = ("color", "depth", "opacity")
_IDLE = 0.5  # seconds between looks around where nothing is to be done
_TELL = 0.25  # seconds between two lines of status
_RECENT = 50  # steps whose loss is averaged for it
_RELOAD = 5.0  # seconds that a page has to come back in before nobody is there any more
PAUSED, GOES_ON, DESERTED = "paused in the viewer", "goes on", "goes on: the viewer's last page was closed"


class Screen(abc.ABC):
    """Where pictures and words go."""

    @abc.abstractmethod
    def show(self, client: int, picture: np.ndarray, depth: np.ndarray) -> None:
        """``picture (H, W, 3)`` uint8; ``depth (H, W)`` along the camera's axis in world units, inf for nothing."""

    @abc.abstractmethod
    def say(self, status: str) -> None:
        """Replace the lines of status."""

    @abc.abstractmethod
    def hold(self, paused: bool) -> None:
        """The training stands still, or goes on: what can be pressed says so."""


class ViewerRenderer:
    """Draws ``model`` on ``screen``.

    ``look``, ``leave``, ``pick`` and ``pause`` are for the screen's threads and only leave a note. ``between_steps`` (a
    hook of ``fit``) and ``stay`` are for the thread that trains, so that no picture is ever drawn beside a step.
    A pause ends ``reload`` seconds after the last page was closed. ``tell`` gets what the terminal should say.
    A field that moves is drawn at ``moment``, by default when it begins to move.
    """

    def __init__(
        self,
        model: RadianceScene,
        screen: Screen,
        tell: Callable[[str], object] = str,
        reload: float = _RELOAD,
        moment: float | None = None,
    ) -> None:
        self.model, self.moment = model, moment
        self.screen = screen
        self.tell = tell
        self.reload = reload
        self.present: set[int] = set()
        self.left_at = time.perf_counter()
        self.schedule = Schedule()
        self.share = Share()
        self.picture = PICTURES[0]
        self.paused = False
        self.news = threading.Condition()
        self.begun: dict[int, RenderOutput] = {}
        self.shown: dict[int, tuple[RenderOutput, Camera]] = {}
        self.again: set[int] = set()
        self.size = ""
        self.told = 0.0
        self.left = time.perf_counter()

    def look(self, client: int, camera: Camera) -> None:
        """``client`` looks through ``camera``, which has the size of its window."""
        with self.news:
            self.present.add(client)
            if self.schedule.ask(client, camera):
                self.news.notify()

    def leave(self, client: int) -> None:
        """Forget ``client``, who has gone."""
        with self.news:
            self.present.discard(client)
            self.left_at = time.perf_counter()
            self.schedule.forget(client)
            self.again.discard(client)
            self.shown.pop(client, None)

    def pick(self, picture: str) -> None:
        """Show one of ``PICTURES``; what is drawn already is shown so at once."""
        with self.news:
            self.picture = picture
            self.again |= set(self.shown)
            self.news.notify()

    def pause(self, paused: bool) -> None:
        """Hold the training, or let it go on."""
        with self.news:
            self.paused = paused
            self.news.notify()
        self.screen.hold(paused)

    def between_steps(self, state: FitState) -> None:
        """Draw for as long as a step took, at most; while paused, until it is not."""
        entered = time.perf_counter()
        self.share.worked(entered - self.left)
        with self.news:
            self.schedule.changed(entered - self.left)
        with state.ema.applied(state.model):
            self._tell(state)
            why = ""  # it goes on, after a pause
            while not state.stopped and (self.paused or self.share.open):
                paused = self.paused
                if paused and not why:
                    self.tell(PAUSED)
                    why = GOES_ON
                if paused and self._deserted():
                    self.pause(False)
                    why = DESERTED
                    break
                if not self._draw(training=not paused):
                    if not paused:
                        break
                    self._wait()
                self._tell(state)
            if why:
                self.tell(why)
        self.left = time.perf_counter()

    def _deserted(self) -> bool:
        """Nobody looks, and who loads the page again would have done so by now."""
        with self.news:
            return not self.present and time.perf_counter() - self.left_at >= self.reload

    def stay(self) -> None:
        """Draw the model as it is now, until somebody presses Ctrl-C: a KeyboardInterrupt."""
        with self.news:
            self.paused = False
            self.schedule.changed()
        while True:
            if not self._draw(training=False):
                self._wait()
            self._tell(None)

    def _wait(self) -> None:
        with self.news:
            if not self.again and self.schedule.next(training=False) is None:
                self.news.wait(_IDLE)

    def _draw(self, training: bool) -> bool:
        """One piece, or what is there once more; False when there is nothing to do."""
        with self.news:
            again = {client: self.shown[client] for client in self.again}
            self.again.clear()
            piece = self.schedule.next(training)
        for client, (rendered, camera) in again.items():
            self._show(client, rendered, camera)
        if piece is None:
            return bool(again)
        begun = time.perf_counter()
        part = views.render_view(self.model, piece.band, time=self.moment)
        with self.news:
            wanted = self.schedule.done(piece, time.perf_counter() - begun)
            self.begun = {client: whole for client, whole in self.begun.items() if client in self.schedule.views}
        # A coarse picture is shown even to a camera that has moved on: who drags without a rest must see something.
        if wanted or piece.coarse:
            self._add(piece, part)
        self.share.drew(time.perf_counter() - begun)
        return True

    def _add(self, piece: Piece, part: RenderOutput) -> None:
        camera = piece.picture
        if piece.row == piece.column == 0:
            shape = (camera.height, camera.width)
            self.begun[piece.client] = RenderOutput(torch.zeros(*shape, 3), torch.zeros(shape), torch.zeros(shape))
        whole = self.begun[piece.client]
        rows = slice(piece.row, piece.row + piece.band.height)
        columns = slice(piece.column, piece.column + piece.band.width)
        for name in ("rgb", "opacity", "distance"):
            getattr(whole, name)[rows, columns] = getattr(part, name)
        if not piece.complete:
            return
        del self.begun[piece.client]
        with self.news:
            if piece.client in self.schedule.views:
                self.shown[piece.client] = (whole, camera)
        self._show(piece.client, whole, camera)

    def _show(self, client: int, rendered: RenderOutput, camera: Camera) -> None:
        self.size = f"{camera.width} x {camera.height}"
        self.screen.show(client, shade(rendered, self.model, self.picture), along_axis(rendered, camera))

    def _tell(self, state: FitState | None) -> None:
        now = time.perf_counter()
        if now - self.told < _TELL and not (state and state.stopped):
            return
        self.told = now
        view = f"View: {self.size or 'nobody looks'}, {_short(self.schedule.speed)} rays/s"
        self.screen.say(view if state is None else f"{progress(state, self.paused)}  \n{view}")


def progress(state: FitState, paused: bool) -> str:
    """Step, loss, how good the views were where there was an evaluation, rays a second."""
    recent = state.history[-_RECENT:]
    loss = sum(row["loss"] for row in recent) / len(recent)
    found = next((row[PSNR.name] for row in reversed(state.history) if PSNR.name in row), None)
    quality = f"loss {loss:.2e}" if found is None else f"loss {loss:.2e}, {PSNR.text(found)}"
    seconds = recent[-1]["seconds"] - (recent[0]["seconds"] if len(recent) > 1 else 0.0)
    rays = sum(row.get("rays", 0.0) for row in recent[1:] or recent)
    how = f"ended by {state.stopped}; now written and judged" if state.stopped else "paused" if paused else "training"
    return f"Step {state.step}, {how}  \n{quality}, {_short(rays / max(seconds, 1e-9))} rays/s"


def shade(rendered: RenderOutput, model: RadianceScene, picture: str) -> UInt8[np.ndarray, "h w 3"]:
    """``rendered`` as one of ``PICTURES``: on the model's background; near depths bright; opaque white."""
    rgb, alpha = rendered.rgb, rendered.opacity[..., None]
    if picture == "opacity":
        values = alpha.expand_as(rgb)
    elif picture == "depth":
        values = _near_bright(rendered.depth, alpha[..., 0] > 0.5)[..., None].expand_as(rgb)
    else:
        values = rgb + (1 - alpha) * rgb.new_tensor(model.background)
    return np.asarray(views.to_picture(values.nan_to_num()))


def along_axis(rendered: RenderOutput, camera: Camera) -> Float[np.ndarray, "h w"]:
    """Depth along the axis of a pinhole ``camera`` instead of along the rays; inf where it is mostly transparent."""
    x = (torch.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (torch.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    depth = rendered.depth / (1 + x**2 + y[:, None] ** 2).sqrt()
    return torch.where(rendered.opacity > 0.5, depth, torch.inf).numpy()


def _near_bright(depth: Tensor, there: Tensor) -> Tensor:
    """1 for the nearest, 0.1 for the farthest, 0 where nothing is."""
    if not bool(there.any()):
        return torch.zeros_like(depth)
    near, far = depth[there].aminmax()
    return torch.where(there, 1 - 0.9 * (depth - near) / (far - near).clamp(min=1e-6), 0.0)


def _short(number: float) -> str:
    """1,234 up to a million, then 1.23 M."""
    return f"{number:,.0f}" if number < 1e6 else f"{number / 1e6:.2f} M"
