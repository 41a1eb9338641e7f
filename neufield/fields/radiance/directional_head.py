"""Instant-ngp's color block as a part of its own, so that other fields can end in it and learn from one another."""

import abc

import torch
from torch import Tensor, nn

from neufield.core.interfaces import Encoding, Network


class DirectionalHead(nn.Module):
    """``color_network(features, direction((d + 1) / 2))``: the color of ``n_features`` features seen along unit d.

    The first of the features is the density's logit, as in instant-ngp (arXiv 2201.05989, section 5.4). Fields of any
    kind that end in one and the same head know the same of a point, number by number: the common feature of Progressive
    Volume Distillation (arXiv 2211.15977).
    """

    def __init__(self, direction: Encoding, color_network: Network) -> None:
        super().__init__()
        if color_network.in_dim <= direction.out_dim or color_network.out_dim != 3:
            raise ValueError(
                f"the color network takes {color_network.in_dim} features to {color_network.out_dim} values, but "
                f"features and {direction.out_dim} of the direction go in, and red, green, blue come out; build it "
                f"with in_dim above {direction.out_dim} and out_dim=3"
            )
        self.direction = direction
        self.color_network = color_network

    @property
    def n_features(self) -> int:
        """How many features it reads, the density's logit among them."""
        return self.color_network.in_dim - self.direction.out_dim

    def forward(self, features: Tensor, d: Tensor) -> Tensor:
        """The color (..., 3) of ``features (..., n_features)`` along ``d (..., 3)``."""
        seen = (d + 1) / 2
        return self.color_network(torch.cat([features, self.direction(seen)], dim=-1), seen)


class Headed(abc.ABC):
    """A radiance field that ends in a :class:`DirectionalHead`, or might."""

    @abc.abstractmethod
    def color_block(self) -> DirectionalHead | None:
        """The head, sharing its parts with the field; None where the color is made in another way."""


def head_of(field: nn.Module) -> DirectionalHead | None:
    """The head in which ``field`` ends, if it does."""
    return field.color_block() if isinstance(field, Headed) else None
