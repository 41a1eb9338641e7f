"""``neufield nerf doctor`` and ``convert``: what a scene's files mean, before hours are spent on them."""

import math
from pathlib import Path

import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from torch import Tensor

from neufield.apps.console import Terminal
from neufield.apps.options import NerfConvert, NerfDoctor
from neufield.core.errors import ConfigError
from neufield.core.files import write_atomically
from neufield.formats.scene import Scene, check_scene, read_scene, write_scene
from neufield.presets.scene import choose_bounds
from neufield.presets.scene.background import shown_point
from neufield.renderers import NDC, Box, Contraction

_PANEL, _MARGIN = 460, 34
_VIEWS = (
    ("from above (x right, y up)", 0, 1),
    ("from the front (x right, z up)", 0, 2),
    ("from the side (y, z)", 1, 2),
)
_COLORS = {"train": (36, 99, 235), "val": (120, 120, 130), "test": (220, 80, 40), "": (160, 160, 160)}
_STYLES = {"info": "dim", "warning": "yellow"}


def examine(options: NerfDoctor) -> None:
    """Print what was read and what is odd, and draw the cameras."""
    console = Terminal()
    scene = read_scene(options.scene, options.dialect, images=options.images)
    notes = (*scene.notes, *check_scene(scene))
    counts = {name or "unused": len(scene.split(name)) for name in ("train", "val", "test", "")}
    console.print(
        f"{options.scene}: {scene.dialect}, {len(scene.frames)} photographs "
        f"({', '.join(f'{count} {name}' for name, count in counts.items() if count)})",
        soft_wrap=True,
    )
    sizes = sorted({(f.camera.width, f.camera.height) for f in scene.frames})
    lenses = sorted({f.camera.lens for f in scene.frames})
    console.print(f"sizes {', '.join(f'{w} x {h}' for w, h in sizes)}; lenses {', '.join(lenses)}")
    positions = torch.stack([frame.camera.to_world[:3, 3] for frame in scene.frames])
    low, high = positions.amin(0), positions.amax(0)
    console.print(f"cameras from {shown_point(low)} to {shown_point(high)}")
    space = choose_bounds(scene)
    console.print(f"neufield nerf train would cover: {describe(space)}")
    if scene.points is not None:
        console.print(f"{len(scene.points.xyz):,} sparse points")
    for note in notes:
        console.print(f"{note.level}: {note.key}: {note.text}", style=_STYLES[note.level])
    out = options.out or Path(f"{options.scene.resolve().name}-cameras.png")
    write_atomically(out, draw_cameras(scene, space).save)
    console.print(f"wrote {out}", soft_wrap=True)


def convert(options: NerfConvert) -> None:
    """Read one dialect, write another."""
    if options.out.resolve() == options.scene.resolve():
        raise ConfigError(f"{options.out} is the scene itself; write the other dialect into another folder")
    scene = read_scene(options.scene, images=options.images)
    write_scene(scene, options.out, options.dialect, lossy=options.lossy, copy_images=options.copy)
    Terminal().print(
        f"wrote the {len(scene.frames)} photographs of {options.scene} ({scene.dialect}) as {options.dialect}: "
        f"{options.out}"
    )


def draw_cameras(scene: Scene, space: object) -> Pillow.Image:
    """Three views of the cameras, the box and the sparse points, in the scene's own units."""
    poses = torch.stack([frame.camera.to_world for frame in scene.frames])
    positions, axes = poses[:, :3, 3], -poses[:, :3, 2]
    corners = torch.tensor([space.lower, space.upper]).double() if isinstance(space, Box) else positions[:0]
    everything = torch.cat([positions, corners])
    low, high = everything.amin(0), everything.amax(0)
    size = float((high - low).max()) or 1.0
    center, arrow = (low + high) / 2, 0.08 * size
    sheet = Pillow.new("RGB", (len(_VIEWS) * _PANEL, _PANEL + _MARGIN), (250, 250, 250))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for column, (title, across, up) in enumerate(_VIEWS):

        def place(point: Tensor, column: int = column, across: int = across, up: int = up) -> tuple[float, float]:
            scale = (_PANEL - 2 * _MARGIN) / size
            x = column * _PANEL + _PANEL / 2 + float(point[across] - center[across]) * scale
            return x, _MARGIN + _PANEL / 2 - float(point[up] - center[up]) * scale

        draw.text((column * _PANEL + 12, 8), title, fill=(32, 32, 36), font=font)
        if scene.points is not None:
            keep = torch.linspace(0, len(scene.points.xyz) - 1, min(2000, len(scene.points.xyz))).long()
            for point, rgb in zip(scene.points.xyz[keep], scene.points.rgb[keep].tolist(), strict=True):
                draw.point(place(point), fill=tuple(rgb))
        if len(corners):
            (x0, y0), (x1, y1) = place(corners[0]), place(corners[1])
            draw.rectangle([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)], outline=(30, 140, 70), width=2)
        for frame, position, axis in zip(scene.frames, positions, axes, strict=True):
            x, y = place(position)
            color = _COLORS[frame.split]
            draw.line([(x, y), place(position + arrow * axis)], fill=color)
            draw.ellipse([x - 2, y - 2, x + 2, y + 2], fill=color)
    ticks = 10 ** math.floor(math.log10(size))
    bar = ticks * (_PANEL - 2 * _MARGIN) / size
    draw.line([(12, _PANEL + 18), (12 + bar, _PANEL + 18)], fill=(32, 32, 36), width=2)
    draw.text(
        (18 + bar, _PANEL + 9), f"{ticks:g}   blue train, orange test, green the box", fill=(32, 32, 36), font=font
    )
    return sheet


def describe(space: object) -> str:
    """What a space covers, in words."""
    if isinstance(space, Box):
        return f"a box from {shown_point(torch.tensor(space.lower))} to {shown_point(torch.tensor(space.upper))}"
    if isinstance(space, NDC):
        return f"what is seen from the front, from {space.near:.3g} to {space.far:.3g} before the cameras"
    if isinstance(space, Contraction):
        middle = shown_point(torch.tensor(space.center))
        return f"all of the world, as it is within {space.radius:.3g} of {middle}, contracted beyond"
    raise AssertionError(f"{type(space).__name__} is a space that no scene is given")
