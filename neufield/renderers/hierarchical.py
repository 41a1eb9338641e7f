"""NeRF's hierarchical sampling: a coarse radiance field is looked at evenly, the fine one where that shows light."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from neufield.core.interfaces import RadianceField, Sampler
from neufield.core.on_device import device_uniform
from neufield.core.param_groups import ParamGroup
from neufield.core.rays import Rays, RaySamples, RenderOutput, Target
from neufield.core.records import Event
from neufield.core.shapes import check_positive
from neufield.renderers.proposals import inverse_transform
from neufield.renderers.samplers import stratified_intervals, uniform_edges
from neufield.renderers.scene_bounds import SceneBounds
from neufield.renderers.spacing import Spacing
from neufield.renderers.volume_rendering import integrate, shade


class HierarchicalSampler(Sampler):
    """Samples where a coarse radiance field, asked evenly, shows light (NeRF, arXiv 2003.08934, section 5.2).

    The ``coarse`` field is composited over ``n_coarse`` equal intervals of each ray (equations 2 and 3). Their shares
    of the light, normalized (equation 5), are a density of places along the ray, from which ``n_fine`` are drawn by
    inverse transform; no gradient passes. With the edges of the coarse intervals they are the sorted edges of the
    ``n_coarse`` + ``n_fine`` intervals of the radiance field. The coarse field learns by :meth:`penalty`, its own term
    of equation 6, and is part of the model: its intervals count as marched ones.

    Departures from the paper:

    - Intervals reach from the ray's near to its far without a gap, and each is looked at once within itself: somewhere
      in training, else in its middle. The paper's begin at the points that are looked at and end at the next, and in
      its code the last of them never ends, which makes anything at its point opaque.
    - The union is one of edges, not of points: the fine field is not looked at where the coarse one was.
    - Directions are of unit length, so that lengths are distances; the paper's code multiplies lengths along the
      camera's axis by the direction's norm, to the same end.
    - Draws are stratified, one of each ``n_fine``-th of the light, where the paper draws each from all of it; without a
      generator they are the middles of these. Where there is no light at all they are spread evenly; the paper's code
      adds 1e-5 to each weight. It leaves the outermost weights out, which here count.
    - The coarse field's intervals are all looked at, also those that are hidden behind others.

    Args:
        space: how the world lies in the unit box.
        coarse: a radiance field, in the paper of the same architecture as the fine one.
        n_coarse: intervals a ray of the coarse field.
        n_fine: edges a ray that are drawn by its light.
        spacing: what the coarse intervals are equal in, "distance", "disparity" or "piecewise"; see :class:`Spacing`.
        unit: of "piecewise", in world units.
    """

    def __init__(
        self,
        space: SceneBounds,
        coarse: RadianceField,
        n_coarse: int = 64,
        n_fine: int = 128,
        spacing: str = "distance",
        unit: float = 1.0,
    ) -> None:
        super().__init__()
        check_positive(n_coarse=n_coarse, n_fine=n_fine)
        self.space = space
        self.coarse = coarse
        self.n_coarse = n_coarse
        self.n_fine = n_fine
        self.spacing = spacing
        self.unit = unit
        self._spread = Spacing(spacing, unit)

    def sample(self, rays: Rays, field: RadianceField, generator: torch.Generator | None) -> RaySamples:
        """See :class:`Sampler`. In training both the draws and the places within intervals are random."""
        even = uniform_edges(self.n_coarse, rays)
        made = stratified_intervals(even[None], rays, self.space, self._spread, generator)
        coarse = integrate(made, shade(self.coarse, made))
        weights = coarse.interval_weights.weights.detach().view(-1, self.n_coarse)
        edges = even.expand(len(weights), -1)
        drawn = inverse_transform(edges, weights, self._shares(weights, generator))
        union = torch.cat([edges, drawn], dim=1).sort(dim=1).values
        return dataclasses.replace(
            stratified_intervals(union, rays, self.space, self._spread, generator), coarse=coarse
        )

    def on_step(self, event: Event) -> None:
        """See :class:`Sampler`."""
        self.coarse.on_step(event)

    def fields(self) -> Sequence[RadianceField]:
        """See :class:`Sampler`: the coarse one."""
        return [self.coarse]

    def penalty(self, view: RenderOutput, target: Target) -> Tensor | None:
        """The coarse rendering's own error, mean over rays; added to the fine one's it is equation 6, but for a factor.

        None for a view that another sampler chose.
        """
        coarse = None if view.samples is None else view.samples.coarse
        if coarse is None:
            return None
        shown = coarse.over(target.background).rgb
        return target.error(shown).sum() / max(1, len(shown))

    def param_groups(self) -> Sequence[ParamGroup]:
        """The coarse field's, by its own recipe."""
        return self.coarse.param_groups()

    def _shares(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Numbers in [0, 1] (M, n_fine), one in each ``n_fine``-th of it, for the rays of ``like`` (M, ...)."""
        shape = (len(like), self.n_fine)
        within = device_uniform(shape, generator, like) if generator else like.new_full(shape, 0.5)
        return (torch.arange(self.n_fine, device=like.device) + within) / self.n_fine
