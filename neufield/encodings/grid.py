"""Trainable multiresolution grids."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points
from neufield.kernels import grid as op
from neufield.kernels.dispatch import Accelerated, select
from neufield.kernels.ops import EncodingOp


class Grid(Encoding, Accelerated):
    """Interpolated features from ``n_levels`` grids, each ``per_level_scale`` finer than the last (arXiv 2201.05989).

    tiny-cuda-nn's function to the bit: scale, half-cell stagger, dense until the table is full, hash primes, level
    sizes rounded up to 8, level-major table. Points outside [0, 1] follow tcnn's 32-bit wrap-around. One departure: on
    levels that are not hashed and finer than 65,535 vertices an axis (2-D; 1,625 in 3-D, 255 in 4-D) tcnn reads row 0
    for every point; here the row that is meant is read.

    ``storage``: "hash" (at most 2^log2_hashmap_size entries a level), "dense", or "tiled" (base_resolution^dim
    entries, repeated). ``interpolation``: "linear", "smoothstep" (continuous first derivatives), or "nearest".
    The table starts uniform in +-1e-4.
    """

    def __init__(
        self,
        in_dim: int,
        n_levels: int = 16,
        n_features_per_level: int = 2,
        log2_hashmap_size: int = 19,
        base_resolution: int = 16,
        per_level_scale: float = 2.0,
        storage: str = "hash",
        interpolation: str = "linear",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.n_levels = n_levels
        self.n_features_per_level = n_features_per_level
        self.log2_hashmap_size = log2_hashmap_size
        self.base_resolution = base_resolution
        self.per_level_scale = per_level_scale
        self.storage = storage
        self.interpolation = interpolation
        self.spec = op.GridSpec(
            dim=in_dim,
            n_levels=n_levels,
            n_features_per_level=n_features_per_level,
            log2_hashmap_size=log2_hashmap_size,
            base_resolution=base_resolution,
            per_level_scale=per_level_scale,
            storage=storage,
            interpolation=interpolation,
        )
        self.out_dim = self.spec.out_dim
        table = torch.rand(self.spec.n_entries, n_features_per_level, generator=generator)
        self.table = nn.Parameter(table.mul_(2e-4).sub_(1e-4))

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box; channels are level-major, coarse to fine."""
        check_points(x, self.in_dim)
        kernel = select("grid", op.KERNELS, self.spec, x.device, self.table.dtype, self.backend)
        return kernel.encode(x.reshape(-1, self.in_dim), self.table, self.spec).view(*x.shape[:-1], self.out_dim)

    def op(self) -> EncodingOp:
        """A fused kernel can compute it."""
        return EncodingOp(self.spec, self.table)

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """Half of each level's resolution: the finest wave that it resolves, in cycles per box."""
        resolutions = torch.tensor([float(level.resolution) for level in self.spec.levels])
        return (resolutions / 2).repeat_interleave(self.n_features_per_level)

    def backends(self) -> Sequence[str]:
        """See :class:`Accelerated`."""
        return [kernel.name for kernel in op.KERNELS]

    def kernel_name(self, device: torch.device) -> str:
        """Which kernel serves this grid on ``device``."""
        return select("grid", op.KERNELS, self.spec, device, self.table.dtype, self.backend).name
