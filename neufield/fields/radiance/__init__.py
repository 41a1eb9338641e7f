"""Density and colour: the radiance fields."""

from neufield.fields.radiance.canonical import CanonicalRadiance
from neufield.fields.radiance.density import DENSITIES, Density, trunc_exp
from neufield.fields.radiance.density_field import DensityField
from neufield.fields.radiance.nerf import NerfRadiance
from neufield.fields.radiance.neural import NeuralRadiance
from neufield.fields.radiance.penalties import roughness, sparsity, total_variation
from neufield.fields.radiance.vector_matrix import VectorMatrixRadiance
from neufield.fields.radiance.voxels import VoxelRadiance

__all__ = [
    "DENSITIES",
    "CanonicalRadiance",
    "Density",
    "DensityField",
    "NerfRadiance",
    "NeuralRadiance",
    "VectorMatrixRadiance",
    "VoxelRadiance",
    "roughness",
    "sparsity",
    "total_variation",
    "trunc_exp",
]
