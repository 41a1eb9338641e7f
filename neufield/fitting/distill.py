"""Progressive Volume Distillation: a radiance field learns another one, point by point, on the same samples of rays."""

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from neufield.core.interfaces import Objective, RadianceField
from neufield.core.on_device import device_uniform
from neufield.core.rays import Conditioning, Rays, RaySamples, RenderOutput, Shaded
from neufield.core.records import Batch, Counts, Evaluation, StepContext
from neufield.fields import head_of
from neufield.renderers import RadianceScene, integrate, sample, shade

_LEAST, _MOST = -2.0, 7.0  # of a compared logit: a density below exp(-2) is not seen, above exp(7) it is opaque
_NOTHING = 1e-30  # under the logarithm; where a density is as small, the clamp has no gradient anyway


@dataclasses.dataclass(frozen=True)
class Terms:
    """How much each difference counts in a stage; one of 0 is not even evaluated.

    ``feature`` is what it is at the run's first step; it falls by ``Distill.decay`` a step.
    """

    feature: float = 0.0
    color: float = 0.0
    density: float = 0.0
    rgb: float = 0.0


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What one step compares: how ``own``, the student, and ``taught``, the teacher, shade the same ``samples``.

    ``views`` are what both show of the batch's rays, where that is asked for, before the same random background.
    """

    batch: Batch
    samples: RaySamples
    own: Shaded
    taught: Shaded
    views: tuple[RenderOutput, RenderOutput] | None


class Attention:
    """A part of active learning: what is looked at more often, or compared alone. This one does nothing of the kind."""

    def rays(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The rays of a step, perhaps with others behind them."""
        del generator
        return batch

    def points(self, lesson: Lesson) -> Tensor | None:
        """Which samples, by their indices, the terms of points compare; None: all."""
        del lesson
        return None

    def learn(self, lesson: Lesson, generator: torch.Generator) -> None:
        """Hear how a step went."""
        del lesson, generator

    def state_dict(self) -> Mapping[str, Tensor]:
        """What the next step needs of the steps before."""
        return {}

    def load_state_dict(self, memory: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state_dict` gave; an empty one is the beginning."""
        del memory


class Distill(Objective[RadianceScene]):
    """The differences between a student and the ``teacher`` (PVD, arXiv 2211.15977), on the student's own samples.

    The student marches; at the very points and intervals that it chose the teacher is asked, without a gradient, and
    both are put before one random background. Nothing that is hidden is left out. A difference is the Euclidean norm of
    all its numbers in the batch, neither squared nor averaged: its gradient keeps its length, so that the terms of
    points steer to the end. Densities are compared by :func:`common_logit`, whatever activation either field has.

    Departures: densities are clamped where they are compared, and not where they are integrated, since teachers come
    from any training; weights do not decay by themselves (the code's AdamW takes 0.01 by default).

    Args:
        teacher: what is learned; of its appearance the mean.
        stages: the terms of each stage of the recipe's plan.
        unit: a length in world units, half of what the field covers: densities are compared times it.
        attention: parts of active learning (PVD-AL, arXiv 2304.04012), at most one of each kind.
        decay: of the feature's weight, a step.
    """

    def __init__(
        self,
        teacher: RadianceScene,
        stages: Sequence[Terms],
        unit: float = 1.0,
        attention: Sequence[Attention] = (),
        decay: float = 0.995,
    ) -> None:
        self.teacher = teacher
        self.stages = stages
        self.unit = unit
        self.attention = attention
        self.decay = decay

    def __call__(self, model: RadianceScene, batch: Batch, step: StepContext) -> Evaluation:
        """Compare ``model`` with the teacher along the rays of ``batch``."""
        terms = self.stages[step.stage]
        for part in self.attention if terms.rgb else ():
            batch = part.rays(batch, step.generator)
        lesson = self.lesson(model, batch, terms, step.generator)
        losses = {name: (getattr(terms, name), value) for name, value in self._differences(model, lesson, terms)}
        if "feature" in losses:
            weight, value = losses["feature"]
            losses["feature"] = weight * self.decay**step.step, value
        for part in self.attention if terms.rgb else ():
            part.learn(lesson, step.generator)
        n_rays, n_samples = len(batch), len(lesson.samples)
        metrics = {"rays": float(n_rays), "marched": float(n_samples)}
        metrics |= {name: value.item() for name, (_, value) in losses.items()}
        total = torch.stack([weight * value for weight, value in losses.values()]).sum()
        error = (self._logit(lesson.own) - self._logit(lesson.taught)).detach().square()
        return Evaluation(total, lesson.samples.x, error, None, metrics, Counts(n_rays, n_samples))

    def lesson(self, model: RadianceScene, batch: Batch, terms: Terms, generator: torch.Generator) -> Lesson:
        """Have both shade the same samples, as far as the ``terms`` need it."""
        samples = sample(model.field, model.sampler, self._rays(model, batch), generator)
        ask = shade if terms.color or terms.rgb else _geometry_alone
        with torch.no_grad():
            taught = ask(self.teacher.field, samples)
        own, views = ask(model.field, samples), None
        if terms.rgb:
            background = device_uniform((len(batch), 3), generator, samples.x)
            with torch.no_grad():
                shown = integrate(samples, taught, background, model.backend)
            views = integrate(samples, own, background, model.backend), shown
        return Lesson(batch, samples, own, taught, views)

    def _rays(self, model: RadianceScene, batch: Batch) -> Rays:
        """The batch's rays; they carry the teacher's mean code, of which a student takes no notice."""
        origins, directions, appearance = batch.x, batch.needed("directions"), self.teacher.appearance
        cond = None if appearance is None else Conditioning(code=appearance.unseen(len(batch)).detach())
        return Rays(origins, directions, *model.space.near_far(origins, directions), cond)

    def _differences(self, model: RadianceScene, lesson: Lesson, terms: Terms) -> list[tuple[str, Tensor]]:
        """Each term's name and norm, without its weight."""
        chosen = [part.points(lesson) for part in self.attention if terms.rgb]
        index = next((found for found in chosen if found is not None), slice(None))
        own, taught = lesson.own, lesson.taught
        logits = self._logit(own)[index], self._logit(taught)[index]
        found = []
        if terms.feature:
            beside = _beside_logit(model.field, own)[index], _beside_logit(self.teacher.field, taught)[index]
            sides = [torch.cat([logit[:, None], rest], dim=1) for logit, rest in zip(logits, beside, strict=True)]
            found.append(("feature", _norm(*sides)))
        if terms.color:
            found.append(("color", _norm(own.rgb[index], taught.rgb[index])))
        if terms.density:
            found.append(("density", _norm(*logits)))
        if lesson.views is not None:
            found.append(("rgb", _norm(lesson.views[0].rgb, lesson.views[1].rgb)))
        return found

    def _logit(self, shaded: Shaded) -> Tensor:
        return common_logit(shaded.geometry.sigma, self.unit)

    def state_dict(self) -> Mapping[str, Tensor]:
        """What the parts of active learning remember."""
        return {
            f"{type(part).__name__}.{name}": value
            for part in self.attention
            for name, value in part.state_dict().items()
        }

    def load_state_dict(self, memory: Mapping[str, Tensor]) -> None:
        """See :class:`Objective`."""
        for part in self.attention:
            begin = f"{type(part).__name__}."
            part.load_state_dict(
                {name.removeprefix(begin): value for name, value in memory.items() if name.startswith(begin)}
            )


def common_logit(sigma: Tensor, unit: float) -> Tensor:
    """What densities ``sigma (...)`` are compared by: ln(sigma ``unit``), clamped to [-2, 7].

    It is the logit of a field whose density is exp(logit) / ``unit``, as PVD's are. Compared as they are, densities
    from 0.1 to 1000 would leave nothing to the small ones.
    """
    return (sigma * unit).clamp(min=_NOTHING).log().clamp(_LEAST, _MOST)


def _geometry_alone(field: RadianceField, samples: RaySamples) -> Shaded:
    """Does what :func:`neufield.renderers.shade` does where nobody asks for colors: they are black."""
    return Shaded(field.geometry(samples.x, samples.cond), samples.x.new_zeros(len(samples), 3))


def _beside_logit(field: RadianceField, shaded: Shaded) -> Tensor:
    """The features without the density's logit, which a head's first is: that is compared clamped."""
    features = shaded.geometry.features
    return features if head_of(field) is None else features[:, 1:]


def _norm(own: Tensor, taught: Tensor) -> Tensor:
    return torch.linalg.vector_norm(own - taught)
