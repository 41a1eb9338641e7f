"""The march by nerfacc against the reference, with a stand-in for nerfacc: there is no GPU here, and none in CI."""

import sys
import types

import nerfacc_stub
import pytest
import torch
from ball import write_ball
from cases import seeded
from native_cases import relative
from radiance_cases import RADIANCE
from render_cases import ring
from volume_cases import rays_and_starts, rays_through

from neufield.apps import cli
from neufield.core.errors import BackendError
from neufield.core.interfaces import Sampler
from neufield.core.rays import Rays
from neufield.encodings import Grid
from neufield.kernels.dispatch import Accelerated, select, use_backend
from neufield.kernels.volume import KERNELS, MarchSpec, NerfaccMarch, TorchMarch
from neufield.kernels.volume.nerfacc import trial
from neufield.renderers import Box, Cameras, OccupancyGrid, RadianceScene, StratifiedSampler

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CORNERS = (-1.0, -0.5, 0.0), (1.0, 1.5, 1.0)
SPECS = {
    "equal steps": MarchSpec(*CORNERS, 0.03),
    "fine steps": MarchSpec(*CORNERS, 0.002, cascades=2),
    "three levels": MarchSpec(*CORNERS, 0.01, cascades=3),
    "instant-ngp's cone": MarchSpec(*CORNERS, 0.004, 1 / 256),
    "a wide cone": MarchSpec(*CORNERS, 0.03, 0.1, 3),
    "always growing": MarchSpec(*CORNERS, 0.001, 0.05, 4),
}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """``import nerfacc`` finds the stand-in."""
    made = nerfacc_stub.module()
    monkeypatch.setitem(sys.modules, "nerfacc", made)
    return made


@pytest.fixture
def anywhere(stub: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it need not be on CUDA."""
    monkeypatch.setattr(NerfaccMarch, "obstacles", lambda self, spec, device, dtype: [])


def clipped(rays: Rays, spec: MarchSpec) -> Rays:
    """As renderers clip them; many of these miss the box."""
    return Rays(
        rays.origins, rays.directions, *Box(spec.lower, spec.upper, near=0.0).near_far(rays.origins, rays.directions)
    )


def scaled(rays: Rays, factor: float) -> Rays:
    return Rays(rays.origins * factor, rays.directions, rays.near * factor, rays.far * factor)


def unmatched(some: tuple, others: tuple) -> int:
    """How many of ``some`` intervals are not among the ``others``, starts within 1e-5 of themselves."""
    keys = [ids.double() * 1e3 + starts.double() for ids, starts in (some, others)]  # no distance is so long
    places = torch.searchsorted(keys[1], keys[0])
    nearest = torch.stack([keys[1][(places - side).clamp(0, len(keys[1]) - 1)] for side in (0, 1)])
    return int(((nearest - keys[0]).abs().amin(dim=0) > 1e-5 * (some[1].abs() + 1e-3)).sum())


def assert_same_steps(spec: MarchSpec, rays: Rays, jitter: torch.Tensor, occupied: torch.Tensor) -> int:
    expected, found = (
        rays_and_starts(kernel.march(rays, jitter, occupied, spec)) for kernel in (TorchMarch(), NerfaccMarch())
    )
    assert bool((found[0].diff() >= 0).all())
    again = found[1].diff()[found[0].diff() == 0]
    assert bool((again > 0).all()), "in order, each once"
    if spec.cone_angle:
        # Starts within 1e-5: float32's 6e-8 at each of a hundred steps. A middle within that of a cell's face may fall
        # to its other side: 2 of 5,000 were seen to.
        assert unmatched(expected, found) + unmatched(found, expected) <= 2 + len(expected[0]) // 500
        return len(expected[0])
    same = dict.fromkeys(zip(*[values.tolist() for values in expected], strict=True))
    own = list(zip(*[values.tolist() for values in found], strict=True))
    assert all(interval in same for interval in own), "every one is the reference's, to the bit"
    # A ray that cuts off less than 1e-6 of a cell's edge: none of 30,000 was seen.
    assert len(same) - len(own) <= len(same) // 1000
    return len(same)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("clip", [True, False], ids=["clipped", "not clipped"])
def test_the_steps_are_the_references(stub, name: str, clip: bool, generator) -> None:
    """Rays that are not clipped go on outside, where the nearest cell counts; some begin inside."""
    spec = SPECS[name]
    occupied = torch.rand(spec.cascades, 12, 12, 12, generator=generator) > 0.7
    rays, jitter = rays_through(150, generator)
    assert assert_same_steps(spec, clipped(rays, spec) if clip else rays, jitter, occupied) > 100


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_small_and_large_worlds_are_alike(stub, factor: float, generator) -> None:
    """nerfacc's margins are in units of distance."""
    occupied = torch.rand(2, 12, 12, 12, generator=generator) > 0.7
    rays, jitter = rays_through(150, generator)
    corners = [[factor * value for value in corner] for corner in CORNERS]
    spec = MarchSpec(*corners, 0.005 * factor, cascades=2)
    assert assert_same_steps(spec, clipped(scaled(rays, factor), spec), jitter, occupied) > 1000


def test_rounding_of_nerfaccs_walk_does_not_matter(monkeypatch: pytest.MonkeyPatch, generator) -> None:
    """Faces misplaced by 5e-5 sides: more than a sum of 128 cells' lengths is rounded by, less than half a step."""
    monkeypatch.setitem(sys.modules, "nerfacc", nerfacc_stub.module(ahead=5e-5))
    spec = MarchSpec(*CORNERS, 0.002)
    occupied = torch.rand(1, 8, 8, 8, generator=generator) > 0.7
    rays, jitter = rays_through(150, generator)
    assert assert_same_steps(spec, clipped(rays, spec), jitter, occupied) > 3000


@pytest.mark.parametrize("share", [0.0, 1.0], ids=["nothing", "everything"])
def test_nothing_and_everything_occupied(stub, share: float, generator) -> None:
    spec = SPECS["three levels"]
    occupied = torch.rand(3, 4, 4, 4, generator=generator) < share
    rays, jitter = rays_through(60, generator)
    assert (assert_same_steps(spec, rays, jitter, occupied) > 0) == bool(share)


def test_rays_that_meet_nothing(stub, generator) -> None:
    """None at all, rays that miss the box, and rays that end where they begin."""
    everywhere = torch.ones(1, 4, 4, 4, dtype=torch.bool)
    for n in (0, 3):
        origins, directions = torch.full((n, 3), 5.0), torch.tensor([[0.0, 1.0, 0.0]]).expand(n, 3)
        for rays in (
            clipped(Rays(origins, directions, torch.zeros(n), torch.ones(n)), SPECS["equal steps"]),
            Rays(origins, directions, torch.ones(n), torch.ones(n)),
        ):
            ray_ids, starts = rays_and_starts(
                NerfaccMarch().march(rays, torch.zeros(n), everywhere, SPECS["equal steps"])
            )
            assert ray_ids.dtype == torch.long
            assert starts.dtype == torch.float32
            assert len(ray_ids) == len(starts) == 0


def test_levels_that_are_not_the_specs_are_refused(stub) -> None:
    rays, jitter = rays_through(4, seeded())
    with pytest.raises(ValueError, match=r"occupied of shape \(2, 4, 4, 4\), .* \(1, R, R, R\)"):
        NerfaccMarch().march(rays, jitter, torch.ones(2, 4, 4, 4, dtype=torch.bool), SPECS["equal steps"])


def test_what_nerfacc_cannot_do_is_a_sentence_each(stub) -> None:
    contracted = MarchSpec(*CORNERS, 0.03, contracted=True)
    sentences = NerfaccMarch().obstacles(contracted, CPU, torch.float64)
    assert all(part in said for part, said in zip(("not on cpu", "float32", "contracted"), sentences, strict=True))
    assert len(NerfaccMarch().obstacles(SPECS["equal steps"], CPU, torch.float32)) == 1


def test_without_the_package_obstacles_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nerfacc", None)
    for device, count in ((CUDA, 1), (CPU, 2)):
        sentences = NerfaccMarch().obstacles(SPECS["equal steps"], device, torch.float32)
        assert len(sentences) == count
        assert 'pip install "neufield[gpu]"' in sentences[-1]
    assert "which is not installed" in (trial.__wrapped__(CPU) or "")


def test_with_cuda_and_a_nerfacc_that_runs_it_stands_in_for_triton(stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neufield.kernels.gpu.obstacles", lambda device: ("Triton is not installed.",))
    monkeypatch.setattr("neufield.kernels.volume.nerfacc.trial", lambda device: trial.__wrapped__(CPU))
    spec = SPECS["three levels"]
    assert [kernel.name for kernel in KERNELS] == ["cpu", "triton", "nerfacc", "torch"]
    assert select("the march", KERNELS, spec, CUDA).name == "nerfacc"
    assert select("the march", KERNELS, spec, CUDA, backend="torch").name == "torch"
    contracted = MarchSpec(*CORNERS, 0.03, contracted=True)
    assert select("the march", KERNELS, contracted, CUDA).name == "torch"
    with pytest.raises(BackendError, match="contracted space"):
        select("the march", KERNELS, contracted, CUDA, backend="nerfacc")


def test_a_nerfacc_that_does_not_run_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be compiled, an old one without the function, and one that answers something else."""

    def fails(*args, **kwargs):
        raise RuntimeError("Error building extension 'nerfacc_cuda'\nand a thousand lines")

    def wrong(*args, **kwargs):
        return nerfacc_stub.Intervals(
            torch.tensor([0.0, 2.0]), torch.tensor([0, 0]), torch.tensor([True, False]), torch.tensor([False, True])
        ), None

    for found, part in ((fails, "building extension 'nerfacc_cuda');"), (None, "NoneType"), (wrong, "[0.0, 2.0]")):
        made = nerfacc_stub.module()
        made.__dict__["traverse_grids"] = found
        monkeypatch.setitem(sys.modules, "nerfacc", made)
        said = trial.__wrapped__(CPU) or ""
        assert part in said
        assert len(said.splitlines()) == 1
    monkeypatch.setitem(sys.modules, "nerfacc", nerfacc_stub.module())
    assert trial.__wrapped__(CPU) is None


def posed(sampler: Sampler, field: str = "hash") -> RadianceScene:
    return RadianceScene(RADIANCE[field](), Cameras.of(ring(2, 16)), sampler.space, sampler)


BOX = Box((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def test_a_field_named_to_run_by_nerfacc_does(anywhere, generator) -> None:
    """The march is nerfacc's, not the fused kernel's; the grid, which nerfacc does not know, chooses by itself."""
    sampler = OccupancyGrid(BOX, 0.02, resolution=8, cone_angle=0.01, cascades=2)
    sampler.occupied.copy_(torch.rand(sampler.occupied.shape, generator=generator) > 0.5)
    model = posed(sampler)
    pixels = torch.rand(40, 3, generator=generator) * torch.tensor([1.0, 16.0, 16.0])
    use_backend(model, "torch", CPU)
    expected = model(pixels)
    assert "nerfacc" in use_backend(model, "nerfacc", CPU).split("+")
    assert sampler.kernel_name(CPU) == "nerfacc"
    assert {part.backend for part in model.modules() if isinstance(part, Grid)} == {"auto"}
    calls = []
    march = NerfaccMarch.march
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NerfaccMarch, "march", lambda *args: calls.append(1) or march(*args))
        found = model(pixels)
    assert calls
    assert relative(found, expected) < 1e-3  # one interval in 5,000 at most is another's
    use_backend(model, "auto", CPU)
    assert {part.backend for part in model.modules() if isinstance(part, Accelerated)} == {"auto"}


def test_nerfacc_named_where_nothing_marches_is_refused(anywhere) -> None:
    with pytest.raises(BackendError, match="no part that it serves"):
        use_backend(posed(StratifiedSampler(BOX, 8)), "nerfacc", CPU)
    with pytest.raises(BackendError, match=r"'nerfacc' does not exist for this field; known: auto, cpu, .*torch"):
        use_backend(Grid(3, 2, 2, 3, 2, 1.5, generator=seeded()), "nerfacc", CPU)


def test_the_command_line_says_why_in_one_sentence(tmp_path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nerfacc", None)
    write_ball(tmp_path / "ball", train=4, test=2)
    scene, out = str(tmp_path / "ball"), str(tmp_path / "run")
    with pytest.raises(SystemExit) as end:
        cli.main(["nerf", "train", scene, "--box", "1", "--backend", "nerfacc", "--out", out])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "nerfacc runs on CUDA, not on cpu" in said
    assert 'pip install "neufield[gpu]"' in said
    assert not (tmp_path / "run").exists()


def test_doctor_says_why_it_is_absent(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nerfacc", None)
    monkeypatch.setenv("COLUMNS", "400")  # a row of the table is a line
    cli.main(["doctor"])
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "│ nerfacc" in line]
    assert "march" in row
    assert 'nerfacc runs on CUDA, not on cpu. nerfacc is not installed; pip install "neufield[gpu]".' in row
