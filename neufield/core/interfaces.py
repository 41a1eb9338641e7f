"""The joints: what an encoding, a field, a modulation, a source of samples and an objective owe each other.

Each is abstract with a few methods; concrete classes are final and are combined by wrapping. Every part stores each
constructor argument under the argument's own name, which is how :mod:`neufield.core.config` writes it to a file.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from neufield.core.metrics import Metric, Metrics
from neufield.core.on_device import device_uniform
from neufield.core.param_groups import ParamGroup, groups_by_recipe
from neufield.core.rays import Conditioning, Geometry, Rays, RaySamples, RenderOutput, Target
from neufield.core.recipe import Recipe
from neufield.core.records import Batch, Counts, Evaluation, Event, Op, StepContext

_DRAWN_TIMES = 4  # at which a moving field's density is bounded; an occupancy grid also remembers earlier draws


class Encoding(nn.Module, abc.ABC):
    """Coordinates (..., in_dim) in the unit box -> features (..., out_dim)."""

    in_dim: int
    out_dim: int

    @abc.abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Encode ``x (..., in_dim)`` to ``(..., out_dim)``."""

    @property
    @abc.abstractmethod
    def frequencies(self) -> Tensor:
        """Nominal frequency (out_dim,) of each channel, in cycles per unit box; coarse to fine methods sort by it."""

    def op(self) -> Op | None:
        """What a fused kernel needs to compute this encoding itself; None where only ``forward`` can."""
        return None

    def on_step(self, event: Event) -> None:
        """Hear about a finished step. Most encodings do nothing."""
        del event


class Modulation(nn.Module, abc.ABC):
    """Acts inside a network between the linear map and the activation of each hidden layer (CAM, FiLM, codes)."""

    @abc.abstractmethod
    def forward(self, h: Tensor, x: Tensor, layer: int) -> Tensor:
        """``h (N, width)`` before the activation of hidden layer ``layer``, ``x (N, d)`` the point in the unit box."""

    def check(self, n_layers: int, width: int) -> None:
        """Refuse, with a ValueError, a network whose ``n_layers`` hidden layers of ``width`` this was not made for."""
        del n_layers, width

    def on_step(self, event: Event) -> None:
        """Hear about a finished step."""
        del event


class Network(nn.Module, abc.ABC):
    """Features (..., in_dim) -> values (..., out_dim); ``x`` is the unit-box point, for modulations."""

    in_dim: int
    out_dim: int

    @abc.abstractmethod
    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """Map ``h (..., in_dim)`` at points ``x (..., d)`` to ``(..., out_dim)``."""

    def outputs(self, h: Tensor, x: Tensor) -> Sequence[Tensor]:
        """All that is to be trained on the signal: what ``forward`` gives, last, and coarser versions before it."""
        return [self(h, x)]

    def init_from_signal(self, signal: "Resampled", generator: torch.Generator | None = None) -> None:
        """See the whole signal before the first step: a network may start from it. Most do nothing."""
        del signal, generator

    def op(self) -> Op | None:
        """The network as a chain of linear maps, for fused kernels; None where it is more than that."""
        return None

    def on_step(self, event: Event) -> None:
        """Hear about a finished step."""
        del event


class Trainable(nn.Module, abc.ABC):
    """What is trained, and saved, as one: a field, a radiance field, or a scene that is rendered from one.

    ``recipe`` trains it well unless the caller of ``fit`` knows better. An objective may ask more, of one kind of them.
    """

    recipe: Recipe

    def param_groups(self, recipe: Recipe | None = None) -> Sequence[ParamGroup]:
        """How the parameters learn by ``recipe``, by default the model's own: matrices of networks decay."""
        return groups_by_recipe(self, recipe or self.recipe, _matrices(self))

    def recipe_owner(self) -> nn.Module:
        """The module that the recipe speaks of: where its names of parameters begin."""
        return self

    def planned(self) -> Sequence[nn.Module]:
        """The modules that a plan's changes are made to, one after the other."""
        return [self.recipe_owner()]

    def graph_safe(self, device: torch.device) -> bool:
        """Whether a training step on ``device`` is the same calls each time, and ``on_step`` does nothing.

        Then it can be recorded once and replayed.
        """
        del device
        return False

    def on_step(self, event: Event) -> None:
        """Hear about a finished step."""
        del event


class Field(Trainable):
    """A signal as a function: points (..., in_dim) in the unit box -> values (..., out_dim)."""

    in_dim: int
    out_dim: int

    @abc.abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the field at ``x (..., in_dim)``."""

    def outputs(self, x: Tensor) -> Sequence[Tensor]:
        """All that is to be trained on the signal: what ``forward`` gives, last, and coarser versions before it."""
        return [self(x)]

    def init_from_signal(self, signal: "Resampled", generator: torch.Generator | None = None) -> None:
        """See the whole signal before the first step, for the parts that start from it."""
        del signal, generator

    def fused_loss(self, batch: Batch, loss: str) -> tuple[Tensor, Tensor] | None:
        """The mean ``loss`` on ``batch`` and its per-point error (N,), in one pass; None where there is none such."""
        return None

    @abc.abstractmethod
    def on_step(self, event: Event) -> None:
        """Pass the event on to the parts, in the coordinates each of them sees."""


class RadianceField(Trainable):
    """Density everywhere and color in every direction, in two blocks: unit-box points, then unit directions.

    ``cond`` is what else is known of each point's ray (camera, time, code, exposure); a field takes from it what it
    needs and ignores the rest. A field with a ``code_dim`` above 0 needs ``cond.code`` of so many numbers; one that
    moves needs ``cond.time`` and says in ``times`` from when to when.
    """

    code_dim: int = 0
    times: tuple[float, float] | None = None

    @abc.abstractmethod
    def geometry(self, x: Tensor, cond: Conditioning | None = None) -> Geometry:
        """What is at ``x (..., 3)``, without a direction."""

    @abc.abstractmethod
    def color(self, features: Tensor, d: Tensor, cond: Conditioning | None = None) -> Tensor:
        """The color (..., 3) in [0, 1] of ``features (..., F)`` seen along ``d (..., 3)``, from the camera on."""

    def density(self, x: Tensor, cond: Conditioning | None = None) -> Tensor:
        """The density (...) at ``x (..., 3)`` alone, per world unit."""
        return self.geometry(x, cond).sigma

    def density_bound(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The largest density (N,) that ``x (N, 3)`` has under any conditions, for who looks for empty space.

        Of a field that moves, the largest at a few times drawn for each point: who asks again learns more.
        """
        if self.times is None:
            return self.density(x)
        first, last = self.times
        drawn = [first + (last - first) * device_uniform((len(x),), generator, x) for _ in range(_DRAWN_TIMES)]
        return torch.stack([self.density(x, Conditioning(time=time)) for time in drawn]).amax(dim=0)

    def op(self) -> Op | None:
        """The field as two chains of linear maps, for fused kernels; None where it is more than that."""
        return None


class Sampler(nn.Module, abc.ABC):
    """Decides where along rays a radiance field is evaluated; what it remembers are buffers, what learns parameters."""

    @abc.abstractmethod
    def sample(self, rays: Rays, field: RadianceField, generator: torch.Generator | None) -> RaySamples:
        """Samples along ``rays``, for ``field``.

        With a generator the intervals are jittered, as in training; without, they are always the same.
        """

    def op(self) -> Op | None:
        """The sampler as a march through cells, for fused kernels; None where it is anything else."""
        return None

    def update(self, step: int, field: RadianceField, generator: torch.Generator) -> None:
        """Hear that ``step`` steps of ``field`` are done, before the next one."""
        del step, field, generator

    def on_step(self, event: Event) -> None:
        """Hear about a finished step what the radiance field hears, for radiance fields of the sampler's own."""
        del event

    def fields(self) -> Sequence[RadianceField]:
        """The radiance fields of the sampler's own; those of the kind of the scene's grow by its plan with it."""
        return []

    def penalty(self, view: RenderOutput, target: Target) -> Tensor | None:
        """What the sampler itself has to learn from a rendered view, as a scalar to add to the loss; None: nothing.

        ``target`` is what the view's rays should have shown.
        """
        del view, target
        return None

    def param_groups(self) -> Sequence[ParamGroup]:
        """How the parameters learn, at rates of their own; a sampler without parameters has none."""
        return []


def _matrices(module: nn.Module) -> list[nn.Parameter]:
    """The parameters with two axes of all networks in ``module``: what decays (arXiv 2201.05989, section 4)."""
    networks = [part for part in module.modules() if isinstance(part, Network)]
    return [parameter for network in networks for parameter in network.parameters() if parameter.ndim == 2]


class Source(abc.ABC):
    """Gives the samples that a field is trained on."""

    def batch_size(self, budget: int, last: Counts | None) -> int:
        """How many samples the next step should have, where the recipe asks for ``budget`` points.

        ``last`` is what the step before cost, None before the first one or where the objective does not say. A source
        whose samples are evaluated at one point each gives as many.
        """
        del last
        return budget

    @abc.abstractmethod
    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        """``n`` training samples for ``step``; all there are, once each, where that is no more than ``n``."""


class Evaluator(abc.ABC):
    """Says how good a field is. ``headline`` is the metric by which runs are compared, and at which they may stop."""

    headline: Metric

    @abc.abstractmethod
    def evaluate(self, predict: Callable[[Tensor], Tensor], limit: int | None = None) -> Metrics:
        """Metrics of ``predict (N, d) -> (N, C)``, without a gradient; on at most about ``limit`` points if given."""


class Exporter(abc.ABC):
    """Makes of a field the kind of file that its signal came from, in the signal's own frame and units."""

    @abc.abstractmethod
    def write(self, path: Path, predict: Callable[[Tensor], Tensor], size: Sequence[int] | None = None) -> None:
        """Write what ``predict (N, d) -> (N, C)`` is on a lattice of ``size``, by default the signal's own."""

    @abc.abstractmethod
    def preview(
        self, predict: Callable[[Tensor], Tensor], size: Sequence[int] | None = None
    ) -> UInt8[np.ndarray, "h w 3"]:
        """The same as a picture for people, in sRGB."""


class Resampled(abc.ABC):
    """A signal that can be had on a lattice of any shape: what a network may start from, and spectra are made of."""

    dim: int

    @abc.abstractmethod
    def lattice(self, shape: Sequence[int]) -> Tensor:
        """The signal (*shape, channels), float32 on a cell-centered lattice."""


Model = TypeVar("Model")


@runtime_checkable
class PixelRenderer(Protocol):
    """A model that renders pixels (N, 3), as (camera, column, row), on a background; jittered by a generator."""

    def render(self, x: Tensor, background: Tensor, generator: torch.Generator | None = None) -> RenderOutput:
        """What the pixels show, and how."""


class Objective(abc.ABC, Generic[Model]):
    """What is minimized, of a kind of model: the one that it is given, be it a student, an average or a wrapped one.

    A ``graph_safe`` one asks for the same at every step, whatever the progress, the values and the random numbers.
    """

    graph_safe: bool = False

    @abc.abstractmethod
    def __call__(self, model: Model, batch: Batch, step: StepContext) -> Evaluation:
        """Evaluate ``model`` on ``batch``."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """What the next step needs of the steps before; ``fit`` keeps it in its state. Most objectives need nothing."""
        return {}

    def load_state_dict(self, memory: Mapping[str, Tensor]) -> None:
        """Go on from the ``memory`` that a run ended with; an empty one is the beginning."""
        del memory
