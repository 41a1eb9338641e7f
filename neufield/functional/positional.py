"""Octaves of sines."""

import torch
from torch import Tensor


def positional_encoding(x: Tensor, n_frequencies: int) -> Tensor:
    """Points (..., d) -> (..., d * n_frequencies * 2): sin and cos of 2^k pi x (arXiv 2003.08934, eq. 4)."""
    octaves = torch.arange(n_frequencies, dtype=x.dtype, device=x.device)
    phase = x.unsqueeze(-1) * (torch.exp2(octaves) * torch.pi)
    return torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(-3)
