"""What is drawn next: decided from requests and durations alone, so tested without a browser, a thread or a clock."""

import dataclasses
import itertools
import math

import pytest
import torch

from neufield.apps.nerf.schedule import FIRST_PICTURE, Piece, Schedule, Share, ladder
from neufield.core.cameras import Camera
from neufield.core.rotations import look_at
from neufield.renderers import Cameras

CALL, RATE = 0.004, 30_000.0  # a painter of so many seconds a call and rays a second


def camera(azimuth: float = 0.0, width: int = 640, height: int = 360) -> Camera:
    pose = look_at((4 * math.cos(azimuth), 4 * math.sin(azimuth), 1.0), (0, 0, 0), (0, 0, 1))
    return Camera(pose, width, height, 500.0, 500.0, width / 2, height / 2)


def seconds(piece: Piece) -> float:
    return CALL + piece.rays / RATE


def paint(schedule: Schedule, training: bool = False) -> list[Piece]:
    """Everything up to the end of the next picture."""
    pieces = []
    while not pieces or not pieces[-1].complete:
        piece = schedule.next(training)
        assert piece is not None
        assert schedule.done(piece, seconds(piece))
        pieces.append(piece)
    return pieces


def settled(training: bool = False) -> Schedule:
    """A schedule that has learned how fast the painter is."""
    schedule = Schedule()
    for i in range(20):
        schedule.ask(0, camera(0.1 * i))
        paint(schedule, training)
    return schedule


def size(piece: Piece) -> tuple[int, int]:
    return piece.picture.width, piece.picture.height


@pytest.mark.parametrize(
    ("width", "height", "rays"), [(1280, 720, 1000), (300, 400, 99_000), (7, 5, 4), (1000, 20, 50)]
)
def test_pictures_grow_fourfold_to_the_full_size(width: int, height: int, rays: int) -> None:
    sizes = ladder(width, height, rays)
    assert sizes[-1] == (width, height)
    assert sizes[0][0] * sizes[0][1] == pytest.approx(rays, rel=0.5)  # whole pixels, of which these are few
    for (w, h), (wider, higher) in itertools.pairwise(sizes):
        assert 1 <= w < wider <= 6 * w + 2  # four, and halves of pixels; the last step is 1 to 4 / 0.7
        assert 1 <= h <= higher <= 6 * h + 2
    assert ladder(width, height, width * height) == [(width, height)]


def test_pieces_cover_each_picture_once_and_none_is_long() -> None:
    schedule = settled()
    schedule.ask(0, camera())
    seen = []
    while schedule.next(False) is not None:
        pieces = paint(schedule)
        width, height = size(pieces[0])
        count = torch.zeros(height, width)
        for piece in pieces:
            count[piece.row : piece.row + piece.band.height, piece.column : piece.column + piece.band.width] += 1
        assert torch.equal(count, torch.ones(height, width))
        assert [piece.coarse for piece in pieces] == [not seen] * len(pieces)
        # Twice the 0.02 s that a piece aims at: a moved camera waits no longer.
        assert seen == [] or max(map(seconds, pieces)) < 0.04
        seen.append((width, height))
    assert len(seen) >= 3
    assert seen == sorted(seen)
    assert seen[-1] == (640, 360)


def test_a_row_that_takes_too_long_is_cut() -> None:
    schedule = settled()
    schedule.ask(0, camera(width=8192, height=2))
    paint(schedule)
    pieces = paint(schedule)
    assert max(piece.band.width for piece in pieces) < size(pieces[0])[0]
    assert max(map(seconds, pieces)) < 0.04


def test_a_piece_has_the_rays_of_its_place_in_the_picture() -> None:
    schedule = settled()
    schedule.ask(0, camera(0.7))
    paint(schedule)
    paint(schedule)
    while (piece := schedule.next(False)).row < 3 or piece.column == 0:
        schedule.done(piece, seconds(piece))
    pixel = torch.tensor([[3.5, 1.5]])
    there = pixel + torch.tensor([[float(piece.column), float(piece.row)]])
    ours, whole = Cameras.of([piece.band]), Cameras.of([piece.picture])
    index = torch.zeros(1, dtype=torch.int64)
    for a, b in zip(ours.rays(index, pixel), whole.rays(index, there), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)  # a few roundings of float32


@pytest.mark.parametrize("step", [0.0, 0.02, 0.05])
def test_the_first_picture_comes_in_time(step: float) -> None:
    """From the worst moment to ask, through a training step and a coarse picture, plus 0.03 s on the way."""
    training = step > 0
    schedule = settled(training)
    for _ in range(50):
        schedule.changed(step)
    schedule.ask(0, camera(9.0))
    paint(schedule, training)
    waiting = max(step, 0.02)
    schedule.ask(0, camera(9.1))
    piece = schedule.next(training)
    assert piece.coarse
    assert piece.complete
    assert waiting + seconds(piece) + 0.03 <= FIRST_PICTURE + CALL  # the rate was learned from other sizes
    assert piece.rays >= 250


def test_a_slow_machine_gets_fewer_rays_and_a_fast_one_more() -> None:
    sizes = []
    for rate in (3_000, 30_000, 3_000_000):
        schedule = Schedule()
        for i in range(30):
            schedule.ask(0, camera(0.1 * i))
            piece = schedule.next(False)
            schedule.done(piece, piece.rays / rate)
        sizes.append(piece.rays)
    assert sizes == sorted(sizes)
    assert sizes[0] < 300
    assert sizes[1] == pytest.approx(0.05 * 30_000, rel=0.1)  # whole pixels
    assert sizes[2] == pytest.approx(0.05 * 3_000_000, rel=0.1)


def test_a_moved_camera_ends_what_was_begun() -> None:
    schedule = settled()
    schedule.ask(0, camera(1.0))
    paint(schedule)
    piece = schedule.next(False)
    assert not piece.complete
    assert schedule.ask(0, camera(2.0))
    assert not schedule.done(piece, seconds(piece))
    after = schedule.next(False)
    assert after.coarse
    assert torch.equal(after.picture.to_world, camera(2.0).to_world)


def test_an_unmoved_camera_begins_nothing_anew() -> None:
    schedule = settled()
    schedule.ask(0, camera(1.0))
    paint(schedule)
    first = schedule.next(False)
    schedule.done(first, seconds(first))
    before = schedule.next(False)
    assert (before.row, before.column) != (0, 0)
    assert not schedule.ask(0, camera(1.0))
    assert not schedule.ask(0, camera(width=0))  # a hidden window
    after = schedule.next(False)
    assert (after.ticket, after.row, after.column) == (before.ticket, before.row, before.column)
    assert schedule.ask(0, dataclasses.replace(camera(1.0), fx=400.0, fy=400.0))
    assert schedule.next(False).coarse


def test_the_many_take_turns_and_the_coarse_come_first() -> None:
    schedule = settled()
    schedule.ask(0, camera(1.0))
    paint(schedule)
    schedule.ask(1, camera(2.0))
    pieces = []
    for _ in range(7):
        pieces.append(schedule.next(False))
        schedule.done(pieces[-1], seconds(pieces[-1]))
    assert [piece.client for piece in pieces] == [1, 0, 1, 0, 1, 0, 1]
    assert [piece.coarse for piece in pieces] == [True] + [False] * 6
    schedule.forget(1)
    assert {schedule.next(False).client for _ in range(3)} == {0}
    schedule.forget(0)
    assert schedule.next(False) is None


def test_while_training_pictures_stay_quick_and_follow_the_model() -> None:
    schedule = settled(training=True)
    schedule.ask(0, camera(1.0, 1600, 900))  # 48 s of this painter
    while schedule.next(True) is not None:
        last = paint(schedule, True)
    quick = size(last[0])
    assert sum(map(seconds, last)) < 4
    assert quick[0] > 100
    assert schedule.next(True) is None  # nothing new to see
    schedule.changed(0.05)
    again = paint(schedule, True)
    assert size(again[0]) == quick  # as fine as before, not from the start
    assert not again[0].coarse
    assert schedule.next(True) is None
    while schedule.next(False) is not None:  # paused, or over
        last = paint(schedule)
    assert size(last[0]) == (1600, 900)
    schedule.changed(0.05)
    assert size(schedule.next(True)) == quick


def test_a_hiccup_does_not_blur_the_picture() -> None:
    schedule = settled(training=True)
    schedule.ask(0, camera(1.0))
    while schedule.next(True) is not None:
        fine = size(paint(schedule, True)[0])
    schedule.changed()
    piece = schedule.next(True)
    schedule.done(piece, 10 * seconds(piece))
    assert size(schedule.next(True)) == fine


@pytest.mark.parametrize(("step", "piece"), [(0.08, 0.02), (0.002, 0.02), (0.02, 0.05)])
def test_training_keeps_half_of_the_time(step: float, piece: float) -> None:
    share, trained, drawn = Share(), 0.0, 0.0
    for _ in range(1000):
        share.worked(step)
        trained += step
        while share.open:
            share.drew(piece)
            drawn += piece
    assert drawn / (trained + drawn) == pytest.approx(0.5, abs=0.01)


def test_time_that_nobody_looked_is_not_owed() -> None:
    share = Share(most=0.25)
    share.worked(3600.0)
    drawn = 0.0
    while share.open:
        share.drew(0.02)
        drawn += 0.02
    assert drawn <= 0.1 + 0.02 + 1e-9
    share.worked(0.03)
    assert share.debt == pytest.approx(drawn - 0.1 - 0.01)  # a quarter is one second for three
