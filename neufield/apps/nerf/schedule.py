"""What is drawn next for whoever looks: coarse first, then finer, and nothing more for a camera that has moved on.

No clock, no thread and no browser in here: the model's owner asks for a piece, draws it, and says how long it took.
"""

import dataclasses
import math

import torch

from neufield.core.cameras import Camera

FIRST_PICTURE = 0.1  # seconds from a browser's message to its first coarse picture
_ON_THE_WAY = 0.03  # seconds of these for the message, the encoding and the way back
_PIECE = 0.02  # seconds for a piece of a finer picture: a moved camera waits for it
_COARSE = (0.01, 0.05)  # seconds for a coarse picture, at least and at most
_FINER = 4  # times as wide and as high, from one picture to the next
_NEARLY = 0.7  # of the full width: from there on the next picture is the full one
_REFRESH = 2.0  # seconds for the finest picture of a model that changes under the brush
_GUESS = 10_000.0  # rays a second, before anything is measured
_RISE = 1.5  # what is measured is believed at once where it is less, and by so much a piece where it is more
_LATELY = 0.1  # weight of the last piece in the mean speed
_FEWEST = 256  # rays of a picture or a piece: below, the calls cost more than the rays


@dataclasses.dataclass(frozen=True)
class Piece:
    """A rectangle of a picture.

    Args:
        client: for whom.
        ticket: counts the client's requests.
        picture: the camera of the whole picture.
        band: the camera of the rectangle alone.
        row: of the rectangle's first pixel in the picture.
        column: of the rectangle's first pixel in the picture.
        coarse: it is the whole of a first picture.
        complete: it is the last of its picture.
    """

    client: int
    ticket: int
    picture: Camera
    band: Camera
    row: int
    column: int
    coarse: bool
    complete: bool

    @property
    def rays(self) -> int:
        """Pixels of the rectangle."""
        return self.band.width * self.band.height


class Schedule:
    """The pictures that clients wait for.

    A request begins with a coarse picture, sized by the measured ``rate`` (rays a second) to arrive within
    :data:`FIRST_PICTURE`, and goes on four times as fine until its full size. Who waits for a coarse picture comes
    first, then each in turn. While the model is training no picture is begun that takes longer than two seconds at the
    ``speed`` of late; the finest is drawn again as often as the model has changed.
    """

    def __init__(self) -> None:
        self.rate = _GUESS
        self.speed = _GUESS
        self.step_seconds = 0.0
        self.version = 0
        self.tickets = 0
        self.turns = 0
        self.views: dict[int, _View] = {}

    def ask(self, client: int, camera: Camera) -> bool:
        """``client`` now looks through ``camera``; what was begun for it is abandoned. False: it did so before."""
        before = self.views.get(client)
        if min(camera.width, camera.height) < 1 or (before is not None and _same(before.camera, camera)):
            return False
        self.tickets += 1
        self.views[client] = _View(camera, self.tickets)
        return True

    def forget(self, client: int) -> None:
        """Forget ``client``, who has gone."""
        self.views.pop(client, None)

    def changed(self, step_seconds: float = 0.0) -> None:
        """The model is another one, ``step_seconds`` after the last: a moved camera may have to wait as long again."""
        self.version += 1
        self.step_seconds += 0.3 * (step_seconds - self.step_seconds)

    def next(self, training: bool) -> Piece | None:
        """What to draw now, the same until it is ``done``; None: everybody sees all there is."""
        for client, view in sorted(self.views.items(), key=lambda item: item[1].turn):
            if view.level == 0:
                full = view.camera
                view.sizes = ladder(full.width, full.height, max(_FEWEST, int(self.rate * self._coarse(training))))
            last = self._finest(view, training)
            if view.level > last:
                if view.version == self.version and view.at == 0:
                    continue
                view.level, view.at = last, 0
            return self._piece(client, view)
        return None

    def done(self, piece: Piece, seconds: float) -> bool:
        """``piece`` is drawn and took ``seconds``. False: its client has asked for something else since, or left."""
        measured = piece.rays / max(seconds, 1e-6)
        self.rate = min(measured, _RISE * self.rate)
        self.speed = 1 / ((1 - _LATELY) / self.speed + _LATELY / measured)  # a mean of seconds a ray
        view = self.views.get(piece.client)
        if view is None or view.ticket != piece.ticket:
            return False
        self.turns += 1
        view.turn = self.turns
        view.at += piece.rays
        if piece.complete:
            view.level, view.at = view.level + 1, 0
            view.drawn = max(view.drawn, view.level)
        return True

    def _coarse(self, training: bool) -> float:
        """Seconds for a coarse picture."""
        waiting = max(_PIECE, self.step_seconds if training else 0.0)
        least, most = _COARSE
        return min(max(FIRST_PICTURE - _ON_THE_WAY - waiting, least), most)

    def _finest(self, view: "_View", training: bool) -> int:
        """The last level worth drawing. One that was drawn may become half as fast before a coarser one replaces it."""
        if not training:
            return len(view.sizes) - 1
        seconds = [w * h / self.speed / (2 if i < view.drawn else 1) for i, (w, h) in enumerate(view.sizes)]
        return max([i for i, estimate in enumerate(seconds) if estimate <= _REFRESH], default=0)

    def _piece(self, client: int, view: "_View") -> Piece:
        width, height = view.sizes[view.level]
        if view.at == 0:
            view.version = self.version
        row, column = divmod(view.at, width)
        rays = width * height if view.level == 0 else max(_FEWEST, int(self.rate * _PIECE))
        if column == 0 and rays >= width:
            across, down = width, _even(height - row, rays // width)
        else:  # a row takes longer than a piece may
            across, down = _even(width - column, rays), 1
        picture = view.camera.resized(width, height)
        band = dataclasses.replace(
            picture, width=across, height=down, cx=picture.cx - column, cy=picture.cy - row
        )  # the same rays as those of the whole
        complete = view.at + across * down == width * height
        return Piece(client, view.ticket, picture, band, row, column, view.level == 0, complete)


class Share:
    """Beside training, drawing gets at most the part ``most`` of the time; ``saved`` seconds may be kept for later."""

    def __init__(self, most: float = 0.5, saved: float = 0.1) -> None:
        self.most = most
        self.saved = saved
        self.debt = 0.0

    def worked(self, seconds: float) -> None:
        """Note how long was trained."""
        self.debt = max(self.debt - seconds * self.most / (1 - self.most), -self.saved)

    def drew(self, seconds: float) -> None:
        """Note how long was drawn."""
        self.debt += seconds

    @property
    def open(self) -> bool:
        """A piece may be drawn now; what it takes too long is paid back before the next."""
        return self.debt <= 0


def ladder(width: int, height: int, rays: int) -> list[tuple[int, int]]:
    """Widths and heights of the pictures from about ``rays`` pixels to the full size, each four times the last."""
    part = math.sqrt(min(1.0, rays / (width * height)))
    sizes: list[tuple[int, int]] = []
    while part < (1.0 if not sizes else _NEARLY):
        sizes.append((max(1, round(part * width)), max(1, round(part * height))))
        part *= _FINER
    return [*sizes, (width, height)]


@dataclasses.dataclass
class _View:
    """How far a client's request has come: ``at`` pixels into picture ``level`` of ``sizes``, ``drawn`` so many."""

    camera: Camera
    ticket: int
    sizes: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    level: int = 0
    drawn: int = 0
    at: int = 0
    version: int = -1
    turn: int = 0  # when a piece of it was drawn last; 0 comes first


def _even(left: int, most: int) -> int:
    """The first of parts of ``left``, none above ``most``, as equal as can be: a small rest would measure nothing."""
    return math.ceil(left / math.ceil(left / most))


def _same(a: Camera, b: Camera) -> bool:
    numbers = [(c.width, c.height, c.fx, c.fy, c.cx, c.cy, c.lens, c.distortion) for c in (a, b)]
    return numbers[0] == numbers[1] and torch.equal(a.to_world, b.to_world)
