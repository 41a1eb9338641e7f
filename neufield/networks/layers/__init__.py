"""Layers with the signature of ``nn.Linear``, to be used in its place."""

from neufield.networks.layers.fan import FANLinear
from neufield.networks.layers.grkan import GRKANLinear
from neufield.networks.layers.kan import KANLinear

__all__ = ["FANLinear", "GRKANLinear", "KANLinear"]
