"""Ops of volume rendering: marching through an occupancy grid, and compositing along rays."""

from neufield.kernels.volume.cpu import CpuMarch
from neufield.kernels.volume.losses import distortion, interlevel
from neufield.kernels.volume.nerfacc import NerfaccMarch
from neufield.kernels.volume.reference import TorchMarch, composite, light, optical_depth, visible
from neufield.kernels.volume.spec import Composite, Corner, MarchKernel, MarchSpec

# In order of preference; ``auto`` takes the first that can run.
KERNELS: tuple[MarchKernel, ...] = (CpuMarch(), NerfaccMarch(), TorchMarch())

__all__ = [
    "KERNELS",
    "Composite",
    "Corner",
    "CpuMarch",
    "MarchKernel",
    "MarchSpec",
    "NerfaccMarch",
    "TorchMarch",
    "composite",
    "distortion",
    "interlevel",
    "light",
    "optical_depth",
    "visible",
]
