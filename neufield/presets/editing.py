"""A preset's field with some of its arguments changed."""

from collections.abc import Sequence
from typing import Any

import torch

from neufield.core.config import Config, build, describe
from neufield.core.edits import Edit, edited
from neufield.core.interfaces import Network
from neufield.core.reckoning import within_budget
from neufield.fields import NeuralField
from neufield.parts import PARTS


def customize(field: NeuralField, edits: Sequence[Edit], generator: torch.Generator | None = None) -> NeuralField:
    """``field`` rebuilt with ``edits`` such as ``Edit("encoding.n_levels", 8)``; the network's input follows."""
    if not edits:
        return field
    config = edited(describe(field), edits, PARTS)
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
