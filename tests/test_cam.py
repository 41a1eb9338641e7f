"""Coordinate-aware modulation: the counts and facts of the paper, where grids are read, how the shell says it."""

import pytest
import torch
from cases import seeded, without_type_checks
from torch import Tensor

from neufield import presets
from neufield.core.config import describe
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError
from neufield.core.lattice import lattice
from neufield.core.recipe import Recipe
from neufield.encodings import Frequency, Identity
from neufield.fields import NerfRadiance, NeuralField
from neufield.fitting import adam, count_parameters
from neufield.networks import CAM, MLP, Siren
from neufield.presets import SignalFacts

PICTURE = SignalFacts(2, 3, (16, 16), 800)


def shaken(part: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for i, parameter in enumerate(part.parameters()):
            parameter += torch.randn(parameter.shape, generator=seeded(i)).to(parameter.dtype)
    return part


@pytest.mark.parametrize(
    ("in_dim", "modulated", "expected"),
    [(1, False, 12_673), (33, False, 14_721), (1, True, 13_185), (33, True, 15_233)],
)
def test_the_one_dimensional_networks_have_the_paper_s_counts(in_dim: int, modulated: bool, expected: int) -> None:
    modulation = CAM([64], 4, norm="none") if modulated else None
    assert count_parameters(MLP(in_dim, 1, 64, 4, "none", modulation=modulation)) == expected


@pytest.mark.parametrize(("n_grids", "expected"), [(0, 263_683), (1, 265_731), (3, 269_827)])
def test_the_picture_s_network_has_the_paper_s_counts(n_grids: int, expected: int) -> None:
    modulation = CAM([32, 32], n_grids) if n_grids else None
    assert count_parameters(MLP(512, 3, 256, 3, modulation=modulation)) == expected


@pytest.mark.parametrize("network", [MLP, Siren], ids=lambda kind: kind.__name__)
def test_without_a_norm_it_starts_as_the_plain_network(network: type) -> None:
    plain = network(2, 3, 32, 2, generator=seeded())
    modulated = network(2, 3, 32, 2, modulation=CAM([7, 5], 1, norm="none"), generator=seeded())
    x = torch.rand(200, 2, generator=seeded(1))
    # The weights of four nodes add up to 1 within 1e-7 a layer; three layers and omega 30 of the SIREN make 1e-5 of it.
    torch.testing.assert_close(modulated(x, x), plain(x, x), rtol=0, atol=1e-6 if network is MLP else 1e-5)


def test_each_point_s_channels_are_normalized_before() -> None:
    h = torch.randn(50, 64, generator=seeded()) * 3 + 2
    normed = CAM([4], 1)(h, torch.rand(50, 1, generator=seeded(1)), 0)
    # Layer norm's epsilon takes 1e-5 / 9 of the variance.
    torch.testing.assert_close(normed.mean(1), torch.zeros(50), rtol=0, atol=1e-6)
    torch.testing.assert_close(normed.var(1, correction=0), torch.ones(50), rtol=0, atol=1e-5)


def test_nodes_lie_from_face_to_face_and_are_read_linearly() -> None:
    cam = shaken(CAM([5, 3], 2, norm="none").double())
    gamma, beta = cam.grids[1][..., 0, 0], cam.grids[1][..., 1, 0]
    nodes = torch.cartesian_prod(torch.linspace(0, 1, 5), torch.linspace(0, 1, 3)).double()
    h = torch.randn(15, 4, generator=seeded(5)).double()
    expected = gamma.reshape(15, 1) * h + beta.reshape(15, 1)
    # linspace has float32's coordinates, 6e-8 off, of cells with a difference of order 1.
    torch.testing.assert_close(cam(h, nodes, 1), expected, rtol=1e-6, atol=1e-6)
    quarter = torch.tensor([[0.25 + 0.0625, 0.5]], dtype=torch.float64)  # a quarter of a cell beyond node (1, 1)
    at = 0.75 * gamma[1, 1] + 0.25 * gamma[2, 1]
    slope = cam(torch.ones(1, 4).double(), quarter, 1) - cam(torch.zeros(1, 4).double(), quarter, 1)
    torch.testing.assert_close(slope[0, 0], at, rtol=1e-9, atol=1e-9)
    outside = torch.tensor([[-0.4, 1.7], [0.0, 1.0]], dtype=torch.float64)
    first, second = cam(h[:1].expand(2, 4), outside, 1)
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


def test_one_node_acts_within_one_cell_of_it() -> None:
    cam = CAM([32, 32], 1)
    network = MLP(2, 1, 8, 2, modulation=cam, generator=seeded())
    x = lattice((64, 64))
    before = network(x, x)
    with torch.no_grad():
        cam.grids[0][10, 20, 0] = 0
    moved = (network(x, x) != before)[..., 0]
    near = ((x * 31 - torch.tensor([10.0, 20.0])).abs() < 1).all(-1)
    assert not moved[~near].any()
    assert moved.sum() > 0.5 * near.sum()  # where all ReLUs are off nothing moves


def test_axes_choose_coordinates_and_channels_have_numbers_of_their_own() -> None:
    cam = shaken(CAM([4], 1, [2], 3, "none"))
    h, x = torch.ones(6, 3), torch.rand(6, 4, generator=seeded(1))
    y = cam(h, x, 0)
    other = x.clone()
    other[:, [0, 1, 3]] = 0.3
    assert torch.equal(cam(h, other, 0), y)
    other[:, 2] = 0.3
    assert not torch.equal(cam(h, other, 0), y)
    expected = [cam.grids[0][0, 0, c] * h[0, c] + cam.grids[0][0, 1, c] for c in range(3)]
    torch.testing.assert_close(cam(h[:1], torch.zeros(1, 4), 0)[0], torch.stack(expected))


def test_layers_have_grids_of_their_own_unless_there_is_one() -> None:
    h, x = torch.rand(5, 4, generator=seeded()), torch.rand(5, 1, generator=seeded(1))
    own, shared = shaken(CAM([4], 2)), shaken(CAM([4], 1))
    assert not torch.equal(own(h, x, 0), own(h, x, 1))
    assert torch.equal(shared(h, x, 0), shared(h, x, 1))


def test_grids_learn_at_their_own_rate_and_are_not_pulled_to_zero() -> None:
    field = NeuralField(Identity(1), MLP(1, 1, 4, 2, modulation=CAM([8], 2)))
    optimizer = adam(field, Recipe(lr=1e-3, lr_factors={"network.modulation": 10.0}, l2_reg=0.5))
    grids = {id(grid) for grid in field.network.modulation.grids}
    (group,) = [group for group in optimizer.param_groups if id(group["params"][0]) in grids]
    assert {id(p) for p in group["params"]} == grids
    assert group["lr"] == pytest.approx(1e-2)
    assert group["weight_decay"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": []}, r"resolution is \[\]"),
        ({"resolution": [4, 0]}, r"resolution is 0"),
        ({"norm": "batch"}, r"norm is 'batch', .*'none', 'point'"),
        ({"axes": [0]}, r"axes is \[0\] for resolution \[32, 32\].*axes=\[0, 1\]"),
        ({"axes": [1, 1]}, r"axes is \[1, 1\]"),
        ({"axes": [-1, 0]}, r"axes is \[-1, 0\]"),
        ({"n_channels": 0}, r"n_channels is 0"),
    ],
)
def test_impossible_grids_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CAM(**arguments)


def test_a_coordinate_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="reads coordinate 1, counted from 0, but points have 1; give it axes="):
        CAM()(torch.zeros(3, 4), torch.zeros(3, 1), 0)


def test_a_setting_puts_it_into_any_preset() -> None:
    field = presets.siren(2, 3, generator=seeded())
    changed = presets.customize(
        field,
        [Edit("network.modulation.type", "CAM"), Edit("network.modulation.resolution", [4, 4]),
         Edit("network.modulation.n_grids", 4),
         Edit("network.modulation.norm", "none"), Edit("recipe.lr_factors", {"network.modulation": 10})],
        seeded(),
    )  # fmt: skip
    assert isinstance(changed.network.modulation, CAM)
    assert changed.network.modulation.resolution == [4, 4]
    assert describe(changed)["network"]["modulation"]["n_grids"] == 4
    assert changed(torch.rand(5, 2)).shape == (5, 3)
    with without_type_checks(), pytest.raises(ConfigError, match=r"network\.modulation is 'Grid', but .*CAM or FiLM"):
        presets.customize(field, [Edit("network.modulation.type", "Grid"), Edit("network.modulation.in_dim", 2)])


def test_nerf_s_layers_are_modulated_by_the_point() -> None:
    cam = CAM([3, 3, 3], 4, norm="none")
    field = NerfRadiance(Frequency(3, 2), Frequency(3, 1), 8, 4, modulation=cam, generator=seeded())
    plain = NerfRadiance(Frequency(3, 2), Frequency(3, 1), 8, 4, generator=seeded())
    x = torch.rand(20, 3, generator=seeded(1))

    def logit(model: NerfRadiance) -> Tensor:
        return model.geometry(x).logit

    torch.testing.assert_close(logit(field), logit(plain), rtol=0, atol=1e-6)  # as above
    shaken(cam)
    assert not torch.allclose(logit(field), logit(plain), atol=1e-2)
    names = [name for name, _ in field.named_parameters() if "modulation" in name]
    assert names == [f"backbone.network.modulation.grids.{i}" for i in range(4)]


def test_the_preset_is_the_paper_s_network() -> None:
    field = presets.find("cam")(PICTURE, seeded())
    assert count_parameters(field) == 269_827
    assert field.recipe.lr_factors == {"network.modulation": 10.0}
