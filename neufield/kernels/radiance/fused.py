"""The kernels that compute a radiance field along rays in one op."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.rays import Rays, RaySamples, RenderOutput
from neufield.kernels.field import cpu as field_cpu
from neufield.kernels.radiance import cpu, operators
from neufield.kernels.radiance.spec import RadianceKernel, RadianceSpec


class CpuRadiance(RadianceKernel):
    """Everything along rays in C++, float32 on a CPU. Second derivatives are taken of the composition of the parts."""

    name = "cpu"
    # Two networks in float32 and sums along rays; measured 2e-6 against float64 at equal samples.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-5}

    def obstacles(self, spec: RadianceSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """A CPU, float32, a library that was built, a grid, networks and activations that it knows."""
        found = field_cpu.obstacles(spec.geometry, device, dtype)
        found += [sentence for sentence in field_cpu.obstacles(spec.color, device, dtype) if sentence not in found]
        return found + [sentence for sentence in cpu.limits(spec) if sentence not in found]

    def render_rays(
        self,
        rays: Rays,
        jitter: Float[Tensor, " N"],
        occupied: Bool[Tensor, "cascades R R R"],
        seen: Float[Tensor, "N D"],
        table: Tensor,
        params: Tensor,
        color_params: Tensor,
        spec: RadianceSpec,
    ) -> RenderOutput:
        """See :class:`RadianceKernel`."""
        keep = torch.is_grad_enabled() and any(t.requires_grad for t in (seen, table, params, color_params))
        *found, marched, _, _, _ = operators.FORWARD(
            rays.origins, rays.directions, rays.near, rays.far, jitter, occupied,
            seen, table, params, color_params, keep, spec,
        )  # fmt: skip
        rgb, opacity, distance, weights, ray_ids, starts, x = found
        samples = RaySamples(spec.march.intervals(ray_ids, len(rays), starts), x, rays)
        return RenderOutput(rgb, opacity, distance, weights, samples, int(marched))
