"""Op ``grid``: multiresolution hash, dense and tiled grids (tiny-cuda-nn's function)."""

from neufield.kernels.grid import operators
from neufield.kernels.grid.cpu import CpuGrid
from neufield.kernels.grid.reference import TorchGrid
from neufield.kernels.grid.spec import GridKernel, GridSpec
from neufield.kernels.grid.tcnn import TcnnGrid
from neufield.kernels.grid.triton import TritonGrid

# In order of preference; ``auto`` takes the first that can run.
KERNELS: tuple[GridKernel, ...] = (CpuGrid(), TritonGrid(), TcnnGrid(), TorchGrid())

__all__ = [
    "KERNELS",
    "CpuGrid",
    "GridKernel",
    "GridSpec",
    "TcnnGrid",
    "TorchGrid",
    "TritonGrid",
    "operators",
]
