"""Rendering rays through a radiance field."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import RadianceField, Sampler
from neufield.core.records import Rays, Samples, View
from neufield.kernels.volume import composite, visible

_LEAST_LIGHT = 1e-4  # intervals that get less are not looked at (instant-ngp's and nerfacc's early termination)
_LOOKED_AT = 2**18  # points whose density is found at a time, before the hidden ones are left out


def look(
    field: RadianceField,
    sampler: Sampler,
    rays: Rays,
    background: Float[Tensor, "#N 3"],
    generator: torch.Generator | None = None,
) -> View:
    """Render ``rays``. Intervals behind what is opaque cost a density, but neither a colour nor a gradient."""
    density = lambda x: field.geometry(x).sigma  # noqa: E731
    made = sampler.sample(rays, density, generator)
    with torch.no_grad():
        sigma = torch.cat([density(x) for x in made.x.split(_LOOKED_AT)]) if len(made.x) else made.starts
        kept = visible(sigma, made.starts, made.ends, made.ray_ids, made.n_rays, _LEAST_LIGHT)
    samples = Samples(made.ray_ids[kept], made.n_rays, made.starts[kept], made.ends[kept], made.x[kept])
    geometry = field.geometry(samples.x)
    code = None if rays.code is None else rays.code[samples.ray_ids]
    colors = field.color(geometry.features, rays.directions[samples.ray_ids], code)
    rgb, opacity, distance, weights = composite(
        geometry.sigma, colors, samples.starts, samples.ends, samples.ray_ids, samples.n_rays
    )
    return View(rgb + (1 - opacity)[:, None] * background, opacity, distance, weights, samples, len(made.x))
