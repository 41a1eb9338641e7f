"""The browser's page, made with viser: pictures behind cameras and box, and what can be pressed."""

import contextlib
import io
import math
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from neufield.apps.nerf.guard import guarding
from neufield.apps.nerf.viewer_renderer import PICTURES, Screen, ViewerRenderer
from neufield.core.cameras import Camera
from neufield.core.errors import ConfigError
from neufield.core.rotations import to_matrices, to_quaternions
from neufield.renderers import Box, RadianceScene

_LONGEST = (128, 1024, 2048)  # side of a picture in pixels: at least, at first, at most
_LOSSLESS = 20_000  # pixels, at most
_DEPTHS = 256  # side of the picture that hides what is behind, at most
_REACH = 100.0  # world units; viser's depths end at 167
_FRUSTUM = 0.04  # of the scene's size
_TURN = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)  # OpenGL's x, y, z in OpenCV's
_GRAY, _GREEN = (90, 90, 100), (30, 140, 70)


class Page(Screen):
    """A viser page: the model's picture behind its training cameras and its box."""

    def __init__(self, model: RadianceScene, host: str, port: int, trains: bool) -> None:
        try:
            import viser
        except ImportError:
            raise ConfigError('the viewer needs viser: pip install "neufield[nerf]"') from None
        with guarding(host), contextlib.redirect_stdout(io.StringIO()):  # its box of text; we say it in one line
            self.server = viser.ViserServer(host, port, "neufield", verbose=False)
        self.url = f"http://{socket.gethostname() if host == '0.0.0.0' else host}:{self.server.get_port()}"
        self.trains = trains
        self.cameras = [model.cameras.camera(i) for i in range(model.cameras.count)]
        self.middle = torch.tensor(model.space.center, dtype=torch.float64)
        self.poses = torch.stack([camera.to_world for camera in self.cameras])
        self.size = float((self.poses[:, :3, 3] - self.middle).norm(dim=1).mean()) or 1.0
        self.up = upwards(self.poses)
        self._start()
        self._furnish(model.space)
        self._controls()

    def open(self, painter: ViewerRenderer) -> None:
        """Let ``painter`` hear what the browsers do from here on."""

        def look(client: Any) -> None:
            camera = client.camera
            longest = max(camera.image_width, camera.image_height, 1)
            least, _, most = _LONGEST
            scale = min(1.0, min(max(self.longest.value, least), most) / longest)
            size = round(camera.image_width * scale), round(camera.image_height * scale)
            painter.look(client.client_id, from_viser(camera.wxyz, camera.position, camera.fov, *size))

        # Coroutines, which viser runs in the order of the messages; functions it would hand to a pool.
        async def enter(client: Any) -> None:
            async def move(camera: Any) -> None:
                look(camera.client)

            client.camera.on_update(move)
            client.camera.min_orbit_distance = 1e-3 * self.size
            client.camera.max_orbit_distance = 1e3 * self.size
            look(client)

        async def leave(client: Any) -> None:
            painter.leave(client.client_id)

        async def resize(event: Any) -> None:
            del event
            for client in self.server.get_clients().values():
                look(client)

        async def pick(event: Any) -> None:
            del event
            if self.picture.value in PICTURES:
                painter.pick(self.picture.value)

        async def pause(event: Any) -> None:
            del event
            painter.pause(not painter.paused)

        self.longest.on_update(resize)
        self.picture.on_update(pick)
        self.pause.on_click(pause)
        self.server.on_client_disconnect(leave)
        self.server.on_client_connect(enter)

    def show(self, client: int, picture: np.ndarray, depth: np.ndarray) -> None:
        """See :class:`Screen`. Small pictures go without loss."""
        handle = self.server.get_clients().get(client)
        if handle is None:
            return
        step = max(1, math.ceil(max(depth.shape) / _DEPTHS))
        hides = depth[::step, ::step] if self.size < _REACH else None
        lossless = picture.shape[0] * picture.shape[1] <= _LOSSLESS
        handle.scene.set_background_image(picture, "png" if lossless else "jpeg", jpeg_quality=92, depth=hides)
        handle.flush()

    def say(self, status: str) -> None:
        """See :class:`Screen`."""
        self.status.content = status

    def hold(self, paused: bool) -> None:
        """See :class:`Screen`."""
        self.pause.label = "Resume training" if paused else "Pause training"

    def finish(self) -> None:
        """The training is over: nothing is left to pause."""
        self.pause.visible = False

    def close(self) -> None:
        """Stop serving."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.server.stop()

    def _start(self) -> None:
        """Browsers begin at the first camera."""
        self.server.gui.configure_theme(show_logo=False, show_share_button=False)
        self.server.scene.set_up_direction(self.up.numpy())
        start = self.server.initial_camera
        position, target, up = self._stand(self.cameras[0])
        start.position, start.look_at, start.up = position.numpy(), target.numpy(), up.numpy()
        start.fov, _ = opening(self.cameras[0])
        start.near, start.far = 1e-3 * self.size, 1e3 * self.size

    def _stand(self, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
        """Position, what is looked at and what is up (3,), of which viser makes the same pose and its next turns."""
        right, _, back, place = camera.to_world[:3].t()
        distance = max(float((place - self.middle) @ back), 0.1 * self.size)
        up = self.up - right * (self.up @ right)  # upright as far as the pose allows
        if float(up @ camera.to_world[:3, 1]) < 0.05:
            up = camera.to_world[:3, 1]
        return place, place - distance * back, up

    def _furnish(self, space: object) -> None:
        """The cameras, each of which a click leads to, and the box where there is one; ``lines`` has them by name."""
        scene = self.server.scene
        self.lines = {"Cameras": scene.add_frame("/cameras", show_axes=False)}
        for i, camera in enumerate(self.cameras):
            fov, aspect = opening(camera)
            wxyz, position = to_viser(camera)
            frustum = scene.add_camera_frustum(
                f"/cameras/{i}", fov, aspect, scale=_FRUSTUM * self.size, thickness=1.5, thickness_units="screen",
                color=_GRAY, wxyz=wxyz, position=position,
            )  # fmt: skip

            async def go(event: Any, camera: Camera = camera) -> None:
                position, target, up = (value.numpy() for value in self._stand(camera))
                seen = event.client.camera
                with event.client.atomic():
                    seen.up_direction, seen.position, seen.look_at = up, position, target
                    seen.fov, _ = opening(camera)

            frustum.on_click(go)
        if isinstance(space, Box):
            self.lines["Box"] = scene.add_frame("/box", show_axes=False)
            scene.add_line_segments("/box/edges", edges(space), _GREEN, thickness=1.5, thickness_units="screen")

    def _controls(self) -> None:
        gui = self.server.gui
        self.status = gui.add_markdown("")
        self.pause = gui.add_button("Pause training", visible=self.trains)
        self.picture = gui.add_dropdown("Picture", PICTURES)
        least, first, most = _LONGEST
        self.longest = gui.add_slider("Longest side", least, most, 64, first, hint="of the finest picture, in pixels")
        for label, node in self.lines.items():
            checkbox = gui.add_checkbox(label, True)

            async def switch(event: Any, node: Any = node) -> None:
                node.visible = event.target.value

            checkbox.on_update(switch)


def to_viser(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """``camera``'s rotation as viser's quaternion w, x, y, z of axes x right, y down, z ahead; its position."""
    x, y, z, w = to_quaternions(camera.to_world[:3, :3] * _TURN).tolist()
    return np.array([w, x, y, z]), camera.to_world[:3, 3].numpy()


def from_viser(
    wxyz: Sequence[float] | np.ndarray, position: Sequence[float] | np.ndarray, fov: float, width: int, height: int
) -> Camera:
    """The pinhole camera of a viser window of ``width`` x ``height`` pixels; ``fov`` is from top to bottom, radians."""
    w, x, y, z = (float(value) for value in wxyz)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = to_matrices(torch.tensor([x, y, z, w], dtype=torch.float64)) * _TURN
    pose[:3, 3] = torch.tensor([float(value) for value in position], dtype=torch.float64)
    focal = 0.5 * height / math.tan(0.5 * fov)
    return Camera(pose, width, height, focal, focal, 0.5 * width, 0.5 * height)


def opening(camera: Camera) -> tuple[float, float]:
    """The angle from top to bottom in radians, and width over height where angles are equal, of a pinhole alike."""
    return 2 * math.atan(0.5 * camera.height / camera.fy), camera.width / camera.fx / (camera.height / camera.fy)


def upwards(poses: Tensor) -> Tensor:
    """What the cameras (N, 4, 4) take for up: at right angles to where their right is, as far as they agree; (3,)."""
    rights, mean = poses[:, :3, 0], poses[:, :3, 1].mean(0)
    values, axes = torch.linalg.eigh(rights.t() @ rights / len(poses))
    if float(values[1]) < 0.05 or not float((axes[:, 0] @ mean).abs()) > 0.1:  # they all look the same way, or any way
        return normalize(mean, dim=0) if float(mean.norm()) > 1e-3 else poses.new_tensor([0.0, 0.0, 1.0])
    return axes[:, 0] * torch.sign(axes[:, 0] @ mean)


def edges(box: Box) -> np.ndarray:
    """The ends (12, 2, 3) of a box's edges."""
    ends = [torch.tensor(pair) for pair in zip(box.lower, box.upper, strict=True)]
    corners = torch.stack(torch.meshgrid(*ends, indexing="ij"), dim=-1)
    return torch.cat([corners.movedim(axis, 2).reshape(4, 2, 3) for axis in range(3)]).numpy()
