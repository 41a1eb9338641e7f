"""The grid encoding in plain PyTorch: the kernel that runs everywhere."""

from collections.abc import Mapping

import torch
from torch import Tensor

from neufield.core.torch_transforms import in_portions
from neufield.functional.grid import grid_lookup
from neufield.kernels.arguments import FLOATING, check, of_grid
from neufield.kernels.grid.spec import GridKernel, GridSpec

_POINTS = 131_072  # encoded at a time, so that temporaries stay below about 300 MB


class TorchGrid(GridKernel):
    """``encode`` in PyTorch operations, on any device and in float32 or float64."""

    name = "torch"
    # float32 rounding of weights and a 2^d-term sum; measured 1e-7 relative against float64 at equal positions.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-6, torch.float64: 1e-14}

    def obstacles(self, spec: GridSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """None but float64: this kernel is the one that runs wherever PyTorch has it."""
        del spec, dtype
        if device.type == "mps":
            return ["Apple's mps has no float64, which exact grid positions need; use --device cpu."]
        return []

    def encode(self, x: Tensor, table: Tensor, spec: GridSpec) -> Tensor:
        """See :class:`GridKernel`."""
        check("grid", of_grid(spec, FLOATING), x=x, table=table)
        return in_portions(lambda part: grid_lookup(part, table, spec.levels, spec.interpolation), x, _POINTS)
