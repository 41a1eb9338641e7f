"""Triton's march and sums against the references: in its interpreter, or on a GPU where there is one."""

import math

import pytest
import torch
from cases import seeded
from native_cases import relative
from volume_cases import ragged, rays_and_starts, rays_through

from neufield.core.rays import Intervals, Rays, RenderOutput
from neufield.kernels.volume import KERNELS, MarchSpec, TorchMarch, TritonComposite, TritonMarch, reference, triton
from neufield.kernels.volume.compositing import COMPOSITE_KERNELS, compositing

CPU = torch.device("cpu")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CORNERS = (-1.0, -0.5, 0.0), (1.0, 1.5, 1.0)
BALL = (-0.3, -0.2, 0.0), (0.3, 0.4, 0.6)
# The spec, the cells along an axis, and which share of them is occupied.
MARCHES = {
    "equal steps": (MarchSpec(*CORNERS, 0.1), 8, 0.2),
    "steps far smaller than cells": (MarchSpec(*CORNERS, 0.03), 4, 0.05),
    "levels": (MarchSpec(*CORNERS, 0.1, cascades=3), 8, 0.3),
    "levels whose cells do not end together": (MarchSpec(*CORNERS, 0.1, cascades=3), 5, 0.3),
    "a cone": (MarchSpec(*CORNERS, 0.04, 0.1), 8, 0.2),
    "a cone through levels": (MarchSpec(*CORNERS, 0.03, 0.15, 2), 8, 0.2),
    "contracted": (MarchSpec(*BALL, 0.05, 0.15, contracted=True), 8, 0.3),
    "contracted, equal steps": (MarchSpec(*BALL, 0.1, contracted=True), 16, 0.2),
}
pytestmark = pytest.mark.usefixtures("one_thread", "one_block")


@pytest.fixture
def one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rays of a test at once: the interpreter takes as long for one as for many."""
    from neufield.kernels.volume import programs

    monkeypatch.setattr(programs, "RAYS", 64)


def cells(spec: MarchSpec, resolution: int, share: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(spec.cascades, *[resolution] * 3, generator=generator) < share


def both(rays: Rays, jitter: torch.Tensor, occupied: torch.Tensor, spec: MarchSpec) -> list[tuple]:
    """What the reference finds, and Triton."""
    columns = rays.origins, rays.directions, rays.near, rays.far
    found = triton.march(Rays(*[t.to(DEVICE) for t in columns]), jitter.to(DEVICE), occupied.to(DEVICE), spec)
    return [rays_and_starts(TorchMarch().march(rays, jitter, occupied, spec)), tuple(t.cpu() for t in found)]


def assert_same(expected: tuple, found: tuple) -> None:
    assert [t.dtype for t in found] == [torch.int64, torch.float32]
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])  # to the bit


@pytest.mark.parametrize("name", MARCHES)
def test_the_march_is_the_references_to_the_bit(name: str, generator) -> None:
    spec, resolution, share = MARCHES[name]
    occupied = cells(spec, resolution, share, generator)
    rays, jitter = rays_through(40, generator)
    expected, found = both(rays, jitter, occupied, spec)
    assert len(expected[0]) > 30
    assert_same(expected, found)


def test_rays_within_the_faces_of_cells_are_no_exception(generator) -> None:
    """Along an axis, from corners of cells: what lies on a face belongs to one side, wherever the ray came from."""
    spec = MarchSpec((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.03, cascades=2)
    occupied = cells(spec, 4, 0.4, generator)
    corners = torch.tensor([0.25, 0.375, 0.5, 0.625, 0.75])
    origins = torch.stack([corners, corners.flip(0), torch.zeros(5)], dim=1).repeat(3, 1)
    origins[5:10] = origins[5:10].roll(1, 1)
    origins[10:] = origins[10:].roll(2, 1)
    directions = torch.eye(3).roll(1, 0).repeat_interleave(5, dim=0)
    rays = Rays(origins, directions, torch.zeros(15), torch.ones(15))
    expected, found = both(rays, torch.rand(15, generator=generator) - 1, occupied, spec)
    assert len(expected[0]) > 50
    assert_same(expected, found)


def test_a_world_far_from_its_origin_is_marched_alike(generator) -> None:
    """Float32 keeps 6e-5 of positions about 1000: margins have to know."""
    spec = MarchSpec((1000.0, 2000.0, -500.0), (1001.0, 2001.0, -499.0), 0.05)
    occupied = cells(spec, 8, 0.2, generator)
    rays, jitter = rays_through(64, generator)
    moved = torch.rand(64, 3, generator=generator) + torch.tensor(spec.lower)
    rays = Rays(moved - rays.directions * 0.3, rays.directions, torch.zeros(64), torch.ones(64))
    expected, found = both(rays, jitter, occupied, spec)
    assert len(expected[0]) > 50
    assert_same(expected, found)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter's, of numpy: overflows and NaNs are meant
def test_rays_that_are_no_rays(generator) -> None:
    """NaNs and infinities everywhere, in a space with levels; also rays that miss, and that end where they begin."""
    nan, inf = math.nan, math.inf
    origins, directions = torch.zeros(12, 3), torch.tensor([[0.0, 0.6, 0.8]]).repeat(12, 1)
    near, far = torch.zeros(12), torch.ones(12)
    near[:4], far[:4] = torch.tensor([0.0, nan, 0.0, -inf]), torch.tensor([nan, 1.0, inf, 1.0])
    near[4], far[5] = 1.0, -1.0
    directions[6], directions[7, 1], directions[8, 1] = nan, nan, inf
    origins[9, 2], origins[10] = nan, -inf
    jitter = torch.rand(12, generator=generator) - 1
    spec = MarchSpec(*CORNERS, 0.1, cascades=2)
    occupied = torch.ones(2, 4, 4, 4, dtype=torch.bool)
    occupied[0, 0, 0, 0] = False
    assert_same(*both(Rays(origins, directions, near, far), jitter, occupied, spec))
    for bad in (nan, -inf, inf):
        expected, found = both(Rays(origins, directions, near, far), torch.full((12,), bad), occupied, spec)
        assert len(found[0]) == 0
        assert_same(expected, found)


def test_no_rays_and_no_cells(generator) -> None:
    spec = MarchSpec(*CORNERS, 0.1)
    rays, jitter = rays_through(3, generator)
    for n, occupied in ((0, torch.ones(1, 4, 4, 4)), (3, torch.zeros(1, 4, 4, 4))):
        some = Rays(rays.origins[:n], rays.directions[:n], rays.near[:n], rays.far[:n])
        expected, found = both(some, jitter[:n], occupied.bool(), spec)
        assert len(found[0]) == 0
        assert_same(expected, found)
    with pytest.raises(ValueError, match=r"occupied of shape \(2, 4, 4, 4\), .* \(1, R, R, R\)"):
        triton.march(rays, jitter, torch.ones(2, 4, 4, 4, dtype=torch.bool), spec)


@pytest.mark.skipif(torch.cuda.is_available(), reason="rounds are counted in the interpreter")
@pytest.mark.parametrize("cone", [0.0, 0.001])
def test_what_is_empty_is_crossed_in_a_few_rounds(cone: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """375 steps through three cells; those that grow are added up eight in a round."""
    from neufield.kernels.volume import programs

    rounds, index = [], programs._index
    monkeypatch.setattr(programs, "_index", lambda *args: rounds.append(1) or index(*args))
    spec = MarchSpec((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.002, cone)
    ray = Rays(torch.tensor([[0.3, 0.4, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]]), torch.zeros(1), torch.ones(1))
    occupied = torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    occupied[..., 3] = True
    ray.far[0] = 0.752
    expected, found = both(ray, torch.zeros(1), occupied, spec)
    assert len(expected[0]) == 1
    assert_same(expected, found)
    # Three coordinates; once to count, and once, from the first found on, to write.
    assert len(rounds) / 3 < (375 / 9 + 15 if cone else 15)


def samples(dtype: torch.dtype, channels: int = 3, device: torch.device = DEVICE) -> dict:
    """Of seven rays, one with 70 samples: three blocks. One behind something opaque, and a density that is none."""
    generator = seeded(5)
    counts = torch.tensor([0, 3, 1, 0, 70, 33, 0])
    total = int(counts.sum())
    lengths = (torch.rand(total, generator=generator) * 0.2).double()
    starts = torch.cat([torch.cumsum(part, 0) - part + 2 for part in lengths.split(counts.tolist())]).float()
    sigma = torch.rand(total, generator=generator) * 2
    sigma[[50, 80]] = 1e6
    sigma[[20, 81]] = 0.0
    made = {
        "sigma": sigma,
        "rgb": torch.rand(total, channels, generator=generator),
        "starts": starts,
        "ends": starts + lengths.float(),
    }
    made = {name: value.to(device, dtype).requires_grad_() for name, value in made.items()}
    ray_ids = torch.arange(7).repeat_interleave(counts).to(device)
    return {**made, "intervals": Intervals(ray_ids, 7, made["starts"], made["ends"])}


def shown_by(kernel, inputs: dict) -> RenderOutput:
    """What ``kernel`` or the reference makes of samples."""
    return kernel.composite(inputs["sigma"], inputs["rgb"], inputs["intervals"])


NAMES = ("sigma", "rgb", "starts", "ends")


@pytest.mark.parametrize("channels", [3, 0])
@pytest.mark.parametrize("weighed", [True, False], ids=["weights too", "sums alone"])
def test_composite_values_and_gradients(channels: int, weighed: bool) -> None:
    found, truth = samples(torch.float32, channels), samples(torch.float64, channels, CPU)
    shown, expected = shown_by(TritonComposite(), found).sums, shown_by(reference, truth).sums
    tolerance = TritonComposite.tolerance[torch.float32]
    for value, wanted in zip(shown, expected, strict=True):
        assert relative(value.cpu(), wanted) <= tolerance
    chosen = seeded(1)
    weights = [torch.randn(y.shape, generator=chosen, dtype=torch.float64) for y in expected]
    count = 4 if weighed else 3
    gradients = []
    for values, inputs in ((shown, found), (expected, truth)):
        used = list(zip(values, weights, strict=True))[:count]
        total = sum((y * w.to(y)).sum() for y, w in used)
        gradients.append(torch.autograd.grad(total, [inputs[name] for name in NAMES]))
    for name, value, wanted in zip(NAMES, *gradients, strict=True):
        assert relative(value.cpu(), wanted) <= tolerance, name


def test_composite_has_second_derivatives() -> None:
    seconds = []
    for run, inputs in (
        (TritonComposite(), samples(torch.float32)),
        (reference, samples(torch.float64, device=CPU)),
    ):
        wanted = [inputs[name] for name in NAMES]
        shown = shown_by(run, inputs)
        first = torch.autograd.grad(shown.rgb.square().sum() + shown.distance.sum(), wanted, create_graph=True)
        seconds.append(torch.autograd.grad(sum(g.square().sum() for g in first), wanted))
    for name, value, wanted in zip(NAMES, *seconds, strict=True):
        # By the composition of parts in float32, whose running sums are in float64.
        assert relative(value.cpu(), wanted) <= TritonComposite.tolerance[torch.float32], name


def test_only_what_is_asked_for_has_a_gradient() -> None:
    inputs = samples(torch.float32)
    at = inputs["intervals"]
    inputs["intervals"] = Intervals(at.ray_ids, at.n_rays, at.starts.detach(), at.ends.detach())
    shown = shown_by(TritonComposite(), inputs)
    sigma, rgb = torch.autograd.grad(shown.rgb.sum(), [inputs["sigma"], inputs["rgb"]])
    truth = samples(torch.float64, device=CPU)
    expected = torch.autograd.grad(shown_by(reference, truth).rgb.sum(), [truth["sigma"], truth["rgb"]])
    for value, wanted in zip((sigma, rgb), expected, strict=True):
        assert relative(value.cpu(), wanted) <= TritonComposite.tolerance[torch.float32]


def test_small_depths_keep_their_digits() -> None:
    """1 - exp(-1e-6) is off by 5 % in float32."""
    depths = torch.logspace(-8, 2, 41)
    ids, starts = torch.arange(41), torch.zeros(41)
    inputs = [t.to(DEVICE) for t in (depths, torch.ones(41, 3), starts, starts + 1, ids)]
    sigma, rgb, starts, ends, ids = inputs
    weights = TritonComposite().composite(sigma, rgb, Intervals(ids, 41, starts, ends)).weights.cpu()
    torch.testing.assert_close(weights.double(), -torch.expm1(-depths.double()), rtol=2e-6, atol=0)  # a few roundings


def test_visible_is_the_references() -> None:
    inputs, truth = samples(torch.float32), samples(torch.float64, device=CPU)
    for early_stop_eps in (1e-4, 0.3):
        seen, expected = (
            TritonComposite().visibility_mask(inputs["sigma"], inputs["intervals"], early_stop_eps),
            reference.visibility_mask(truth["sigma"], truth["intervals"], early_stop_eps),
        )
        assert seen.dtype == torch.bool
        assert 10 < int(expected.sum()) < len(expected) - 10
        assert torch.equal(seen.cpu(), expected)  # no sample's light is within rounding of the least


@pytest.mark.parametrize("n_rays", [0, 3])
def test_rays_without_samples_have_nothing(n_rays: int) -> None:
    empty = torch.zeros(0, device=DEVICE).requires_grad_()
    ids = torch.zeros(0, dtype=torch.long, device=DEVICE)
    at = Intervals(ids, n_rays, empty, empty)
    shown = TritonComposite().composite(empty, torch.zeros(0, 3, device=DEVICE), at)
    assert [tuple(y.shape) for y in shown.sums] == [(n_rays, 3), (n_rays,), (n_rays,), (0,)]
    assert not any(bool(y.any()) for y in shown.sums)
    (gradient,) = torch.autograd.grad(shown.rgb.sum() + shown.opacity.sum(), [empty])
    assert gradient.shape == (0,)
    assert TritonComposite().visibility_mask(empty, at, 0.1).shape == (0,)


def test_the_operators_say_their_shapes() -> None:
    inputs = samples(torch.float32)
    given = (*[inputs[name].detach() for name in NAMES], inputs["intervals"].ray_ids)
    torch.library.opcheck(torch.ops.neufield.composite, (*given, 7), test_utils=("test_schema", "test_faketensor"))


def test_who_runs_where() -> None:
    """The interpreter is for tests: on a CPU nobody gets it by accident, and says why."""
    spec = MARCHES["levels"][0]
    assert next(kernel.name for kernel in KERNELS if kernel.name in ("triton", "nerfacc")) == "triton"
    assert "run on CUDA, not on cpu" in TritonMarch().obstacles(spec, CPU, torch.float32)[0]
    assert "not in float64" in TritonMarch().obstacles(spec, CPU, torch.float64)[-1]
    said = TritonComposite().obstacles(5, CPU, torch.float16)
    assert "not in float16" in said[-2]
    assert "3 color channels, not 5" in said[-1]
    assert [kernel.name for kernel in COMPOSITE_KERNELS] == ["triton", "torch"]
    assert compositing(CPU).name == compositing(CPU, backend="nerfacc").name == "torch"


def test_ragged_rays_of_the_other_tests_too(generator) -> None:
    rays = ragged(generator)
    at = rays["intervals"]
    found = {name: rays[name].float().to(DEVICE) for name in ("sigma", "rgb")}
    found["intervals"] = Intervals(at.ray_ids.to(DEVICE), 7, *[t.float().to(DEVICE) for t in (at.starts, at.ends)])
    for value, wanted in zip(shown_by(TritonComposite(), found).sums, shown_by(reference, rays).sums, strict=True):
        assert relative(value.cpu(), wanted) <= TritonComposite.tolerance[torch.float32]


@pytest.mark.parametrize(
    "ids", [[5, 3, 0, 1, 1, 2], [-7, 0, 1, 2**40, 2**40, 2], [9, 9, 9, 9, 9, 9], [2, 2, 1, 1, 0, 0]]
)
def test_whatever_ray_ids_hold_a_program_stays_within_its_memory(
    ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CUDA nobody waits to look at them: intervals that are out of order, or of no ray, get no light."""
    monkeypatch.setattr(torch, "empty_like", lambda tensor: torch.full_like(tensor, math.nan))
    ray_ids = torch.tensor(ids, device=DEVICE)
    firsts = triton.first_samples(ray_ids, 3)
    assert 0 <= int(firsts[0]) <= int(firsts[-1]) <= len(ids)
    assert (firsts.diff() >= 0).all()
    columns = [torch.rand(6, generator=seeded(i)).to(DEVICE) for i in range(3)]
    sigma, rgb = columns[0], torch.rand(6, 3, generator=seeded(4)).to(DEVICE)
    sums, opacity, distance, weights, light = triton.composite(sigma, rgb, columns[1], columns[1] + 0.1, ray_ids, 3)
    assert all(value.isfinite().all() for value in (sums, opacity, distance))
    held = torch.zeros(6, dtype=torch.bool, device=DEVICE)
    held[int(firsts[0]) : int(firsts[-1])] = True
    assert not weights[~held].any()
    assert not light[~held].any()
