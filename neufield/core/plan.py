"""What a stage of training may do to a model beside steps: change it before, and add to its loss."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from neufield.core.errors import ConfigError, nearest
from neufield.core.records import StepContext
from neufield.core.shapes import check_positive


class Change(abc.ABC):
    """Done to a model before a stage: parts grow, are frozen or replaced. Done twice it is as done once.

    A resumed run does it again to the model that it begins with, before what was saved is taken over.
    """

    @abc.abstractmethod
    def __call__(self, model: nn.Module) -> None:
        """Change ``model`` in place: the one that carries the recipe, or another that follows its plan."""


class Regularizer(abc.ABC):
    """A term of the loss that knows parameters only: ``weight`` times what it makes of those that it is for."""

    weight: float
    parameters: Sequence[str]

    @abc.abstractmethod
    def __call__(self, model: nn.Module, step: StepContext) -> Tensor:
        """The scalar, without the weight, of ``model``, the one that carries the recipe."""


@runtime_checkable
class Resizable(Protocol):
    """A field of numbers on lattices of a ``resolution``, which may become finer."""

    resolution: list[int]

    def upsample(self, resolution: Sequence[int]) -> None:
        """Interpolate the lattices to ``resolution``, in place; their parameters are new ones."""


@dataclasses.dataclass(frozen=True)
class Upsample(Change):
    """Lattices are interpolated to ``resolution``; an axis that is as fine already stays (TensoRF, Plenoxels)."""

    resolution: Sequence[int]

    def __post_init__(self) -> None:
        check_positive(resolution=min(self.resolution, default=0))

    def __call__(self, model: nn.Module) -> None:
        """See :class:`Change`."""
        if not isinstance(model, Resizable) or len(model.resolution) != len(self.resolution):
            raise ConfigError(
                f"the plan upsamples to {list(self.resolution)}, but a {type(model).__name__} has no lattices of "
                f"{len(self.resolution)} axes; leave the change out, for instance with --set recipe.plan=null"
            )
        finer = [max(pair) for pair in zip(model.resolution, self.resolution, strict=True)]
        if finer != model.resolution:
            model.upsample(finer)


@dataclasses.dataclass(frozen=True)
class Freeze(Change):
    """The ``parameters`` whose names start so learn no more."""

    parameters: Sequence[str]

    def __call__(self, model: nn.Module) -> None:
        """See :class:`Change`."""
        for parameter in named(model, self.parameters, "freezes"):
            parameter.requires_grad_(False)


def named(model: nn.Module, keys: Sequence[str], what: str) -> list[nn.Parameter]:
    """The parameters of ``model`` whose names start with one of ``keys``; each key must be some parameter's."""
    own = dict(model.named_parameters())
    found: dict[str, nn.Parameter] = {}
    for key in keys:
        matching = {name: own[name] for name in own if name == key or name.startswith(key + ".")}
        if not matching:
            hint = nearest(key, {name.rpartition(".")[0] or name for name in own} | own.keys())
            raise ConfigError(f"the plan {what} '{key}', but no parameter's name starts so{hint}")
        found |= matching
    return list(found.values())
