"""The native way along rays against the composition of its parts in float64: values, first and second derivatives.

Float32 and float64 must look at the same intervals, so the rays, the shifts and the border of what is visible are such
that no interval lies within rounding of a cell's face or of the least light (``looked`` checks that it is so).
"""

import dataclasses
import math

import pytest
import torch
from cases import seeded
from native_cases import assert_near, relative
from native_radiance_cases import CASES, numbers
from torch import Tensor

from neufield.core.rays import Rays, RenderOutput
from neufield.kernels import native
from neufield.kernels.radiance import CpuRadiance, RadianceSpec, render_rays

TOLERANCE = CpuRadiance.tolerance[torch.float32]


def looked(kernel, given, learned, of: RadianceSpec, dtype: torch.dtype) -> tuple[RenderOutput, dict[str, Tensor]]:
    """What a kernel sees, and the gradients of a random sum of all of it."""
    rays, jitter, occupied = given
    exact = Rays(*(t.to(dtype) for t in (rays.origins, rays.directions, rays.near, rays.far)))
    leaves = {name: t.to(dtype).requires_grad_() for name, t in learned.items()}
    found = kernel(exact, jitter.to(dtype), occupied, *leaves.values(), of)
    g = seeded(3)
    shown = found.sums
    total = sum((torch.randn(y.shape, generator=g).to(dtype) * y).sum() for y in shown)
    return found, dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))


def values(found: RenderOutput) -> dict[str, Tensor]:
    """Everything that a kernel computes, by name."""
    sums = dict(zip(("rgb", "opacity", "distance", "weights"), found.sums, strict=True))
    return sums | {"starts": found.samples.intervals.starts, "x": found.samples.x}


def agreeing(given: tuple[Rays, Tensor, Tensor], learned: dict[str, Tensor], of: RadianceSpec):
    """The same without the rays on which float32 and float64 do not look at the same intervals; few may be."""
    rays, jitter, occupied = given
    counts = []
    for dtype in (torch.float32, torch.float64):
        exact = Rays(*(t.to(dtype) for t in (rays.origins, rays.directions, rays.near, rays.far)))
        seen, *rest = (t.to(dtype) for t in learned.values())
        found = render_rays(exact, jitter.to(dtype), occupied, seen, *rest, of)
        counts.append(torch.bincount(found.samples.intervals.ray_ids, minlength=len(jitter)))
    same = counts[0] == counts[1]
    assert int((~same).sum()) <= max(1, len(jitter) // 20)
    kept = Rays(*(t[same] for t in (rays.origins, rays.directions, rays.near, rays.far)))
    return (kept, jitter[same], occupied), {**learned, "seen": learned["seen"][same]}


@pytest.mark.parametrize("n", [1, 300])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(isa: str, case: str, n: int, one_thread: None) -> None:
    given, learned = agreeing(*numbers(n, CASES[case]), CASES[case])
    found, gradients = looked(CpuRadiance().render_rays, given, learned, CASES[case], torch.float32)
    truth, true_gradients = looked(render_rays, given, learned, CASES[case], torch.float64)
    if n > 1:
        assert len(truth.samples) > 1000
    assert torch.equal(found.samples.intervals.ray_ids, truth.samples.intervals.ray_ids)
    assert len(found.samples) <= found.n_marched <= truth.n_marched
    assert_near(values(found), values(truth), TOLERANCE, case)
    assert_near(gradients, true_gradients, TOLERANCE, case)


@pytest.mark.parametrize("n", [0, 3])
def test_rays_that_meet_nothing(isa: str, n: int) -> None:
    (rays, jitter, occupied), learned = numbers(n, CASES["ngp"])
    for cells, far in ((torch.zeros_like(occupied), rays.far), (occupied, rays.near - 1)):
        given = (Rays(rays.origins, rays.directions, rays.near, far), jitter, cells)
        found, gradients = looked(CpuRadiance().render_rays, given, learned, CASES["ngp"], torch.float32)
        assert found.rgb.shape == (n, 3)
        assert len(found.samples) == found.n_marched == 0
        assert not found.rgb.any()
        assert not found.opacity.any()
        assert not any(gradient.any() for gradient in gradients.values())


def test_numbers_that_are_none_stay_on_their_rays(isa: str) -> None:
    (rays, jitter, occupied), learned = numbers(40, CASES["ngp"])
    clean = CpuRadiance().render_rays(rays, jitter, occupied, *learned.values(), CASES["ngp"])
    near = rays.near.clone()
    near[5], learned["seen"][7] = math.nan, math.nan
    found = CpuRadiance().render_rays(
        Rays(rays.origins, rays.directions, near, rays.far), jitter, occupied, *learned.values(), CASES["ngp"]
    )
    others = [i for i in range(40) if i not in (5, 7)]
    assert torch.equal(found.rgb[others], clean.rgb[others])
    assert not found.opacity[5]
    assert bool(found.rgb[7].isnan().all()) == bool(clean.opacity[7] > 0)


def test_the_same_bits_with_any_number_of_threads(isa: str) -> None:
    given, learned = numbers(700, CASES["ngp"])
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(looked(CpuRadiance().render_rays, given, learned, CASES["ngp"], torch.float32))
    torch.set_num_threads(before)
    first = values(found[0][0])
    for shown, gradients in found[1:]:
        assert all(torch.equal(value, first[name]) for name, value in values(shown).items())
        assert torch.equal(shown.samples.intervals.ray_ids, found[0][0].samples.intervals.ray_ids)
        assert all(torch.equal(gradients[name], found[0][1][name]) for name in gradients)


@pytest.mark.native
def test_second_derivatives() -> None:
    """Of the loss's gradient, as a penalty of it would ask for them; against the composition in float64."""
    of = CASES["softplus, biases"]
    given, learned = agreeing(*numbers(30, of), of)
    results = []
    for kernel, dtype in ((CpuRadiance().render_rays, torch.float32), (render_rays, torch.float64)):
        rays, jitter, occupied = given
        exact = Rays(*(t.to(dtype) for t in (rays.origins, rays.directions, rays.near, rays.far)))
        leaves = {name: t.to(dtype).requires_grad_() for name, t in learned.items()}
        found = kernel(exact, jitter.to(dtype), occupied, *leaves.values(), of)
        first = torch.autograd.grad(found.rgb.square().sum(), list(leaves.values()), create_graph=True)
        penalty = sum(gradient.square().sum() for gradient in first)
        results.append(dict(zip(leaves, torch.autograd.grad(penalty, list(leaves.values())), strict=True)))
    assert_near(results[0], results[1], 10 * TOLERANCE)  # two derivatives, each of sums of products of float32


def test_a_partial_backward_is_the_whole_one_s_part(isa: str) -> None:
    """Only the color; and a result of which only the distance is used."""
    of = CASES["ngp"]
    (rays, jitter, occupied), learned = numbers(50, of)
    leaves = [t.clone().requires_grad_() for t in learned.values()]
    found = CpuRadiance().render_rays(rays, jitter, occupied, *leaves, of)
    everything = torch.autograd.grad(found.distance.sum(), leaves, retain_graph=True, allow_unused=True)
    assert everything[3] is None or not everything[3].any()
    alone = [learned["seen"], learned["table"].clone().requires_grad_(), learned["params"], learned["color_params"]]
    again = CpuRadiance().render_rays(rays, jitter, occupied, *alone, of)
    assert relative(torch.autograd.grad(again.distance.sum(), alone[1])[0], everything[1]) == 0


def test_bf16_products_are_near(isa: str) -> None:
    """Where there is such hardware; the kernel says so where there is none."""
    of = CASES["ngp"]
    half = dataclasses.replace(
        of,
        geometry=dataclasses.replace(of.geometry, precision="bf16"),
        color=dataclasses.replace(of.color, precision="bf16"),
    )
    obstacles = CpuRadiance().obstacles(half, torch.device("cpu"), torch.float32)
    assert bool(obstacles) != native.has_bf16()
    given, learned = numbers(60, of)
    exact, _ = looked(CpuRadiance().render_rays, given, learned, of, torch.float32)
    rounded, _ = looked(CpuRadiance().render_rays, given, learned, half, torch.float32)  # emulated where it must be
    assert 0 < relative(rounded.opacity, exact.opacity) < 0.02  # factors of 2^-9, a handful of layers
