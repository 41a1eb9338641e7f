"""Who draws for the viewer: what is shown is what ``render_view`` gives, and the training does not notice."""

import dataclasses
import math
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from cases import seeded
from radiance_cases import shaken
from torch import Tensor

from neufield.apps.nerf import views
from neufield.apps.nerf.viewer_renderer import PICTURES, Screen, ViewerRenderer, along_axis, progress, shade
from neufield.core.cameras import Camera
from neufield.core.rays import RenderOutput
from neufield.core.recipe import Recipe
from neufield.core.rotations import look_at
from neufield.encodings import SphericalHarmonics
from neufield.fields import Plenoxels
from neufield.fitting import Photometric, fit, start
from neufield.presets import radiance
from neufield.renderers import Box, Cameras, RadianceScene, StratifiedSampler
from neufield.signals.posed_images import PosedImages

pytestmark = pytest.mark.usefixtures("one_thread")
BOX = Box([-1.0, -1.0, -1.0], [1.0, 1.0, 1.0])


def camera(azimuth: float = 0.3, width: int = 96, height: int = 64) -> Camera:
    pose = look_at((4 * math.cos(azimuth), 4 * math.sin(azimuth), 1.5), (0, 0, 0), (0, 0, 1))
    return Camera(pose, width, height, 120.0, 120.0, width / 2, height / 2)


def model() -> RadianceScene:
    field = shaken(Plenoxels([6, 6, 6], SphericalHarmonics(2), initial_density=1.0), 0.8)
    return RadianceScene(
        field, Cameras.of([camera(a) for a in (0.3, 1.7)]), BOX, StratifiedSampler(BOX, 8), (0.2, 0.6, 1.0)
    )


class Kept(Screen):
    """Keeps what it is given, and calls ``then`` with the number of pictures so far."""

    def __init__(self, then: Callable[[int], None] = lambda n: None) -> None:
        self.then = then
        self.pictures: list[tuple[int, np.ndarray, np.ndarray]] = []
        self.words: list[str] = []
        self.held: list[bool] = []

    def show(self, client: int, picture: np.ndarray, depth: np.ndarray) -> None:
        self.pictures.append((client, picture, depth))
        self.then(len(self.pictures))

    def say(self, status: str) -> None:
        self.words.append(status)

    def hold(self, paused: bool) -> None:
        self.held.append(paused)


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def everything(painter: ViewerRenderer) -> None:
    """Draw until nothing is wanted."""
    while painter._draw(training=False):
        pass


def expected(field: RadianceScene, seen: Camera) -> Tensor:
    rgba = views.render_view(field, seen).rgba
    return rgba[..., :3] + (1 - rgba[..., 3:]) * torch.tensor(field.background)


def test_every_picture_is_what_render_view_gives() -> None:
    field, screen, seen = model(), Kept(), camera(width=150, height=100)
    painter = ViewerRenderer(field, screen)
    painter.look(7, seen)
    everything(painter)
    assert [client for client, _, _ in screen.pictures] == [7] * len(screen.pictures)
    sizes = [picture.shape[:2] for _, picture, _ in screen.pictures]
    assert sizes == sorted(sizes)
    assert len(sizes) >= 2
    assert sizes[-1] == (100, 150)
    for _, picture, depth in screen.pictures:
        height, width = depth.shape
        truth = expected(field, seen.resized(width, height)).numpy() * 255
        assert np.ptp(truth) > 100
        # Half a level of rounding, and the last bits of rays that are summed in other company.
        assert np.abs(picture - truth).max() <= 0.51


def test_depth_is_along_the_axis_and_far_away_where_nothing_is() -> None:
    """A wall at right angles to the axis has one depth; rays to its rim are longer."""
    seen = dataclasses.replace(camera(), fx=60.0, fy=80.0, cx=40.0)
    x = (torch.arange(96) + 0.5 - 40.0) / 60.0
    y = (torch.arange(64) + 0.5 - 32.0) / 80.0
    rgba = torch.ones(64, 96, 4)
    rgba[:, :10, 3] = 0.4
    opacity = rgba[..., 3]
    rendered = RenderOutput(rgba[..., :3], opacity, opacity * 5.0 * (1 + x**2 + y[:, None] ** 2).sqrt())
    depth = along_axis(rendered, seen)
    assert np.isinf(depth[:, :10]).all()
    assert np.abs(depth[:, 10:] - 5).max() < 1e-5  # float32


def test_pictures_of_depth_and_opacity() -> None:
    field = model()
    rendered = views.render_view(field, camera())
    opacity = shade(rendered, field, "opacity")
    assert np.abs(opacity[..., 0] - rendered.rgba[..., 3].numpy() * 255).max() <= 0.5
    depth = shade(rendered, field, "depth")[..., 0]
    there = rendered.rgba[..., 3].numpy() > 0.5
    assert (depth[~there] == 0).all()
    nearest = np.argmin(np.where(there, rendered.depth.numpy(), np.inf))
    assert depth.flat[nearest] == 255
    assert depth[there].min() in (25, 26)  # a tenth is 25.5
    nothing = RenderOutput(torch.zeros(2, 3, 3), torch.zeros(2, 3), torch.zeros(2, 3))
    assert not shade(nothing, field, "depth").any()


def test_another_picture_of_what_is_there_costs_no_rays() -> None:
    field, screen = model(), Kept()
    painter = ViewerRenderer(field, screen)
    painter.look(0, camera())
    everything(painter)
    turns, count = painter.schedule.turns, len(screen.pictures)
    for kind in PICTURES[1:]:
        painter.pick(kind)
        everything(painter)
        assert np.array_equal(screen.pictures[-1][1], shade(painter.shown[0][0], field, kind))
    assert painter.schedule.turns == turns
    assert len(screen.pictures) == count + 2


def test_a_drag_without_a_rest_shows_coarse_pictures_only() -> None:
    """The camera moves while each piece is drawn, as in a drag."""
    screen = Kept()
    painter = ViewerRenderer(model(), screen)
    azimuth = iter(range(1000))
    original = views.render_view

    def moving(field: RadianceScene, seen: Camera, **known: float | None) -> RenderOutput:
        painter.look(0, camera(0.01 * next(azimuth), 4000, 3000))
        return original(field, seen, **known)

    painter.look(0, camera(width=4000, height=3000))
    views.render_view = moving
    try:
        for _ in range(12):
            painter._draw(training=False)
    finally:
        views.render_view = original
    assert len(screen.pictures) == 12
    assert all(picture.shape[1] < 1000 for _, picture, _ in screen.pictures)
    painter.look(0, camera(width=60, height=40))
    everything(painter)
    assert screen.pictures[-1][1].shape == (40, 60, 3)


def test_a_finer_picture_that_comes_too_late_is_not_shown() -> None:
    screen, seen = Kept(), camera(width=60, height=40)
    painter = ViewerRenderer(model(), screen)
    painter.look(0, seen)
    while not (piece := painter.schedule.next(training=False)).complete or piece.coarse:
        painter._draw(training=False)
    before = len(screen.pictures)
    original = views.render_view

    def moving(field: RadianceScene, band: Camera, **known: float | None) -> RenderOutput:
        painter.look(0, camera(2.0, 60, 40))
        return original(field, band, **known)

    views.render_view = moving
    try:
        painter._draw(training=False)
    finally:
        views.render_view = original
    assert len(screen.pictures) == before == 1
    everything(painter)
    assert np.abs(screen.pictures[-1][1] - expected(painter.model, camera(2.0, 60, 40)).numpy() * 255).max() <= 0.51


def test_who_leaves_gets_nothing_more() -> None:
    screen = Kept()
    painter = ViewerRenderer(model(), screen)
    painter.look(0, camera())
    painter.look(1, camera(1.0))
    painter._draw(training=False)
    painter.leave(0)
    before = len(screen.pictures)
    everything(painter)
    assert {client for client, _, _ in screen.pictures[before:]} == {1}
    assert list(painter.shown) == [1]
    assert painter.begun == {}


def test_it_stays_until_ctrl_c() -> None:
    screen = Kept(lambda n: stop() if n == 2 else None)
    painter = ViewerRenderer(model(), screen)
    painter.look(0, camera(width=300, height=200))
    with pytest.raises(KeyboardInterrupt):
        painter.stay()
    assert len(screen.pictures) == 2
    assert "rays/s" in screen.words[0]


def scene() -> tuple[RadianceScene, PosedImages]:
    images = [torch.randint(256, (12, 16, 4), dtype=torch.uint8, generator=seeded(i)) for i in range(2)]
    field = radiance.ngp(16, generator=seeded(3))
    cameras = Cameras.of([camera(a, 16, 12) for a in (0.3, 1.7)])
    return RadianceScene(field, cameras, BOX, StratifiedSampler(BOX, 8)), PosedImages(images)


def train(looks: Callable[[ViewerRenderer], None] | None) -> tuple[dict[str, Tensor], Kept]:
    field, photographs = scene()
    recipe = Recipe(lr=1e-2, ema=0.9, batch_size=512, steps=6)
    screen = Kept()
    painter = ViewerRenderer(field, screen)
    hooks = []
    if looks is not None:
        looks(painter)
        hooks = [painter.between_steps]
    objective = Photometric("huber", "random")
    state = fit(field, photographs, recipe, objective=objective, evaluate_every=3, hooks=hooks)
    return state.tensors(), screen


def look(painter: ViewerRenderer) -> None:
    """Somebody looks, and a step was so long that everything may be drawn."""
    painter.share.saved = 1000.0
    painter.left -= 1000.0
    painter.look(0, camera(width=60, height=40))


def test_a_training_that_is_watched_gives_the_same_bits() -> None:
    alone, _ = train(None)
    watched, screen = train(look)
    assert len(screen.pictures) >= 4  # two, and the finer one after each of the later steps that left time for it
    assert "dB" in screen.words[-1]
    assert "ended by steps" in screen.words[-1]
    assert alone.keys() == watched.keys()
    assert all(torch.equal(value, watched[name]) for name, value in alone.items())


def test_the_averaged_weights_are_drawn() -> None:
    field, _ = scene()
    state = start(field, Recipe(ema=0.9))
    state.step, state.history = 1, [{"step": 1, "loss": 1.0, "seconds": 0.1}]
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.1 * torch.rand(parameter.shape, generator=seeded()))
    state.ema.update(field)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.zero_()
    screen = Kept()
    painter = ViewerRenderer(field, screen)
    look(painter)
    painter.between_steps(state)
    with state.ema.applied(field):
        truth = expected(field, camera(width=60, height=40)).numpy() * 255
    assert np.abs(screen.pictures[-1][1] - truth).max() <= 0.51
    assert np.abs(expected(field, camera(width=60, height=40)).numpy() * 255 - truth).max() > 10
    assert not any(parameter.any() for parameter in field.parameters())  # and given back


def test_a_paused_training_draws_and_waits() -> None:
    field, _ = scene()
    state = start(field, Recipe())
    state.step, state.history = 1, [{"step": 1, "loss": 1.0, "seconds": 0.1}]
    drawn = threading.Event()
    screen = Kept(lambda n: drawn.set() if n == 2 else None)
    said = []
    painter = ViewerRenderer(field, screen, said.append)
    painter.pause(True)
    times = []

    def user() -> None:
        painter.look(0, camera(width=60, height=40))
        drawn.wait(60)
        times.append(time.perf_counter())
        time.sleep(0.2)
        painter.pause(False)

    thread = threading.Thread(target=user)
    entered = time.perf_counter()
    thread.start()
    painter.between_steps(state)
    passed = time.perf_counter() - entered
    thread.join()
    assert len(screen.pictures) >= 2
    assert "paused" in screen.words[0]
    assert passed > 0.2
    assert said == ["paused in the viewer", "goes on"]


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_pause_ends_when_the_last_page_closes(comes_back: bool) -> None:
    """One of two pages, or a page that is loaded again, ends nothing; without anybody left the training goes on."""
    field, _ = scene()
    state = start(field, Recipe())
    state.step, state.history = 1, [{"step": 1, "loss": 1.0, "seconds": 0.1}]
    screen, said = Kept(), []
    painter = ViewerRenderer(field, screen, said.append, reload=0.3)
    for client in (0, 1):
        painter.look(client, camera(width=6, height=4))
    painter.pause(True)
    held = []

    def user() -> None:
        painter.leave(0)
        time.sleep(0.6)
        held.append(painter.paused)  # the other one is still there
        painter.leave(1)
        if comes_back:
            painter.look(2, camera(width=6, height=4))
            time.sleep(0.6)
            held.append(painter.paused)
            painter.leave(2)

    thread = threading.Thread(target=user)
    thread.start()
    painter.between_steps(state)  # for ever, were it to wait for somebody's button
    thread.join()
    assert held == [True] * (1 + comes_back)
    assert said == ["paused in the viewer", "goes on: the viewer's last page was closed"]
    assert screen.held == [True, False]
    assert not painter.paused
    painter.between_steps(state)
    assert len(said) == 2


def test_what_is_said_of_a_training() -> None:
    state = start(scene()[0], Recipe())
    state.step = 3
    state.history = [{"step": i, "loss": 0.01 * i, "seconds": 0.5 * i, "rays": 1000.0} for i in (1, 2, 3)]
    said = progress(state, paused=False)
    assert said == "Step 3, training  \nloss 2.00e-02, 2,000 rays/s"
    state.history[1]["psnr"] = 21.234
    assert "21.23 dB" in progress(state, paused=True)
    assert "Step 3, paused" in progress(state, paused=True)
    state.stopped = "time-budget"
    assert "ended by time-budget" in progress(state, paused=False)
