"""Features -> values, and radiance: density and colour."""

from neufield.fields.activation_network import ActivationNetwork, Finer, Gabor, Gauss
from neufield.fields.bacon import Bacon
from neufield.fields.fan import FAN
from neufield.fields.grkan import GRKAN
from neufield.fields.identity_head import IdentityHead
from neufield.fields.kan import KAN
from neufield.fields.maxima import ModulusMaxima, modulus_maxima
from neufield.fields.mfn import FourierNet, GaborNet
from neufield.fields.mlp import MLP
from neufield.fields.modulations import CAM, FiLM
from neufield.fields.neural import NeuralField
from neufield.fields.radiance import (
    DensityActivation,
    DensityField,
    EncodedRadiance,
    NerfRadiance,
    Plenoxels,
    TensoRFCP,
    TensoRFVM,
)
from neufield.fields.regularizers import Roughness, Sparsity, TotalVariation, roughness, sparsity, total_variation
from neufield.fields.siren import Siren
from neufield.fields.sum_of_networks import SumOfNetworks
from neufield.fields.wire import Wire
from neufield.functional.activations import ACTIVATIONS

__all__ = [
    "ACTIVATIONS",
    "CAM",
    "FAN",
    "GRKAN",
    "KAN",
    "MLP",
    "ActivationNetwork",
    "Bacon",
    "DensityActivation",
    "DensityField",
    "EncodedRadiance",
    "FiLM",
    "Finer",
    "FourierNet",
    "Gabor",
    "GaborNet",
    "Gauss",
    "IdentityHead",
    "ModulusMaxima",
    "NerfRadiance",
    "NeuralField",
    "Plenoxels",
    "Roughness",
    "Siren",
    "Sparsity",
    "SumOfNetworks",
    "TensoRFCP",
    "TensoRFVM",
    "TotalVariation",
    "Wire",
    "modulus_maxima",
    "roughness",
    "sparsity",
    "total_variation",
]
