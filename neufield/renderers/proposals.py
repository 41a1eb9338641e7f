"""Proposal sampling: small density fields guess where the light comes from, and the large one is looked at there."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Field, RadianceField, Sampler
from neufield.core.on_device import device_constant, device_uniform
from neufield.core.param_groups import ParamGroup
from neufield.core.rays import Intervals, IntervalWeights, Rays, RaySamples, RenderOutput, Target
from neufield.core.shapes import check_positive
from neufield.functional.ray_losses import interlevel
from neufield.kernels.volume import render_weights
from neufield.renderers.samplers import rays_hitting
from neufield.renderers.scene_bounds import SceneBounds
from neufield.renderers.spacing import Spacing

_AT_A_TIME = 2**18  # points


class ProposalSampler(Sampler):
    """Asks cheap density networks first, then samples where they see light (mip-NeRF 360, arXiv 2111.12077, sec. 3).

    Each of the ``networks`` sees intervals that have equal shares of the light that the one before it found (the first:
    equal lengths in the ``spacing``), and the last one's light decides the ``n_samples`` intervals of the radiance
    field. All rounds reach from the ray's near to its far. What a round finds is only a position to the next: no
    gradient passes. The networks learn by :meth:`penalty` to leave room for the light that the field has.

    Early guesses are worth little, so their weights are taken to a power that rises from 0 (even sampling) to 1 over
    ``anneal_steps`` by b x / ((b - 1) x + 1) with the ``slope`` b. Departures from the paper: its x is the share of the
    whole run, ours, as nerfacto's, of a fixed number of steps; intervals are looked at in their middles, not integrated
    over a cone; histograms are not dilated, but the share ``even`` of the intervals stays evenly spread.

    Args:
        space: how the world lies in the unit box.
        networks: fields of density, unit-box points (N, 3) -> (N, 1) per world unit; coarse ones first.
        n_proposals: intervals a ray that each of them sees.
        n_samples: intervals a ray of the radiance field.
        spacing: "distance", "disparity" or "piecewise"; see :class:`Spacing`.
        unit: of "piecewise", in world units.
        anneal_steps: after which guesses are taken at their word; 0 from the beginning.
        slope: how soon the annealing is nearly over.
        even: the share of intervals of each later round that is spread evenly.
    """

    step: Tensor

    def __init__(
        self,
        space: SceneBounds,
        networks: Sequence[Field],
        n_proposals: Sequence[int] = (256, 96),
        n_samples: int = 48,
        spacing: str = "piecewise",
        unit: float = 1.0,
        anneal_steps: int = 1000,
        slope: float = 10.0,
        even: float = 0.05,
    ) -> None:
        super().__init__()
        if not len(networks) or len(networks) != len(n_proposals):
            raise ValueError(
                f"there are {len(networks)} networks and {len(n_proposals)} n_proposals; give one number for each of "
                "one or more networks"
            )
        check_positive(n_samples=n_samples, n_proposals=min(n_proposals), slope=slope)
        if not 0 <= even <= 1:
            raise ValueError(f"even is {even}, but it is a share, in [0, 1]")
        self.space = space
        self.networks = nn.ModuleList(networks)
        self.n_proposals = list(n_proposals)
        self.n_samples = n_samples
        self.spacing = spacing
        self.unit = unit
        self.anneal_steps = anneal_steps
        self.slope = slope
        self.even = even
        self._spread = Spacing(spacing, unit)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def sample(self, rays: Rays, field: RadianceField, generator: torch.Generator | None) -> RaySamples:
        """See :class:`Sampler`. In training all edges but the outermost are jittered, each by half its share."""
        met, rays_met = rays_hitting(rays)
        edges = device_constant([0.0, 1.0], rays.near).expand(len(met), 2)
        weights = torch.ones_like(edges[:, 1:])
        guesses = []
        for network, n in zip(self.networks, self.n_proposals, strict=True):
            edges = resample(edges, weights, n, self.even, generator)
            intervals, x = self._intervals(edges, met, rays_met, len(rays))
            sigma = torch.cat([network(piece) for piece in x.split(_AT_A_TIME)])[:, 0]
            found = render_weights(sigma, intervals)
            guesses.append(IntervalWeights(intervals, found))
            weights = found.detach().view(len(met), n) ** self._power().to(found)
        edges = resample(edges, weights, self.n_samples, self.even, generator)
        return RaySamples(*self._intervals(edges, met, rays_met, len(rays)), rays, guesses)

    def update(self, step: int, field: RadianceField, generator: torch.Generator) -> None:
        """See :class:`Sampler`. Only the annealing wants to know."""
        self.step.fill_(step)

    def penalty(self, view: RenderOutput, target: Target) -> Tensor:
        """The mean over rays of every guess's :func:`interlevel` loss, by the networks' parameters alone."""
        found = view.interval_weights
        assert view.samples is not None  # or there were no weights
        losses = [interlevel(found, guess).sum() for guess in view.samples.proposals]
        return torch.stack(losses).sum() / max(1, found.intervals.n_rays)

    def param_groups(self) -> list[ParamGroup]:
        """The networks', each by its own recipe."""
        return [group for network in self.networks for group in cast(Field, network).param_groups()]

    def _intervals(self, edges: Tensor, met: Tensor, rays_met: Rays, n_rays: int) -> tuple[Intervals, Tensor]:
        """The M n intervals between edges in s (M, n + 1), and their middles (M n, 3) in the unit box."""
        distances = self._spread.distances(edges, rays_met, self.space)
        starts, ends = distances[:, :-1], distances[:, 1:]
        middles = 0.5 * (starts + ends)
        points = rays_met.origins[:, None] + middles[:, :, None] * rays_met.directions[:, None]
        ids = met.repeat_interleave(edges.shape[1] - 1)
        return Intervals(ids, n_rays, starts.flatten(), ends.flatten()), self.space.to_unit(points.view(-1, 3))

    def _power(self) -> Tensor:
        """The annealing's, in [0, 1]."""
        done = (self.step / self.anneal_steps).clamp(max=1) if self.anneal_steps else torch.ones_like(self.step)
        return self.slope * done / ((self.slope - 1) * done + 1)


@torch.no_grad()
def resample(
    edges: Float[Tensor, "M B1"],
    weights: Float[Tensor, "M B"],
    n: int,
    even: float = 0.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "M n1"]:
    """Make edges (M, n + 1), from the first to the last of ``edges (M, B + 1)``, of intervals of equal weight.

    Weight is spread as in :func:`inverse_transform`. With a generator each inner edge moves by up to half a share to
    either side.
    """
    first, last = edges[:, :1], edges[:, -1:]
    aims = torch.arange(1, n, device=edges.device).expand(len(edges), n - 1).to(edges)
    if generator:
        aims = aims + device_uniform(aims.shape, generator, aims) - 0.5
    inner = inverse_transform(edges, weights, aims / n, even)
    # A GPU adds up in a tree, whose sums need not rise where nothing is added, and a bin may be rounded beyond its end:
    # an edge before its predecessor would be an interval of negative length, and of negative light.
    return torch.cat([first, inner, last], dim=1).cummax(dim=1).values.minimum(last)


@torch.no_grad()
def inverse_transform(
    edges: Float[Tensor, "M B1"], weights: Float[Tensor, "M B"], shares: Float[Tensor, "M n"], even: float = 0.0
) -> Float[Tensor, "M n"]:
    """Find the places (M, n) between ``edges (M, B + 1)`` before which ``shares (M, n)`` in [0, 1] of the weight lie.

    Weight is spread evenly over each of the B intervals, as is all of it, over all of them, where there is none, and
    the share ``even`` of it in any case.
    """
    widths, first, last = edges.diff(dim=1), edges[:, :1], edges[:, -1:]
    evenly = widths / (last - first)
    total = weights.sum(dim=1, keepdim=True)
    parts = torch.where(total > 0, weights / total, evenly) * (1 - even) + evenly * even
    below = torch.cat([torch.zeros_like(first), parts.cumsum(dim=1)], dim=1)
    aims = shares * below[:, -1:]
    bins = torch.searchsorted(below, aims, right=True).clamp(1, edges.shape[1] - 1)
    low, high, left = below.gather(1, bins - 1), below.gather(1, bins), edges.gather(1, bins - 1)
    # An empty bin between two full ones is passed over by right=True; one at the end counts as its left edge.
    within = torch.where(high > low, (aims - low) / (high - low), torch.zeros_like(low)).clamp(0, 1)
    return left + within * widths.gather(1, bins - 1)
