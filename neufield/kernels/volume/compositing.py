"""Compositing by whoever can, for the device and the precision of the densities that are given."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neufield.kernels.dispatch import select
from neufield.kernels.volume import operators  # noqa: F401 -- they exist when they are called
from neufield.kernels.volume.reference import TorchComposite
from neufield.kernels.volume.spec import Composite, CompositeKernel
from neufield.kernels.volume.triton import TritonComposite

# In order of preference; ``auto`` takes the first that can run.
COMPOSITE_KERNELS: tuple[CompositeKernel, ...] = (TritonComposite(), TorchComposite())


def compositing(
    device: torch.device, dtype: torch.dtype = torch.float32, channels: int = 3, backend: str = "auto"
) -> CompositeKernel:
    """The kernel that adds up so many colour ``channels``; a ``backend`` that none has chooses as "auto" does."""
    known = any(kernel.name == backend for kernel in COMPOSITE_KERNELS)
    return select("compositing", COMPOSITE_KERNELS, channels, device, dtype, backend if known else "auto")


def composite(
    sigma: Float[Tensor, " S"],
    rgb: Float[Tensor, "S C"],
    starts: Float[Tensor, " S"],
    ends: Float[Tensor, " S"],
    ray_ids: Int[Tensor, " S"],
    n_rays: int,
    backend: str = "auto",
) -> Composite:
    """See :meth:`CompositeKernel.composite`."""
    kernel = compositing(sigma.device, sigma.dtype, rgb.shape[1], backend)
    return kernel.composite(sigma, rgb, starts, ends, ray_ids, n_rays)


def render_weights(
    sigma: Float[Tensor, " S"],
    starts: Float[Tensor, " S"],
    ends: Float[Tensor, " S"],
    ray_ids: Int[Tensor, " S"],
    n_rays: int,
    backend: str = "auto",
) -> Float[Tensor, " S"]:
    """The share exp(-sum_{j<i} s_j d_j) (1 - exp(-s_i d_i)) of each interval, arXiv 2003.08934, eq. 3."""
    return composite(sigma, sigma.new_empty(len(sigma), 0), starts, ends, ray_ids, n_rays, backend).weights


def visibility_mask(
    sigma: Float[Tensor, " S"],
    starts: Float[Tensor, " S"],
    ends: Float[Tensor, " S"],
    ray_ids: Int[Tensor, " S"],
    n_rays: int,
    early_stop_eps: float,
    backend: str = "auto",
) -> Bool[Tensor, " S"]:
    """See :meth:`CompositeKernel.visibility_mask`."""
    return compositing(sigma.device, sigma.dtype, backend=backend).visibility_mask(
        sigma, starts, ends, ray_ids, n_rays, early_stop_eps
    )
