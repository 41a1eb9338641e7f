"""A radiance field along rays as the composition of its parts, in PyTorch: differentiable any number of times."""

import torch
from torch import Tensor

from neufield.core.records import Rays
from neufield.functional.harmonics import harmonics
from neufield.kernels import field
from neufield.kernels.radiance.spec import Looked, RadianceSpec
from neufield.kernels.volume import Composite, TorchMarch, composite, visibility_mask


def render_rays(
    rays: Rays,
    jitter: Tensor,
    occupied: Tensor,
    seen: Tensor,
    table: Tensor,
    params: Tensor,
    color_params: Tensor,
    spec: RadianceSpec,
) -> Looked:
    """As :meth:`RadianceKernel.render_rays`, with ``seen (N, .)`` already computed."""
    n = len(rays.near)
    with torch.no_grad():
        ray_ids, starts = TorchMarch().march(rays, jitter, occupied, spec.march)
        ends = starts + spec.march.lengths(starts)
        x = spec.march.to_unit(rays.origins[ray_ids] + (0.5 * (starts + ends))[:, None] * rays.directions[ray_ids])
        sigma = spec.sigma(field.evaluate(x, table, params, spec.geometry, "torch")[:, 0])
        kept = visibility_mask(sigma, starts, ends, ray_ids, n, spec.early_stop_eps)
    found = shade(ray_ids[kept], starts[kept], x[kept], rays.directions, seen, table, params, color_params, spec)
    return Looked(*found, ray_ids[kept], starts[kept], x[kept], len(starts))


def shade(
    ray_ids: Tensor,
    starts: Tensor,
    x: Tensor,
    directions: Tensor,
    seen: Tensor,
    table: Tensor,
    params: Tensor,
    color_params: Tensor,
    spec: RadianceSpec,
    grid_backend: str = "torch",
) -> Composite:
    """Colour and sum up intervals that were found."""
    y = field.evaluate(x, table, params, spec.geometry, grid_backend)
    of_rays = torch.cat([harmonics(directions, spec.degree), seen], dim=1)
    inputs = torch.cat([y, of_rays[ray_ids]], dim=1)
    colors = field.evaluate(inputs, None, color_params, spec.color)
    if spec.color_activation == "sigmoid":
        colors = torch.sigmoid(colors)
    return composite(spec.sigma(y[:, 0]), colors, starts, starts + spec.march.lengths(starts), ray_ids, len(seen))
