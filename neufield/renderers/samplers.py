"""Where along rays a radiance field is looked at."""

from collections.abc import Callable

import torch
from torch import Tensor

from neufield.core.interfaces import Sampler
from neufield.core.lattice import blocks
from neufield.core.records import Rays, Samples
from neufield.core.shapes import check_choice, check_positive
from neufield.kernels.dispatch import Accelerated, select
from neufield.kernels.volume import KERNELS, MarchKernel, MarchSpec
from neufield.renderers.space import Box, Space

Density = Callable[[Tensor], Tensor]
_SPACINGS = ("distance", "disparity")


class Stratified(Sampler):
    """``n_samples`` intervals of every ray that meets the space, looked at once each (NeRF, arXiv 2003.08934, eq. 2).

    Args:
        space: how the world lies in the unit box.
        n_samples: intervals a ray.
        spacing: equal lengths in "distance", or in "disparity", 1 / distance, for scenes without an end.
    """

    def __init__(self, space: Space, n_samples: int = 64, spacing: str = "distance") -> None:
        super().__init__()
        check_positive(n_samples=n_samples)
        check_choice("spacing", spacing, _SPACINGS)
        self.space = space
        self.n_samples = n_samples
        self.spacing = spacing

    def sample(self, rays: Rays, density: Density, generator: torch.Generator | None) -> Samples:
        """See :class:`Sampler`. In training the place within each interval is random; else it is the middle."""
        del density
        met = (rays.far > rays.near).nonzero()[:, 0]
        near, far = rays.near[met, None], rays.far[met, None]
        edges = torch.arange(self.n_samples + 1, device=near.device, dtype=near.dtype) / self.n_samples
        if self.spacing == "disparity":
            edges = 1 / (1 / near * (1 - edges) + 1 / far * edges)
        else:
            edges = near * (1 - edges) + far * edges
        starts, ends = edges[:, :-1], edges[:, 1:]
        within = torch.rand(starts.shape, generator=generator).to(starts) if generator else 0.5
        at = starts + (ends - starts) * within
        points = rays.origins[met, None] + at[:, :, None] * rays.directions[met, None]
        return Samples(
            met.repeat_interleave(self.n_samples),
            len(rays.near),
            starts.flatten(),
            ends.flatten(),
            self.space.to_unit(points.view(-1, 3)),
        )


class Occupancy(Sampler, Accelerated):
    """Equal steps through the occupied cells of a box (instant-ngp, arXiv 2201.05989, appendix E.1).

    Of each cell the largest recent density is kept, as opacity of one step, falling by ``decay`` at each update; a cell
    is occupied above min(``threshold``, mean). Up to step ``dense_until`` an update looks at all cells, later at
    ``n_uniform`` cells anywhere and ``n_occupied`` occupied ones, each at a random point.

    Args:
        box: the part of the world that is the unit box.
        step: length of an interval in world units.
        resolution: cells an axis.
        threshold: opacity of one step.
        decay: of the kept opacity, an update.
        every: steps between updates.
        dense_until: the last step whose update looks at every cell.
        n_uniform: cells looked at anywhere.
        n_occupied: cells looked at among the occupied ones.
    """

    opacity: Tensor
    occupied: Tensor

    def __init__(
        self,
        box: Box,
        step: float,
        resolution: int = 128,
        threshold: float = 0.01,
        decay: float = 0.95,
        every: int = 16,
        dense_until: int = 128,
        n_uniform: int = 65_536,
        n_occupied: int = 131_072,
    ) -> None:
        super().__init__()
        check_positive(step=step, resolution=resolution, every=every)
        self.box = box
        self.step = step
        self.resolution = resolution
        self.threshold = threshold
        self.decay = decay
        self.every = every
        self.dense_until = dense_until
        self.n_uniform = n_uniform
        self.n_occupied = n_occupied
        self.register_buffer("opacity", torch.zeros(resolution, resolution, resolution))
        self.register_buffer("occupied", torch.ones(resolution, resolution, resolution, dtype=torch.bool))

    def sample(self, rays: Rays, density: Density, generator: torch.Generator | None) -> Samples:
        """See :class:`Sampler`. In training each ray's steps begin at a random part of a step."""
        del density
        shift = torch.rand(len(rays.near), generator=generator).to(rays.near) - 1 if generator else 0 * rays.near
        kernel, spec = self._kernel(rays.near.device), self._spec()
        with torch.no_grad():  # where to look is a choice; what is seen there depends on the rays through the points
            ray_ids, starts = kernel.march(rays, shift, self.occupied, spec)
        points = rays.origins[ray_ids] + (starts + 0.5 * self.step)[:, None] * rays.directions[ray_ids]
        return Samples(ray_ids, len(rays.near), starts, starts + self.step, spec.to_unit(points))

    def kernel_name(self, device: torch.device) -> str:
        """Who marches on ``device``."""
        return self._kernel(device).name

    def _spec(self) -> MarchSpec:
        return MarchSpec(self.box.lower, self.box.upper, self.step)

    def _kernel(self, device: torch.device) -> MarchKernel:
        return select("the march", KERNELS, self._spec(), device, backend=self.backend)

    @torch.no_grad()
    def update(self, step: int, density: Density, generator: torch.Generator) -> None:
        """See :class:`Sampler`."""
        if step % self.every:
            return
        flat, n = self.opacity.view(-1), self.resolution**3
        if step <= self.dense_until:
            cells = torch.arange(n)
        else:
            anywhere = torch.randint(n, (self.n_uniform,), generator=generator)
            candidates = self.occupied.view(-1).nonzero()[:, 0].cpu()
            if len(candidates):
                chosen = candidates[torch.randint(len(candidates), (self.n_occupied,), generator=generator)]
                anywhere = torch.cat([anywhere, chosen])
            cells = anywhere
        corner = torch.stack(torch.unravel_index(cells, self.occupied.shape), dim=1)
        x = ((corner + torch.rand(corner.shape, generator=generator)) / self.resolution).to(flat)
        cells = cells.to(flat.device)
        flat.mul_(self.decay)
        for begin, end in blocks(len(x), 2**18):
            found = -torch.expm1(-density(x[begin:end]) * self.step)
            flat.scatter_reduce_(0, cells[begin:end], found, "amax")
        self.occupied.copy_(self.opacity > min(self.threshold, float(self.opacity.mean())))
