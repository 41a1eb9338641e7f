"""Compositing by whoever can, for the device and the precision of the densities that are given."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.rays import Intervals, RenderOutput
from neufield.kernels.dispatch import select
from neufield.kernels.volume import operators  # noqa: F401 -- they exist when they are called
from neufield.kernels.volume.reference import TorchComposite
from neufield.kernels.volume.spec import CompositeKernel
from neufield.kernels.volume.triton import TritonComposite

# In order of preference; ``auto`` takes the first that can run.
COMPOSITE_KERNELS: tuple[CompositeKernel, ...] = (TritonComposite(), TorchComposite())


def compositing(
    device: torch.device, dtype: torch.dtype = torch.float32, channels: int = 3, backend: str = "auto"
) -> CompositeKernel:
    """The kernel that adds up so many color ``channels``; a ``backend`` that none has chooses as "auto" does."""
    known = any(kernel.name == backend for kernel in COMPOSITE_KERNELS)
    return select("compositing", COMPOSITE_KERNELS, channels, device, dtype, backend if known else "auto")


def composite(
    sigma: Float[Tensor, " S"], rgb: Float[Tensor, "S C"], intervals: Intervals, backend: str = "auto"
) -> RenderOutput:
    """See :meth:`CompositeKernel.composite`."""
    return compositing(sigma.device, sigma.dtype, rgb.shape[1], backend).composite(sigma, rgb, intervals)


def render_weights(sigma: Float[Tensor, " S"], intervals: Intervals, backend: str = "auto") -> Float[Tensor, " S"]:
    """The share w_i = exp(-sum_{j<i} s_j d_j) (1 - exp(-s_i d_i)) of each interval, arXiv 2003.08934, eq. 3."""
    weights = composite(sigma, sigma.new_empty(len(sigma), 0), intervals, backend).weights
    assert weights is not None
    return weights


def visibility_mask(
    sigma: Float[Tensor, " S"], intervals: Intervals, early_stop_eps: float, backend: str = "auto"
) -> Bool[Tensor, " S"]:
    """See :meth:`CompositeKernel.visibility_mask`."""
    kernel = compositing(sigma.device, sigma.dtype, backend=backend)
    return kernel.visibility_mask(sigma, intervals, early_stop_eps)
