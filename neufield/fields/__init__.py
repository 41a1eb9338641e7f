"""Features -> values, and radiance: density and colour."""

from neufield.fields.activations import ACTIVATIONS
from neufield.fields.fan import FAN
from neufield.fields.grkan import GRKAN
from neufield.fields.kan import KAN
from neufield.fields.mlp import MLP
from neufield.fields.neural import NeuralField
from neufield.fields.pass_through import PassThrough
from neufield.fields.radiance import (
    CanonicalRadiance,
    Density,
    DensityField,
    NerfRadiance,
    NeuralRadiance,
    VectorMatrixRadiance,
    VoxelRadiance,
)
from neufield.fields.siren import Siren

__all__ = [
    "ACTIVATIONS",
    "FAN",
    "GRKAN",
    "KAN",
    "MLP",
    "CanonicalRadiance",
    "Density",
    "DensityField",
    "NerfRadiance",
    "NeuralField",
    "NeuralRadiance",
    "PassThrough",
    "Siren",
    "VectorMatrixRadiance",
    "VoxelRadiance",
]
