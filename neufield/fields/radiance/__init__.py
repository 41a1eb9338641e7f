"""Density and color: the radiance fields."""

from neufield.fields.radiance.density import DENSITIES, DensityActivation, trunc_exp
from neufield.fields.radiance.density_field import DensityField
from neufield.fields.radiance.directional_head import DirectionalHead, Headed, head_of
from neufield.fields.radiance.encoded import EncodedRadiance
from neufield.fields.radiance.function import RadianceFunction
from neufield.fields.radiance.nerf import NerfRadiance
from neufield.fields.radiance.plenoxels import Plenoxels
from neufield.fields.radiance.tensorf_cp import TensoRFCP
from neufield.fields.radiance.tensorf_vm import TensoRFVM

__all__ = [
    "DENSITIES",
    "DensityActivation",
    "DensityField",
    "DirectionalHead",
    "EncodedRadiance",
    "Headed",
    "NerfRadiance",
    "Plenoxels",
    "RadianceFunction",
    "TensoRFCP",
    "TensoRFVM",
    "head_of",
    "trunc_exp",
]
