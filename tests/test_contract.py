"""What every encoding, network and field owes: shapes, types, state, configuration, and coordinates in ``on_step``."""

import inspect
import json

import pytest
import torch
from cases import (
    all_cases,
    encoding_cases,
    evaluate,
    field_cases,
    modulated_networks,
    network_cases,
    points_for,
    seeded,
    trained,
    without_type_checks,
)
from probe import ProbeEncoding
from radiance_cases import RADIANCE
from torch import Tensor, nn

from neufield import encodings, fields
from neufield.core.config import build, describe, part_name
from neufield.core.interfaces import Encoding, Field, Modulation, Network
from neufield.core.records import Event
from neufield.encodings import Composite, Identity
from neufield.fields import NeuralField
from neufield.networks import CAM, FiLM
from neufield.parts import PARTS

CASES = all_cases()
MODULATED = modulated_networks()
LEARNING = [name for name, make in CASES.items() if list(make().parameters())]
DRAWN = [name for name, make in CASES.items() if "generator" in inspect.signature(type(make())).parameters]
CHECKED = {**encoding_cases(), **field_cases()}  # networks are fed by our own encodings and check nothing
every_case = pytest.mark.parametrize("name", CASES)


@pytest.mark.parametrize("room", [encodings, fields], ids=["encodings", "fields"])
def test_every_public_class_has_a_case_and_can_be_named_in_a_file(room: object) -> None:
    tested = {type(part) for make in (*CASES.values(), *RADIANCE.values()) for part in make().modules()}
    for kind in (getattr(room, name) for name in room.__all__):
        if isinstance(kind, type) and not inspect.isabstract(kind):
            assert kind in tested or not issubclass(kind, nn.Module), f"add a {kind.__name__} to tests/cases.py"
            assert PARTS.get(part_name(kind)) is kind, f"add {kind.__name__} to neufield/parts.py"


@pytest.mark.parametrize(
    ("cases", "joint"), [(encoding_cases(), Encoding), (network_cases(), Network), (field_cases(), Field)]
)
def test_each_case_is_what_its_table_says(cases: dict, joint: type) -> None:
    assert all(isinstance(make(), joint) for make in cases.values())


@every_case
@pytest.mark.parametrize("lead", [(), (5,), (2, 3), (0,), (0, 4)], ids=str)
def test_leading_axes_pass_through(name: str, lead: tuple[int, ...]) -> None:
    part = CASES[name]()
    x = points_for(part, *lead)
    y = evaluate(part, x)
    assert y.shape == (*lead, part.out_dim)
    assert y.dtype == torch.float32
    flat = evaluate(part, x.reshape(-1, part.in_dim)).reshape(y.shape)
    # About 8 units in the last place of 1: a matrix product may add in another order for another shape.
    torch.testing.assert_close(y, flat, rtol=1e-6, atol=1e-6)


@every_case
def test_each_point_is_evaluated_by_itself(name: str) -> None:
    part = CASES[name]()
    x = points_for(part, 6)
    alone = torch.stack([evaluate(part, point) for point in x])
    torch.testing.assert_close(evaluate(part, x), alone, rtol=1e-6, atol=1e-6)  # as above
    assert not torch.allclose(alone[0], alone[1])


@pytest.mark.parametrize("name", LEARNING)
def test_an_empty_batch_gives_zero_gradients(name: str) -> None:
    part = CASES[name]()
    trained(part, points_for(part, 0)).backward()
    for parameter in part.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


@every_case
def test_float64_in_gives_float64_out(name: str) -> None:
    part = CASES[name]()
    x = points_for(part, 7)
    single = evaluate(part, x)
    double = evaluate(part.double(), x.double())
    assert double.dtype == torch.float64
    # Float32 rounds phases and weights, here of order 10, to 1e-6.
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)


@every_case
def test_the_state_dict_carries_everything(name: str) -> None:
    part, other = CASES[name](), CASES[name]()
    x = points_for(part, 7)
    expected = evaluate(part, x)
    if part.state_dict():
        for value in other.state_dict().values():
            value += 0.3 if value.is_floating_point() else 1
        assert not torch.equal(evaluate(other, x), expected)
    other.load_state_dict(part.state_dict())
    assert torch.equal(evaluate(other, x), expected)


@pytest.mark.parametrize("name", DRAWN)
def test_the_generator_alone_decides_what_is_drawn(name: str) -> None:
    config = describe(CASES[name]())

    def state(seed: int, global_seed: int) -> dict[str, Tensor]:
        torch.manual_seed(global_seed)
        return build(config, PARTS, generator=seeded(seed)).state_dict()

    first, again, other = state(3, 0), state(3, 1), state(4, 0)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", CHECKED)
def test_a_wrong_last_axis_is_named_with_the_right_one(name: str) -> None:
    part = CHECKED[name]()
    wrong = part.in_dim + 1
    with pytest.raises(ValueError, match=rf"\(4, {wrong}\).*must be {part.in_dim}.*reshape"):
        part(torch.zeros(4, wrong))
    with without_type_checks(), pytest.raises(ValueError, match=rf"\(\), but its last axis must be {part.in_dim}"):
        part(torch.tensor(0.5))


@pytest.mark.parametrize("name", CHECKED)
def test_integer_coordinates_are_refused_with_the_remedy(name: str) -> None:
    part = CHECKED[name]()
    x = torch.zeros(4, part.in_dim, dtype=torch.int64)
    with without_type_checks(), pytest.raises(TypeError, match=r"torch.int64.*x.float\(\)"):
        part(x)
    with (
        without_type_checks(),
        pytest.raises(TypeError, match=r"^x is a list, but a tensor .*; write torch.tensor\(x\)"),
    ):
        part([[0.0] * part.in_dim])


@pytest.mark.parametrize("name", encoding_cases())
def test_each_channel_has_a_nominal_frequency(name: str) -> None:
    encoding = CASES[name]()
    frequencies = encoding.frequencies
    assert frequencies.shape == (encoding.out_dim,)
    assert frequencies.dtype == torch.float32
    assert bool((frequencies >= 0).all() and frequencies.isfinite().all())


@every_case
def test_every_constructor_argument_is_stored_under_its_own_name(name: str) -> None:
    part = CASES[name]()
    for argument in inspect.signature(type(part)).parameters:
        assert argument == "generator" or hasattr(part, argument)


@every_case
def test_describe_and_build_are_inverse(name: str) -> None:
    part = CASES[name]()
    config = json.loads(json.dumps(describe(part)))
    rebuilt = build(config, PARTS)
    assert type(rebuilt) is type(part)
    assert describe(rebuilt) == config
    rebuilt.load_state_dict(part.state_dict())
    x = points_for(part, 7)
    assert torch.equal(evaluate(rebuilt, x), evaluate(part, x))


class ProbeModulation(Modulation):
    """The same, for the points of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.told: list[Event] = []
        self.asked: list[tuple[int, int]] = []

    def check(self, n_layers: int, width: int) -> None:
        self.asked.append((n_layers, width))

    def forward(self, h: Tensor, x: Tensor, layer: int) -> Tensor:
        self.seen.append(x)
        return h

    def on_step(self, event: Event) -> None:
        self.told.append(event)


every_modulated_network = pytest.mark.parametrize("network", MODULATED)


@every_modulated_network
def test_adapt_sees_the_coordinates_that_forward_saw(network: str) -> None:
    probes = [ProbeEncoding(1), ProbeEncoding(2), ProbeEncoding(2)]
    modulation = ProbeModulation()
    inner = Composite([Identity(1), probes[2]], starts=[2, 0])  # a composite in a composite, at an offset
    encoding = Composite([probes[0], probes[1], inner], starts=[3, 1, 1])
    field = NeuralField(encoding, MODULATED[network](modulation))
    event = Event(5, 0.25, torch.rand(8, 4, generator=seeded()), torch.arange(8.0), torch.ones(8))
    field(event.x)
    field.on_step(event)
    for probe, columns in [(probes[0], [3]), (probes[1], [1, 2]), (probes[2], [1, 2]), (modulation, [0, 1, 2, 3])]:
        (told,) = probe.told
        assert torch.equal(told.x, event.x[:, columns])
        assert torch.equal(probe.seen[-1], told.x)
        assert (told.step, told.progress, told.error, told.weight) == (5, 0.25, event.error, event.weight)


@every_modulated_network
def test_a_modulation_acts_at_every_hidden_layer_and_is_asked_first(network: str) -> None:
    modulation = ProbeModulation()
    made = MODULATED[network](modulation)
    x = torch.rand(5, 6, generator=seeded())
    made(x, x)
    assert modulation.asked == [(3, 8)]
    assert len(modulation.seen) == 3


@every_modulated_network
def test_a_modulation_for_another_network_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match="n_grids is 2, but the network has 3 hidden layers; give that or 1"):
        MODULATED[network](CAM(n_grids=2))
    with pytest.raises(ValueError, match="n_channels is 4, but the network is 8 wide; give that or 1"):
        MODULATED[network](CAM(n_grids=3, n_channels=4))
    with pytest.raises(ValueError, match=r"for 2 layers of width 9, but the network has 3 .* n_layers=3 and width=8"):
        MODULATED[network](FiLM(9, 2))
    MODULATED[network](CAM(n_grids=3, n_channels=8))
    MODULATED[network](FiLM(8, 3))
