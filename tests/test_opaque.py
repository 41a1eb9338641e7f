"""An infinite density makes its ray opaque there, a density that is not a number spoils its own: all others stay."""

import dataclasses
import importlib.util
import math

import pytest
import torch
from cases import seeded
from native_radiance_cases import CASES, numbers
from torch import Tensor

from neufield.core.rays import Intervals, RenderOutput
from neufield.kernels import radiance
from neufield.kernels.radiance import CpuRadiance
from neufield.kernels.volume import COMPOSITE_KERNELS, CompositeKernel

RAYS, EACH, PLACE = 5, 40, 90  # rays, intervals of each, and the one that is strange: of ray 2, not its first
DEVICES = {"torch": torch.device("cpu"), "triton": torch.device("cuda" if torch.cuda.is_available() else "cpu")}
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
KERNELS = [pytest.param(k, id=k.name, marks=[needs_triton] * (k.name == "triton")) for k in COMPOSITE_KERNELS]


def composited(kernel: CompositeKernel, density: float | None, length: float = 0.1) -> dict[str, Tensor]:
    """What is seen along rays, one of which has this ``density`` in one interval; and all gradients of a sum of it."""
    sigma = torch.rand(RAYS * EACH, generator=seeded()) * 2
    starts = torch.arange(EACH).repeat(RAYS) * 0.1
    ends = starts + 0.1
    if density is not None:
        sigma[PLACE], ends[PLACE] = density, starts[PLACE] + length
    rgb = torch.rand(RAYS * EACH, 3, generator=seeded(1))
    leaves = {"sigma": sigma, "rgb": rgb, "starts": starts, "ends": ends}
    leaves = {name: value.to(DEVICES[kernel.name]).requires_grad_() for name, value in leaves.items()}
    ray_ids = torch.arange(RAYS, device=DEVICES[kernel.name]).repeat_interleave(EACH)
    at = Intervals(ray_ids, RAYS, leaves["starts"], leaves["ends"])
    shown = kernel.composite(leaves["sigma"], leaves["rgb"], at)
    total = shown.rgb.sum() + shown.opacity.sum() + shown.distance.sum() + shown.weights.square().sum()
    gradients = torch.autograd.grad(total, list(leaves.values()))
    ends = {name: leaves[name].detach() for name in ("starts", "ends")}
    sums = dict(zip(("rgb", "opacity", "distance", "weights"), shown.sums, strict=True))
    found = sums | {f"by {name}": value for name, value in zip(leaves, gradients, strict=True)}
    found["visible"] = kernel.visibility_mask(leaves["sigma"].detach(), dataclasses.replace(at, **ends), 1e-3)
    return {name: value.detach().cpu().reshape(RAYS, -1) for name, value in found.items()}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, in Triton's interpreter: infinities are meant
@pytest.mark.parametrize("density", [math.inf, 1e38, math.nan])
@pytest.mark.parametrize("kernel", KERNELS)
def test_all_other_rays_are_untouched(kernel: CompositeKernel, density: float) -> None:
    clean, strange = composited(kernel, None), composited(kernel, density)
    for name, value in strange.items():
        if math.isnan(density) and name.startswith("by "):
            continue  # a loss that is none has no gradients, in torch for no ray: fit ends there
        others = [ray for ray in range(RAYS) if ray != PLACE // EACH]
        torch.testing.assert_close(value[others], clean[name][others], rtol=1e-5, atol=1e-6)  # other sums came before


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_ray_is_opaque_there(kernel: CompositeKernel) -> None:
    """As with any density beyond which no light is left, gradients too."""
    found, dense = composited(kernel, math.inf), composited(kernel, 1e20)
    assert all(torch.equal(value, dense[name]) for name, value in found.items())
    assert all(value.isfinite().all() for value in found.values())
    ray, within = PLACE // EACH, PLACE % EACH
    assert found["opacity"][ray].item() == pytest.approx(1, abs=1e-6)
    assert not found["weights"][ray, within + 1 :].any()
    assert not found["visible"][ray, within + 1 :].any()
    assert found["visible"][ray, within]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kernel", KERNELS)
def test_an_infinite_density_over_no_length_takes_no_light(kernel: CompositeKernel) -> None:
    found, clean = composited(kernel, math.inf, length=0.0), composited(kernel, 0.0, length=0.0)
    for name in ("rgb", "opacity", "weights"):
        assert torch.equal(found[name], clean[name])


def looked(table: Tensor) -> RenderOutput:
    (rays, jitter, occupied), learned = numbers(40, CASES["ngp"])
    return CpuRadiance().render_rays(rays, jitter, occupied, **learned | {"table": table}, spec=CASES["ngp"])


@pytest.mark.native
def test_along_rays_in_one_op() -> None:
    spec = CASES["ngp"]
    _, learned = numbers(40, spec)
    table = learned["table"].clone()
    table[::50] *= 1e4
    clean, strange = looked(learned["table"]), looked(table)
    logits = [
        radiance.reference.field.evaluate(clean.samples.x, some, learned["params"], spec.geometry)[:, 0]
        for some in (learned["table"], table)
    ]
    touched = torch.zeros(40, dtype=torch.bool)
    touched[clean.samples.intervals.ray_ids[logits[0] != logits[1]]] = True
    infinite = spec.sigma(logits[1]).isinf()
    opaque = clean.samples.intervals.ray_ids[infinite].unique()
    assert 0 < len(opaque) < int(touched.sum()) < 40
    for name in ("rgb", "opacity", "distance"):
        values = getattr(strange, name)
        assert values.isfinite().all()
        assert torch.equal(values[~touched], getattr(clean, name)[~touched])
    assert torch.allclose(strange.opacity[opaque], torch.ones(len(opaque)), atol=1e-3)  # what ``least`` leaves out
