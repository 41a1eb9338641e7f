"""Coordinates -> features."""

from neufield.encodings.block_dct import BlockDCT
from neufield.encodings.composite import Composite
from neufield.encodings.diagnostics import distance_preservation, line, stable_rank
from neufield.encodings.frequency import Frequency, TriangleWave
from neufield.encodings.gaussian import GaussianFourier
from neufield.encodings.grid import Grid
from neufield.encodings.identity import Identity
from neufield.encodings.interpolated_kronecker import InterpolatedKronecker
from neufield.encodings.kronecker import Kronecker, separable
from neufield.encodings.oneblob import OneBlob
from neufield.encodings.permutohedral import Permutohedral
from neufield.encodings.planes import KPlanes, TriPlane
from neufield.encodings.progressive import Progressive
from neufield.encodings.radial import RadialFourier
from neufield.encodings.sape import SAPE
from neufield.encodings.shifted import ShiftedBasis
from neufield.encodings.spherical import SphericalHarmonics

__all__ = [
    "SAPE",
    "BlockDCT",
    "Composite",
    "Frequency",
    "GaussianFourier",
    "Grid",
    "Identity",
    "InterpolatedKronecker",
    "KPlanes",
    "Kronecker",
    "OneBlob",
    "Permutohedral",
    "Progressive",
    "RadialFourier",
    "ShiftedBasis",
    "SphericalHarmonics",
    "TriPlane",
    "TriangleWave",
    "distance_preservation",
    "line",
    "separable",
    "stable_rank",
]
