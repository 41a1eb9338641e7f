"""Whole views: rendered in pieces, and laid beside the photographs."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from neufield.apps.nerf.moments import camera_at
from neufield.core.cameras import Camera
from neufield.core.rays import RenderOutput
from neufield.formats.scene import Frame
from neufield.renderers import RadianceScene
from neufield.signals.posed_images import read_photograph

_RAYS = 4096  # at a time: of an untrained field each is hundreds of points
_RAYS_ON_A_GPU = 2**17  # a view of 800 x 800 in five parts: each takes a hundred calls, whatever its size
_STRIP_VIEWS = 4
_STRIP_HEIGHT = 256
_ERROR_SCALE = 4.0  # the error panel's brightness


@torch.no_grad()
def render_view(
    model: RadianceScene, camera: Camera, like: int | None = None, time: float | None = None
) -> RenderOutput:
    """What ``camera`` sees of the model's field, (H, W) on the CPU, in its mean appearance or photograph ``like``'s.

    There is no background. ``time`` is of a moving scene, in the scene's own unit, by default when it begins to move.
    """
    device = model.cameras.to_world.device
    seen = model.seen_by(camera_at(model, camera, time), like)
    edges = torch.arange(camera.height, device=device), torch.arange(camera.width, device=device)
    rows, columns = torch.meshgrid(*edges, indexing="ij")
    x = torch.stack([torch.zeros_like(rows), columns + 0.5, rows + 0.5], dim=-1).view(-1, 3).float()
    at_a_time = _RAYS_ON_A_GPU if device.type == "cuda" else _RAYS
    found = [seen.render(piece) for piece in x.split(at_a_time)]
    rgb, opacity, distance = (
        torch.cat(values).cpu()
        for values in zip(*[(part.rgb, part.opacity, part.distance) for part in found], strict=True)
    )
    shape = (camera.height, camera.width)
    return RenderOutput(rgb.view(*shape, 3), opacity.view(shape), distance.view(shape))


def over(view: RenderOutput, color: Sequence[float]) -> Float[Tensor, "h w 4"]:
    """The view before ``color``, opaque."""
    rgb = view.over(view.rgb.new_tensor(list(color))).rgb
    return torch.cat([rgb, torch.ones_like(rgb[..., :1])], dim=-1)


def as_photographed(view: RenderOutput, photograph: Tensor, color: Sequence[float]) -> Float[Tensor, "h w 4"]:
    """The view as the ``photograph (H, W, 4)`` shows it: where that has no alpha, before the ``color`` behind it."""
    return over(view, color) if bool((photograph[..., 3] == 1).all()) else view.rgba


def reduced(frame: Frame, scale: float) -> tuple[Camera, Float[Tensor, "h w 4"]]:
    """Camera and photograph, in [0, 1] with straight alpha, of a frame ``scale`` times as wide and high."""
    photograph = read_photograph(frame).float() / 255
    camera = frame.camera
    if scale == 1:
        return camera, photograph
    camera = camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
    alpha = photograph[..., 3:]
    planes = torch.cat([photograph[..., :3] * alpha, alpha], dim=2).permute(2, 0, 1)[None]
    small = F.interpolate(planes, size=(camera.height, camera.width), mode="area")[0].permute(1, 2, 0)
    return camera, straight(small)


def strip(pairs: Sequence[tuple[str, Tensor, Tensor]]) -> Pillow.Image:
    """Photograph | rendering | error, four times as bright, of a few views, one below the other, all on white."""
    font = ImageFont.load_default(15)
    rows = []
    for label, photograph, rendered in pairs[:_STRIP_VIEWS]:
        alpha = photograph[..., 3:]
        truth = photograph[..., :3] * alpha + 1 - alpha
        view = rendered[..., :3] + 1 - rendered[..., 3:]
        error = (view - truth).abs().mul(_ERROR_SCALE).mean(dim=2, keepdim=True).expand_as(view)
        rows.append((label, [_panel(values) for values in (truth, view, error)]))
    width, height = rows[0][1][0].size
    sheet = Pillow.new("RGB", (3 * (width + 8) + 8, len(rows) * (height + 34)), (250, 250, 250))
    draw = ImageDraw.Draw(sheet)
    for row, (label, panels) in enumerate(rows):
        draw.text((8, row * (height + 34) + 6), label, fill=(32, 32, 36), font=font)
        for column, panel in enumerate(panels):
            sheet.paste(panel, (8 + column * (width + 8), row * (height + 34) + 28))
    return sheet


def to_picture(values: Float[Tensor, "h w c"]) -> Pillow.Image:
    """[0, 1] to 8 bits, rounded to the nearest."""
    return Pillow.fromarray((values.clamp(0, 1) * 255 + 0.5).byte().numpy())


def straight(rgba: Float[Tensor, "h w 4"]) -> Float[Tensor, "h w 4"]:
    """Colors no longer multiplied by alpha, as PNG stores them."""
    alpha = rgba[..., 3:]
    return torch.cat([torch.where(alpha > 0, rgba[..., :3] / alpha.clamp(min=1e-6), rgba[..., :3]), alpha], dim=-1)


def file_of(frame: Frame) -> str:
    """The file for a view in a run's folder of renders; folders of photographs may hold the same names."""
    return frame.name.replace("/", "-").rsplit(".", 1)[0] + ".png"


def _panel(values: Tensor) -> Pillow.Image:
    picture = to_picture(values)
    width = max(1, round(picture.width * _STRIP_HEIGHT / picture.height))
    return picture.resize((width, _STRIP_HEIGHT), Pillow.Resampling.LANCZOS)
