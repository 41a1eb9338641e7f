"""Features -> values, and radiance: density and colour."""

from neufield.fields.activations import ACTIVATIONS
from neufield.fields.mlp import MLP
from neufield.fields.modulations import CAM, FiLM
from neufield.fields.neural import NeuralField
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
    "CAM",
    "MLP",
    "CanonicalRadiance",
    "Density",
    "DensityField",
    "FiLM",
    "NerfRadiance",
    "NeuralField",
    "NeuralRadiance",
    "Siren",
    "VectorMatrixRadiance",
    "VoxelRadiance",
]
