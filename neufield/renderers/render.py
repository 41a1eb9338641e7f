"""Rendering rays through a radiance field."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import ArgumentError
from neufield.core.interfaces import RadianceField, Sampler
from neufield.core.records import Rays, Samples, View
from neufield.kernels.ops import MarchOp, RadianceOp
from neufield.kernels.plan import Held, RadianceProgram, Reasons, plan_rays
from neufield.kernels.radiance import KERNELS
from neufield.kernels.volume import compositing
from neufield.renderers.samplers import random_jitter

_EARLY_STOP_EPS = 1e-4  # intervals that get less are not looked at (instant-ngp's and nerfacc's early termination)
_LOOKED_AT = 2**18  # points whose density is found at a time, before the hidden ones are left out


def render_rays(
    field: RadianceField,
    sampler: Sampler,
    rays: Rays,
    background: Float[Tensor, "#N 3"],
    generator: torch.Generator | None = None,
    backend: str = "auto",
    held: Held[RadianceProgram] | None = None,
) -> View:
    """Render ``rays``. Intervals behind what is opaque cost at most a density, but neither a colour nor a gradient.

    Where a fused kernel can compute field and sampler in one, it does, if ``backend`` is "auto" or its name; but not
    for rays that require a gradient. ``held`` is where the program for that is kept between calls.
    """
    _check_unbatched(rays.origins, rays.directions, rays.near, rays.far)
    moved = torch.is_grad_enabled() and (rays.origins.requires_grad or rays.directions.requires_grad)
    code_dim = 0 if rays.code is None else rays.code.shape[1]
    program = None if moved else find_program(field, sampler, rays.near.device, backend, code_dim, held)
    if program is not None:
        return _by(program, rays, background, generator)
    made = sampler.sample(rays, field.sigma, generator)
    with torch.no_grad():
        sigma = torch.cat([field.sigma(x) for x in made.x.split(_LOOKED_AT)]) if len(made.x) else made.starts
        sums = compositing(sigma.device, sigma.dtype, backend=backend)
        seen = sums.visibility_mask(sigma, made.starts, made.ends, made.ray_ids, made.n_rays, _EARLY_STOP_EPS)
        _check_unbatched(seen)
        kept = seen.nonzero()[:, 0]  # once for all: a GPU is waited for to learn how many
    samples = dataclasses.replace(
        made, ray_ids=made.ray_ids[kept], starts=made.starts[kept], ends=made.ends[kept], x=made.x[kept]
    )
    geometry = field.geometry(samples.x)
    code = None if rays.code is None else rays.code[samples.ray_ids]
    colors = field.color(geometry.features, rays.directions[samples.ray_ids], code)
    rgb, opacity, distance, weights = sums.composite(
        geometry.sigma, colors, samples.starts, samples.ends, samples.ray_ids, samples.n_rays
    )
    n_marched = len(made.x) + (0 if made.coarse is None else made.coarse.n_marched)
    return View(rgb + (1 - opacity)[:, None] * background, opacity, distance, weights, samples, n_marched)


def _check_unbatched(*tensors: Tensor) -> None:
    """Refuse what torch.func.vmap maps over: each ray keeps a number of samples of its own."""
    functorch = torch._C._functorch
    for tensor in tensors:
        while functorch.is_gradtrackingtensor(tensor):
            tensor = functorch.get_unwrapped(tensor)
        if functorch.is_batchedtensor(tensor):
            raise ArgumentError(
                "torch.func.vmap was asked to map over a rendering, whose rays keep different numbers of samples; "
                "render all rays in one call, and several fields in a loop"
            )


def _by(program: RadianceProgram, rays: Rays, background: Tensor, generator: torch.Generator | None) -> View:
    """``rays`` rendered by a fused kernel."""
    found = program.render_rays(rays, random_jitter(rays, generator), rays.code)
    ends = found.starts + program.spec.march.lengths(found.starts)
    samples = Samples(found.ray_ids, len(rays.near), found.starts, ends, found.x)
    rgb = found.rgb + (1 - found.opacity)[:, None] * background
    return View(rgb, found.opacity, found.distance, found.weights, samples, found.marched)


def find_program(
    field: RadianceField,
    sampler: Sampler,
    device: torch.device,
    backend: str,
    code_dim: int = 0,
    held: Held[RadianceProgram] | None = None,
) -> RadianceProgram | None:
    """How a fused kernel would render rays with codes of ``code_dim`` numbers; None for the parts one by one.

    ``backend`` may also name who marches or adds up: who names one of these wants the parts.
    """
    if backend != "auto" and backend not in [kernel.name for kernel in KERNELS]:
        return None

    def make() -> RadianceProgram | Reasons:
        op, march = field.op(), sampler.op()
        if not isinstance(op, RadianceOp) or not isinstance(march, MarchOp):
            return ["the field or the sampler is more than a fused kernel knows."]
        return plan_rays(op, march, device, backend, code_dim, _EARLY_STOP_EPS)

    found = (held or Held()).program((field, sampler), device, (backend, code_dim), make)
    return None if isinstance(found, list) else found
