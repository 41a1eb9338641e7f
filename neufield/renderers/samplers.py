"""Where along rays a radiance field is looked at."""

from collections.abc import Callable

import torch
from torch import Tensor

from neufield.core.interfaces import Sampler
from neufield.core.lattice import blocks
from neufield.core.records import Rays, Samples, Steps
from neufield.core.shapes import check_choice, check_positive
from neufield.kernels.dispatch import Accelerated, select
from neufield.kernels.volume import KERNELS, MarchKernel
from neufield.renderers.space import Space

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


def random_shift(rays: Rays, generator: torch.Generator | None) -> Tensor:
    """By how much of a step each ray's march begins early, as a number in [-1, 0] (N,); 0 without a generator."""
    if generator is None:
        return torch.zeros_like(rays.near)
    return torch.rand(len(rays.near), generator=generator).to(rays.near) - 1


class Occupancy(Sampler, Accelerated):
    """Steps through the occupied cells of a space (instant-ngp, arXiv 2201.05989, appendix E.1).

    Of each cell the largest recent density is kept, as opacity of one step, falling by ``decay`` at each update; a cell
    is occupied above min(``threshold``, mean). Up to step ``dense_until`` an update looks at all cells, later at
    ``n_uniform`` cells anywhere and ``n_occupied`` occupied ones, each at a random point.

    Args:
        space: the part of the world that is the unit box.
        step: length of an interval in world units, at least.
        resolution: cells an axis, of each level.
        cone: intervals are at least so many times their distance long; 0 in a small scene, 1/256 in instant-ngp's large
            ones.
        levels: the unit box and so many less one around its middle, each half of the one before.
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
        space: Space,
        step: float,
        resolution: int = 128,
        cone: float = 0.0,
        levels: int = 1,
        threshold: float = 0.01,
        decay: float = 0.95,
        every: int = 16,
        dense_until: int = 128,
        n_uniform: int = 65_536,
        n_occupied: int = 131_072,
    ) -> None:
        super().__init__()
        check_positive(step=step, resolution=resolution, levels=levels, every=every)
        if not 0 <= cone < 1:
            raise ValueError(f"cone is {cone}, but the growth of a step with its distance lies in [0, 1)")
        self.space = space
        self.step = step
        self.resolution = resolution
        self.cone = cone
        self.levels = levels
        self.threshold = threshold
        self.decay = decay
        self.every = every
        self.dense_until = dense_until
        self.n_uniform = n_uniform
        self.n_occupied = n_occupied
        self._spec = space.march(step, cone, levels)
        shape = (levels, resolution, resolution, resolution)
        self.register_buffer("opacity", torch.zeros(shape))
        self.register_buffer("occupied", torch.ones(shape, dtype=torch.bool))

    def sample(self, rays: Rays, density: Density, generator: torch.Generator | None) -> Samples:
        """See :class:`Sampler`. In training each ray's steps begin at a random part of a step."""
        del density
        kernel, spec = self._kernel(rays.near.device), self._spec
        ray_ids, starts = kernel.march(rays, random_shift(rays, generator), self.occupied, spec)
        ends = starts + spec.lengths(starts)
        points = rays.origins[ray_ids] + (0.5 * (starts + ends))[:, None] * rays.directions[ray_ids]
        return Samples(ray_ids, len(rays.near), starts, ends, spec.to_unit(points))

    def steps(self) -> Steps:
        """See :class:`Sampler`."""
        return Steps(self._spec, self.occupied)

    def kernel_name(self, device: torch.device) -> str:
        """Who marches on ``device``."""
        return self._kernel(device).name

    def _kernel(self, device: torch.device) -> MarchKernel:
        return select("the march", KERNELS, self._spec, device, backend=self.backend)

    @torch.no_grad()
    def update(self, step: int, density: Density, generator: torch.Generator) -> None:
        """See :class:`Sampler`."""
        if step % self.every:
            return
        flat = self.opacity.view(-1)
        cells = self._chosen(step, generator)
        flat.mul_(self.decay)
        for begin, end in blocks(len(cells), 2**18):
            chosen = cells[begin:end]
            x, lengths = self._places(chosen, generator)
            chosen = chosen.to(flat.device)
            found = -torch.expm1(-density(x.to(flat)) * lengths.to(flat))
            flat.scatter_reduce_(0, chosen, found, "amax")
        torch.gt(self.opacity, min(self.threshold, float(flat.mean())), out=self.occupied)

    def _chosen(self, step: int, generator: torch.Generator) -> Tensor:
        """Indices of the cells that an update looks at."""
        n = self.opacity.numel()
        if step <= self.dense_until:
            return torch.arange(n)
        anywhere = torch.randint(n, (self.n_uniform,), generator=generator)
        candidates = self.occupied.view(-1).nonzero()[:, 0].cpu()
        if not len(candidates):
            return anywhere
        return torch.cat(
            [anywhere, candidates[torch.randint(len(candidates), (self.n_occupied,), generator=generator)]]
        )

    def _places(self, cells: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random point (n, 3) in each cell, in the unit box, and how long an interval is about there."""
        r = self.resolution
        corner = torch.stack([cells // r**2 % r, cells // r % r, cells % r], dim=1)
        x = (corner + torch.rand(corner.shape, generator=generator)) / r
        scale = torch.exp2(self.levels - 1.0 - cells // r**3)[:, None]
        x = (x - 0.5) / scale + 0.5
        if not self.cone:
            return x, torch.full((len(cells),), self.step)
        middle = torch.tensor(self.space.middle, dtype=x.dtype)
        return x, self._spec.lengths((self._spec.from_unit(x) - middle).norm(dim=1))
