"""TensoRF's color network (its MLP_Fea), shared by its two decompositions."""

import math

import torch
from torch import Tensor

from neufield.functional import positional_encoding
from neufield.networks.mlp import MLP

_OCTAVES = 2  # sin and cos of v and of 2 v


def feature_head(n_features: int, width: int, generator: torch.Generator | None) -> MLP:
    """Two ReLU layers of ``width``, then a sigmoid: 150 numbers in for 27 features.

    Weights start Xavier uniform and biases at zero; the paper's code takes PyTorch's default and, as here, a last bias
    of zero.
    """
    n_inputs = (n_features + 3) * (1 + 2 * _OCTAVES)
    return MLP(n_inputs, 3, width, 2, output_activation="sigmoid", generator=generator)


def head_inputs(features: Tensor, d: Tensor) -> Tensor:
    """Features and direction (..., 3) as they are, and two octaves of sines of each, here without the usual pi.

    The order is ours: the paper's code has the direction before all sines, and the sines frequency by frequency.
    """
    seen = torch.cat([features, d], dim=-1)
    return torch.cat([seen, positional_encoding(seen / math.pi, _OCTAVES)], dim=-1)
