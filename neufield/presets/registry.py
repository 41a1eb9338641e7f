"""The one register of presets. A preset is written into it where it is defined, by ``@preset``."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar, overload

import torch

from neufield.core.errors import ConfigError, nearest
from neufield.core.interfaces import RadianceField
from neufield.fields import NeuralField
from neufield.presets.facts import RadianceFacts, SignalFacts
from neufield.presets.fresh import Axis
from neufield.presets.sizes import WIDTH, Knob

Kind = Literal["signal", "radiance"]
Facts = TypeVar("Facts", SignalFacts, RadianceFacts)
Made = TypeVar("Made", NeuralField, RadianceField)
Make = TypeVar("Make", bound=Callable[..., NeuralField | RadianceField])


@dataclasses.dataclass(frozen=True)
class Preset(Generic[Facts, Made]):
    """A way to wire a field, and what is known of it.

    ``make`` is the function itself. ``sizes`` bring its field to a number of parameters, the coarse before the fine;
    ``fresh`` is the axis along which FreSh varies it, None where it has none of its own. ``by_images`` says that its
    resolution goes by the images of a scene; the costs of others grow too fast with it.
    """

    name: str
    kind: Kind
    make: Callable[..., Made]
    sizes: Sequence[Knob] = WIDTH
    fresh: Axis | None = None
    by_images: bool = False

    def __call__(self, facts: Facts, generator: torch.Generator | None = None) -> Made:
        """The field for these ``facts``, of which ``make`` gets those that it has an argument for."""
        given = {name: value for name, value in facts.arguments().items() if self.takes(name)}
        return self.make(**given, generator=generator)

    def takes(self, argument: str) -> bool:
        """Whether ``make`` has an ``argument`` of this name."""
        return argument in inspect.signature(self.make).parameters


_REGISTER: dict[tuple[Kind, str], Preset[Any, Any]] = {}


def preset(
    name: str,
    kind: Kind = "signal",
    *,
    sizes: Sequence[Knob] = WIDTH,
    fresh: Axis | None = None,
    by_images: bool = False,
) -> Callable[[Make], Make]:
    """Register the decorated function, which stays as it is, as the preset ``name`` of a ``kind``.

    Of a signal's facts it may take ``dim``, ``out_dim``, ``shape`` and ``max_bytes``, of a scene's ``resolution`` and
    ``code_dim`` (see :mod:`neufield.presets.facts`), and always a ``generator``; whatever else it takes has a default.
    """

    def register(make: Make) -> Make:
        known = _REGISTER.setdefault((kind, name), Preset(name, kind, make, sizes, fresh, by_images))
        if known.make is not make:
            raise ConfigError(f"there is a {kind} preset '{name}' already, of {known.make.__module__}; rename yours")
        return make

    return register


@overload
def find(name: str, kind: Literal["signal"] = "signal") -> Preset[SignalFacts, NeuralField]: ...
@overload
def find(name: str, kind: Literal["radiance"]) -> Preset[RadianceFacts, RadianceField]: ...
def find(name: str, kind: Kind = "signal") -> Preset[Any, Any]:
    """The preset called ``name``. Raises ConfigError, with the nearest name, where there is none of this ``kind``."""
    if (kind, name) not in _REGISTER:
        of_kind = {"signal": "", "radiance": "radiance "}[kind]
        raise ConfigError(f"there is no {of_kind}preset '{name}'{nearest(name, names(kind))}")
    return _REGISTER[kind, name]


def names(kind: Kind = "signal") -> list[str]:
    """The names of all presets of a ``kind``, in the order in which they were registered."""
    return [name for of, name in _REGISTER if of == kind]
