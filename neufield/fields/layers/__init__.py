"""Layers with the signature of ``nn.Linear``, to be used in its place."""

from neufield.fields.layers.fan import FANLinear
from neufield.fields.layers.grkan import GRKANLinear
from neufield.fields.layers.kan import KANLinear

__all__ = ["FANLinear", "GRKANLinear", "KANLinear"]
