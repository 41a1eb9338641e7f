"""What makes a preset larger or smaller, and how to bring it to a number of parameters."""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from neufield.core import exact
from neufield.core.config import describe
from neufield.core.errors import ConfigError
from neufield.fields import NeuralField
from neufield.presets.facts import SignalFacts

CLOSE = 0.05  # of the number of parameters asked for


class PresetRequest(NamedTuple):
    """What a preset is built from: the signal's ``facts``, and the ``settings`` that change its description."""

    facts: SignalFacts
    settings: Sequence[str]


class Knob(abc.ABC):
    """A whole number, ``least`` to ``most``, that the number of parameters grows with.

    ``name`` is for the reader; ``keys`` are the settings that it writes, and who gave one of them keeps it.
    """

    name: str
    keys: Sequence[str] = ()
    least: int
    most: int

    @abc.abstractmethod
    def asked(self, ask: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """``ask`` with the number at ``value``; ``field`` is what ``ask`` gave so far."""


class Setting(Knob):
    """One setting, such as "network.width", in multiples of ``multiple``."""

    def __init__(self, name: str, least: int = 1, most: int = 2**20, multiple: int = 1) -> None:
        self.name = name
        self.keys = [name]
        self.least = least
        self.most = most
        self.multiple = multiple

    def asked(self, ask: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """``name=value * multiple`` behind the other settings."""
        del field
        return PresetRequest(ask.facts, [*ask.settings, f"{self.name}={value * self.multiple}"])


class TiedKnobs(Knob):
    """Settings that grow in proportion, each a number of ``shares``."""

    def __init__(self, shares: Mapping[str, int], least: int = 1, most: int = 2**16) -> None:
        self.shares = shares
        self.keys = list(shares)
        self.name = " with ".join(shares)
        self.least = least
        self.most = most

    def asked(self, ask: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """Each setting at ``value`` times its share."""
        del field
        return PresetRequest(
            ask.facts, [*ask.settings, *[f"{name}={value * share}" for name, share in self.shares.items()]]
        )


class LatticeKnob(Knob):
    """The longest side of the lattice that a preset is made for; the others keep their proportion."""

    name = "the lattice that it is made for"

    def __init__(self, least: int = 4, most: int = 2**14) -> None:
        self.least = least
        self.most = most

    def asked(self, ask: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """The same signal, as if it had ``value`` cells along its longest side."""
        del field
        longest = max(ask.facts.shape)
        shape = [max(1, round(value * size / longest)) for size in ask.facts.shape]
        return PresetRequest(dataclasses.replace(ask.facts, shape=shape), ask.settings)


class Levels(Knob):
    """How many levels a grid has between its coarsest and its finest, which both stay."""

    name = "encoding.n_levels"
    keys = ("encoding.n_levels", "encoding.per_level_scale")

    def __init__(self, least: int = 8, most: int = 24) -> None:
        self.least = least
        self.most = most

    def asked(self, ask: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """``value`` levels, and the growth from one to the next that leads to the same finest."""
        grid = describe(field)["encoding"]
        scale = exact.power(grid["per_level_scale"], Fraction(grid["n_levels"] - 1, max(1, value - 1)))
        return PresetRequest(ask.facts, [*ask.settings, f"{self.name}={value}", f"encoding.per_level_scale={scale!r}"])


class Bytes(Knob):
    """The bytes that a preset made for a file's size may take."""

    name = "the bytes of the file"

    def __init__(self, least: int = 8192, most: int = 2**34) -> None:
        self.least = least
        self.most = most

    def asked(self, ask: PresetRequest, field: NeuralField, value: int) -> PresetRequest:
        """The same signal, as if its file had ``value`` bytes."""
        del field
        return PresetRequest(dataclasses.replace(ask.facts, source_bytes=value), ask.settings)


def resized(
    name: str, make: Callable[[PresetRequest], NeuralField], ask: PresetRequest, sizes: Sequence[Knob], n_params: int
) -> PresetRequest:
    """``ask`` changed so that what it makes has about ``n_params`` parameters.

    Each of ``sizes`` in turn is brought to the number whose field is nearest, until one is within :data:`CLOSE`;
    those that the settings name already stay as they are. Raises ConfigError where none is.
    """
    chosen = {setting.partition("=")[0] for setting in ask.settings}
    free = [size for size in sizes if chosen.isdisjoint(size.keys)]
    field = make(ask)
    for size in free:
        if _distance(field, n_params) <= CLOSE:
            break
        try:
            ask, field = _nearest(make, ask, field, size, n_params)
        except ConfigError as error:
            raise ConfigError(f"preset '{name}' cannot have about {n_params:,} parameters: {error}") from None
    if _distance(field, n_params) > CLOSE:
        names = " and ".join(dict.fromkeys(size.name for size in free))
        what = f"changing {names}" if free else "its settings fix its sizes"
        raise ConfigError(
            f"preset '{name}' cannot have about {n_params:,} parameters: the nearest that was found, {what}, is "
            f"{_count(field):,}; give another --budget-params, or leave the preset out"
        )
    return ask


def _nearest(
    make: Callable[[PresetRequest], NeuralField], ask: PresetRequest, field: NeuralField, size: Knob, n_params: int
) -> tuple[PresetRequest, NeuralField]:
    """The value of ``size`` whose field is nearest: doubled steps from the least until it is too large, then halves."""

    def at(value: int) -> tuple[int, PresetRequest, NeuralField]:
        asked = size.asked(ask, field, value)
        made = make(asked)
        return _count(made), asked, made

    low = high = size.least
    below = above = at(low)
    while above[0] < n_params and high < size.most:
        low, below = high, above
        high = min(size.most, 2 * high + 1 - size.least)
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
    return abs(_count(field) / n_params - 1)


def _count(field: NeuralField) -> int:
    return sum(p.numel() for p in field.parameters())
