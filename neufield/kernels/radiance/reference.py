"""A radiance field along rays as the composition of its parts, in PyTorch: differentiable any number of times."""

import dataclasses

import torch
from torch import Tensor

from neufield.core.rays import Intervals, Rays, RaySamples, RenderOutput
from neufield.functional.harmonics import harmonics
from neufield.kernels import field
from neufield.kernels.radiance.spec import RadianceSpec
from neufield.kernels.volume import TorchMarch, composite, visibility_mask


def render_rays(
    rays: Rays,
    jitter: Tensor,
    occupied: Tensor,
    seen: Tensor,
    table: Tensor,
    params: Tensor,
    color_params: Tensor,
    spec: RadianceSpec,
) -> RenderOutput:
    """Compute :meth:`RadianceKernel.render_rays`, with ``seen (N, .)`` already known."""
    with torch.no_grad():
        made = TorchMarch().march(rays, jitter, occupied, spec.march)
        at = made.ray_ids
        x = spec.march.to_unit(rays.origins[at] + made.mid[:, None] * rays.directions[at])
        sigma = spec.sigma(field.evaluate(x, table, params, spec.geometry, "torch")[:, 0])
        kept = visibility_mask(sigma, made, spec.early_stop_eps)
    samples = RaySamples(made.select(kept), x[kept], rays)
    found = shade(samples.intervals, samples.x, rays.directions, seen, table, params, color_params, spec)
    return dataclasses.replace(found, samples=samples, n_marched=len(made))


def shade(
    intervals: Intervals,
    x: Tensor,
    directions: Tensor,
    seen: Tensor,
    table: Tensor,
    params: Tensor,
    color_params: Tensor,
    spec: RadianceSpec,
    grid_backend: str = "torch",
) -> RenderOutput:
    """Colors of intervals that were found, at ``x (S, 3)`` along ``directions (N, 3)``, summed along the rays."""
    y = field.evaluate(x, table, params, spec.geometry, grid_backend)
    of_rays = torch.cat([harmonics(directions, spec.degree), seen], dim=1)
    inputs = torch.cat([y, of_rays[intervals.ray_ids]], dim=1)
    colors = field.evaluate(inputs, None, color_params, spec.color)
    if spec.color_activation == "sigmoid":
        colors = torch.sigmoid(colors)
    return composite(spec.sigma(y[:, 0]), colors, intervals)
