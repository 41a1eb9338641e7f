"""The records of rendering: rays, what is known of each, the intervals along them, and what is seen."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Conditioning:
    """What a radiance field may be told beside a point and a direction: a row for each ray, or for each sample.

    An entry that nobody knows is None, and a field that has no use for an entry ignores it.

    Args:
        camera: index (N,) of the photograph.
        time: (N,) of a moving scene, in the scene's own unit (mostly in [0, 1]).
        code: appearance code (N, k) of the photograph, for a field with a ``code_dim``.
        exposure: (N, 2, 3), the logarithm of a gain, and an offset, for each color channel.
    """

    camera: Tensor | None = None
    time: Tensor | None = None
    code: Tensor | None = None
    exposure: Tensor | None = None

    def at(self, index: Tensor | slice) -> "Conditioning":
        """The rows at ``index (S,)``: of the rays that samples belong to, or of those that a mask (N,) chooses."""
        entries = (self.camera, self.time, self.code, self.exposure)
        return Conditioning(*(None if entry is None else entry[index] for entry in entries))


@dataclasses.dataclass(frozen=True)
class Rays:
    """Rays in the world: ``origins (N, 3)``, unit ``directions (N, 3)``, and the distances between which each counts.

    ``near (N,)`` and ``far (N,)`` are distances in world units; a ray whose far is not beyond its near meets nothing.
    ``cond`` is what else is known of each ray.
    """

    origins: Tensor
    directions: Tensor
    near: Tensor
    far: Tensor
    cond: Conditioning | None = None

    def __len__(self) -> int:
        return len(self.near)

    def select(self, chosen: Tensor) -> "Rays":
        """Some of the rays, by a mask (N,) or by indices."""
        cond = None if self.cond is None else self.cond.at(chosen)
        return Rays(self.origins[chosen], self.directions[chosen], self.near[chosen], self.far[chosen], cond)


@dataclasses.dataclass(frozen=True)
class Intervals:
    """Stretches of rays, ray after ray: ``ray_ids (S,)`` sorted, of ``n_rays`` rays, some of which may have none.

    ``starts (S,)`` and ``ends (S,)`` are distances from the rays' origins in world units, in their order along the ray
    and without an overlap.
    """

    ray_ids: Tensor
    n_rays: int
    starts: Tensor
    ends: Tensor

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def mid(self) -> Tensor:
        """The distance (S,) of each interval's middle."""
        return 0.5 * (self.starts + self.ends)

    @property
    def lengths(self) -> Tensor:
        """The length (S,) of each interval, in world units."""
        return self.ends - self.starts

    def select(self, chosen: Tensor) -> "Intervals":
        """Some of the intervals, by a mask (S,) or by rising indices."""
        return Intervals(self.ray_ids[chosen], self.n_rays, self.starts[chosen], self.ends[chosen])


@dataclasses.dataclass(frozen=True)
class IntervalWeights:
    """How much of its ray's light each of ``intervals`` contributes: ``weights (S,)``, at most 1 along a ray."""

    intervals: Intervals
    weights: Tensor


@dataclasses.dataclass(frozen=True)
class RaySamples:
    """Where a radiance field is asked: a point in each of the ``intervals`` of ``rays``.

    Args:
        intervals: what each sample stands for.
        x: points (S, 3) in the unit box.
        rays: the rays that ``intervals.ray_ids`` counts; ``d`` and ``cond`` are theirs, gathered to the samples.
        proposals: the guesses by which the intervals were chosen, if there were any.
        coarse: what another radiance field showed, without a background, where the choice is by that.
        n_culled: how many samples were left out because they are hidden.
    """

    intervals: Intervals
    x: Tensor
    rays: Rays
    proposals: Sequence[IntervalWeights] = ()
    coarse: "RenderOutput | None" = None
    n_culled: int = 0

    def __len__(self) -> int:
        return len(self.x)

    @property
    def d(self) -> Tensor:
        """Unit directions (S, 3) of the samples' rays, from the camera on."""
        return self.rays.directions[self.intervals.ray_ids]

    @property
    def cond(self) -> Conditioning | None:
        """What is known of the samples' rays."""
        return None if self.rays.cond is None else self.rays.cond.at(self.intervals.ray_ids)

    def select(self, chosen: Tensor) -> "RaySamples":
        """Some of the samples, by a mask (S,) or by rising indices."""
        return dataclasses.replace(self, intervals=self.intervals.select(chosen), x=self.x[chosen])


class Geometry(NamedTuple):
    """What a radiance field knows of points without a direction.

    ``logit (...)`` before the density's activation, ``sigma (...)`` the density per world unit, ``features (..., F)``
    for the color.
    """

    logit: Tensor
    sigma: Tensor
    features: Tensor


class Shaded(NamedTuple):
    """What a radiance field says of samples: their ``geometry``, and the color ``rgb (S, 3)`` that leaves each."""

    geometry: Geometry
    rgb: Tensor


@dataclasses.dataclass(frozen=True)
class RenderOutput:
    """What rays show: ``rgb (N, 3)``, multiplied by the ``opacity (N,)``, or on a background; and where.

    A whole view has (H, W) in place of N, and no samples.

    Args:
        rgb: colors, in [0, 1] where the field's are.
        opacity: the sum of the weights along each ray, in [0, 1].
        distance: the sum of weight times distance.
        weights: the shares (S,) of light of the ``samples``.
        samples: the visible ones.
        n_marched: how many samples were looked at, hidden ones and a coarse field's among them.
    """

    rgb: Tensor
    opacity: Tensor
    distance: Tensor
    weights: Tensor | None = None
    samples: RaySamples | None = None
    n_marched: int = 0

    @property
    def rgba(self) -> Tensor:
        """Colors, and the opacity as alpha (N, 4)."""
        return torch.cat([self.rgb, self.opacity[..., None]], dim=-1)

    @property
    def depth(self) -> Tensor:
        """The expected distance of what is seen, in world units; about 0 where nothing is."""
        return self.distance / self.opacity.clamp(min=1e-6)

    @property
    def sums(self) -> tuple[Tensor, ...]:
        """What was added up along the rays: colors, opacity and distance; and the weights."""
        own = self.rgb, self.opacity, self.distance
        return own if self.weights is None else (*own, self.weights)

    @property
    def interval_weights(self) -> IntervalWeights:
        """The visible samples' intervals and render weights; a ValueError where none were kept."""
        if self.samples is None or self.weights is None:
            raise ValueError("this view keeps no samples; take what RadianceScene.render or render_rays returned")
        return IntervalWeights(self.samples.intervals, self.weights)

    def over(self, background: Tensor) -> "RenderOutput":
        """The same, if it has no background yet, on ``background (N or 1, 3)``: C + (1 - opacity) background."""
        return dataclasses.replace(self, rgb=self.rgb + (1 - self.opacity)[..., None] * background)


@dataclasses.dataclass(frozen=True)
class Target:
    """What rays should show, ``rgb (N, 3)`` on ``background (N, 3)``, and by what ``loss`` they are compared with it.

    ``loss`` takes a prediction and a target, (N, 3) each, to a value of each channel (N, 3).
    """

    rgb: Tensor
    background: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]

    def error(self, rgb: Tensor) -> Tensor:
        """The loss's mean over the channels, for each ray (N,) that shows ``rgb (N, 3)``, on the same background."""
        return self.loss(rgb, self.rgb).mean(1)
