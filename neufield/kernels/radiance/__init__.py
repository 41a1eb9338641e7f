"""Op ``radiance``: a radiance field along rays, from the march to the pixel."""

from neufield.kernels.radiance.fused import CpuRadiance
from neufield.kernels.radiance.harmonics import HarmonicsSpec
from neufield.kernels.radiance.reference import render_rays, shade
from neufield.kernels.radiance.spec import RadianceKernel, RadianceSpec

# In order of preference; where none can run, the parts do the work one by one.
KERNELS: tuple[RadianceKernel, ...] = (CpuRadiance(),)

__all__ = [
    "KERNELS",
    "CpuRadiance",
    "HarmonicsSpec",
    "RadianceKernel",
    "RadianceSpec",
    "render_rays",
    "shade",
]
