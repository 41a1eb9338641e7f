"""What acts inside a network, between a hidden layer's linear map and its activation."""

from neufield.networks.modulations.cam import CAM
from neufield.networks.modulations.film import FiLM

__all__ = ["CAM", "FiLM"]
