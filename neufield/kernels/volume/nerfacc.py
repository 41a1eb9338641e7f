"""Marching by nerfacc's CUDA code (arXiv 2305.04966). Not run on a GPU: tested with a stand-in for nerfacc on the CPU.

Read in nerfacc 0.5.3, ``traverse_grids``. Its own steps are not ours: crossing an empty cell it repeats the length of
the step that it came with, so that with a cone angle the steps behind a gap fall elsewhere; it sums distances in
float32; and it never returns from a ray whose steps are lost in rounding. With a step of 0 it only says where rays pass
through occupied cells. That is asked of it here, and the steps are laid into these stretches by the reference's rule.

Compositing stays torch's on a GPU. Of nerfacc's, ``accumulate_along_rays`` is torch's ``index_add`` as ours is, and
``exclusive_sum`` adds in float32 and has no second derivative, without saying so when asked for it.
"""

import dataclasses
import functools
import importlib.util
import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.errors import BackendError
from neufield.core.extras import extra
from neufield.core.rays import Intervals, Rays
from neufield.core.torch_transforms import plain_only
from neufield.kernels.arguments import check_march
from neufield.kernels.volume.reference import ENDLESS, count_steps, in_occupied
from neufield.kernels.volume.spec import MarchKernel, MarchSpec

# Rays begin and end so much earlier and later for nerfacc, in sides of the box: in a stretch of a grid that is shorter
# than 2e-6 its cells are mixed up.
_LEAD = 1e-3


class NerfaccMarch(MarchKernel):
    """nerfacc walks through the cells, torch lays the steps, float32 on CUDA.

    Without a cone, every interval found is one of the reference's, to the bit. Missed are those whose middle nerfacc
    sees in no cell, since the ray cuts off so little of a cell's edge that it is lost in float32's rounding. With a
    cone, starts come from the closed form of the sum that the reference adds up step by step in float32: after k steps
    they differ by up to k 2^-24 of themselves, and a middle that close to a cell's face may fall to its other side.
    """

    name = "nerfacc"
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 0.0}

    def obstacles(self, spec: MarchSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """CUDA, float32, straight lines through boxes, and a nerfacc that runs; trying it may take minutes once."""
        found = []
        if device.type != "cuda":
            found.append(f"nerfacc runs on CUDA, not on {device}.")
        if dtype != torch.float32:
            found.append(f"nerfacc computes in float32, not in {str(dtype).removeprefix('torch.')}.")
        if spec.contracted:
            found.append("nerfacc walks along straight lines, which a contracted space bends.")
        if importlib.util.find_spec("nerfacc") is None:
            found.append('nerfacc is not installed; pip install "neufield[gpu]".')
        found += plain_only()
        return found or [sentence for sentence in [trial(device)] if sentence]

    def march(
        self, rays: Rays, jitter: Float[Tensor, " N"], occupied: Bool[Tensor, "cascades R R R"], spec: MarchSpec
    ) -> Intervals:
        """See :class:`MarchKernel`."""
        check_march(spec, rays.origins, rays.directions, rays.near, rays.far, jitter, occupied)
        if len(rays.near) == 0:  # which nerfacc cannot launch
            return Intervals(torch.zeros_like(rays.near, dtype=torch.long), 0, rays.near, rays.near)
        steps = _Steps.of(rays, jitter, spec)
        ray_ids, ks = _steps_in(*_stretches(rays, jitter, occupied, spec), steps)
        starts = steps.starts(ray_ids, ks)
        middles = starts + 0.5 * spec.lengths(starts)
        kept = (middles > rays.near[ray_ids]) & (middles < rays.far[ray_ids])
        kept &= in_occupied(rays, ray_ids, middles, occupied, spec)
        return spec.intervals(ray_ids[kept], len(rays), starts[kept])


@functools.lru_cache(maxsize=8)
def trial(device: torch.device) -> str | None:
    """Why nerfacc cannot send a ray through one cell on ``device``, as a sentence; None if it can.

    nerfacc compiles its CUDA code when it is first called, and where it cannot it says so only then.
    """
    box = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]], device=device)
    cells = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
    try:
        nerfacc = extra("nerfacc", "gpu", "the march")
        ray = box.new_tensor([[-1.0, 0.5, 0.5]]), box.new_tensor([[1.0, 0.0, 0.0]])
        intervals = nerfacc.traverse_grids(*ray, cells, box, step_size=0.0, cone_angle=0.0)[0]
        found = intervals.vals[intervals.is_left | intervals.is_right].tolist()
    except BackendError as error:
        return f"{error}."
    except Exception as error:  # a compiler's, a linker's, or CUDA's, in their own words
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return f"nerfacc does not run ({reason}); it compiles itself at its first call, by an nvcc on the PATH."
    if len(found) == 2 and math.isclose(found[0], 1, rel_tol=1e-3) and math.isclose(found[1], 2, rel_tol=1e-3):
        return None
    return f"nerfacc finds the unit box from 1 to 2 along a test ray at {found}; pip install --upgrade nerfacc."


def _stretches(rays: Rays, jitter: Tensor, occupied: Tensor, spec: MarchSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays are in occupied cells, or outside the box, as ``ray_ids``, entry and exit (Q,), ray after ray.

    nerfacc gets the world in sides of the box, on which its own margins are made, and rays that begin at their near,
    since it knows nothing before a ray's origin. Around the box it gets a level that is occupied everywhere: what is
    outside belongs to the nearest cell, which it cannot know.
    """
    side = max(high - low for low, high in zip(spec.lower, spec.upper, strict=True))
    lower, upper = (torch.tensor(v, dtype=torch.float32, device=rays.near.device) for v in (spec.lower, spec.upper))
    finite = (rays.origins.isfinite() & rays.directions.isfinite()).all(dim=1)
    good = finite & (count_steps(rays, jitter, spec) < ENDLESS) & (rays.far > rays.near)
    first = rays.near - _LEAD * side
    origins = ((rays.origins + first[:, None] * rays.directions) - lower) / side
    origins = torch.where(good[:, None], origins, 0.0)
    directions = torch.where(good[:, None], rays.directions, 1.0)
    far = torch.where(good, (rays.far - rays.near) / side + 2 * _LEAD, 0.0)
    box = (upper - lower) / side
    halves = [2.0 ** (k - spec.cascades) for k in range(spec.cascades)]  # of the levels' sides; of the last, 1/2
    boxes = [torch.cat([(0.5 - half) * box, (0.5 + half) * box]) for half in halves]
    within = torch.cat([origins, origins + far[:, None] * directions, torch.stack([0 * box, box])])
    boxes.append(torch.cat([within.amin(dim=0) - 1, within.amax(dim=0) + 1]))
    intervals, *_ = extra("nerfacc", "gpu", "the march").traverse_grids(
        origins,
        directions,
        torch.cat([occupied, torch.ones_like(occupied[:1])]),
        torch.stack(boxes),
        near_planes=torch.zeros_like(far),
        far_planes=far,
        step_size=0.0,
        cone_angle=0.0,
    )
    # Edges of cells that touch are both a right and a left one: only those of whole stretches are one of the two.
    entry, leave = intervals.is_left & ~intervals.is_right, intervals.is_right & ~intervals.is_left
    ray_ids = intervals.ray_indices[entry]
    begin = first[ray_ids]
    return ray_ids, begin + side * intervals.vals[entry], begin + side * intervals.vals[leave]


@dataclasses.dataclass(frozen=True)
class _Steps:
    """The lattice of a march: of each ray (N,), float64, where steps begin, and where they begin to grow.

    Steps are ``step`` long up to the ``linear``-th, which starts at ``grown``; each further one starts (1 + cone) times
    as far away as the one before.
    """

    rays: Rays
    jitter: Tensor
    spec: MarchSpec
    begin: Tensor
    linear: Tensor
    grown: Tensor

    @staticmethod
    def of(rays: Rays, jitter: Tensor, spec: MarchSpec) -> "_Steps":
        begin = (rays.near + jitter * spec.lengths(rays.near)).double()
        linear = torch.full_like(begin, math.inf)
        if spec.cone_angle:
            linear = torch.ceil((spec.render_step_size / spec.cone_angle - begin) / spec.render_step_size).clamp(min=0)
        return _Steps(rays, jitter, spec, begin, linear, begin + linear * spec.render_step_size)

    def starts(self, ray_ids: Tensor, ks: Tensor) -> Tensor:
        """Where the ``ks``-th steps of rays start, float32."""
        if not self.spec.cone_angle:
            return self.rays.near[ray_ids] + (ks + self.jitter[ray_ids]) * self.spec.render_step_size
        linear = self.linear[ray_ids]
        equal = self.begin[ray_ids] + ks * self.spec.render_step_size
        growing = self.grown[ray_ids] * (1 + self.spec.cone_angle) ** (ks - linear).clamp(min=0)
        return torch.where(ks <= linear, equal, growing).float()

    def at(self, ray_ids: Tensor, distances: Tensor) -> Tensor:
        """The steps in which ``distances`` lie, counted from 0; 0 before the first."""
        equal = (distances.double() - self.begin[ray_ids]) / self.spec.render_step_size
        if self.spec.cone_angle:
            grown = self.grown[ray_ids]
            beyond = torch.log(distances.double() / grown) / math.log1p(self.spec.cone_angle)
            equal = torch.where(distances < grown, equal, self.linear[ray_ids] + beyond)
        return torch.floor(equal).clamp(min=0).long()


def _steps_in(ray_ids: Tensor, entries: Tensor, exits: Tensor, steps: _Steps) -> tuple[Tensor, Tensor]:
    """Each step that meets a stretch, once: ``ray_ids`` and numbers (S,). Stretches are in order, but may overlap.

    What counts is a step's middle, which is looked up afterwards: a stretch may be half a step too short at either end,
    far more than nerfacc moves cells' faces by (1e-6 sides of the box, and 2^-24 of the distance at each cell it adds).
    """
    # Ray and step in one number, so that a running maximum ends with the ray.
    key = ray_ids * 2**32
    first, last = key + steps.at(ray_ids, entries), key + steps.at(ray_ids, exits)
    done = torch.cummax(torch.cat([last.new_full((1,), -1), last]), dim=0).values[:-1]
    first = torch.maximum(first, done + 1)
    counts = (last - first + 1).clamp(min=0)
    before = counts.cumsum(0) - counts
    found = torch.arange(int(counts.sum()), device=counts.device) + (first - before).repeat_interleave(counts)
    return found // 2**32, found % 2**32
