"""A radiance field along rays in one native call, forward and backward; see native/radiance.hpp for how."""

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from neufield.kernels import native
from neufield.kernels.arguments import refuse_if
from neufield.kernels.field import cpu as field_cpu
from neufield.kernels.radiance.spec import RadianceSpec
from neufield.kernels.volume import cpu as volume_cpu


@functools.lru_cache(maxsize=64)
def _structure(spec: RadianceSpec, resolution: int) -> Any:
    """A spec as the C library reads it."""
    encoding, geometry = field_cpu.structures(spec.geometry)
    _, color = field_cpu.structures(spec.color)
    march = volume_cpu.structure(spec.march, resolution)
    return ctypes.byref(
        native.Radiance(
            ctypes.pointer(march),
            ctypes.pointer(encoding),
            ctypes.pointer(geometry),
            ctypes.pointer(color),
            spec.degree,
            native.DENSITIES[spec.density],
            native.COLOR_ACTIVATIONS[spec.color_activation],
            spec.density_shift,
            spec.density_scale,
            spec.early_stop_eps,
        )
    )


def limits(spec: RadianceSpec) -> list[str]:
    """What the native way along rays does not know of ``spec``, on any machine."""
    found = field_cpu.limits(spec.geometry) + field_cpu.limits(spec.color)
    if spec.geometry.kind != "grid" or spec.geometry.points_dim != 3:
        found.append("the fused way along rays needs a grid encoding of three dimensions.")
    if spec.color_activation not in native.COLOR_ACTIVATIONS:
        found.append(
            f"the fused color ends with {' or '.join(native.COLOR_ACTIVATIONS)}, not '{spec.color_activation}'."
        )
    return found


def forward(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    jitter: Tensor,
    occupied: Tensor,
    seen: Tensor,
    table: Tensor,
    params: Tensor,
    color_params: Tensor,
    keep: bool,
    spec: RadianceSpec,
) -> tuple[Tensor, ...]:
    """Sums and weights; the visible samples; how many were marched; for the way back colors, features and outputs."""
    refuse_if(native.machine_obstacles(table.device, table.dtype) + limits(spec))
    n = len(near)
    made = _structure(spec, occupied.shape[1])
    rays = [t.float().contiguous() for t in (origins, directions, near, far, jitter)]
    own = [t.contiguous() for t in (occupied, table, params)]
    marched, kept = ctypes.c_int64(), ctypes.c_int64()
    pointers = map(native.pointer, [*rays, *own])
    found = native.call().nf_radiance_scout(made, n, *pointers, keep, marched, kept, native.threads())
    if not found:
        raise MemoryError(f"marching {n:,} rays found no memory for its intervals; march fewer at a time")
    count = kept.value
    ray_ids, starts, x = torch.empty(count, dtype=torch.int64), table.new_empty(count), table.new_empty(count, 3)
    features = table.new_empty(native.tiled(count) * spec.geometry.in_dim if keep else 0)
    y = table.new_empty(native.tiled(count) * spec.geometry.out_dim)
    placed = map(native.pointer, (ray_ids, starts, x, features, y))
    native.run("radiance_settle", made, found, n, count, *placed)
    colors, weights = table.new_empty(count, 3), table.new_empty(count)
    sums = table.new_empty(n, 3), table.new_empty(n), table.new_empty(n)
    inputs = [t.contiguous() for t in (ray_ids, starts, y, rays[1], seen, color_params)]
    native.run("radiance_shade", made, n, count, *map(native.pointer, [*inputs, colors, weights, *sums]))
    return *sums, weights, ray_ids, starts, x, torch.tensor(marched.value), colors, features, y


def backward(
    ray_ids: Tensor,
    starts: Tensor,
    x: Tensor,
    features: Tensor,
    y: Tensor,
    directions: Tensor,
    seen: Tensor,
    colors: Tensor,
    weights: Tensor,
    table: Tensor,
    params: Tensor,
    color_params: Tensor,
    grgb: Tensor,
    gopacity: Tensor,
    gdistance: Tensor,
    gweights: Tensor | None,
    want_seen: bool,
    spec: RadianceSpec,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients by seen (empty where not wanted), table and both networks' parameters."""
    refuse_if(native.machine_obstacles(table.device, table.dtype) + limits(spec))
    outputs = (
        seen.new_empty(seen.shape if want_seen else (0,)),
        table.new_empty(table.shape),
        params.new_empty(params.shape),
        color_params.new_empty(color_params.shape),
    )
    made = _structure(spec, 0)
    inputs = (
        ray_ids,
        starts,
        x,
        features,
        y,
        directions.float(),
        seen,
        colors,
        weights,
        params,
        color_params,
        grgb,
        gopacity,
        gdistance,
    )
    contiguous = [None if t is None else t.contiguous() for t in (*inputs, gweights)]
    native.run("radiance_backward", made, len(seen), len(starts), *map(native.pointer, [*contiguous, *outputs]))
    return outputs
