"""The viewer's page: poses to viser and back, and what a real browser shows, requests and waits for."""

import base64
import contextlib
import dataclasses
import io
import itertools
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import zstandard
from cases import seeded
from chromium import Chromium
from PIL import Image as Pillow
from viewer_cases import HEIGHT, LEFT, RIGHT, WIDTH, standing, two_halves

import neufield as nf
from neufield.apps import cli
from neufield.apps.nerf import views
from neufield.apps.nerf.viewer_page import edges, from_viser, opening, to_viser, upwards
from neufield.core.cameras import Camera
from neufield.core.rotations import look_at, to_matrices
from neufield.renderers import Box, RadianceScene

ROOT = Path(__file__).resolve().parents[1]
# On a free machine 0.1 s, a few times that on a busy one: here a browser that draws without a GPU and a renderer share
# two cores with whoever else is there. What hangs takes longer than this.
PATIENCE = 5.0


def poses(count: int) -> torch.Tensor:
    """Random rigid camera-to-world matrices (count, 4, 4)."""
    made = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    made[:, :3, :3] = to_matrices(torch.randn(count, 4, generator=seeded(), dtype=torch.float64))
    made[:, :3, 3] = torch.randn(count, 3, generator=seeded(1), dtype=torch.float64)
    return made


# Poses


def test_poses_go_to_viser_and_back_exactly() -> None:
    for pose in poses(50):
        camera = Camera(pose, 64, 48, 70.0, 70.0, 32.0, 24.0)
        wxyz, position = to_viser(camera)
        back = from_viser(wxyz, position, opening(camera)[0], 64, 48)
        torch.testing.assert_close(back.to_world, pose, rtol=0, atol=1e-14)  # some roundings of float64
        assert (back.fx, back.fy, back.cx, back.cy) == pytest.approx((70, 70, 32, 24), rel=1e-12)


def test_viser_projects_with_the_pose_it_is_given_as_we_do() -> None:
    """Viser's cameras are OpenCV's: x right, y down, z ahead. Its own rotations are the judge."""
    from viser import transforms

    points = torch.randn(200, 3, generator=seeded(2), dtype=torch.float64)
    for pose in poses(10):
        camera = Camera(pose, 64, 48, 70.0, 70.0, 30.0, 25.0)
        pixels, before = camera.project(points)
        wxyz, position = to_viser(camera)
        local = (points.numpy() - position) @ transforms.SO3(wxyz).as_matrix()
        assert np.array_equal(local[:, 2] > 0, before.numpy())
        theirs = 70.0 * local[:, :2] / local[:, 2:] + np.array([30.0, 25.0])
        np.testing.assert_allclose(pixels.numpy()[before], theirs[before], rtol=1e-9, atol=1e-9)


def test_the_opening_of_a_pinhole() -> None:
    camera = Camera(torch.eye(4, dtype=torch.float64), 200, 100, 50.0, 100.0, 100.0, 50.0)
    fov, aspect = opening(camera)
    assert fov == pytest.approx(2 * math.atan(0.5))
    assert aspect == pytest.approx(4.0)  # 2 by 1 pixels that are twice as wide as high


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_up_is_what_the_cameras_agree_on(sign: float) -> None:
    up = sign * torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    places = [torch.tensor([math.cos(a), math.sin(a), 0.5 * math.sin(3 * a)]) * 3 for a in (0.0, 0.9, 2.0, 3.5)]
    around = torch.stack([look_at(place, (0, 0, 0), up) for place in places])
    torch.testing.assert_close(upwards(around), up, rtol=0, atol=1e-12)
    alike = torch.stack([look_at((x, 0.0, 4.0), (x, 0.0, 0.0), (0, 1, 0)) for x in (0.0, 1.0, 2.0)])
    torch.testing.assert_close(upwards(alike), alike[0, :3, 1], rtol=0, atol=1e-12)


def test_a_box_has_twelve_edges() -> None:
    ends = edges(Box([0.0, -1.0, 2.0], [1.0, 3.0, 5.0]))
    lengths = sorted(np.abs(ends[:, 0] - ends[:, 1]).max(1).tolist())
    assert lengths == [1.0] * 4 + [3.0] * 4 + [4.0] * 4
    assert (np.abs(ends[:, 0] - ends[:, 1]) > 0).sum() == 12
    assert len(np.unique(ends.reshape(-1, 3), axis=0)) == 8


# The command line


def said(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["nerf", *map(str, arguments)])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    nf.save(two_halves(), folder / "field.safetensors")
    return folder


def test_numbers_that_are_none_are_not_drawn(saved, tmp_path, capsys) -> None:
    model = two_halves()
    with torch.no_grad():
        model.field.color_table[0, 0, 0, 0] = math.nan
    nf.save(model, tmp_path / "field.safetensors")
    for command in (["view"], ["render", tmp_path / "out"], ["export", tmp_path / "out.ply"], ["eval", saved]):
        error = said(capsys, command[0], tmp_path / "field.safetensors", *command[1:])
        assert "cannot be drawn: 1 of the" in error
        assert "field.color_table" in error
    assert [path.name for path in tmp_path.iterdir()] == ["field.safetensors"]


def test_what_cannot_be_viewed(saved, tmp_path, capsys) -> None:
    assert "nowhere" in said(capsys, "view", tmp_path / "nowhere")
    assert "field.safetensors" in said(capsys, "view", tmp_path)  # a folder without one
    nf.save(nf.presets.ngp(dim=2, out_dim=3), tmp_path / "picture.safetensors")
    assert "not of a photographed scene" in said(capsys, "view", tmp_path / "picture.safetensors")
    assert "0 (any that is free) to 65535" in said(capsys, "view", saved, "--viewer-port", 65536)
    assert "another --viewer-port" in said(capsys, "view", saved, "--viewer-host", "192.0.2.1")  # nobody's (RFC 5737)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in said(capsys, "view", saved, "--viewer-port", port)


def test_without_viser_one_sentence_says_what_to_install(saved, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    assert 'pip install "neufield[nerf]"' in said(capsys, "view", saved)


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chromium]:
    chromium = Chromium(tmp_path_factory.mktemp("chromium"), WIDTH, HEIGHT)
    yield chromium
    chromium.close()


@contextlib.contextmanager
def running(*arguments: object) -> Iterator[tuple[subprocess.Popen, str]]:
    """``neufield nerf ...`` in a process of its own, and the page's address."""
    command = [sys.executable, "-u", "-m", "neufield.apps.cli", "nerf", *map(str, arguments), "--viewer-port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
        # In a shell's background job Ctrl-C is ignored, and so it would be here.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        found = (re.fullmatch(r"viewer: (http://127\.0\.0\.1:\d+)\n", line) for line in process.stdout)
        address = next((match[1] for match in found if match), None)
        assert address, f"{' '.join(command)} ended with {process.wait()}"
        yield process, address
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


class Tab:
    """The browser's page on a viewer. Only what came after it was opened counts."""

    def __init__(self, browser: Chromium, url: str) -> None:
        self.browser = browser
        self.since = {direction: len(browser.frames(direction)) for direction in ("Sent", "Received")}
        self.requests = len(browser.of("Network.requestWillBeSent"))
        self.sockets = len(browser.of("Network.webSocketCreated"))
        browser.open(url)

    def cameras(self) -> list[tuple[float, dict[str, Any]]]:
        """When the page said where it looks from."""
        frames = self.browser.frames("Sent")[self.since["Sent"] :]
        messages = [(when, msgspec.msgpack.decode(data)) for when, data in frames]
        return [(when, message) for when, message in messages if message["type"] == "ViewerCameraMessage"]

    def pictures(self) -> list[tuple[float, tuple[int, int]]]:
        """When pictures came, and their width and height."""
        found = []
        for when, data in self.browser.frames("Received")[self.since["Received"] :]:
            size = int.from_bytes(data[8:16], "little")
            whole = msgspec.msgpack.decode(zstandard.decompress(data[16 : 16 + size]))
            for message in whole["messages"]:
                if message["type"] == "BackgroundImageMessage" and message["rgb_data"]:
                    with Pillow.open(io.BytesIO(message["rgb_data"])) as picture:
                        found.append((when, picture.size))
        return found

    def run(self, code: str) -> Any:
        """The value of a line of JavaScript."""
        answer = self.browser.call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self) -> str:
        return self.run("document.body ? document.body.innerText : ''")

    def press(self, selector: str, text: str) -> None:
        """Click on the element that shows ``text``."""
        find = f"[...document.querySelectorAll({selector!r})].find(e => e.innerText.trim() === {text!r})"
        self.browser.wait(lambda: self.run(f"!!{find}"), f"{selector} {text}")
        self.run(f"{find}.click()")

    def canvas(self) -> np.ndarray:
        """The pixels of the three-dimensional part, without what lies over it. A slow browser has fewer of them."""
        largest = "[...document.querySelectorAll('canvas')].sort((a, b) => b.width * b.height - a.width * a.height)[0]"
        data = self.run(f"{largest}.toDataURL('image/png')").partition(",")[2]
        with Pillow.open(io.BytesIO(base64.b64decode(data))) as picture:
            whole = picture.convert("RGB").resize((WIDTH, HEIGHT), Pillow.Resampling.BILINEAR)
        return np.asarray(whole).astype(float)

    def seen(self) -> Camera:
        """The camera that the page told last."""
        message = self.cameras()[-1][1]
        size = message["image_width"], message["image_height"]
        return from_viser(message["wxyz"], message["position"], message["fov"], *size)

    def drag(self) -> float:
        """Turn the view; seconds from the first message about it to the first picture after that, for the browser."""
        asked = len(self.cameras())
        start, end = (100, 290), (180, 230)  # below viser's complaint about the missing GPU
        assert {self.run(f"document.elementFromPoint({x}, {y}).tagName") for x, y in (start, end)} == {"CANVAS"}
        self.browser.drag(start, end)
        self.browser.wait(lambda: len(self.cameras()) > asked, "a camera")
        begun = self.cameras()[asked][0]
        self.browser.wait(lambda: self.pictures()[-1][0] > begun, "a picture")
        when, (width, height) = next(picture for picture in self.pictures() if picture[0] > begun)
        print(f"{when - begun:.3f} s from the camera's message to the first picture, {width} x {height}")
        assert width < WIDTH
        return when - begun

    def settle(self) -> None:
        """Wait for the full picture of the page's camera and for its pixels."""

        def full() -> bool:
            if not self.cameras() or not self.pictures():
                return False
            when, size = self.pictures()[-1]
            return when > self.cameras()[-1][0] and size == (self.seen().width, self.seen().height)

        self.browser.wait(full, "the full picture")
        shown = [self.canvas()]
        while len(shown) < 2 or not np.array_equal(shown[-1], shown[-2]):
            self.browser.listen(0.3)
            shown.append(self.canvas())


def rendered(model: RadianceScene, camera: Camera) -> np.ndarray:
    """What ``camera`` should see."""
    rgba = views.render_view(model, camera.resized(WIDTH, HEIGHT)).rgba
    return (rgba[..., :3] + (1 - rgba[..., 3:]) * torch.tensor(model.background)).numpy() * 255


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference in levels of 255."""
    return float(np.abs(a - b).mean())


@pytest.fixture(scope="module")
def tab(browser, saved) -> Iterator[Tab]:
    """A page on the saved field, without the lines over the picture."""
    with running("view", saved) as (_, url):
        tab = Tab(browser, url)
        for label in ("Cameras", "Box"):
            tab.press("label", label)
        tab.settle()
        yield tab


@pytest.mark.slow
def test_it_begins_at_the_first_camera(tab) -> None:
    """Where the window has another shape than the photograph, the angle from top to bottom is kept."""
    tab.browser.wait(lambda: len(tab.cameras()) >= 2, "the camera that the page was told")
    first, seen = standing(0.0), tab.seen()
    torch.testing.assert_close(seen.to_world, first.to_world, rtol=0, atol=1e-5)  # three.js' own arithmetic
    assert 0.5 * seen.height / seen.fy == pytest.approx(0.5 * HEIGHT / 420.0, rel=1e-5)


@pytest.mark.slow
def test_the_page_shows_what_render_view_gives(tab) -> None:
    shown, model, seen = tab.canvas(), two_halves(), tab.seen()
    off = distance(shown, rendered(model, seen))
    assert off < 1  # 0.4 measured: JPEG at quality 92 and a canvas of fewer pixels; 13 and 41 when turned over
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):  # to the pixel
        aside = dataclasses.replace(seen, cx=seen.cx + x, cy=seen.cy + y)
        assert off < distance(shown, rendered(model, aside))
    row = HEIGHT // 2
    for x, color in ((-0.1, LEFT), (0.1, RIGHT)):
        column = round(WIDTH * (0.5 + x))
        middle = shown[row - 4 : row + 4, column - 4 : column + 4].mean((0, 1))
        assert np.abs(middle - 255 * np.array(color)).max() < 6  # as above: JPEG


@pytest.mark.slow
def test_a_drag_shows_a_coarse_picture_soon_and_then_the_new_view(tab, record_property) -> None:
    model, shown, seen = two_halves(), tab.canvas(), tab.seen()
    seconds = tab.drag()
    record_property("seconds from a camera's message to the first picture", seconds)
    assert seconds < PATIENCE
    tab.settle()
    moved, after = tab.seen(), tab.canvas()
    assert float((moved.to_world - seen.to_world).abs().max()) > 0.1
    assert distance(after, shown) > 5
    assert distance(after, rendered(model, moved)) < 1  # as above


@pytest.mark.slow
def test_nothing_outside_this_machine_is_asked_for(tab) -> None:
    addresses = [message["request"]["url"] for message in tab.browser.of("Network.requestWillBeSent")[tab.requests :]]
    addresses += [message["url"] for message in tab.browser.of("Network.webSocketCreated")[tab.sockets :]]
    here = re.compile(r"data:|(blob:)?http://127\.0\.0\.1:|ws://127\.0\.0\.1:")
    assert [address for address in addresses if not here.match(address)] == []
    assert {address.partition("://")[0] for address in addresses if "://127.0.0.1:" in address} >= {"http", "ws"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    frames = []
    for i in range(4):
        name = folder / f"{i}.png"
        Pillow.fromarray(np.random.default_rng(i).integers(0, 255, (12, 16, 3), np.uint8)).save(name)
        frames.append({"file_path": name.name, "transform_matrix": standing(0.8 * i).to_world.tolist()})
    (folder / "transforms_train.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": frames}))
    return folder


QUICK = ["--preset", "voxels", "--resolution", 8, "--box", 1, "--set", "recipe.batch_size=256"]


@pytest.mark.slow
def test_a_training_is_watched_paused_and_resumed(browser, scene, tmp_path) -> None:
    with running("train", scene, "--viewer", "--steps", 1_000_000, "--out", tmp_path / "run", *QUICK) as (process, url):
        tab = Tab(browser, url)

        def step() -> int:
            return int(re.search(r"Step (\d+)", tab.text())[1])

        browser.wait(lambda: "training" in tab.text() and tab.pictures(), "a picture")
        begun = step()
        browser.wait(lambda: step() > begun + 20, "the training beside the viewer")
        assert "rays/s" in tab.text()
        assert "loss" in tab.text()
        assert tab.drag() < PATIENCE
        tab.press("button", "Pause training")
        browser.wait(lambda: "paused" in tab.text(), "the pause")
        held = step()
        browser.listen(1.0)
        assert step() == held
        tab.press("button", "Resume training")
        browser.wait(lambda: step() > held, "more training")
        tab.press("button", "Pause training")
        browser.open("about:blank")  # the page is closed
        said = itertools.takewhile(lambda line: "last page" not in line, process.stdout)
        assert [line for line in said if "viewer" in line] == ["paused in the viewer\n"] * 2
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_the_viewer_stays_after_the_training(scene, tmp_path) -> None:
    with running("train", scene, "--viewer", "--steps", 3, "--out", tmp_path / "run", *QUICK) as (process, _):
        for line in process.stdout:
            if line == "the viewer stays until Ctrl-C\n":
                break
        assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 3
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_a_training_without_viewer_needs_no_viser(scene, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    arguments = ["nerf", "train", scene, "--steps", 2, "--out", tmp_path / "run", *QUICK]
    cli.main([str(argument) for argument in arguments])
    assert (tmp_path / "run" / "result.json").exists()
