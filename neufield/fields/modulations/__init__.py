"""What acts inside a network, between a hidden layer's linear map and its activation."""

from neufield.fields.modulations.cam import CAM
from neufield.fields.modulations.film import FiLM

__all__ = ["CAM", "FiLM"]
