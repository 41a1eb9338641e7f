"""Op ``radiance``: a radiance field along rays, from the march to the pixel."""

from neufield.kernels.radiance.cpu import CpuRadiance
from neufield.kernels.radiance.density import DENSITIES, trunc_exp, wide
from neufield.kernels.radiance.harmonics import HarmonicsSpec, harmonics
from neufield.kernels.radiance.reference import look, shade
from neufield.kernels.radiance.spec import Looked, RadianceKernel, RadianceSpec

# In order of preference; where none can run, the parts do the work one by one.
KERNELS: tuple[RadianceKernel, ...] = (CpuRadiance(),)

__all__ = [
    "DENSITIES",
    "KERNELS",
    "CpuRadiance",
    "HarmonicsSpec",
    "Looked",
    "RadianceKernel",
    "RadianceSpec",
    "harmonics",
    "look",
    "shade",
    "trunc_exp",
    "wide",
]
