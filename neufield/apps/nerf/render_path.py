"""``neufield nerf render``: a radiance field along a path of cameras: a film, a folder of frames, or one view."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from neufield.apps.console import Terminal, track
from neufield.apps.nerf import views
from neufield.apps.nerf.load_model import load_model
from neufield.apps.nerf.moments import check_moment, moments
from neufield.apps.nerf.normals import draw_normals
from neufield.apps.nerf.writers import Reel, is_film, is_still, open_reels
from neufield.apps.options import NerfRender
from neufield.apps.options.shared import PathRendering
from neufield.apps.run_folder import field_of
from neufield.core.cameras import Camera
from neufield.core.errors import ConfigError, DataError
from neufield.core.rays import RenderOutput
from neufield.formats import read_ingp_path, read_nerfstudio_path
from neufield.formats.scene import read_scene
from neufield.renderers import RadianceScene, interpolate, orbit, spiral

_GROUNDS = {"white": 1.0, "black": 0.0}
_MOST_FRAMES = 1_000_000  # half a day of film
_KEYS = 12  # training cameras that an interpolated path goes through
_THUMBNAIL = 64  # pixels of the longer side of the views in which depths are looked for
_THUMBNAILS = 24
_OUTLIERS = 0.02  # of the depths at either end: specks before the lens, holes in the wall


def render_path(options: NerfRender) -> None:
    """Run the whole command."""
    render_scene(options, options.out, Terminal())


def render_scene(options: PathRendering, out: Path, console: Terminal) -> None:
    """Render every camera of the path into ``out``, or the first one if that is a picture.

    Every wrong option is found before the first frame.
    """
    _check(options, out)
    model = load_model(options.field, options.device, options.backend)
    _check_like(model, options.like)
    check_moment(model, options.time)
    path = _path(options, model)[: 1 if is_still(out) else None]
    cameras = [camera for camera, _ in path]
    times = moments(model, options.time, [time for _, time in path])
    sizes = sorted({(camera.width, camera.height) for camera in cameras})
    if is_film(out) and len(sizes) > 1:
        raise ConfigError(f"the path's cameras have {len(sizes)} sizes, but a film has one; give --size WIDTHxHEIGHT")
    shades = seen_depths(model, cameras) if options.depth else (0.0, 1.0)
    content = hashlib.sha256(field_of(options.field).read_bytes()).hexdigest()
    kept = 0
    names = ["frame"] + ["depth"] * options.depth + ["normal"] * options.normals
    with open_reels(out, names, options.fps) as reels:
        for i, camera in enumerate(track(cameras, "rendering", console)):
            kept += _frame(options, model, camera, times[i], i, content, shades, reels)
    again = f", {kept} of them kept" if kept else ""
    console.print(f"{out}: {_described(out, len(path), sizes)}{again}", soft_wrap=True)


def _check(options: PathRendering, out: Path) -> None:
    if not 1 <= options.frames <= _MOST_FRAMES:
        raise ConfigError(f"--frames is {options.frames}, but a path has from 1 to {_MOST_FRAMES:,}")
    if not 0 < options.fps <= 1000:
        raise ConfigError(f"--fps is {options.fps:g}, but frames a second lie above 0 and at most at 1000")
    film = is_film(out)
    if film and options.background == "none":
        raise ConfigError(f"{out} cannot be transparent; give --background white or black, or a folder")
    if (film or is_still(out)) and options.resume:
        raise ConfigError(f"{out} is written in one go; --resume needs a folder of frames")


def _check_like(model: RadianceScene, like: int | None) -> None:
    try:
        model.seen_by(model.cameras, like)
    except ValueError as error:
        raise ConfigError(f"--like: {error}") from None


def _described(out: Path, frames: int, sizes: Sequence[tuple[int, int]]) -> str:
    if len(sizes) > 1:
        return f"{frames} frames of {len(sizes)} sizes"
    width, height = sizes[0]
    if is_still(out):
        return f"{width} x {height}"
    if not is_film(out) or out.suffix.lower() == ".gif" or not (width % 2 or height % 2):
        return f"{frames} frames of {width} x {height}"
    even = f"{width // 2 * 2} x {height // 2 * 2}"
    return f"{frames} frames of {even} (a film's sides are even: the last of the {width} x {height} is left out)"


def _frame(
    options: PathRendering,
    model: RadianceScene,
    camera: Camera,
    time: float | None,
    index: int,
    content: str,
    shades: tuple[float, float],
    reels: Mapping[str, Reel],
) -> bool:
    """Render one camera into the reels; True where they hold it already."""
    marks = {
        "frame": _mark(content, camera, time, *_ground(options, model), options.like),
        "depth": _mark(content, camera, time, *shades),
        "normal": _mark(content, camera, time),
    }
    if options.resume and all(reel.holds(index, marks[name]) for name, reel in reels.items()):
        return True
    rendered = views.render_view(model, camera, options.like, time)
    drawn: Mapping[str, Callable[[], Tensor]] = {
        "frame": lambda: _grounded(rendered, _ground(options, model)),
        "depth": lambda: _depth(rendered, *shades),
        "normal": lambda: draw_normals(model, camera, time),
    }
    for name, reel in reels.items():
        reel.put(index, marks[name], views.to_picture(drawn[name]()))
    return False


def _mark(*made_of: object) -> str:
    """The same for the same frame only."""
    words = [
        vars(part) | {"to_world": part.to_world.tolist()} if isinstance(part, Camera) else part for part in made_of
    ]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]


def _path(options: PathRendering, model: RadianceScene) -> list[tuple[Camera, float | None]]:
    """The cameras, of the size that was asked for or else of the path's own, each with its time if it has one."""
    size = None if options.size is None else _size(options.size)
    first = model.cameras.camera(0)
    width, height = size or (first.width, first.height)
    known: Mapping[str, Callable[[], list[Camera]]] = {
        "interpolate": lambda: interpolate(_keys(model), options.frames, loop=True),
        "orbit": lambda: _orbit(model, options.frames),
        "spiral": lambda: _spiral(model, options.frames),
    }
    if options.path == "test":
        timed = _test_cameras(options.scene, options.images)
        return [(camera if size is None else camera.resized(*size), time) for camera, time in timed]
    if options.path in known:
        path = known[options.path]()
    else:
        path = _from_file(Path(options.path), width, height, options.frames, [*known, "test"])
    return [(camera if size is None else camera.resized(*size), None) for camera in path]


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise ConfigError(f"--size is {text!r}, but WIDTHxHEIGHT such as 800x600 was expected")
    return int(match[1]), int(match[2])


def _from_file(file: Path, width: int, height: int, frames: int, known: Sequence[str]) -> list[Camera]:
    if not file.is_file():
        raise ConfigError(f"--path is '{file}', which is neither {' nor '.join(known)} nor a file that is there")
    if '"camera_path"' in file.read_text(encoding="utf-8", errors="replace"):
        return read_nerfstudio_path(file)
    return read_ingp_path(file, width, height, frames)


def _keys(model: RadianceScene) -> list[Camera]:
    """Training cameras, evenly spaced in their order."""
    count = model.cameras.count
    return [model.cameras.camera(i * count // min(_KEYS, count)) for i in range(min(_KEYS, count))]


def _orbit(model: RadianceScene, frames: int) -> list[Camera]:
    """An orbit at the training cameras' mean distance from the middle of the space."""
    x, y, z = model.space.center
    positions = model.cameras.poses()[:, :, 3].detach().cpu()
    radius = float((positions - torch.tensor([x, y, z])).norm(dim=1).mean())
    return orbit(model.cameras.camera(0), frames, radius, (x, y, z))


def _spiral(model: RadianceScene, frames: int) -> list[Camera]:
    """Around the mean training camera; near and far are where these cameras see the nearest and the farthest thing."""
    cameras = [model.cameras.camera(i) for i in range(model.cameras.count)]
    near, far = seen_depths(model, _keys(model))
    return spiral(cameras, frames, near, max(far, 1.01 * near))  # a wall has one depth


def _test_cameras(scene: Path | None, images: str | None) -> list[tuple[Camera, float | None]]:
    if scene is None:
        raise ConfigError("--path test needs --scene SCENE, the photographs whose test cameras are rendered")
    found = [(frame.camera, frame.time) for frame in read_scene(scene, images=images).split("test")]
    if not found:
        raise DataError(f"{scene} has no test photographs; give another --path")
    return found


def seen_depths(model: RadianceScene, cameras: Sequence[Camera]) -> tuple[float, float]:
    """Depths in world units between which lies what the cameras see, but for some specks; from small views."""
    depths = []
    for camera in cameras[:: -(-len(cameras) // _THUMBNAILS)]:
        shrink = min(1.0, _THUMBNAIL / max(camera.width, camera.height))
        small = camera.resized(max(1, round(camera.width * shrink)), max(1, round(camera.height * shrink)))
        rendered = views.render_view(model, small)
        depths.append(rendered.depth[rendered.opacity > 0.5])
    there = torch.cat(depths)
    if not len(there):
        return 1.0, 2.0
    ends = torch.quantile(there, torch.tensor([_OUTLIERS, 1 - _OUTLIERS]))
    near, far = (float(f"{end:.4g}") for end in ends.tolist())  # the same on machines that add in another order
    return near, far


def _ground(options: PathRendering, model: RadianceScene) -> Sequence[float]:
    """The color behind the frames; none of its numbers to leave them transparent."""
    if options.background == "none":
        return ()
    return model.background if options.background == "auto" else (_GROUNDS[options.background],) * 3


def _grounded(rendered: RenderOutput, color: Sequence[float]) -> Tensor:
    return views.over(rendered, color)[..., :3] if color else views.straight(rendered.rgba)


def _depth(rendered: RenderOutput, near: float, far: float) -> Tensor:
    """(H, W, 3): 1 at ``near`` and before, 0.1 from ``far`` on, black where there is nothing."""
    there = rendered.opacity > 0.5
    shade = 1 - 0.9 * ((rendered.depth - near) / max(far - near, 1e-6)).clamp(0, 1)
    return torch.where(there, shade, 0.0)[..., None].expand(-1, -1, 3)
