"""Features -> values, and radiance: density and colour."""

from neufield.fields.activations import ACTIVATIONS
from neufield.fields.bacon import Bacon
from neufield.fields.maxima import ModulusMaxima, modulus_maxima
from neufield.fields.mfn import FourierNet, GaborNet
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
from neufield.fields.split import Split
from neufield.fields.waves import Finer, Gabor, Gauss, WaveNetwork
from neufield.fields.wire import Wire

__all__ = [
    "ACTIVATIONS",
    "CAM",
    "MLP",
    "Bacon",
    "CanonicalRadiance",
    "Density",
    "DensityField",
    "FiLM",
    "Finer",
    "FourierNet",
    "Gabor",
    "GaborNet",
    "Gauss",
    "ModulusMaxima",
    "NerfRadiance",
    "NeuralField",
    "NeuralRadiance",
    "Siren",
    "Split",
    "VectorMatrixRadiance",
    "VoxelRadiance",
    "WaveNetwork",
    "Wire",
    "modulus_maxima",
]
