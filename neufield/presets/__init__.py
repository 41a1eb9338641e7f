"""Names and papers -> wired fields, each with the recipe that trains it.

Each is a function that takes the signal's dimension and channels and what else it depends on; a file here holds those
of one method. ``PRESETS`` gives them all one signature, for apps that know a preset by name and a signal by its facts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from neufield.core.config import Config, build, describe, with_setting
from neufield.core.errors import ConfigError, nearest
from neufield.core.interfaces import Network
from neufield.core.reckoning import within_budget
from neufield.fields import NeuralField
from neufield.parts import PARTS
from neufield.presets.activations import bacon, finer, fourier_net, gabor_net, gauss
from neufield.presets.baselines import compact, ffn, growth, nerf_frequency, ngp, siren
from neufield.presets.cam import cam
from neufield.presets.facts import SignalFacts
from neufield.presets.int_teaching import int_siren
from neufield.presets.layers import fan, grkan, kan
from neufield.presets.permutohedral import permuto
from neufield.presets.sape import sape
from neufield.presets.shifted_bases import kronecker, shifted_gaussian
from neufield.presets.sizes import Bytes, Knob, LatticeKnob, Levels, PresetRequest, Setting, TiedKnobs, resized
from neufield.presets.wire import split_wavelet, wire
from neufield.tcnn import from_tcnn_config

PRESETS: Mapping[str, Callable[[SignalFacts, torch.Generator], NeuralField]] = {
    "ngp": lambda s, g: ngp(s.dim, s.channels, s.shape, generator=g),
    "compact": lambda s, g: compact(s.shape, s.channels, s.source_bytes, generator=g),
    "ffn": lambda s, g: ffn(s.dim, s.channels, generator=g),
    "siren": lambda s, g: siren(s.dim, s.channels, generator=g),
    "nerf_frequency": lambda s, g: nerf_frequency(s.dim, s.channels, generator=g),
    "bacon": lambda s, g: bacon(s.dim, s.channels, s.shape, generator=g),
    "cam": lambda s, g: cam(s.dim, s.channels, generator=g),
    "fan": lambda s, g: fan(s.dim, s.channels, generator=g),
    "finer": lambda s, g: finer(s.dim, s.channels, generator=g),
    "fourier_net": lambda s, g: fourier_net(s.dim, s.channels, generator=g),
    "gabor_net": lambda s, g: gabor_net(s.dim, s.channels, generator=g),
    "gauss": lambda s, g: gauss(s.dim, s.channels, generator=g),
    "grkan": lambda s, g: grkan(s.dim, s.channels, generator=g),
    "int": lambda s, g: int_siren(s.dim, s.channels, generator=g),
    "kan": lambda s, g: kan(s.dim, s.channels, generator=g),
    "kronecker": lambda s, g: kronecker(s.dim, s.channels, s.shape, generator=g),
    "permuto": lambda s, g: permuto(s.dim, s.channels, s.shape, generator=g),
    "sape": lambda s, g: sape(s.dim, s.channels, generator=g),
    "shifted_gaussian": lambda s, g: shifted_gaussian(s.dim, s.channels, generator=g),
    "split_wavelet": lambda s, g: split_wavelet(s.dim, s.channels, generator=g),
    "wire": lambda s, g: wire(s.dim, s.channels, generator=g),
}

_WIDTH = Setting("network.width")
_GRID = [Setting("encoding.log2_hashmap_size", least=6, most=24), Levels(), Setting("network.width", most=128)]

# What brings a preset to a number of parameters, the coarse before the fine; by default the network's width.
SIZES: Mapping[str, Sequence[Knob]] = {
    "ngp": _GRID,
    "compact": [Bytes()],
    "fan": [Setting("network.width", least=4)],
    "grkan": [Setting("network.width", multiple=8), Setting("network.width", multiple=4)],  # which groups must divide
    "kronecker": [LatticeKnob()],
    "permuto": _GRID,
    "split_wavelet": [TiedKnobs({"network.low.width": 3, "network.band.width": 8}), Setting("network.band.width")],
}


def sizes(name: str) -> Sequence[Knob]:
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
        out_dim = build(config["encoding"], PARTS, "encoding").out_dim
    config["network"] = _fed(config["network"], out_dim)
    return within_budget(lambda drawn: build(config, PARTS, "field", drawn), generator, "this field")


def _fed(network: Config, in_dim: int) -> Config:
    """``network`` with ``in_dim`` features to take, or each of the networks of which it is made."""
    if "in_dim" in network:
        return {**network, "in_dim": in_dim}
    return {name: _fed(part, in_dim) if _is_network(part) else part for name, part in network.items()}


def _is_network(part: Any) -> bool:
    return isinstance(part, dict) and issubclass(PARTS.get(part.get("type", ""), object), Network)


__all__ = [
    "PRESETS",
    "SIZES",
    "PresetRequest",
    "SignalFacts",
    "bacon",
    "cam",
    "compact",
    "customise",
    "fan",
    "ffn",
    "finer",
    "fourier_net",
    "from_tcnn_config",
    "gabor_net",
    "gauss",
    "grkan",
    "growth",
    "int_siren",
    "kan",
    "kronecker",
    "nerf_frequency",
    "ngp",
    "permuto",
    "preset",
    "resized",
    "sape",
    "shifted_gaussian",
    "siren",
    "sizes",
    "split_wavelet",
    "wire",
]
