"""Knobs that make a preset larger or smaller, and the search for a number of parameters."""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from neufield.core import exact
from neufield.core.config import describe
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError
from neufield.fields import NeuralField
from neufield.fitting import count_parameters
from neufield.presets.facts import SignalFacts

CLOSE = 0.05  # of the number of parameters asked for


class PresetRequest(NamedTuple):
    """What a preset is built from: the signal's ``facts``, and the ``edits`` that change its description."""

    facts: SignalFacts
    edits: Sequence[Edit] = ()

    def with_edits(self, *edits: Edit) -> "PresetRequest":
        """This request, with ``edits`` behind its own."""
        return self._replace(edits=[*self.edits, *edits])


class Knob(abc.ABC):
    """A whole number from ``least`` to ``most``; a field has more parameters with a larger one.

    ``name`` is for the reader; ``paths`` are the arguments that it edits, and who gave one of them keeps it.
    """

    name: str
    paths: Sequence[str] = ()
    least: int
    most: int

    @abc.abstractmethod
    def turned(self, request: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """``request`` with the number at ``value``; ``field`` is what ``request`` gave so far."""


class ArgumentKnob(Knob):
    """One argument, such as "network.width", in multiples of ``multiple``."""

    def __init__(self, name: str, least: int = 1, most: int = 2**20, multiple: int = 1) -> None:
        self.name = name
        self.paths = [name]
        self.least = least
        self.most = most
        self.multiple = multiple

    def turned(self, request: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """The argument at ``value * multiple``, behind the other edits."""
        del field
        return request.with_edits(Edit(self.name, value * self.multiple))


class TiedKnobs(Knob):
    """Arguments that grow in proportion, each a number of ``shares``."""

    def __init__(self, shares: Mapping[str, int], least: int = 1, most: int = 2**16) -> None:
        self.shares = shares
        self.paths = list(shares)
        self.name = " with ".join(shares)
        self.least = least
        self.most = most

    def turned(self, request: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """Each argument at ``value`` times its share."""
        del field
        return request.with_edits(*[Edit(name, value * share) for name, share in self.shares.items()])


class LatticeKnob(Knob):
    """The longest side of the lattice that a preset is made for; the others keep their proportion."""

    name = "the lattice that it is made for"

    def __init__(self, least: int = 4, most: int = 2**14) -> None:
        self.least = least
        self.most = most

    def turned(self, request: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """The same signal, as if it had ``value`` cells along its longest side."""
        del field
        longest = max(request.facts.shape)
        shape = [max(1, round(value * size / longest)) for size in request.facts.shape]
        return request._replace(facts=dataclasses.replace(request.facts, shape=shape))


class LevelsKnob(Knob):
    """How many levels a grid has between its coarsest and its finest, which both stay."""

    name = "encoding.n_levels"
    paths = ("encoding.n_levels", "encoding.per_level_scale")

    def __init__(self, least: int = 8, most: int = 24) -> None:
        self.least = least
        self.most = most

    def turned(self, request: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """``value`` levels, and the growth from one to the next that leads to the same finest."""
        grid = describe(field)["encoding"]
        scale = exact.power(grid["per_level_scale"], Fraction(grid["n_levels"] - 1, max(1, value - 1)))
        return request.with_edits(Edit(self.name, value), Edit("encoding.per_level_scale", scale))


class BytesKnob(Knob):
    """The bytes that a preset made for a file's size may take."""

    name = "the bytes of the file"

    def __init__(self, least: int = 8192, most: int = 2**34) -> None:
        self.least = least
        self.most = most

    def turned(self, request: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """The same signal, as if its file had ``value`` bytes."""
        del field
        return request._replace(facts=dataclasses.replace(request.facts, source_bytes=value))


WIDTH = (ArgumentKnob("network.width"),)
# Of a small network behind a hashed grid.
GRID = (
    ArgumentKnob("encoding.log2_hashmap_size", least=6, most=24),
    LevelsKnob(),
    ArgumentKnob("network.width", most=128),
)


def resized(
    name: str,
    make: Callable[[PresetRequest], NeuralField],
    request: PresetRequest,
    knobs: Sequence[Knob],
    n_params: int,
) -> PresetRequest:
    """Change ``request`` so that what it makes has about ``n_params`` parameters.

    Each of ``knobs`` in turn is brought to the number whose field is nearest, until one is within :data:`CLOSE`;
    those that the edits name already stay as they are. Raises ConfigError where none is.
    """
    chosen = {edit.path for edit in request.edits}
    free = [knob for knob in knobs if chosen.isdisjoint(knob.paths)]
    field = make(request)
    for knob in free:
        if _distance(field, n_params) <= CLOSE:
            break
        try:
            request, field = _nearest(make, request, field, knob, n_params)
        except ConfigError as error:
            raise ConfigError(f"preset '{name}' cannot have about {n_params:,} parameters: {error}") from None
    if _distance(field, n_params) > CLOSE:
        names = " and ".join(dict.fromkeys(knob.name for knob in free))
        what = f"changing {names}" if free else "its settings fix its sizes"
        raise ConfigError(
            f"preset '{name}' cannot have about {n_params:,} parameters: the nearest that was found, {what}, is "
            f"{count_parameters(field):,}; give another --budget-params, or leave the preset out"
        )
    return request


def _nearest(
    make: Callable[[PresetRequest], NeuralField], request: PresetRequest, field: NeuralField, knob: Knob, n_params: int
) -> tuple[PresetRequest, NeuralField]:
    """The value of ``size`` whose field is nearest: doubled steps from the least until it is too large, then halves."""

    def at(value: int) -> tuple[int, PresetRequest, NeuralField]:
        asked = knob.turned(request, field, value)
        made = make(asked)
        return count_parameters(made), asked, made

    low = high = knob.least
    below = above = at(low)
    while above[0] < n_params and high < knob.most:
        low, below = high, above
        high = min(knob.most, 2 * high + 1 - knob.least)
        above = at(high)
    while high - low > 1:
        middle = (low + high) // 2
        found = at(middle)
        if found[0] < n_params:
            low, below = middle, found
        else:
            high, above = middle, found
    _, asked, made = min(below, above, key=lambda found: abs(found[0] - n_params))
    return asked, made


def _distance(field: NeuralField, n_params: int) -> float:
    return abs(count_parameters(field) / n_params - 1)
