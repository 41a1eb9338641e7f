"""Rendering rays through a radiance field."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import RadianceField, Sampler
from neufield.core.rays import Rays, RenderOutput
from neufield.kernels.ops import MarchOp, RadianceOp
from neufield.kernels.plan import Held, RadianceProgram, Reasons, plan_rays
from neufield.kernels.radiance import KERNELS
from neufield.renderers.samplers import random_jitter
from neufield.renderers.volume_rendering import EARLY_STOP_EPS, check_unbatched, cull, integrate, sample, shade


def render_rays(
    field: RadianceField,
    sampler: Sampler,
    rays: Rays,
    background: Float[Tensor, "#N 3"] | None = None,
    generator: torch.Generator | None = None,
    backend: str = "auto",
    held: Held[RadianceProgram] | None = None,
) -> RenderOutput:
    """Render ``rays``. Intervals behind what is opaque cost at most a density, but neither a color nor a gradient.

    Where a fused kernel can compute field and sampler in one, it does, if ``backend`` is "auto" or its name; but not
    for rays that require a gradient. ``held`` is where the program for that is kept between calls.
    """
    check_unbatched(rays.origins, rays.directions, rays.near, rays.far)
    moved = torch.is_grad_enabled() and (rays.origins.requires_grad or rays.directions.requires_grad)
    program = None if moved else find_program(field, sampler, rays.near.device, backend, code_dim(rays), held)
    if program is not None:
        code = None if rays.cond is None else rays.cond.code
        found = program.render_rays(rays, random_jitter(rays, generator), code)
        return found if background is None else found.over(background)
    samples = cull(field, sample(field, sampler, rays, generator), backend=backend)
    return integrate(samples, shade(field, samples), background, backend)


def code_dim(rays: Rays) -> int:
    """How many numbers the rays' codes have; 0 without codes."""
    return 0 if rays.cond is None or rays.cond.code is None else rays.cond.code.shape[1]


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
        return plan_rays(op, march, device, backend, code_dim, EARLY_STOP_EPS)

    found = (held or Held()).program((field, sampler), device, (backend, code_dim), make)
    return None if isinstance(found, list) else found
