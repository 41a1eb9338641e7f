"""Features -> values: the networks, what acts within them, and their activations."""

from neufield.functional.activations import ACTIVATIONS
from neufield.networks.activation_network import ActivationNetwork, Finer, Gabor, Gauss
from neufield.networks.bacon import Bacon
from neufield.networks.fan import FAN
from neufield.networks.grkan import GRKAN
from neufield.networks.identity_head import IdentityHead
from neufield.networks.kan import KAN
from neufield.networks.maxima import ModulusMaxima, modulus_maxima
from neufield.networks.mfn import FourierNet, GaborNet
from neufield.networks.mlp import MLP
from neufield.networks.modulations import CAM, FiLM
from neufield.networks.residual_mlp import ResidualMLP
from neufield.networks.siren import Siren
from neufield.networks.sum_of_networks import SumOfNetworks
from neufield.networks.wire import Wire

__all__ = [
    "ACTIVATIONS",
    "CAM",
    "FAN",
    "GRKAN",
    "KAN",
    "MLP",
    "ActivationNetwork",
    "Bacon",
    "FiLM",
    "Finer",
    "FourierNet",
    "Gabor",
    "GaborNet",
    "Gauss",
    "IdentityHead",
    "ModulusMaxima",
    "ResidualMLP",
    "Siren",
    "SumOfNetworks",
    "Wire",
    "modulus_maxima",
]
