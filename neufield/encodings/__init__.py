"""Coordinates -> features."""

from neufield.encodings.composite import Composite
from neufield.encodings.frequency import Frequency, TriangleWave
from neufield.encodings.gaussian import GaussianFourier
from neufield.encodings.grid import Grid
from neufield.encodings.identity import Identity
from neufield.encodings.local_cosine import LocalCosine
from neufield.encodings.oneblob import OneBlob
from neufield.encodings.planes import Planes
from neufield.encodings.progressive import Progressive
from neufield.encodings.radial import RadialFourier
from neufield.encodings.sape import SAPE
from neufield.encodings.spherical import SphericalHarmonics

__all__ = [
    "SAPE",
    "Composite",
    "Frequency",
    "GaussianFourier",
    "Grid",
    "Identity",
    "LocalCosine",
    "OneBlob",
    "Planes",
    "Progressive",
    "RadialFourier",
    "SphericalHarmonics",
    "TriangleWave",
]
