"""Which way the surfaces of a view face."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from neufield.core.interfaces import RadianceField
from neufield.core.lattice import blocks
from neufield.core.rays import Conditioning, RenderOutput
from neufield.renderers.scene_bounds import SceneBounds

_AT_A_TIME = 2**17  # points


def expected_normals(field: RadianceField, space: SceneBounds, view: RenderOutput) -> Float[Tensor, "N 3"]:
    """Average the normals of each ray's samples by their render weights, to unit length, for the rays of a ``view``.

    A sample's normal is -grad sigma / |grad sigma| in the middle of its interval, by the world's axes and distances:
    through the space's own map, so that neither a box that is no cube nor a contraction bends it. It points from dense
    to thin. 0 where there is no light or no slope. Not itself differentiable.
    """
    seen = view.interval_weights
    samples = view.samples
    assert samples is not None  # or there were no weights
    rays, at = samples.rays, seen.intervals
    middles = at.mid.detach()
    normals = []
    for start, stop in blocks(len(at), _AT_A_TIME):
        ids = at.ray_ids[start:stop]
        points = rays.origins[ids] + middles[start:stop, None] * rays.directions[ids]
        cond = None if rays.cond is None else rays.cond.at(ids)
        normals.append(-normalize(_slope(field, space, points, cond), dim=1))
    weighted = torch.cat([rays.origins[:0], *normals]) * seen.weights.detach()[:, None]
    return normalize(torch.zeros_like(rays.origins).index_add(0, at.ray_ids, weighted), dim=1)


@torch.enable_grad()
def _slope(field: RadianceField, space: SceneBounds, points: Tensor, cond: Conditioning | None) -> Tensor:
    """The slope (S, 3) of the density by world ``points`` (S, 3)."""
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(field.geometry(space.to_unit(points), cond).sigma.sum(), points)
    return slope
