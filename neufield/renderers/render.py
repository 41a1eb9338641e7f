"""Rendering rays through a radiance field."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import ArgumentError
from neufield.core.interfaces import RadianceField, Sampler
from neufield.core.records import MarchOp, RadianceOp, Rays, Samples, View
from neufield.core.wrappers import watched
from neufield.kernels.field import FieldSpec
from neufield.kernels.radiance import KERNELS, HarmonicsSpec, RadianceKernel, RadianceSpec
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
) -> View:
    """Render ``rays``. Intervals behind what is opaque cost at most a density, but neither a colour nor a gradient.

    Where a fused kernel can compute field and sampler in one, it does, if ``backend`` is "auto" or its name; but not
    for rays that require a gradient.
    """
    _check_unbatched(rays.origins, rays.directions, rays.near, rays.far)
    moved = torch.is_grad_enabled() and (rays.origins.requires_grad or rays.directions.requires_grad)
    code_dim = 0 if rays.code is None else rays.code.shape[1]
    plan = None if moved else find_plan(field, sampler, rays.near.device, backend, code_dim)
    if plan is not None:
        return plan.render_rays(rays, background, generator)
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


@dataclasses.dataclass(frozen=True)
class Plan:
    """A fused kernel and what it is to be called with."""

    kernel: RadianceKernel
    spec: RadianceSpec
    chains: RadianceOp
    steps: MarchOp
    table: Tensor

    def render_rays(self, rays: Rays, background: Tensor, generator: torch.Generator | None) -> View:
        """See :func:`render_rays`."""
        chains = self.chains
        jitter = random_jitter(rays, generator)
        params, color_params = chains.geometry.params(), chains.color.params()
        with torch.autocast(rays.near.device.type, enabled=False):
            seen = rays.directions[:, :0] if rays.code is None else rays.code
            found = self.kernel.render_rays(
                rays, jitter, self.steps.occupied, seen, self.table, params, color_params, self.spec
            )
        ends = found.starts + self.spec.march.lengths(found.starts)
        samples = Samples(found.ray_ids, len(rays.near), found.starts, ends, found.x)
        rgb = found.rgb + (1 - found.opacity)[:, None] * background
        return View(rgb, found.opacity, found.distance, found.weights, samples, found.marched)


def find_plan(
    field: RadianceField, sampler: Sampler, device: torch.device, backend: str, code_dim: int = 0
) -> Plan | None:
    """How a fused kernel would look along rays with codes of ``code_dim`` numbers; None for the parts one by one."""
    kernels = [kernel for kernel in KERNELS if backend in ("auto", kernel.name)]
    chains, steps = field.op(), sampler.op()
    table = None if chains is None else chains.front.table
    if not kernels or chains is None or steps is None or table is None or watched(field):
        return None
    if not isinstance(chains.direction.spec, HarmonicsSpec):
        return None
    tensors = (table, *chains.geometry.weights, *chains.color.weights)
    spec = RadianceSpec(
        march=steps.spec,
        geometry=FieldSpec.of(chains.front, chains.geometry, device),
        color=FieldSpec.of(None, chains.color, device),
        degree=chains.direction.spec.degree,
        density=chains.density.activation,
        density_shift=chains.density.shift,
        density_scale=chains.density.scale,
        color_activation=chains.color.output_activation,
        early_stop_eps=_EARLY_STOP_EPS,
    )
    if spec.color.in_dim != spec.geometry.out_dim + spec.degree**2 + code_dim:
        return None  # the field will say what is wrong
    for kernel in kernels:
        if not any(kernel.obstacles(spec, device, tensor.dtype) for tensor in tensors):
            return Plan(kernel, spec, chains, steps, table)
    return None
