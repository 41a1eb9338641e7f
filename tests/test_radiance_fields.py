"""Each radiance field against its paper's formula, one point at a time; and who computes what can be fused."""

import copy
import math

import pytest
import torch
from cases import seeded
from lattice_reference import slow
from native_cases import exact_points, relative
from radiance_cases import RADIANCE, directions, neural, positions, shaken
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from neufield.core.interfaces import RadianceField
from neufield.encodings import Composite, Frequency, Grid, Identity, SphericalHarmonics
from neufield.fields import NerfRadiance, Plenoxels, TensoRFCP, TensoRFVM
from neufield.kernels import native
from neufield.kernels.dispatch import use_backend
from neufield.kernels.field import CpuField

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def double(name: str) -> tuple[RadianceField, Tensor, Tensor]:
    """A field with every number off its start, points and directions."""
    return shaken(RADIANCE[name]()).double(), positions(5).double(), directions(5).double()


def assert_exact(values: Tensor, expected: object) -> None:
    truth = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(values, truth, rtol=1e-12, atol=1e-12)  # float64, sums of about a hundred products


def layered(features: list[float], network: nn.Module) -> Tensor:
    """Linear maps with ReLUs between them and a sigmoid at the end."""
    h = torch.tensor(features, dtype=torch.float64)
    *hidden, last = network.layers
    for layer in hidden:
        h = (layer.weight @ h + layer.bias).clamp(min=0)
    return 1 / (1 + torch.exp(-(last.weight @ h + last.bias)))


def tensorf_color(network: nn.Module, features: list[float], d: list[float]) -> Tensor:
    """MLP_Fea on features, direction, and sines and cosines of each and of its double, no pi."""
    seen = [*features, *d]
    waves = [wave(octave * v) for v in seen for octave in (1, 2) for wave in (math.sin, math.cos)]
    return layered([*seen, *waves], network)


@pytest.mark.parametrize("name", ["hash", "planes"])
def test_neural_radiance_hands_all_channels_and_the_direction_to_the_color(name: str) -> None:
    field, x, d = double(name)
    logit, sigma, features = field.geometry(x)
    assert_exact(features, field.network(field.encoding(x), x))
    assert_exact(logit, features[:, 0])
    assert_exact(sigma, torch.exp(logit - 1))
    u = (d + 1) / 2
    assert_exact(field.color(features, d), field.color_network(torch.cat([features, field.direction(u)], -1), u))


def test_nerf_is_figure_7() -> None:
    field, x, d = double("nerf")
    logit, sigma, features = field.geometry(x)
    colors = field.color(features, d)
    *hidden, last = field.backbone.network.layers
    for i in range(len(x)):
        encoded = field.encoding(x[i])
        h = encoded
        for j, layer in enumerate(hidden):
            h = torch.cat([h, encoded]) if j == 3 else h  # of four layers, after the third
            h = (layer.weight @ h + layer.bias).clamp(min=0)
        y = last.weight @ h + last.bias
        assert_exact(logit[i], y[0])
        assert_exact(sigma[i], torch.log1p(torch.exp(y[0] - 1)))
        assert_exact(features[i], y[1:])
        seen = torch.cat([y[1:], field.direction((d[i] + 1) / 2)])
        assert_exact(colors[i], layered(seen.tolist(), field.color_network))


def test_nerf_has_as_many_numbers_as_the_released_network() -> None:
    """Inputs of 63 and 27, as its code has them: 595,844, of which the skip is 63 x 256."""
    encodings = [Composite([Identity(3), Frequency(3, n)], starts=[0, 0]) for n in (10, 4)]
    assert sum(p.numel() for p in NerfRadiance(*encodings).parameters()) == 595_844


def test_vector_matrix_is_equations_4_and_6() -> None:
    field, x, d = double("vm")
    logit, sigma, features = field.geometry(x)
    colors = field.color(features, d)
    for i, (point, direction) in enumerate(zip(x.tolist(), d.tolist(), strict=True)):
        total, products = 0.0, []
        for mode, (a, b, c) in enumerate([(0, 1, 2), (0, 2, 1), (1, 2, 0)]):  # XY-Z, XZ-Y, YZ-X
            for planes, lines, into in (
                (field.density_planes, field.density_lines, None),
                (field.color_planes, field.color_lines, products),
            ):
                plane = slow(planes[mode].detach(), [point[a], point[b]])
                line = slow(lines[mode].detach(), [point[c]])
                found = [p * q for p, q in zip(plane, line, strict=True)]
                if into is None:
                    total += sum(found)
                else:
                    into += found
        assert_exact(logit[i], total)
        assert_exact(sigma[i], 25 * math.log1p(math.exp(total - 10)))
        assert_exact(features[i], field.basis.layers[0].weight @ torch.tensor(products, dtype=torch.float64))
        assert_exact(colors[i], tensorf_color(field.color_network, features[i].tolist(), direction))


def test_canonical_is_equation_1() -> None:
    field, x, d = double("cp")
    logit, sigma, features = field.geometry(x)
    colors = field.color(features, d)
    for i, (point, direction) in enumerate(zip(x.tolist(), d.tolist(), strict=True)):
        factors = [
            [slow(line.detach(), [at]) for line, at in zip(lines, point, strict=True)]
            for lines in (field.density_lines, field.color_lines)
        ]
        density, color = [[math.prod(rank) for rank in zip(*lines, strict=True)] for lines in factors]
        assert_exact(logit[i], sum(density))
        assert_exact(sigma[i], 25 * math.log1p(math.exp(sum(density) - 10)))
        assert_exact(features[i], field.basis.layers[0].weight @ torch.tensor(color, dtype=torch.float64))
        assert_exact(colors[i], tensorf_color(field.color_network, features[i].tolist(), direction))


def test_tensorf_s_color_network_has_150_inputs() -> None:
    shapes = [tuple(layer.weight.shape) for layer in TensoRFVM([4, 4, 4]).color_network.layers]
    assert shapes == [(128, 150), (128, 128), (3, 128)]


@pytest.mark.parametrize(("kind", "deviation"), [(TensoRFVM, 0.1), (TensoRFCP, 0.2)])
def test_tensorf_s_factors_start_normal(kind: type, deviation: float) -> None:
    field = kind([30, 40, 20], generator=seeded())
    factors = {
        name: p for name, p in field.named_parameters() if name.startswith(("density_", "color_lines", "color_planes"))
    }
    assert len(factors) == (12 if kind is TensoRFVM else 6)
    for name, factor in factors.items():
        # Of 320 numbers or more the deviation is known to 4 %, their mean to 6 % of it; four times that.
        assert factor.std().item() == pytest.approx(deviation, rel=0.16), name
        assert abs(factor.mean().item()) < 0.24 * deviation, name


def test_voxels_are_interpolated_coefficients_of_plenoxels_basis() -> None:
    """The nine polynomials with the constants of svox2's code; the signs are those of its published table."""
    field = shaken(Plenoxels([3, 4, 3], SphericalHarmonics(3)), 0.15).double()
    x, d = positions(20).double(), nn.functional.normalize(directions(20).double(), dim=-1)
    logit, sigma, features = field.geometry(x)
    colors = field.color(features, d)
    for i, ((dx, dy, dz), point) in enumerate(zip(d.tolist(), x.tolist(), strict=True)):
        basis = [
            0.28209479177387814,
            -0.4886025119029199 * dy, 0.4886025119029199 * dz, -0.4886025119029199 * dx,
            1.0925484305920792 * dx * dy, -1.0925484305920792 * dy * dz,
            0.31539156525252005 * (2 * dz * dz - dx * dx - dy * dy),
            -1.0925484305920792 * dx * dz, 0.5462742152960396 * (dx * dx - dy * dy),
        ]  # fmt: skip
        (density,) = slow(field.density_table.detach(), point)
        numbers = slow(field.color_table.detach(), point)
        assert_exact(logit[i], density)
        assert_exact(sigma[i], max(0.0, density))
        assert_exact(features[i], numbers)
        for channel in range(3):
            own = numbers[9 * channel : 9 * channel + 9]
            value = 0.5 + sum(n * y for n, y in zip(own, basis, strict=True))
            assert_exact(colors[i, channel], min(1.0, max(0.0, value)))
    assert bool(((colors > 0) & (colors < 1)).any(0).all())
    assert bool((sigma == 0).any() and (sigma > 0).any())


def test_voxels_start_grey_and_thin() -> None:
    field = Plenoxels([3, 4, 3], SphericalHarmonics(3))
    _, sigma, features = field.geometry(positions(5))
    torch.testing.assert_close(sigma, torch.full((5,), 0.1), rtol=1e-6, atol=0)  # eight weights in float32
    assert torch.equal(field.color(features, directions(5)), torch.full((5, 3), 0.5))


def test_outside_of_the_box_tables_go_on_as_they_end() -> None:
    for name in ("vm", "cp", "voxels"):
        field, _, _ = double(name)
        inside = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64)
        outside = torch.tensor([[-0.7, 0.5, 1.2]], dtype=torch.float64)
        assert torch.equal(field.geometry(inside).sigma, field.geometry(outside).sigma)


class Calls(TorchDispatchMode):
    """Remembers the native ops that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "neufield":
            self.names.add(func._opname)
        return func(*args, **(kwargs or {}))


def hashed() -> RadianceField:
    """Integer scales: at multiples of 2^-10 float32 and float64 find the same positions."""
    return shaken(neural(Grid(3, 4, 2, 8, 3, 2.0, generator=seeded()), "relu"))


def derivatives(field: RadianceField, backend: str) -> dict[str, Tensor]:
    use_backend(field, backend, CPU)
    dtype = next(field.parameters()).dtype
    x, d = exact_points(300, 3).to(dtype), directions(300).to(dtype)
    _, sigma, features = field.geometry(x)
    rgb = field.color(features, d)
    (sigma.sum() + (rgb * rgb.new_tensor([1.0, 2, 3])).sum()).backward()
    gradients = {name: parameter.grad for name, parameter in field.named_parameters()}
    return {"sigma": sigma, "features": features, "rgb": rgb, **gradients}


def test_the_fused_native_kernel_gives_what_torch_gives(isa: str) -> None:
    field = hashed()
    truth = derivatives(copy.deepcopy(field).double(), "torch")
    with Calls() as calls:
        found = derivatives(field, "cpu")
    assert {"field_forward", "field_backward"} <= calls.names
    assert len(found) == 3 + 5  # a table, and the weights of two layers in each network
    # Twice the kernel's own tolerance: the color network runs in float32 too, and exp turns errors into relative ones.
    tolerance = 2 * CpuField.tolerance[torch.float32]
    errors = {name: relative(value, truth[name]) for name, value in found.items()}
    assert all(error <= tolerance for error in errors.values()), errors


@pytest.mark.parametrize(("name", "ops"), [("hash", {"field_forward"}), ("planes", {"field_forward"}), ("nerf", set())])
def test_whoever_can_be_fused_is(name: str, ops: set[str]) -> None:
    """A tanh is not among the fused activations; NeRF's skip is more than a chain."""
    field = neural(RADIANCE[name]().encoding, "relu") if name != "nerf" else RADIANCE[name]()
    with Calls() as calls:
        field.geometry(positions(70))
    assert calls.names == (ops if native.isas() else set())
    use_backend(field, "torch", CPU)
    with Calls() as calls:
        field.geometry(positions(70))
    assert calls.names == set()
