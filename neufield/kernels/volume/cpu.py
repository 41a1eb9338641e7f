"""Marching by the native library; see native/volume.hpp. The operator is also Triton's, on CUDA."""

import ctypes
import functools
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.rays import Intervals, Rays
from neufield.kernels import native
from neufield.kernels.arguments import check_march, decoded, refuse_if
from neufield.kernels.volume import triton
from neufield.kernels.volume.spec import MarchKernel, MarchSpec


class CpuMarch(MarchKernel):
    """Ray by ray in C++, float32 on a CPU."""

    name = "cpu"
    # Steps are the same to the bit, but a point within rounding of a cell's face may fall to its other side.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 0.0}

    def obstacles(self, spec: MarchSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """A CPU, float32, and a library that was built."""
        del spec
        return native.machine_obstacles(device, dtype)

    def march(
        self, rays: Rays, jitter: Float[Tensor, " N"], occupied: Bool[Tensor, "cascades R R R"], spec: MarchSpec
    ) -> Intervals:
        """See :class:`MarchKernel`."""
        columns = rays.origins, rays.directions, rays.near, rays.far
        ray_ids, starts = torch.ops.neufield.march(*columns, jitter, occupied, spec.numbers)
        return spec.intervals(ray_ids, len(rays), starts)


@functools.lru_cache(maxsize=64)
def structure(spec: MarchSpec, resolution: int) -> native.MarchSpec:
    """A spec as the C library reads it, to march through cells, or only for the lengths of intervals."""
    corners = (ctypes.c_float * 3)(*spec.lower), (ctypes.c_float * 3)(*spec.upper)
    return native.MarchSpec(
        *corners, spec.render_step_size, spec.cone_angle, resolution, spec.cascades, spec.contracted
    )


_TRITON = triton.TritonMarch()


@torch.library.custom_op(
    "neufield::march",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor origins, Tensor directions, Tensor near, Tensor far, Tensor jitter, Tensor occupied, float[] spec) "
    "-> (Tensor, Tensor)",
)
def _march(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    jitter: Tensor,
    occupied: Tensor,
    spec: list[float],
) -> tuple[Tensor, Tensor]:
    known = decoded(MarchSpec.from_numbers, tuple(spec))
    check_march(known, origins, directions, near, far, jitter, occupied)
    refuse_if(native.machine_obstacles(near.device, torch.float32))
    made = ctypes.byref(structure(known, occupied.shape[1]))
    rays = [t.float().contiguous() for t in (origins, directions, near, far, jitter)]
    cells = occupied.contiguous()
    inputs = [*map(native.pointer, [*rays, cells])]
    counts = torch.empty(len(near), dtype=torch.int64)
    native.run("march", made, len(near), *inputs, native.pointer(counts), None, None, None)
    first = counts.cumsum(0) - counts
    total = int(counts.sum())
    ray_ids, starts = torch.empty(total, dtype=torch.int64), torch.empty(total)
    native.run("march", made, len(near), *inputs, None, *map(native.pointer, (first, ray_ids, starts)))
    return ray_ids, starts


@_march.register_kernel("cuda")
def _march_on_cuda(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    jitter: Tensor,
    occupied: Tensor,
    spec: list[float],
) -> tuple[Tensor, Tensor]:
    known = decoded(MarchSpec.from_numbers, tuple(spec))
    refuse_if(_TRITON.obstacles(known, near.device, torch.float32))
    return triton.march(Rays(origins, directions, near, far), jitter, occupied, known)


@_march.register_fake
def _march_shape(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    jitter: Tensor,
    occupied: Tensor,
    spec: list[float],
) -> tuple[Tensor, Tensor]:
    known = decoded(MarchSpec.from_numbers, tuple(spec))
    check_march(known, origins, directions, near, far, jitter, occupied)
    total = torch.library.get_ctx().new_dynamic_size()
    return origins.new_empty(total, dtype=torch.int64), origins.new_empty(total)
