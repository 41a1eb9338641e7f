"""Ops of volume rendering: marching through an occupancy grid, and compositing along rays."""

from neufield.kernels.volume.compositing import (
    COMPOSITE_KERNELS,
    composite,
    compositing,
    render_weights,
    visibility_mask,
)
from neufield.kernels.volume.cpu import CpuMarch
from neufield.kernels.volume.nerfacc import NerfaccMarch
from neufield.kernels.volume.reference import TorchComposite, TorchMarch
from neufield.kernels.volume.spec import CompositeKernel, Corner, MarchKernel, MarchSpec
from neufield.kernels.volume.triton import TritonComposite, TritonMarch

# In order of preference; ``auto`` takes the first that can run.
KERNELS: tuple[MarchKernel, ...] = (CpuMarch(), TritonMarch(), NerfaccMarch(), TorchMarch())

__all__ = [
    "COMPOSITE_KERNELS",
    "KERNELS",
    "CompositeKernel",
    "Corner",
    "CpuMarch",
    "MarchKernel",
    "MarchSpec",
    "NerfaccMarch",
    "TorchComposite",
    "TorchMarch",
    "TritonComposite",
    "TritonMarch",
    "composite",
    "compositing",
    "render_weights",
    "visibility_mask",
]
