"""Distortion and interlevel losses against sums written out, and where they must be zero."""

import pytest
import torch
from torch import Tensor
from volume_cases import ragged

from neufield.core.rays import Intervals, IntervalWeights
from neufield.functional import distortion, interlevel, render_weights

COUNTS = [0, 3, 1, 0, 40, 2, 0]  # of ``ragged``'s rays


def weighted(generator: torch.Generator, dtype: torch.dtype = torch.float64) -> dict:
    """The rays of ``ragged``, with the light that they have."""
    rays = ragged(generator, dtype)
    del rays["rgb"]
    return {"weights": render_weights(**rays), "intervals": rays["intervals"]}


def test_distortion_is_the_double_sum(generator) -> None:
    rays = weighted(generator)
    found = distortion(**rays)
    at = rays["intervals"]
    columns = [column.split(COUNTS) for column in (rays["weights"], at.starts, at.ends)]
    for ray, (w, starts, ends) in enumerate(zip(*columns, strict=True)):
        middle = (starts + ends) / 2
        apart = (middle[:, None] - middle[None, :]).abs()
        expected = (w[:, None] * w[None, :] * apart).sum() + (w.square() * (ends - starts)).sum() / 3
        assert float(found[ray]) == pytest.approx(float(expected), rel=1e-12, abs=1e-15)  # float64
    assert found.count_nonzero() == 4


def test_distortion_has_first_and_second_derivatives(generator) -> None:
    rays = weighted(generator)
    at = rays["intervals"].select(torch.arange(12))
    inputs = [column.clone().requires_grad_() for column in (rays["weights"][:12], at.starts, at.ends)]

    def run(weights: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
        return distortion(weights, Intervals(at.ray_ids, 7, starts, ends))

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_distortion_knows_how_intervals_are_halved_and_how_light_is_gathered() -> None:
    """The paper's reason for its second term: an interval cut in two, its light too, is as distorted as before."""

    def of(weights: list[float], edges: list[float]) -> float:
        edges, ids = torch.tensor(edges, dtype=torch.float64), torch.zeros(len(weights), dtype=torch.long)
        return float(distortion(torch.tensor(weights, dtype=torch.float64), Intervals(ids, 1, edges[:-1], edges[1:])))

    assert of([0.4, 0.2, 0.2], [2.0, 3, 4, 5]) == pytest.approx(of([0.4, 0.4], [2.0, 3, 5]), rel=1e-12)
    assert of([0.9], [0.0, 0.5]) == pytest.approx(0.81 * 0.5 / 3, rel=1e-12)
    assert of([0.5, 0.0, 0.5], [0.0, 1, 2, 3]) > of([0.5, 0.5, 0.0], [0.0, 1, 2, 3])


def test_a_long_batch_costs_distortion_no_accuracy(generator) -> None:
    """In float32 the sums over 20,000 rays would keep no more than 0.01 of the last ray's 5."""
    n = 20_000
    weights = torch.rand(n * 10, generator=generator) / 5
    ids = torch.arange(n).repeat_interleave(10)
    starts = 100 + torch.arange(10).repeat(n) * 0.1
    found = distortion(weights, Intervals(ids, n, starts, starts + 0.1))
    last = slice(-10, None)
    at = Intervals(ids[last] - (n - 1), 1, starts[last], starts[last] + 0.1)
    alone = distortion(weights[last], at)
    assert float(found[-1]) == pytest.approx(float(alone), rel=1e-6)  # float32's own rounding


def histogram(edges: Tensor, weights: Tensor, ids: list[int], n_rays: int) -> IntervalWeights:
    """Rays of equal intervals between ``edges (M, B + 1)``."""
    rows = torch.tensor(ids, dtype=torch.long).repeat_interleave(weights.shape[1])
    return IntervalWeights(Intervals(rows, n_rays, edges[:, :-1].flatten(), edges[:, 1:].flatten()), weights.flatten())


def made(n_intervals: int, seed: int, ids: list[int] = [1, 2, 4]) -> IntervalWeights:  # noqa: B006 # read only
    """Of five rays three with intervals between 1 and 2 and random shares."""
    generator = torch.Generator().manual_seed(seed)
    inner = 1 + torch.rand(len(ids), n_intervals - 1, generator=generator, dtype=torch.float64).sort(dim=1).values
    edges = torch.cat([torch.ones(len(ids), 1), inner, torch.full((len(ids), 1), 2.0)], dim=1)
    shares = torch.rand(len(ids), n_intervals, generator=generator, dtype=torch.float64)
    return histogram(edges, shares / shares.sum(dim=1, keepdim=True) * 0.9, ids, 5)


def test_interlevel_is_the_sum_written_out() -> None:
    fine, coarse = made(20, seed=0), made(7, seed=1)
    expected = [0.0] * 5
    rows = []
    for some in (fine, coarse):
        at = some.intervals
        rows.append([*zip(*[t.tolist() for t in (at.ray_ids, at.starts, at.ends, some.weights)], strict=True)])
    for ray, start, end, w in rows[0]:
        bound = sum(other for r, a, b, other in rows[1] if r == ray and a < end and b > start)
        expected[ray] += max(0.0, w - bound) ** 2 / (w + 1e-7)
    found = interlevel(fine, coarse)
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-14)  # float64, squared differences
    assert found.count_nonzero() == 2  # one ray's coarse intervals have room for all


def test_interlevel_is_zero_where_the_proposal_is_what_is_found(generator) -> None:
    """Also in float32, where it need not be exact: a sum of 4000 weights has 1e-13 of rounding in float64."""
    for dtype in (torch.float32, torch.float64):
        same = IntervalWeights(**{**weighted(generator, dtype)})
        assert float(interlevel(same, same).max()) < 1e-12
    one = made(20, seed=0)
    whole = histogram(torch.tensor([[1.0, 2.0]] * 3).double(), torch.full((3, 1), 0.9).double(), [1, 2, 4], 5)
    assert float(interlevel(one, whole).max()) == 0.0  # all light in one interval is room for any
    half = IntervalWeights(one.intervals, one.weights * 0.5)
    expected = torch.zeros(5).double().index_add(0, one.intervals.ray_ids, 0.25 * one.weights**2 / (one.weights + 1e-7))
    torch.testing.assert_close(interlevel(one, half), expected)  # neighbors touch, but share nothing


def test_interlevel_teaches_the_proposal_only() -> None:
    fine, coarse = made(6, seed=0), made(4, seed=1)
    fine.weights.requires_grad_()

    def of(weights: Tensor) -> Tensor:
        return interlevel(fine, IntervalWeights(coarse.intervals, weights))

    weights = (coarse.weights * 0.5).requires_grad_()
    assert torch.autograd.gradcheck(of, weights)
    assert torch.autograd.gradgradcheck(of, weights)
    (slope,) = torch.autograd.grad(of(weights).sum(), weights, retain_graph=True)
    assert bool((slope <= 0).all())  # more room is never worse
    assert bool((slope < 0).any())
    of(weights).sum().backward()
    assert fine.weights.grad is None


def test_rays_without_light_have_no_losses() -> None:
    nothing = torch.zeros(0)
    ids = torch.zeros(0, dtype=torch.long)
    empty = IntervalWeights(Intervals(ids, 3, nothing, nothing), nothing)
    assert distortion(nothing, empty.intervals).tolist() == [0.0] * 3
    assert interlevel(empty, empty).tolist() == [0.0] * 3
    full = made(4, seed=0)
    dark = IntervalWeights(full.intervals, 0 * full.weights)
    assert float(interlevel(dark, dark).abs().max()) == 0.0
    assert float(distortion(dark.weights, dark.intervals).abs().max()) == 0.0
    none = IntervalWeights(Intervals(ids, 0, nothing, nothing), nothing)
    assert interlevel(none, none).shape == (0,)
