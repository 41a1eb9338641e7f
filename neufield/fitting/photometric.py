"""What a radiance field is trained on: the difference between rays and pixels."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.interfaces import Field, Objective
from neufield.core.placing import constant, uniform
from neufield.core.records import Batch, Evaluation, Target, View
from neufield.core.shapes import check_choice
from neufield.kernels.field import LOSSES

_FEWEST, _MOST = 64, 2**18  # rays
_GUESS = 64  # intervals a ray, before anything is known
_DAMPING = 0.5  # of the way to the budget: one step's rays are no better than a sample of the next one's
_BACKGROUNDS = ("random", "white", "black")


@dataclasses.dataclass(frozen=True)
class Penalty:
    """``weight`` times the scalar that ``of`` says of a view and its target; where it says None, nothing to add."""

    name: str
    weight: float
    of: Callable[[View, Target], Tensor | None]


@dataclasses.dataclass(frozen=True)
class Backdrop:
    """What is behind each pixel of photographs of which some, or all, have no alpha.

    Args:
        color: behind those that are ``opaque``. They are compared as they are: what they show beside a thing is that
            backdrop, and a field that had to hide another colour there would paint a wall.
        opaque: for each photograph, whether it has no alpha. Behind the others is a colour of its own for every ray.
    """

    color: Sequence[float]
    opaque: Bool[Tensor, " images"]

    def __call__(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, "N 3"]:
        """The colours behind a batch's pixels."""
        drawn = uniform((len(batch.x), 3), generator, batch.target)
        return torch.where(self.opaque[batch.x[:, 0].long()][:, None], constant([self.color], batch.target), drawn)


class Photometric(Objective):
    """The mean ``loss`` between rendered rays and RGBA pixels, both over the same background.

    A "random" background, another for every ray, keeps a field from painting one (instant-ngp, arXiv 2201.05989,
    section 5.4). The recipe's ``batch_size`` counts marched intervals, not rays: the number of rays follows it.

    Args:
        view: renders pixels (N, 3) on a background (N, 3), jittered by a generator; a posed field's own.
        loss: of a colour channel; "huber" has its corner at 0.1.
        background: "random", "white" or "black", or a :class:`Backdrop` for photographs without alpha.
        penalties: added to the loss, each with its weight; its value without the weight is a metric under its name.
    """

    def __init__(
        self,
        view: Callable[[Tensor, Tensor, torch.Generator], View],
        loss: str = "huber",
        background: str | Backdrop = "random",
        penalties: Sequence[Penalty] = (),
    ) -> None:
        check_choice("loss", loss, tuple(LOSSES))
        if isinstance(background, str):
            check_choice("background", background, _BACKGROUNDS)
        self.view = view
        self.loss = loss
        self.background = background
        self.penalties = penalties

    def batch_size(self, default: int, last: Mapping[str, float]) -> int:
        """As many rays as ``default`` intervals are good for, by what the last step marched."""
        if not {"marched", "rays"} <= last.keys() or not math.isfinite(last["rays"]):
            return min(max(_FEWEST, default // _GUESS), _MOST)
        change = (default / max(1.0, last["marched"])) ** _DAMPING
        return round(min(max(last["rays"] * min(max(change, 0.5), 2.0), _FEWEST), _MOST))

    def __call__(self, model: Field, batch: Batch, progress: float, generator: torch.Generator) -> Evaluation:
        """Render the batch's pixels and compare."""
        del model, progress
        n = len(batch.x)
        background = self._behind(batch, generator)
        alpha = batch.target[:, 3:]
        target = Target(batch.target[:, :3] * alpha + background * (1 - alpha), background, LOSSES[self.loss])
        view = self.view(batch.x, background, generator)
        error = target.error(view.rgb)
        metrics: dict[str, float] = {"rays": n, "marched": view.n_marched, "visible": len(view.samples.starts)}
        total = error.mean()
        for penalty in self.penalties:
            value = penalty.of(view, target)
            if value is not None:
                total = total + penalty.weight * value
                metrics[penalty.name] = value.item()
        by_sample = error.detach()[view.samples.ray_ids]
        return Evaluation(total, view.samples.x, by_sample, view.weights.detach(), metrics)

    def _behind(self, batch: Batch, generator: torch.Generator) -> Tensor:
        if isinstance(self.background, Backdrop):
            return self.background(batch, generator)
        if self.background == "random":
            return uniform((len(batch.x), 3), generator, batch.target)
        return torch.full_like(batch.target[:, :3], float(self.background == "white"))
