"""Marching and compositing against loops written out, and the native march against PyTorch's."""

import math
import sys

import nerfacc_stub
import pytest
import torch
from native_cases import relative
from volume_cases import ragged, rays_and_starts, rays_through

from neufield.core.rays import Intervals, Rays
from neufield.kernels import native
from neufield.kernels.volume import KERNELS, CpuMarch, MarchSpec, TorchMarch, composite, visibility_mask

SPEC = MarchSpec((-1.0, -0.5, 0.0), (1.0, 1.5, 1.0), 0.03)


def test_composite_is_the_sum_written_out(generator) -> None:
    rays = ragged(generator)
    found, at = composite(**rays), rays["intervals"]
    light = dict.fromkeys(range(7), 1.0)
    rgb, opacity, distance = torch.zeros(7, 3, dtype=torch.float64), [0.0] * 7, [0.0] * 7
    for i, ray in enumerate(at.ray_ids.tolist()):
        start, end = float(at.starts[i]), float(at.ends[i])
        alpha = 1 - math.exp(-float(rays["sigma"][i]) * (end - start))
        weight = light[ray] * alpha
        light[ray] *= 1 - alpha
        assert float(found.weights[i]) == pytest.approx(weight, rel=1e-12)
        rgb[ray] += weight * rays["rgb"][i]
        opacity[ray] += weight
        distance[ray] += weight * (start + end) / 2
    torch.testing.assert_close(found.rgb, rgb, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found.opacity.tolist(), opacity, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found.distance.tolist(), distance, rtol=1e-12, atol=1e-15)
    seen = visibility_mask(rays["sigma"], at, 1e-2)
    before = torch.cat([1 - torch.cumsum(w, 0) + w for w in found.weights.split([3, 1, 40, 2])])
    assert seen.tolist() == (before >= 1e-2).tolist()
    assert 5 < int(seen.sum()) < len(seen)


def test_composite_has_first_and_second_derivatives(generator) -> None:
    rays = ragged(generator)
    keep = slice(0, 12)
    at = rays["intervals"].select(torch.arange(12))

    def run(sigma, rgb, starts, ends):
        return composite(sigma, rgb, Intervals(at.ray_ids, 7, starts, ends)).sums

    columns = rays["sigma"][keep], rays["rgb"][keep], at.starts, at.ends
    inputs = [column.clone().requires_grad_() for column in columns]
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_a_long_batch_costs_no_accuracy(generator) -> None:
    """The running sum over 20,000 rays of optical depth 30 reaches 6e5, of which float32 keeps 0.03."""
    n = 20_000
    sigma = torch.rand(n * 10, generator=generator) * 60
    ids = torch.arange(n).repeat_interleave(10)
    starts = torch.arange(10).repeat(n) * 0.1
    rgb = torch.rand(n * 10, 3, generator=generator)
    many = composite(sigma, rgb, Intervals(ids, n, starts, starts + 0.1))
    last = slice(-10, None)
    at = Intervals(ids[last] - (n - 1), 1, starts[last], starts[last] + 0.1)
    one = composite(sigma[last], rgb[last], at)
    assert relative(many.weights[last], one.weights) < 1e-6  # float32's own rounding


def test_march_by_a_loop(generator) -> None:
    occupied = torch.rand(1, 5, 5, 5, generator=generator) > 0.5
    rays, jitters = rays_through(40, generator)
    made = TorchMarch().march(rays, jitters, occupied, SPEC)
    ray_ids, starts = made.ray_ids, made.starts
    columns = rays.origins, rays.directions, rays.near, rays.far, jitters
    found = []
    for i, (o, d, near, far, jitter) in enumerate(zip(*[t.double().tolist() for t in columns], strict=True)):
        for k in range(200):
            start = near + (k + jitter) * SPEC.render_step_size
            middle = start + SPEC.render_step_size / 2
            if not near < middle < far:
                continue
            cell = []
            for j in range(3):
                x = (o[j] + middle * d[j] - SPEC.lower[j]) / (SPEC.upper[j] - SPEC.lower[j])
                cell.append(min(max(math.floor(x * 5), 0), 4))
            if occupied[(0, *cell)]:
                found.append((i, start))
    assert len(found) > 300
    assert ray_ids.tolist() == [i for i, _ in found]
    torch.testing.assert_close(starts.double(), torch.tensor([s for _, s in found], dtype=torch.float64))


def test_levels_and_contraction_by_a_loop(generator) -> None:
    """Intervals that grow, three levels of cells around the middle, and the same march through a contracted world."""
    lower, upper = (-1.0, -0.5, 0.0), (1.0, 1.5, 2.0)
    rays, jitters = rays_through(30, generator)
    for contracted, levels in ((False, 3), (True, 1)):
        spec = MarchSpec(lower, upper, 0.03, 0.1, levels, contracted)
        occupied = torch.rand(levels, 5, 5, 5, generator=generator) > 0.5
        made = TorchMarch().march(rays, jitters, occupied, spec)
        ray_ids, starts = made.ray_ids, made.starts
        columns = rays.origins, rays.directions, rays.near, rays.far, jitters
        found = []
        for i, (o, d, near, far, jitter) in enumerate(zip(*[t.double().tolist() for t in columns], strict=True)):
            start = near + jitter * max(0.03, 0.1 * near)
            while start < far:
                length = max(0.03, 0.1 * start)
                middle = start + length / 2
                if near < middle < far:
                    p = [o[j] + middle * d[j] for j in range(3)]
                    x = [2 * (p[j] - lower[j]) / (upper[j] - lower[j]) - 1 for j in range(3)]
                    level = 0
                    if contracted:
                        size = max(1.0, math.hypot(*x))
                        x = [v * (2 - 1 / size) / size / 2 for v in x]
                    else:
                        while level < 2 and max(map(abs, x)) > 2.0 ** (level - 2):
                            level += 1
                    scale = 2.0 ** (levels - 1 - level)
                    cell = [min(max(math.floor((v * scale / 2 + 0.5) * 5), 0), 4) for v in x]
                    if occupied[(level, *cell)]:
                        found.append((i, start))
                start += length
        assert len(found) > 100
        assert ray_ids.tolist() == [i for i, _ in found]
        # float32's rounding, over the hundred steps of a ray
        torch.testing.assert_close(
            starts.double(), torch.tensor([s for _, s in found], dtype=torch.float64), rtol=1e-5, atol=0
        )


def test_contraction_has_an_inverse(generator) -> None:
    spec = MarchSpec((-1.0, -0.5, 0.0), (1.0, 1.5, 2.0), 0.1, contracted=True)
    x = torch.randn(200, 3, generator=generator, dtype=torch.float64) * 20
    inside = spec.to_unit(x)
    assert bool(((inside > 0) & (inside < 1)).all())
    torch.testing.assert_close(spec.from_unit(inside), x, rtol=1e-10, atol=1e-10)  # float64, close to the border


SPECS = {
    "equal steps": SPEC,
    "levels": MarchSpec((-1.0, -0.5, 0.0), (1.0, 1.5, 1.0), 0.03, 0.05, 3),
    "contracted": MarchSpec((-0.3, -0.2, 0.0), (0.3, 0.4, 0.6), 0.03, 0.02, contracted=True),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("n", [0, 1, 257, 3000])
def test_the_native_march_is_the_same(isa: str, n: int, name: str, generator) -> None:
    spec = SPECS[name]
    occupied = torch.rand(spec.cascades, 32, 32, 32, generator=generator) > 0.7
    many, jitter = rays_through(max(n, 3), generator)
    rays = Rays(many.origins[:n], many.directions[:n], many.near[:n], many.far[:n])
    expected, found = (rays_and_starts(k.march(rays, jitter[:n], occupied, spec)) for k in (TorchMarch(), CpuMarch()))
    # By ray and step, in 64ths: the starts' last bits may differ.
    places = [
        ids.double() * 1e6 + ((starts - rays.near[ids]) / spec.render_step_size * 64).round()
        for ids, starts in (expected, found)
    ]
    steps = [set(values.tolist()) for values in places]
    # A middle within rounding of a cell's face may fall to its other side: one of 23,000 was seen to.
    assert len(steps[0] ^ steps[1]) <= len(steps[0]) // 1000
    assert bool((found[0].diff() >= 0).all())
    again = rays_and_starts(CpuMarch().march(rays, jitter[:n], occupied, spec))
    assert torch.equal(found[0], again[0])
    assert torch.equal(found[1], again[1])


@pytest.mark.parametrize("kernel", [k for k in KERNELS if k.name != "triton"], ids=lambda kernel: kernel.name)
def test_rays_that_are_no_rays(kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel.name == "cpu" and native.obstacle():
        pytest.skip("the native kernels were not built")
    if kernel.name == "nerfacc":
        monkeypatch.setitem(sys.modules, "nerfacc", nerfacc_stub.module())
    nan, inf = math.nan, math.inf
    origins, directions = torch.zeros(6, 3), torch.tensor([[0.0, 0.0, 1.0]]).repeat(6, 1)
    near = torch.tensor([0.0, nan, 0.0, 1.0, 0.0, -inf])
    far = torch.tensor([nan, 1.0, inf, 0.5, 0.3, 1.0])
    directions[4] = nan
    everywhere = torch.ones(1, 4, 4, 4, dtype=torch.bool)
    rays = Rays(origins, directions, near, far)
    ray_ids = kernel.march(rays, torch.zeros(6), everywhere, SPEC).ray_ids
    assert set(ray_ids.tolist()) <= {4}  # a direction that is no number: somewhere, but no crash
    nothing = kernel.march(rays, torch.zeros(6), ~everywhere, SPEC)
    assert len(nothing) == 0
    for jitter in (nan, -inf):
        nothing = kernel.march(rays, torch.full((6,), jitter), everywhere, SPEC)
        assert len(nothing) == 0
