"""Which way the surfaces of a view face."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from neufield.core.interfaces import RadianceField
from neufield.core.records import Rays, View
from neufield.renderers.scene_bounds import SceneBounds

_AT_A_TIME = 2**17  # points


def expected_normals(field: RadianceField, space: SceneBounds, rays: Rays, view: View) -> Float[Tensor, "N 3"]:
    """Of each of the ``rays`` of a ``view`` the mean of its samples' normals by their shares of light, unit length.

    A sample's normal is -grad sigma / |grad sigma| in the middle of its interval, by the world's axes and distances:
    through the space's own map, so that neither a box that is no cube nor a contraction bends it. It points from dense
    to thin. 0 where there is no light or no slope. Not itself differentiable.
    """
    seen = view.samples
    middles = 0.5 * (seen.starts + seen.ends).detach()
    normals = []
    for ids, at in zip(seen.ray_ids.split(_AT_A_TIME), middles.split(_AT_A_TIME), strict=True):
        points = rays.origins[ids] + at[:, None] * rays.directions[ids]
        normals.append(-normalize(_slope(field, space, points), dim=1))
    weighted = torch.cat([rays.origins[:0], *normals]) * view.weights.detach()[:, None]
    return normalize(torch.zeros_like(rays.origins).index_add(0, seen.ray_ids, weighted), dim=1)


@torch.enable_grad()
def _slope(field: RadianceField, space: SceneBounds, points: Tensor) -> Tensor:
    """Of the density by world ``points`` (S, 3)."""
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(field.geometry(space.to_unit(points)).sigma.sum(), points)
    return slope
