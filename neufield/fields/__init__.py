"""Features -> values."""

from neufield.fields.activations import ACTIVATIONS
from neufield.fields.mlp import MLP
from neufield.fields.neural import NeuralField
from neufield.fields.siren import Siren

__all__ = ["ACTIVATIONS", "MLP", "NeuralField", "Siren"]
