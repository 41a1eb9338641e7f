"""Compositing as operators of torch.library, for CUDA (and CPU tensors in Triton's interpreter, which tests use)."""

from typing import Any

import torch
from torch import Tensor

from neufield.core.errors import ArgumentError
from neufield.core.rays import Intervals
from neufield.core.torch_transforms import plain_only
from neufield.kernels import composition
from neufield.kernels.arguments import check, check_ray_ids, of_composite
from neufield.kernels.volume import reference, triton


def _check_composite(op: str, **tensors: Tensor | None) -> None:
    channels = check(op, of_composite(), **tensors)["C"]
    if isinstance(channels, int) and channels not in triton.CHANNELS:
        raise ArgumentError(
            f"{op} was given rgb of {channels} channels, but it adds up 3, or none; call volume.composite, which "
            "finds who can"
        )


@torch.library.custom_op(
    "neufield::composite",
    mutates_args=(),
    schema="(Tensor sigma, Tensor rgb, Tensor starts, Tensor ends, Tensor ray_ids, SymInt n_rays) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _composite(
    sigma: Tensor, rgb: Tensor, starts: Tensor, ends: Tensor, ray_ids: Tensor, n_rays: int
) -> tuple[Tensor, ...]:
    _check_composite("composite", sigma=sigma, rgb=rgb, starts=starts, ends=ends, ray_ids=ray_ids)
    check_ray_ids("composite", ray_ids, n_rays)
    return triton.composite(sigma, rgb, starts, ends, ray_ids, n_rays)


@torch.library.custom_op(
    "neufield::composite_backward",
    mutates_args=(),
    schema="(Tensor sigma, Tensor rgb, Tensor starts, Tensor ends, Tensor ray_ids, Tensor weights, Tensor light, "
    "Tensor g_rgb, Tensor g_opacity, Tensor g_distance, Tensor? g_weights, bool placed) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
)
def _composite_backward(
    sigma: Tensor,
    rgb: Tensor,
    starts: Tensor,
    ends: Tensor,
    ray_ids: Tensor,
    weights: Tensor,
    light: Tensor,
    g_rgb: Tensor,
    g_opacity: Tensor,
    g_distance: Tensor,
    g_weights: Tensor | None,
    placed: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check_composite(
        "composite_backward", sigma=sigma, rgb=rgb, starts=starts, ends=ends, ray_ids=ray_ids, weights=weights,
        light=light, g_rgb=g_rgb, g_opacity=g_opacity, g_distance=g_distance, g_weights=g_weights,
    )  # fmt: skip
    check_ray_ids("composite_backward", ray_ids, len(g_opacity))
    return triton.composite_backward(
        sigma, rgb, starts, ends, ray_ids, weights, light, g_rgb, g_opacity, g_distance, g_weights, placed
    )


@_composite.register_fake
def _composite_shape(
    sigma: Tensor, rgb: Tensor, starts: Tensor, ends: Tensor, ray_ids: Tensor, n_rays: int
) -> tuple[Tensor, ...]:
    _check_composite("composite", sigma=sigma, rgb=rgb, starts=starts, ends=ends, ray_ids=ray_ids)
    of_rays = sigma.new_empty(n_rays, rgb.shape[1]), sigma.new_empty(n_rays), sigma.new_empty(n_rays)
    return *of_rays, sigma.new_empty(sigma.shape), sigma.new_empty(sigma.shape)


@_composite_backward.register_fake
def _composite_backward_shape(
    sigma: Tensor,
    rgb: Tensor,
    starts: Tensor,
    ends: Tensor,
    ray_ids: Tensor,
    weights: Tensor,
    light: Tensor,
    g_rgb: Tensor,
    g_opacity: Tensor,
    g_distance: Tensor,
    g_weights: Tensor | None,
    placed: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check_composite(
        "composite_backward", sigma=sigma, rgb=rgb, starts=starts, ends=ends, ray_ids=ray_ids, weights=weights,
        light=light, g_rgb=g_rgb, g_opacity=g_opacity, g_distance=g_distance, g_weights=g_weights,
    )  # fmt: skip
    length = sigma.shape if placed else (0,)
    return sigma.new_empty(sigma.shape), rgb.new_empty(rgb.shape), sigma.new_empty(length), sigma.new_empty(length)


def _setup(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    *_, weights, light = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(light)
    ctx.save_for_backward(*inputs[:5], weights, light)
    ctx.n_rays = inputs[5]


def _gradients(ctx: Any, *given: Tensor | None):
    sigma, rgb, starts, ends, ray_ids, weights, light = ctx.saved_tensors
    asked = ctx.needs_input_grad[:4]
    n, again = ctx.n_rays, torch.is_grad_enabled()  # somebody will differentiate the gradients
    if again or plain_only():

        def shown(sigma: Tensor, rgb: Tensor, starts: Tensor, ends: Tensor) -> tuple[Tensor, ...]:
            return reference.composite(sigma, rgb, Intervals(ray_ids, n, starts, ends)).sums

        found = composition.gradients(shown, (sigma, rgb, starts, ends), asked, given[:4], again)
        return *found, None, None
    shapes = (n, rgb.shape[1]), (n,), (n,)
    sums = [sigma.new_zeros(shape) if g is None else g for g, shape in zip(given[:3], shapes, strict=True)]
    made = torch.ops.neufield.composite_backward(
        sigma, rgb, starts, ends, ray_ids, weights, light, *sums, given[3], asked[2] or asked[3]
    )
    return (*[gradient if ask else None for gradient, ask in zip(made, asked, strict=True)], None, None)


_composite.register_autograd(_gradients, setup_context=_setup)
