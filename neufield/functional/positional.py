"""Octaves of sines."""

import torch
from torch import Tensor


def positional_encoding(x: Tensor, n_frequencies: int) -> Tensor:
    """Points (..., d) -> (..., d * n_frequencies * 2): sin and cos of 2^k pi x (arXiv 2003.08934, eq. 4)."""
    octaves = torch.arange(n_frequencies, dtype=x.dtype, device=x.device)
    phase = x.unsqueeze(-1) * (torch.exp2(octaves) * torch.pi)
    return torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(-3)


def octaves(x: Tensor, n_frequencies: int) -> Tensor:
    """Points (..., d) -> (..., d * (2 n_frequencies + 1)): of each coordinate sin(2^k x), cos(2^k x), and itself.

    R2L's encoding (arXiv 2203.17261, official code): coordinates in the scene's own units and no factor pi; first all
    sines of a coordinate, then its cosines.
    """
    phase = x.unsqueeze(-1) * torch.exp2(torch.arange(n_frequencies, dtype=x.dtype, device=x.device))
    return torch.cat([phase.sin(), phase.cos(), x.unsqueeze(-1)], dim=-1).flatten(-2)
