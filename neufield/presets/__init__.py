"""Names and papers -> wired fields, each with the recipe that trains it.

Each is a function that takes the signal's dimension and channels and what else it depends on; a file here holds those
of one method. ``PRESETS`` gives them all one signature, for apps that know a preset by name and a signal by its facts.
"""

from collections.abc import Callable, Mapping, Sequence

import torch

from neufield.core.config import build, describe, with_setting
from neufield.core.errors import ConfigError, nearest
from neufield.fields import NeuralField
from neufield.parts import PARTS
from neufield.presets.baselines import compact, ffn, growth, nerf_frequency, ngp, siren
from neufield.presets.facts import SignalFacts
from neufield.presets.sizes import Ask, Bytes, Levels, Setting, Size, resized
from neufield.tcnn import from_tcnn_config

PRESETS: Mapping[str, Callable[[SignalFacts, torch.Generator], NeuralField]] = {
    "ngp": lambda s, g: ngp(s.dim, s.channels, s.shape, generator=g),
    "compact": lambda s, g: compact(s.shape, s.channels, s.source_bytes, generator=g),
    "ffn": lambda s, g: ffn(s.dim, s.channels, generator=g),
    "siren": lambda s, g: siren(s.dim, s.channels, generator=g),
    "nerf_frequency": lambda s, g: nerf_frequency(s.dim, s.channels, generator=g),
}

# What brings a preset to a number of parameters, the coarse before the fine; by default the network's width.
SIZES: Mapping[str, Sequence[Size]] = {
    "ngp": [Setting("encoding.log2_hashmap_size", least=6, most=24), Levels(), Setting("network.width", most=128)],
    "compact": [Bytes()],
}
_WIDTH = Setting("network.width")


def sizes(name: str) -> Sequence[Size]:
    """What makes the preset called ``name`` larger or smaller."""
    return SIZES.get(name, [_WIDTH])


def preset(name: str) -> Callable[[SignalFacts, torch.Generator], NeuralField]:
    """The preset called ``name``: the facts of a signal, and a generator, to a field."""
    if name not in PRESETS:
        raise ConfigError(f"there is no preset '{name}'{nearest(name, PRESETS)}")
    return PRESETS[name]


def customise(field: NeuralField, settings: Sequence[str], generator: torch.Generator | None = None) -> NeuralField:
    """``field`` rebuilt with ``settings`` such as "encoding.n_levels=8"; the network's input follows the encoding."""
    if not settings:
        return field
    config = describe(field)
    for setting in settings:
        config = with_setting(config, setting, PARTS)
    with torch.device("meta"):  # only its width is wanted
        config["network"]["in_dim"] = build(config["encoding"], PARTS, "encoding").out_dim
    return build(config, PARTS, "field", generator)


__all__ = [
    "PRESETS",
    "SIZES",
    "Ask",
    "SignalFacts",
    "compact",
    "customise",
    "ffn",
    "from_tcnn_config",
    "growth",
    "nerf_frequency",
    "ngp",
    "preset",
    "resized",
    "siren",
    "sizes",
]
