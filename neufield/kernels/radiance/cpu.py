"""A radiance field along rays in one native op, forward and backward; see native/radiance.hpp for how."""

import ctypes
import functools
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.rays import Rays, RaySamples, RenderOutput
from neufield.kernels import composition, native
from neufield.kernels.arguments import check, check_cells, check_ray_ids, decoded, of_radiance, refuse_if
from neufield.kernels.dispatch import plain_only
from neufield.kernels.field import cpu as field_cpu
from neufield.kernels.grid.cpu import machine_obstacles
from neufield.kernels.operator import Operator
from neufield.kernels.radiance.reference import shade
from neufield.kernels.radiance.spec import RadianceKernel, RadianceSpec
from neufield.kernels.volume import cpu as volume_cpu


class CpuRadiance(RadianceKernel):
    """Everything along rays in C++, float32 on a CPU. Second derivatives are taken of the composition of the parts."""

    name = "cpu"
    # Two networks in float32 and sums along rays; measured 2e-6 against float64 at equal samples.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-5}

    def obstacles(self, spec: RadianceSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """A CPU, float32, a library that was built, a grid, networks and activations that it knows."""
        found = field_cpu.obstacles(spec.geometry, device, dtype)
        found += [sentence for sentence in field_cpu.obstacles(spec.color, device, dtype) if sentence not in found]
        return found + [sentence for sentence in limits(spec) if sentence not in found]

    def render_rays(
        self,
        rays: Rays,
        jitter: Float[Tensor, " N"],
        occupied: Bool[Tensor, "cascades R R R"],
        seen: Float[Tensor, "N D"],
        table: Tensor,
        params: Tensor,
        color_params: Tensor,
        spec: RadianceSpec,
    ) -> RenderOutput:
        """See :class:`RadianceKernel`."""
        keep = torch.is_grad_enabled() and any(t.requires_grad for t in (seen, table, params, color_params))
        *found, marched, _, _, _ = FORWARD(
            rays.origins, rays.directions, rays.near, rays.far, jitter, occupied,
            seen, table, params, color_params, keep, spec,
        )  # fmt: skip
        rgb, opacity, distance, weights, ray_ids, starts, x = found
        samples = RaySamples(spec.march.intervals(ray_ids, len(rays), starts), x, rays)
        return RenderOutput(rgb, opacity, distance, weights, samples, int(marched))


@functools.lru_cache(maxsize=64)
def _structure(spec: RadianceSpec, resolution: int) -> Any:
    """A spec as the C library reads it."""
    front, geometry = field_cpu.structures(spec.geometry)
    _, color = field_cpu.structures(spec.color)
    march = volume_cpu.structure(spec.march, resolution)
    return ctypes.byref(
        native.Radiance(
            ctypes.pointer(march),
            ctypes.pointer(front),
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
            f"the fused colour ends with {' or '.join(native.COLOR_ACTIVATIONS)}, not '{spec.color_activation}'."
        )
    return found


Described = RadianceSpec | str  # itself, or as an operator of torch.library has it


def _known(spec: Described) -> RadianceSpec:
    return spec if isinstance(spec, RadianceSpec) else decoded(RadianceSpec.from_text, spec)


def _text(spec: RadianceSpec) -> str:
    return spec.text


def _checked(op: str, spec: Described, **tensors: Tensor | None) -> RadianceSpec:
    """The spec, with which the ``tensors`` go."""
    known = _known(spec)
    check(f"radiance_{op}", of_radiance(known), **tensors)
    return known


def _forward(
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
    spec: Described,
) -> tuple[Tensor, ...]:
    """Sums and weights; the visible samples; how many were marched; for the way back colors, features and outputs."""
    known, n = _checked(
        "forward", spec, origins=origins, directions=directions, near=near, far=far, jitter=jitter, occupied=occupied,
        seen=seen, table=table, params=params, color_params=color_params,
    ), len(near)  # fmt: skip
    check_cells("radiance_forward", occupied)
    refuse_if(machine_obstacles(table.device, table.dtype) + limits(known))
    made = _structure(known, occupied.shape[1])
    rays = [t.float().contiguous() for t in (origins, directions, near, far, jitter)]
    own = [t.contiguous() for t in (occupied, table, params)]
    marched, kept = ctypes.c_int64(), ctypes.c_int64()
    pointers = map(native.pointer, [*rays, *own])
    found = native.call().nf_radiance_scout(made, n, *pointers, keep, marched, kept, native.threads())
    if not found:
        raise MemoryError(f"marching {n:,} rays found no memory for its intervals; march fewer at a time")
    count = kept.value
    ray_ids, starts, x = torch.empty(count, dtype=torch.int64), table.new_empty(count), table.new_empty(count, 3)
    features = table.new_empty(native.tiled(count) * known.geometry.in_dim if keep else 0)
    y = table.new_empty(native.tiled(count) * known.geometry.out_dim)
    placed = map(native.pointer, (ray_ids, starts, x, features, y))
    native.run("radiance_settle", made, found, n, count, *placed)
    colors, weights = table.new_empty(count, 3), table.new_empty(count)
    sums = table.new_empty(n, 3), table.new_empty(n), table.new_empty(n)
    inputs = [t.contiguous() for t in (ray_ids, starts, y, rays[1], seen, color_params)]
    native.run("radiance_shade", made, n, count, *map(native.pointer, [*inputs, colors, weights, *sums]))
    return *sums, weights, ray_ids, starts, x, torch.tensor(marched.value), colors, features, y


def _backward(
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
    spec: Described,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients by seen (empty where not wanted), table and both networks' parameters."""
    known = _checked(
        "backward", spec, ray_ids=ray_ids, starts=starts, x=x, features=features, y=y, directions=directions, seen=seen,
        colors=colors, weights=weights, table=table, params=params, color_params=color_params, grgb=grgb,
        gopacity=gopacity, gdistance=gdistance, gweights=gweights,
    )  # fmt: skip
    if isinstance(spec, str):  # else this is the way back of what forward made
        check_ray_ids("radiance_backward", ray_ids, len(seen))
    refuse_if(machine_obstacles(table.device, table.dtype) + limits(known))
    outputs = (
        seen.new_empty(seen.shape if want_seen else (0,)),
        table.new_empty(table.shape),
        params.new_empty(params.shape),
        color_params.new_empty(color_params.shape),
    )
    made = _structure(known, 0)
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


def _backward_shape(
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
    spec: Described,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _checked(
        "backward", spec, ray_ids=ray_ids, starts=starts, x=x, features=features, y=y, directions=directions, seen=seen,
        colors=colors, weights=weights, table=table, params=params, color_params=color_params, grgb=grgb,
        gopacity=gopacity, gdistance=gdistance, gweights=gweights,
    )  # fmt: skip
    return (
        seen.new_empty(seen.shape if want_seen else (0,)),
        table.new_empty(table.shape),
        params.new_empty(params.shape),
        color_params.new_empty(color_params.shape),
    )


def _forward_shape(
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
    spec: Described,
) -> tuple[Tensor, ...]:
    known, n = _checked(
        "forward", spec, origins=origins, directions=directions, near=near, far=far, jitter=jitter, occupied=occupied,
        seen=seen, table=table, params=params, color_params=color_params,
    ), origins.shape[0]  # fmt: skip
    count = torch.library.get_ctx().new_dynamic_size()
    of_rays = table.new_empty(n, 3), table.new_empty(n), table.new_empty(n)
    of_samples = near.new_empty(count, dtype=torch.int64), table.new_empty(count), table.new_empty(count, 3)
    features = table.new_empty(native.tiled(count) * known.geometry.in_dim if keep else 0)
    y = table.new_empty(native.tiled(count) * known.geometry.out_dim)
    marched = near.new_empty((), dtype=torch.int64)
    return *of_rays, table.new_empty(count), *of_samples, marched, table.new_empty(count, 3), features, y


def _setup(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    directions = inputs[1]
    seen, table, params, color_params, ctx.kept, ctx.spec = inputs[6:]
    _, _, _, weights, ray_ids, starts, x, marched, colors, features, y = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(ray_ids, starts, x, marched, colors, features, y)
    ctx.save_for_backward(
        ray_ids, starts, x, features, y, directions, seen, colors, weights, table, params, color_params
    )


def _gradients(ctx: Any, *given: Tensor | None):
    saved = ctx.saved_tensors
    ray_ids, starts, x, _, _, directions, seen, _, _, table, params, color_params = saved
    grgb, gopacity, gdistance, gweights = given[:4]
    asked = ctx.needs_input_grad[6:10]
    again = torch.is_grad_enabled()  # somebody will differentiate the gradients
    if again or not ctx.kept or plain_only():
        spec = _known(ctx.spec)
        intervals = spec.march.intervals(ray_ids, len(seen), starts)

        def shown(seen: Tensor, table: Tensor, params: Tensor, color_params: Tensor) -> tuple[Tensor, ...]:
            return shade(intervals, x, directions, seen, table, params, color_params, spec, "auto").sums

        inputs = (seen, table, params, color_params)
        gradients = composition.gradients(shown, inputs, asked, given[:4], again)
    else:
        n = len(seen)
        filled = [
            seen.new_zeros(shape) if g is None else g
            for g, shape in ((grgb, (n, 3)), (gopacity, (n,)), (gdistance, (n,)))
        ]
        found = BACKWARD(*saved, *filled, gweights, asked[0], ctx.spec)
        gradients = [g if ask else None for g, ask in zip(found, asked, strict=True)]
    return (*[None] * 6, *gradients, None, None)


FORWARD = Operator(
    "radiance_forward",
    "(Tensor origins, Tensor directions, Tensor near, Tensor far, Tensor jitter, Tensor occupied, Tensor seen, "
    "Tensor table, Tensor params, Tensor color_params, bool keep, str spec) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    cpu=_forward,
    fake=_forward_shape,
    written=_text,
    setup=_setup,
    gradients=_gradients,
)
BACKWARD = Operator(
    "radiance_backward",
    "(Tensor ray_ids, Tensor starts, Tensor x, Tensor features, Tensor y, Tensor directions, Tensor seen, "
    "Tensor colors, Tensor weights, Tensor table, Tensor params, Tensor color_params, Tensor grgb, "
    "Tensor gopacity, Tensor gdistance, "
    "Tensor? gweights, bool want_seen, str spec) -> (Tensor, Tensor, Tensor, Tensor)",
    cpu=_backward,
    fake=_backward_shape,
    written=_text,
)
