"""Features -> values, and radiance: density and colour."""

from neufield.fields.activations import ACTIVATIONS
from neufield.fields.bacon import Bacon
from neufield.fields.fan import FAN
from neufield.fields.grkan import GRKAN
from neufield.fields.kan import KAN
from neufield.fields.maxima import ModulusMaxima, modulus_maxima
from neufield.fields.mfn import FourierNet, GaborNet
from neufield.fields.mlp import MLP
from neufield.fields.modulations import CAM, FiLM
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
from neufield.fields.split import Split
from neufield.fields.waves import Finer, Gabor, Gauss, WaveNetwork
from neufield.fields.wire import Wire

__all__ = [
    "ACTIVATIONS",
    "CAM",
    "FAN",
    "GRKAN",
    "KAN",
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
    "PassThrough",
    "Siren",
    "Split",
    "VectorMatrixRadiance",
    "VoxelRadiance",
    "WaveNetwork",
    "Wire",
    "modulus_maxima",
]
