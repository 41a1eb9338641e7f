"""A radiance field along rays as operators of torch.library, on a CPU, with their gradients.

Second derivatives are taken of the composition of the parts.
"""

from typing import Any

import torch
from torch import Tensor

from neufield.core.torch_transforms import plain_only
from neufield.kernels import composition, native
from neufield.kernels.arguments import check_cells, check_ray_ids, of_radiance
from neufield.kernels.operator import Operator, Specs
from neufield.kernels.radiance import cpu
from neufield.kernels.radiance.reference import shade
from neufield.kernels.radiance.spec import RadianceSpec

Described = RadianceSpec | str  # itself, or as an operator of torch.library has it
SPECS = Specs("radiance", RadianceSpec, of_radiance)


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
    known = SPECS.checked(
        "forward", spec, origins=origins, directions=directions, near=near, far=far, jitter=jitter, occupied=occupied,
        seen=seen, table=table, params=params, color_params=color_params,
    )  # fmt: skip
    check_cells("radiance_forward", occupied)
    return cpu.forward(origins, directions, near, far, jitter, occupied, seen, table, params, color_params, keep, known)


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
    known = SPECS.checked(
        "backward", spec, ray_ids=ray_ids, starts=starts, x=x, features=features, y=y, directions=directions, seen=seen,
        colors=colors, weights=weights, table=table, params=params, color_params=color_params, grgb=grgb,
        gopacity=gopacity, gdistance=gdistance, gweights=gweights,
    )  # fmt: skip
    if isinstance(spec, str):  # else this is the way back of what forward made
        check_ray_ids("radiance_backward", ray_ids, len(seen))
    return cpu.backward(
        ray_ids, starts, x, features, y, directions, seen, colors, weights, table, params, color_params,
        grgb, gopacity, gdistance, gweights, want_seen, known,
    )  # fmt: skip


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
    SPECS.checked(
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
    known, n = SPECS.checked(
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
        spec = SPECS.known(ctx.spec)
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
    written=SPECS.text,
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
    written=SPECS.text,
)
