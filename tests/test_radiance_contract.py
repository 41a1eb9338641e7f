"""What every radiance field owes: shapes, types, colors in range, state, configuration, derivatives, and files."""

import copy
import inspect
import json

import pytest
import torch
from cases import seeded, without_type_checks
from probe import ProbeEncoding
from radiance_cases import RADIANCE, Everything, directions, neural, positions, seen, shaken
from torch import Tensor
from torch.func import functional_call

import neufield as nf
from neufield.core.config import build, describe
from neufield.core.interfaces import RadianceField
from neufield.core.rays import Conditioning
from neufield.core.records import Event
from neufield.fitting.optim import adam
from neufield.networks import MLP
from neufield.parts import PARTS

every_field = pytest.mark.parametrize("name", RADIANCE)
DRAWN = [name for name, make in RADIANCE.items() if "generator" in inspect.signature(type(make())).parameters]
UPSAMPLED = ["vm", "cp", "voxels"]
pytestmark = pytest.mark.usefixtures("one_thread")


def everything(field: RadianceField, n: int = 7) -> Tensor:
    return Everything(field)(positions(n), directions(n))


@every_field
def test_the_density_alone_is_the_geometry_s(name: str) -> None:
    field = shaken(RADIANCE[name](), 2.0)
    x = positions(18).view(2, 9, 3)
    assert torch.equal(field.density(x), field.geometry(x).sigma)


@every_field
@pytest.mark.parametrize("lead", [(), (5,), (2, 3), (0,), (0, 4)], ids=str)
def test_leading_axes_pass_through(name: str, lead: tuple[int, ...]) -> None:
    field = shaken(RADIANCE[name]())
    x, d = positions(*lead), directions(*lead)
    logit, sigma, features = field.geometry(x)
    rgb = seen(field, features, d)
    assert logit.shape == sigma.shape == lead
    assert features.shape[:-1] == lead
    assert rgb.shape == (*lead, 3)
    assert {t.dtype for t in (logit, sigma, features, rgb)} == {torch.float32}
    together = Everything(field)(x, d)
    flat = Everything(field)(x.reshape(-1, 3), d.reshape(-1, 3)).reshape(together.shape)
    # About 8 units in the last place of 1: a matrix product may add in another order for another shape.
    torch.testing.assert_close(together, flat, rtol=1e-6, atol=1e-6)


@every_field
def test_each_point_is_evaluated_by_itself(name: str) -> None:
    field = Everything(shaken(RADIANCE[name]()))
    x, d = positions(6), directions(6)
    alone = torch.stack([field(*pair) for pair in zip(x, d, strict=True)])
    torch.testing.assert_close(field(x, d), alone, rtol=1e-6, atol=1e-6)  # as above
    assert not torch.allclose(alone[0], alone[1])


@every_field
def test_an_empty_batch_gives_zero_gradients(name: str) -> None:
    field = RADIANCE[name]()
    everything(field, 0).sum().backward()
    for parameter in field.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


@every_field
def test_density_is_the_activation_of_the_logit_and_never_negative(name: str) -> None:
    field = shaken(RADIANCE[name](), 2.0)
    logit, sigma, _ = field.geometry(positions(500))
    assert torch.equal(sigma, field.density_activation(logit))
    assert bool((sigma >= 0).all() and sigma.isfinite().all())
    assert sigma.std() > 0


@every_field
def test_colors_stay_within_0_and_1_whatever_the_parameters(name: str) -> None:
    field = shaken(RADIANCE[name](), 30.0)
    rgb = seen(field, field.geometry(positions(500)).features, directions(500))
    assert bool(((rgb >= 0) & (rgb <= 1)).all())
    assert rgb.min() < 0.01  # and they go there
    assert rgb.max() > 0.99


@every_field
def test_color_depends_on_the_direction_and_density_cannot(name: str) -> None:
    field = shaken(RADIANCE[name]())
    features = field.geometry(positions(5)).features
    assert not torch.allclose(seen(field, features, directions(5)), seen(field, features, -directions(5)), atol=1e-3)


def coded(field: RadianceField, features: torch.Tensor, d: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    return field.color(features, d, Conditioning(code=code))


@every_field
def test_a_code_is_taken_by_who_takes_codes_and_ignored_by_the_others(name: str) -> None:
    """As is all else that is known of the rays: a field takes what it needs."""
    field = shaken(RADIANCE[name]())
    features, d = field.geometry(positions(5)).features, directions(5)
    known = Conditioning(torch.arange(5), torch.rand(5), torch.zeros(5, field.code_dim + 1), torch.zeros(5, 2, 3))
    assert torch.equal(field.geometry(positions(5), known).sigma, field.geometry(positions(5)).sigma)
    assert torch.equal(field.density(positions(5), known), field.density(positions(5)))
    if not field.code_dim:
        assert torch.equal(field.color(features, d, known), field.color(features, d))
        return
    with pytest.raises(ValueError, match=r"takes codes of 2 numbers, but one of 3 came; give cond=.* \(..., 2\)"):
        field.color(features, d, known)
    with pytest.raises(ValueError, match=r"takes codes of 2 numbers, but none came; give cond=.* \(..., 2\)"):
        field.color(features, d)
    one, other = torch.tensor([0.5, -1.0]).expand(5, 2), torch.tensor([0.5, 1.0]).expand(5, 2)
    assert not torch.allclose(coded(field, features, d, one), coded(field, features, d, other), atol=1e-3)
    mixed = torch.cat([one[:2], other[2:]])  # each point by its own code
    expected = torch.cat([coded(field, features, d, one)[:2], coded(field, features, d, other)[2:]])
    torch.testing.assert_close(coded(field, features, d, mixed), expected, rtol=1e-6, atol=1e-6)  # as for single points


def test_the_color_network_reads_features_then_the_direction_then_the_code() -> None:
    field, d, code = shaken(RADIANCE["coded"]()), directions(4), torch.randn(4, 2, generator=seeded(5))
    features, u = field.geometry(positions(4)).features, (d + 1) / 2
    inputs = torch.cat([features, field.direction(u), code], dim=-1)
    assert torch.equal(coded(field, features, d, code), field.color_network(inputs, u))


def test_gradients_by_codes() -> None:
    field = shaken(RADIANCE["coded"]()).double()
    features, d = field.geometry(positions(3).double()).features.detach(), directions(3).double()
    code = torch.randn(3, 2, generator=seeded(5), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda code: coded(field, features, d, code), (code,))
    (gradient,) = torch.autograd.grad(coded(field, features, d, code).sum(), code)
    assert bool((gradient != 0).all())


@every_field
def test_float64_in_gives_float64_out(name: str) -> None:
    field = shaken(RADIANCE[name]())
    single, double = everything(field), Everything(copy.deepcopy(field).double())
    truth = double(positions(7).double(), directions(7).double())
    assert truth.dtype == torch.float64
    # Positions in cells, weights and products of order 1, each rounded to 6e-8.
    torch.testing.assert_close(single.double(), truth, rtol=1e-5, atol=1e-5)


@every_field
def test_bfloat16_autocast_changes_networks_but_neither_positions_nor_the_density_s_type(name: str) -> None:
    field = shaken(RADIANCE[name]())
    x, d = positions(50), directions(50)
    exact = Everything(field)(x, d)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logit, sigma, features = field.geometry(x)
        rgb = seen(field, features, d)
    assert sigma.dtype == torch.float32
    # bfloat16 has 8 bits; a few layers of numbers of order 1.
    torch.testing.assert_close(logit.float(), exact[:, 0], rtol=0.05, atol=0.05)
    torch.testing.assert_close(rgb.float(), exact[:, 2:5], rtol=0.05, atol=0.05)


@every_field
def test_the_state_dict_carries_everything(name: str) -> None:
    field, other = shaken(RADIANCE[name]()), RADIANCE[name]()
    expected = everything(field)
    assert not torch.equal(everything(other), expected)
    other.load_state_dict(field.state_dict())
    assert torch.equal(everything(other), expected)


@every_field
def test_every_constructor_argument_is_stored_under_its_own_name(name: str) -> None:
    field = RADIANCE[name]()
    for argument in inspect.signature(type(field)).parameters:
        assert argument == "generator" or hasattr(field, argument)


@every_field
def test_describe_and_build_are_inverse(name: str) -> None:
    field = shaken(RADIANCE[name]())
    config = json.loads(json.dumps(describe(field)))
    rebuilt = build(config, PARTS)
    assert type(rebuilt) is type(field)
    assert describe(rebuilt) == config
    assert (rebuilt.recipe, rebuilt.density_activation) == (field.recipe, field.density_activation)
    rebuilt.load_state_dict(field.state_dict())
    assert torch.equal(everything(rebuilt), everything(field))


@every_field
def test_a_loaded_field_is_the_saved_one_to_the_bit_and_learns_on(name: str, tmp_path) -> None:
    field = shaken(RADIANCE[name]())
    nf.save(field, tmp_path / "field.safetensors", scene="a ball")
    loaded = nf.load(tmp_path / "field.safetensors")
    assert type(loaded) is type(field)
    assert torch.equal(everything(loaded), everything(field))
    everything(loaded).square().sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


@pytest.mark.parametrize("name", DRAWN)
def test_the_generator_alone_decides_what_is_drawn(name: str) -> None:
    config = describe(RADIANCE[name]())

    def state(seed: int, global_seed: int) -> dict[str, Tensor]:
        torch.manual_seed(global_seed)
        return build(config, PARTS, generator=seeded(seed)).state_dict()

    first, again, other = state(3, 0), state(3, 1), state(4, 0)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@every_field
def test_training_gives_the_same_bits_twice(name: str) -> None:
    def trained() -> dict[str, Tensor]:
        field = RADIANCE[name]()
        optimizer = adam(field, field.recipe)
        for _ in range(3):
            optimizer.zero_grad()
            everything(field, 200).square().mean().backward()
            optimizer.step()
        return field.state_dict()

    first, second, start = trained(), trained(), RADIANCE[name]().state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not any(torch.equal(first[key], start[key]) for key in first)


@every_field
def test_wrong_points_and_directions_are_named_with_the_remedy(name: str) -> None:
    field = RADIANCE[name]()
    features = field.geometry(positions(4)).features
    with without_type_checks():
        with pytest.raises(ValueError, match=r"\(4, 2\).*must be 3.*reshape"):
            field.geometry(torch.zeros(4, 2))
        with pytest.raises(TypeError, match=r"torch.int64.*x.float\(\)"):
            field.geometry(torch.zeros(4, 3, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"d has shape \(4, 2\)"):
            field.color(features, torch.zeros(4, 2))


def in_double(name: str) -> tuple[Everything, Tensor, Tensor]:
    field = Everything(shaken(RADIANCE[name](), 0.2)).double()
    return field, positions(2).double().requires_grad_(), directions(2).double().requires_grad_()


def as_function(module: Everything):
    """(x, d, *parameters) -> output, and those parameters."""
    names = [name for name, _ in module.named_parameters()]
    values = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]

    def call(x: Tensor, d: Tensor, *values: Tensor) -> Tensor:
        return functional_call(module, dict(zip(names, values, strict=True)), (x, d))

    return call, values


@every_field
def test_gradients_by_points_directions_and_parameters(name: str, random_directions: None) -> None:
    """In float64 against finite differences; no point lies within 1e-6 of a cell's edge or of a kink.

    By points and directions number by number, by all parameters together along random directions (fast_mode): number by
    number that takes several seconds a field, and ``test_radiance_lookup`` does it for what is particular to them.
    """
    module, x, d = in_double(name)
    call, values = as_function(module)
    assert torch.autograd.gradcheck(module, (x, d))
    assert torch.autograd.gradcheck(call, (x, d, *values), fast_mode=True)


@every_field
def test_second_derivatives_by_points_directions_and_parameters(name: str, random_directions: None) -> None:
    module, x, d = in_double(name)
    call, values = as_function(module)
    assert torch.autograd.gradgradcheck(call, (x, d, *values), fast_mode=True)


@every_field
def test_what_is_checked_above_is_not_all_zero(name: str) -> None:
    """Every coordinate moves the density, every direction the color, and every parameter something."""
    module, x, d = in_double(name)
    y = module(x, d)
    by_x, by_d = torch.autograd.grad(
        (y[:, 1].sum() + (y[:, 2:5] @ y.new_tensor([1.0, 2, 4])).sum()), (x, d), retain_graph=True
    )
    assert bool((by_x != 0).all())
    assert bool((by_d != 0).all())
    gradients = torch.autograd.grad(y.square().sum(), list(module.parameters()))
    assert all(bool((gradient != 0).any()) for gradient in gradients)


def test_the_encoding_hears_of_the_points_that_it_saw() -> None:
    probe = ProbeEncoding(3)
    field = neural(probe)
    event = Event(5, 0.25, positions(8), torch.arange(8.0))
    field.geometry(event.x)
    field.on_step(event)
    (told,) = probe.told
    assert torch.equal(told.x, probe.seen[-1])
    assert told.step == 5


@pytest.mark.parametrize("name", UPSAMPLED)
def test_three_times_the_resolution_is_the_same_field(name: str) -> None:
    """The old lattice's points are among the new: both functions have the same values, and the same kinks."""
    field = shaken(RADIANCE[name]()).double()
    larger = copy.deepcopy(field)
    larger.upsample([3 * n for n in field.resolution])
    x, d = torch.rand(200, 3, generator=seeded(3)).double(), directions(200).double()
    # Float64, a chain of some hundred roundings.
    torch.testing.assert_close(Everything(larger)(x, d), Everything(field)(x, d), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", UPSAMPLED)
def test_an_upsampled_field_learns_and_travels(name: str, tmp_path) -> None:
    field = shaken(RADIANCE[name]())
    larger = copy.deepcopy(field)
    larger.upsample([7, 6, 8])
    assert larger.resolution == [7, 6, 8]
    assert sum(p.numel() for p in larger.parameters()) > sum(p.numel() for p in field.parameters())
    assert all(p.is_leaf and p.requires_grad for p in larger.parameters())
    nf.save(larger, tmp_path / "field.safetensors")
    assert torch.equal(everything(nf.load(tmp_path / "field.safetensors")), everything(larger))


@pytest.mark.parametrize("name", UPSAMPLED)
@pytest.mark.parametrize("resolution", [[4, 4], [4, 4, 0]], ids=str)
def test_an_impossible_resolution_is_refused(name: str, resolution: list[int]) -> None:
    with pytest.raises(ValueError, match=r"cells along x, y, z, for instance \[128, 128, 128\]"):
        RADIANCE[name]().upsample(resolution)


def test_networks_that_do_not_fit_are_refused_with_the_right_width() -> None:
    field = RADIANCE["hash"]()
    parts = [field.encoding, field.network, field.direction]
    with pytest.raises(ValueError, match=r"in_dim=7, out_dim=3"):
        type(field)(*parts, MLP(6, 3))
    with pytest.raises(ValueError, match=r"in_dim=7, out_dim=3"):
        type(field)(*parts, MLP(7, 4))
    with pytest.raises(ValueError, match=r"direction takes 2 coordinates"):
        type(field)(*parts[:2], ProbeEncoding(2), MLP(5, 3))
