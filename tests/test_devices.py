"""A training step on a device where no tensor of the CPU may turn up: "meta" refuses to mix, as a GPU would.

What a GPU would be waited for cannot be answered there at all: the tests say it instead, and so name every wait.
"""

import pytest
import torch
from cases import seeded
from radiance_cases import RADIANCE
from render_cases import ring

from neufield.core.edits import Edit
from neufield.core.on_device import device_constant, device_uniform, generator_for
from neufield.core.rays import Intervals, Rays
from neufield.core.recipe import Recipe
from neufield.core.records import Event, StepContext
from neufield.fitting import Photometric, start
from neufield.kernels import field as field_op
from neufield.kernels.volume import TorchMarch
from neufield.networks import MLP
from neufield.networks.fused import evaluate_network
from neufield.presets.scene import MemoryPlan
from neufield.presets.scene import model as scene_model
from neufield.renderers import Box, Cameras, Contraction, OccupancyGrid, PoseRefinement, RadianceScene, SceneBounds
from neufield.signals.posed_images import PosedImages

META = torch.device("meta")
BOX = Box((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
SPACES = {"box": BOX, "contraction": Contraction([0.0, 0.1, 0.0], 1.0, 0.1, 10.0)}


@pytest.fixture(autouse=True)
def precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast does not know "meta"; it is a CPU to it here."""
    autocast, enabled = torch.autocast, torch.is_autocast_enabled
    monkeypatch.setattr(torch, "autocast", lambda name, *a, **k: autocast("cpu" if name == "meta" else name, *a, **k))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda name: enabled("cpu" if name == "meta" else name))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each time that somebody asks how many there are; the answer is always the same."""
    asked: list[str] = []

    def march(self, rays: Rays, jitter: torch.Tensor, occupied: torch.Tensor, spec) -> Intervals:
        asked.append("march")
        assert {t.device for t in (rays.origins, rays.near, jitter, occupied)} == {META}
        return spec.intervals(torch.zeros(50, dtype=torch.long, device=META), len(rays), torch.zeros(50, device=META))

    nonzero = torch.Tensor.nonzero

    def count(self: torch.Tensor, **kwargs) -> torch.Tensor:
        if self.device != META:
            return nonzero(self, **kwargs)
        asked.append("nonzero")
        return torch.zeros(20, self.ndim, dtype=torch.long, device=META)

    monkeypatch.setattr(TorchMarch, "march", march)
    monkeypatch.setattr(torch.Tensor, "nonzero", count)
    return asked


def model(space: SceneBounds, refined: bool = False) -> RadianceScene:
    cameras = Cameras.of(ring(2, 16), PoseRefinement(2) if refined else None)
    levels = 1 if isinstance(space, Contraction) else 2
    made = RadianceScene(RADIANCE["hash"](), cameras, space, OccupancyGrid(space, 0.02, 8, 0.01, levels)).to(META)
    lenses = made.cameras.fisheye, made.cameras.distortion
    made.cameras._bends = ([(id(lens), lens._version) for lens in lenses], False)  # what a GPU is asked once
    return made


def photographs() -> PosedImages:
    mask = torch.ones(16, 16, dtype=torch.bool)
    images = torch.randint(256, (2, 16, 16, 4), generator=seeded(), dtype=torch.uint8)
    return PosedImages(list(images), [mask, None])


@pytest.mark.parametrize(("space", "refined"), [("box", True), ("contraction", False)])
def test_a_step_meets_no_tensor_of_the_cpu_and_waits_twice(space: str, refined: bool, waits: list[str]) -> None:
    posed, generator = model(SPACES[space], refined), seeded()
    batch = photographs().to(META).sample(64, generator)
    assert {batch.x.device, batch.target.device} == {META}
    evaluation = Photometric()(posed, batch, StepContext(0, 0.0, generator))
    assert waits == ["march", "nonzero"]  # how many intervals there are, and how many of them are visible
    evaluation.loss.backward()
    assert {p.grad.device for p in posed.parameters() if p.grad is not None} == {META}
    assert (posed.cameras.refinement is None) or posed.cameras.refinement.twists.grad is not None
    for step in (1, 17):  # between two looks at the cells
        posed.on_step(Event(step, 0.1, evaluation.x, evaluation.error, evaluation.weight))
    assert len(waits) == 2
    posed.on_step(Event(16, 0.1, evaluation.x, evaluation.error, evaluation.weight))  # everywhere
    assert len(waits) == 2
    posed.on_step(Event(160, 0.1, evaluation.x, evaluation.error, evaluation.weight))  # where the occupied cells are
    assert waits[2:] == ["nonzero"]


def test_a_camera_asks_its_lenses_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And again when they are others."""
    cameras, asked, anything = Cameras.of(ring(2, 16)), [], torch.Tensor.any
    monkeypatch.setattr(torch.Tensor, "any", lambda self: asked.append(1) or anything(self))
    index, pixels = torch.zeros(3, dtype=torch.long), torch.rand(3, 2, generator=seeded()) * 16
    _, straight = cameras.rays(index, pixels)
    assert len(asked) == 2
    cameras.rays(index, pixels)
    assert len(asked) == 2
    cameras.distortion[:, 0] = 0.3
    _, bent = cameras.rays(index, pixels)
    assert len(asked) > 2
    assert not torch.allclose(straight, bent)
    with torch.inference_mode():
        Cameras.of(ring(2, 16)).rays(index, pixels)


def test_numbers_are_placed_beside_what_needs_them() -> None:
    like = torch.zeros(2, dtype=torch.float64, device=META)
    for made in (device_constant([1, 2.5], like), device_uniform((2, 3), seeded(), like)):
        assert (made.device, made.dtype) == (META, torch.float64)
    assert torch.equal(device_constant([[1, 2.5]], torch.zeros(1)), torch.tensor([[1, 2.5]]))
    assert torch.equal(device_uniform((5,), seeded(3), torch.zeros(1)), torch.rand(5, generator=seeded(3)))
    assert generator_for(META, 7).device.type == "cpu"
    assert torch.equal(generator_for(META, 7).get_state(), seeded(7).get_state())
    state = start(RADIANCE["hash"]().backbone, Recipe(), 7, "cpu")
    assert torch.equal(state.generator.get_state(), seeded(7).get_state())


def test_photographs_lie_beside_the_model_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    gigabyte = 10**9
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * gigabyte, 10 * gigabyte))
    cuda = torch.device("cuda")
    assert MemoryPlan(gigabyte, 2 * gigabyte, 4 * gigabyte, cuda).place == cuda
    assert MemoryPlan(3 * gigabyte, 2 * gigabyte, 4 * gigabyte, cuda).place.type == "cpu"
    assert MemoryPlan(3 * gigabyte, 2 * gigabyte, 4 * gigabyte, torch.device("cpu")).place.type == "cpu"


def test_the_device_decides_how_many_samples_a_step_has() -> None:
    assert scene_model._for_device(torch.device("cuda")) == [Edit("recipe.batch_size", 2**18)]
    assert scene_model._for_device(torch.device("cpu")) == []


class Known(field_op.FieldKernel):
    """A fused kernel for networks that runs on "meta"."""

    name = "known"
    asked: tuple = ()

    def obstacles(self, spec, device: torch.device, dtype: torch.dtype) -> list[str]:
        return [] if device == META and spec.encoding is None else ["not here"]

    def evaluate(self, x: torch.Tensor, table: None, params: torch.Tensor, spec) -> torch.Tensor:
        self.asked = (*x.shape, len(params), spec.precision)
        return x.new_empty(len(x), spec.out_dim)

    def fused_loss(self, *_: object) -> None:
        raise NotImplementedError


def test_a_color_network_alone_goes_through_a_fused_kernel_off_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Known()
    monkeypatch.setattr(field_op, "KERNELS", (kernel,))
    network = MLP(5, 3, 8, 2, output_activation="sigmoid", generator=seeded())
    h = torch.rand(2, 7, 5, generator=seeded())
    torch.testing.assert_close(evaluate_network(network, h, h), network(h, h), rtol=0, atol=0)
    assert kernel.asked == ()
    network, h = network.to(META), h.to(META)
    assert evaluate_network(network, h, h, "torch").shape == (2, 7, 3)
    assert kernel.asked == ()
    for backend in ("auto", "known"):
        assert evaluate_network(network, h, h, backend).shape == (2, 7, 3)
        assert kernel.asked == (14, 5, 5 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3, "fp32")
    skipping = MLP(5, 3, 8, 2, skips=[1], generator=seeded()).to(META)  # more than a chain
    kernel.asked = ()
    assert evaluate_network(skipping, h, h).shape == (2, 7, 3)
    assert kernel.asked == ()
