"""The objective of radiance fields: the difference between rendered rays and pixels."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.interfaces import Objective, PixelRenderer
from neufield.core.on_device import device_constant, device_uniform
from neufield.core.rays import RenderOutput, Target
from neufield.core.records import Batch, Counts, Evaluation, StepContext
from neufield.core.shapes import check_choice
from neufield.functional import LOSSES

_BACKGROUNDS = ("random", "white", "black")


@dataclasses.dataclass(frozen=True)
class Penalty:
    """A term of the loss: ``weight`` times the scalar ``of`` a view and its target; None is nothing to add.

    ``of`` is given the model that the objective is given, so that what it asks of a part is asked of that one's.
    """

    name: str
    weight: float
    of: Callable[[Any, RenderOutput, Target], Tensor | None]


@dataclasses.dataclass(frozen=True)
class Backdrop:
    """What is behind each pixel of photographs of which some, or all, have no alpha.

    Args:
        color: behind those that are ``opaque``. They are compared as they are: what they show beside a thing is that
            backdrop, and a field that had to hide another color there would paint a wall.
        opaque: for each photograph, whether it has no alpha. Behind the others is a color of its own for every ray.
    """

    color: Sequence[float]
    opaque: Bool[Tensor, " images"]

    def __call__(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, "N 3"]:
        """The colors behind a batch's pixels."""
        drawn = device_uniform((len(batch), 3), generator, batch.x)
        return torch.where(self.opaque[batch.x[:, 0].long()][:, None], device_constant([self.color], batch.x), drawn)


class Photometric(Objective[PixelRenderer]):
    """The mean ``loss`` between rendered rays and RGBA pixels, both over the same background.

    A "random" background, another for every ray, keeps a field from painting one (instant-ngp, arXiv 2201.05989,
    section 5.4).

    Args:
        loss: of a color channel; "huber" has its corner at 0.1.
        background: "random", "white" or "black", or a :class:`Backdrop` for photographs without alpha.
        penalties: added to the loss, each with its weight; its value without the weight is a metric under its name.
    """

    def __init__(
        self,
        loss: str = "huber",
        background: str | Backdrop = "random",
        penalties: Sequence[Penalty] = (),
    ) -> None:
        check_choice("loss", loss, tuple(LOSSES))
        if isinstance(background, str):
            check_choice("background", background, _BACKGROUNDS)
        self.loss = loss
        self.background = background
        self.penalties = penalties

    def __call__(self, model: PixelRenderer, batch: Batch, step: StepContext) -> Evaluation:
        """Render the batch's pixels and compare."""
        n = len(batch)
        background = self._behind(batch, step.generator)
        rgba = batch.needed("target")
        alpha = rgba[:, 3:]
        target = Target(rgba[:, :3] * alpha + background * (1 - alpha), background, LOSSES[self.loss])
        view = model.render(batch.x, background, step.generator)
        error, seen = target.error(view.rgb), view.interval_weights
        metrics: dict[str, float] = {"rays": n, "marched": view.n_marched, "visible": len(seen.weights)}
        total = error.mean()
        for penalty in self.penalties:
            value = penalty.of(model, view, target)
            if value is not None:
                total = total + penalty.weight * value
                metrics[penalty.name] = value.item()
        by_sample = error.detach()[seen.intervals.ray_ids]
        assert view.samples is not None  # or there were no weights
        counts = Counts(n, view.n_marched)
        return Evaluation(total, view.samples.x, by_sample, seen.weights.detach(), metrics, counts)

    def _behind(self, batch: Batch, generator: torch.Generator) -> Tensor:
        if isinstance(self.background, Backdrop):
            return self.background(batch, generator)
        if self.background == "random":
            return device_uniform((len(batch), 3), generator, batch.x)
        return torch.full_like(batch.x[:, :3], float(self.background == "white"))
