"""Whole functions: an encoding and a network, wired; density and color along rays; terms of their parameters."""

from neufield.fields.light_field import LightField
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

__all__ = [
    "DensityActivation",
    "DensityField",
    "EncodedRadiance",
    "LightField",
    "NerfRadiance",
    "NeuralField",
    "Plenoxels",
    "Roughness",
    "Sparsity",
    "TensoRFCP",
    "TensoRFVM",
    "TotalVariation",
    "roughness",
    "sparsity",
    "total_variation",
]
