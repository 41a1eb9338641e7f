"""A view's normals as a picture."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.apps.nerf.moments import camera_at
from neufield.core.cameras import Camera
from neufield.renderers import RadianceScene, expected_normals

_RAYS = 4096  # at a time: all visible samples' slopes are kept until the rays' means are taken


def draw_normals(model: RadianceScene, camera: Camera, time: float | None = None) -> Float[Tensor, "h w 3"]:
    """What ``camera`` sees, each pixel the normal's x, y, z in the world, from -1 to 1, as 0 to 1; black where nothing.

    The view is rendered for it once more. ``time`` is of a moving scene, by default when it begins to move.
    """
    device = model.cameras.to_world.device
    seen = RadianceScene(model.field, camera_at(model, camera, time), model.space, model.sampler)
    rows, columns = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    x = torch.stack([torch.zeros_like(rows), columns + 0.5, rows + 0.5], dim=-1).view(-1, 3).float()
    parts = [_pixels(seen, piece.to(device)).cpu() for piece in x.split(_RAYS)]
    return torch.cat(parts).view(camera.height, camera.width, 3)


@torch.no_grad()
def _pixels(model: RadianceScene, x: Tensor) -> Tensor:
    view = model.render(x)
    normals = expected_normals(model.field, model.space, view)
    return torch.where(view.opacity[:, None] > 0.5, (normals + 1) / 2, 0.0)
