"""Samplers: they choose where along rays a radiance field is asked."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import RadianceField, Sampler
from neufield.core.lattice import blocks
from neufield.core.on_device import device_constant, device_uniform
from neufield.core.rays import Intervals, Rays, RaySamples
from neufield.core.shapes import check_positive
from neufield.kernels.dispatch import Accelerated, select
from neufield.kernels.ops import MarchOp
from neufield.kernels.volume import KERNELS, MarchKernel
from neufield.renderers.scene_bounds import SceneBounds
from neufield.renderers.spacing import Spacing


class StratifiedSampler(Sampler):
    """Samples once in each of ``n_samples`` intervals of every ray that meets the bounds (NeRF, 2003.08934, eq. 2).

    Args:
        space: how the world lies in the unit box.
        n_samples: intervals a ray.
        spacing: what they are equal in, "distance", "disparity" or "piecewise"; see :class:`Spacing`.
        unit: of "piecewise", in world units.
    """

    def __init__(self, space: SceneBounds, n_samples: int = 64, spacing: str = "distance", unit: float = 1.0) -> None:
        super().__init__()
        check_positive(n_samples=n_samples)
        self.space = space
        self.n_samples = n_samples
        self.spacing = spacing
        self.unit = unit
        self._spread = Spacing(spacing, unit)

    def sample(self, rays: Rays, field: RadianceField, generator: torch.Generator | None) -> RaySamples:
        """See :class:`Sampler`. In training the place within each interval is random; else it is the middle."""
        return stratified_intervals(
            uniform_edges(self.n_samples, rays)[None], rays, self.space, self._spread, generator
        )


def uniform_edges(n: int, rays: Rays) -> Tensor:
    """The edges (n + 1,) of ``n`` equal intervals of [0, 1], of the type and on the device of ``rays``."""
    return torch.arange(n + 1, device=rays.near.device).to(rays.near) / n


def stratified_intervals(
    edges: Float[Tensor, "#M K1"], rays: Rays, space: SceneBounds, spacing: Spacing, generator: torch.Generator | None
) -> RaySamples:
    """The intervals between ``edges``, rising from 0 to 1 in the spacing, on those M of ``rays`` that meet the space.

    Each is looked at once: with a ``generator`` somewhere within it, else in its middle.
    """
    met, rays_met = rays_hitting(rays)
    distances = spacing.distances(edges.expand(len(met), -1), rays_met, space)
    starts, ends = distances[:, :-1], distances[:, 1:]
    within = device_uniform(starts.shape, generator, starts) if generator else 0.5
    at = starts + (ends - starts) * within
    points = rays_met.origins[:, None] + at[:, :, None] * rays_met.directions[:, None]
    ids = met.repeat_interleave(starts.shape[1])
    intervals = Intervals(ids, len(rays), starts.flatten(), ends.flatten())
    return RaySamples(intervals, space.to_unit(points.view(-1, 3)), rays)


def rays_hitting(rays: Rays) -> tuple[Tensor, Rays]:
    """The indices (M,) of the rays that meet the space, and these rays."""
    met = (rays.far > rays.near).nonzero()[:, 0]
    return met, rays.select(met)


def random_jitter(rays: Rays, generator: torch.Generator | None) -> Tensor:
    """Draw by how much of a step each ray's march begins early: a number in [-1, 0] (N,); 0 without a generator."""
    if generator is None:
        return torch.zeros_like(rays.near)
    return device_uniform(rays.near.shape, generator, rays.near) - 1


class OccupancyGrid(Sampler, Accelerated):
    """Steps through the occupied cells of a space (instant-ngp, arXiv 2201.05989, appendix E.1).

    Of each cell the largest recent density is kept, as opacity of one step, falling by ``decay`` at each update; a cell
    is occupied above min(``threshold``, mean). Up to step ``dense_until`` an update looks everywhere, at a random point
    of each 2 x 2 x 2 cells (instant-ngp: of each cell, up to step 256), later at ``n_uniform`` cells anywhere and
    ``n_occupied`` occupied ones.

    Args:
        space: the part of the world that is the unit box.
        render_step_size: length of an interval in world units, at least.
        resolution: cells an axis, of each level.
        cone_angle: intervals are at least so many times their distance long; 0 in a small scene, 1/256 in
            instant-ngp's large ones.
        cascades: the unit box and so many less one around its middle, each half of the one before.
        threshold: opacity of one step (instant-ngp: 0.01, which costs 0.1 dB).
        decay: of the kept opacity, an update.
        every: steps between updates; 0: none, what is known stays.
        dense_until: the last step whose update looks everywhere.
        n_uniform: cells looked at anywhere.
        n_occupied: cells looked at among the occupied ones.
    """

    opacity: Tensor
    occupied: Tensor

    def __init__(
        self,
        space: SceneBounds,
        render_step_size: float,
        resolution: int = 128,
        cone_angle: float = 0.0,
        cascades: int = 1,
        threshold: float = 0.005,
        decay: float = 0.95,
        every: int = 16,
        dense_until: int = 128,
        n_uniform: int = 65_536,
        n_occupied: int = 131_072,
    ) -> None:
        super().__init__()
        check_positive(render_step_size=render_step_size, resolution=resolution, cascades=cascades)
        if every < 0:
            raise ValueError(f"every is {every}, but it must be steps between updates, or 0 for none")
        if not 0 <= cone_angle < 1:
            raise ValueError(f"cone_angle is {cone_angle}, but the growth of a step with its distance lies in [0, 1)")
        self.space = space
        self.render_step_size = render_step_size
        self.resolution = resolution
        self.cone_angle = cone_angle
        self.cascades = cascades
        self.threshold = threshold
        self.decay = decay
        self.every = every
        self.dense_until = dense_until
        self.n_uniform = n_uniform
        self.n_occupied = n_occupied
        self._spec = space.march(render_step_size, cone_angle, cascades)
        shape = (cascades, resolution, resolution, resolution)
        self.register_buffer("opacity", torch.zeros(shape))
        self.register_buffer("occupied", torch.ones(shape, dtype=torch.bool))

    def sample(self, rays: Rays, field: RadianceField, generator: torch.Generator | None) -> RaySamples:
        """See :class:`Sampler`. In training each ray's steps begin at a random part of a step."""
        kernel, spec = self._kernel(rays.near.device), self._spec
        with torch.no_grad():  # where to look is a choice; what is seen there depends on the rays through the points
            intervals = kernel.march(rays, random_jitter(rays, generator), self.occupied, spec)
        at = intervals.ray_ids
        points = rays.origins[at] + intervals.mid[:, None] * rays.directions[at]
        return RaySamples(intervals, spec.to_unit(points), rays)

    def op(self) -> MarchOp:
        """See :class:`Sampler`."""
        return MarchOp(self._spec, self.occupied)

    def backends(self) -> Sequence[str]:
        """See :class:`Accelerated`."""
        return [kernel.name for kernel in KERNELS]

    def kernel_name(self, device: torch.device) -> str:
        """Name the kernel that marches on ``device``."""
        return self._kernel(device).name

    def _kernel(self, device: torch.device) -> MarchKernel:
        return select("the march", KERNELS, self._spec, device, backend=self.backend)

    @torch.no_grad()
    def update(self, step: int, field: RadianceField, generator: torch.Generator) -> None:
        """See :class:`Sampler`."""
        if not self.every or step % self.every:
            return
        self.opacity.mul_(self.decay)
        if step <= self.dense_until:
            self._look_everywhere(field, generator)
        else:
            cells = self._chosen(generator)
            found = self._found(cells, self.resolution, field, generator)
            self.opacity.view(-1).scatter_reduce_(0, cells, found, "amax")
        least = self.opacity.mean().nan_to_num(nan=self.threshold).clamp(max=self.threshold)
        torch.gt(self.opacity, least, out=self.occupied)

    def _look_everywhere(self, field: RadianceField, generator: torch.Generator) -> None:
        """One point for each 2 x 2 x 2 cells."""
        half = -(-self.resolution // 2)
        blocks_of_cells = torch.arange(self.cascades * half**3, device=self.opacity.device)
        found = self._found(blocks_of_cells, half, field, generator).view(self.cascades, half, half, half)
        for axis in range(1, 4):
            found = found.repeat_interleave(2, dim=axis).narrow(axis, 0, self.resolution)
        torch.maximum(self.opacity, found, out=self.opacity)

    def _chosen(self, generator: torch.Generator) -> Tensor:
        """Indices of cells: some of all, and some of the occupied ones. In order: neighbors share a field's memory."""
        anywhere = _spread(self.opacity.numel(), self.n_uniform, generator)
        candidates = self.occupied.view(-1).nonzero()[:, 0]
        inside = candidates[_spread(len(candidates), self.n_occupied, generator).to(candidates.device)]
        return torch.cat([anywhere.to(candidates.device), inside])

    def _found(self, cells: Tensor, resolution: int, field: RadianceField, generator: torch.Generator) -> Tensor:
        """The opacity of one step at a random point in each of ``cells`` (n,), of ``resolution`` an axis."""
        parts = []
        for begin, end in blocks(len(cells), 2**18):
            chosen = cells[begin:end]
            level = torch.div(chosen, resolution**3, rounding_mode="floor")
            within = chosen - level * resolution**3
            corner = torch.stack(torch.unravel_index(within, (resolution,) * 3), dim=1)
            x = (corner + device_uniform(corner.shape, generator, self.opacity)) / resolution
            if self.cascades > 1:
                x = (x - 0.5) * torch.exp2(level + 1.0 - self.cascades)[:, None] + 0.5
            parts.append(-torch.expm1(-field.density_bound(x, generator) * self._lengths(x)))
        return torch.cat(parts)

    def _lengths(self, x: Tensor) -> Tensor | float:
        """About how long an interval is at unit-box points, for a camera in the middle."""
        if not self.cone_angle:
            return self.render_step_size
        away = self._spec.from_unit(x) - device_constant(self.space.center, x)
        return self._spec.lengths(away.norm(dim=1))


def _spread(n: int, count: int, generator: torch.Generator) -> Tensor:
    """``count`` indices below ``n``, one at random in each of as many equal stretches; none where n is 0."""
    if not n:
        return torch.zeros(0, dtype=torch.long, device=generator.device)
    drawn = torch.rand(count, dtype=torch.float64, generator=generator, device=generator.device)
    places = torch.arange(count, dtype=torch.float64, device=generator.device) + drawn
    return (places * (n / count)).long().clamp(max=n - 1)
