"""Whole functions: an encoding and a network, wired; density and color along rays; terms of their parameters."""

from neufield.fields.light_field import LightField
from neufield.fields.neural import NeuralField
from neufield.fields.radiance import (
    DensityActivation,
    DensityField,
    DirectionalHead,
    EncodedRadiance,
    Headed,
    NerfRadiance,
    Plenoxels,
    TensoRFCP,
    TensoRFVM,
    head_of,
)
from neufield.fields.regularizers import Roughness, Sparsity, TotalVariation, roughness, sparsity, total_variation

__all__ = [
    "DensityActivation",
    "DensityField",
    "DirectionalHead",
    "EncodedRadiance",
    "Headed",
    "LightField",
    "NerfRadiance",
    "NeuralField",
    "Plenoxels",
    "Roughness",
    "Sparsity",
    "TensoRFCP",
    "TensoRFVM",
    "TotalVariation",
    "head_of",
    "roughness",
    "sparsity",
    "total_variation",
]
