"""Volume rendering in four steps: sample, cull, shade, integrate; :func:`render_rays` is these four."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import ArgumentError
from neufield.core.interfaces import RadianceField, Sampler
from neufield.core.lattice import blocks
from neufield.core.rays import Rays, RaySamples, RenderOutput, Shaded
from neufield.kernels.volume import composite, visibility_mask

EARLY_STOP_EPS = 1e-4  # the least share of a ray's light worth shading (instant-ngp's and nerfacc's early termination)
_POINTS = 2**18  # whose density is found at a time


def sample(field: RadianceField, sampler: Sampler, rays: Rays, generator: torch.Generator | None = None) -> RaySamples:
    """Choose where along ``rays`` the ``field`` is asked: points x_i = o + t_i d, each in its interval of the ray.

    With a ``generator`` the intervals are jittered, as in training (NeRF, arXiv 2003.08934, equation 2); without, they
    are always the same.
    """
    return sampler.sample(rays, field, generator)


def cull(
    field: RadianceField, samples: RaySamples, early_stop_eps: float = EARLY_STOP_EPS, backend: str = "auto"
) -> RaySamples:
    """Leave out the samples that less than ``early_stop_eps`` of the light reaches: behind what is opaque.

    A sample stays where T_i = exp(-sum_{j<i} sigma_j delta_j) >= ``early_stop_eps`` (T of arXiv 2003.08934, equation 3;
    the termination of instant-ngp, arXiv 2201.05989, appendix E). It costs a density a sample, without a gradient; the
    places of what stays keep theirs. What was left out is counted in ``n_culled``.
    """
    cond, parts = samples.cond, [slice(*ends) for ends in blocks(len(samples), _POINTS)]
    with torch.no_grad():
        found = [field.density(samples.x[part], None if cond is None else cond.at(part)) for part in parts]
        sigma = torch.cat(found) if found else samples.intervals.starts
        seen = visibility_mask(sigma, samples.intervals, early_stop_eps, backend)
    check_unbatched(seen)
    kept = seen.nonzero()[:, 0]  # once for all: a GPU is waited for to learn how many
    n_culled = samples.n_culled + len(samples) - len(kept)
    return dataclasses.replace(samples.select(kept), n_culled=n_culled)


def shade(field: RadianceField, samples: RaySamples) -> Shaded:
    """Ask ``field`` for the geometry of ``samples`` and for their color: sigma_i, c_i of arXiv 2003.08934, section 3.

    Every renderer, coarse pass and teacher asks in this way, so that two fields may be compared on the same samples.
    """
    cond = samples.cond
    geometry = field.geometry(samples.x, cond)
    return Shaded(geometry, field.color(geometry.features, samples.d, cond))


def integrate(
    samples: RaySamples,
    shaded: Shaded,
    background: Float[Tensor, "#N 3"] | None = None,
    backend: str = "auto",
) -> RenderOutput:
    """Add up what ``samples`` show along their rays: C = sum_i w_i c_i + (1 - sum_i w_i) ``background``.

    The weights are w_i = T_i (1 - exp(-sigma_i delta_i)), T_i = exp(-sum_{j<i} sigma_j delta_j) (arXiv 2003.08934,
    equation 3). Without a ``background`` it is black, and may be added later (:meth:`RenderOutput.over`).
    """
    coarse = 0 if samples.coarse is None else samples.coarse.n_marched
    summed = composite(shaded.geometry.sigma, shaded.rgb, samples.intervals, backend)
    found = dataclasses.replace(summed, samples=samples, n_marched=len(samples) + samples.n_culled + coarse)
    return found if background is None else found.over(background)


def check_unbatched(*tensors: Tensor) -> None:
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
