"""Names and papers -> radiance fields: sizes, seeds, and that each learns a small scene at points."""

import dataclasses
import math

import pytest
import torch
from cases import seeded
from radiance_cases import directions
from torch import Tensor

from neufield.core.config import describe
from neufield.core.errors import ConfigError
from neufield.core.interfaces import RadianceField
from neufield.fitting.optim import adam
from neufield.presets import RadianceFacts, find, names, radiance

pytestmark = pytest.mark.usefixtures("one_thread")
every_preset = pytest.mark.parametrize("name", names("radiance"))


@every_preset
def test_a_preset_has_one_signature_and_a_seed_decides_it(name: str) -> None:
    preset = find(name, "radiance")
    assert preset.takes("resolution")
    torch.manual_seed(0)
    first, second = [preset(RadianceFacts(16), seeded(5)) for _ in range(2)]
    for (key, a), (_, b) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
        assert torch.equal(a, b), key
    assert describe(first) == describe(second)


@every_preset
def test_a_preset_whose_colors_take_codes_says_so(name: str) -> None:
    make = find(name, "radiance")
    if make.takes("code_dim"):
        field = make(RadianceFacts(16, code_dim=5))
        assert (field.code_dim, field.color_network.in_dim) == (5, make(RadianceFacts(16)).color_network.in_dim + 5)
    else:
        assert make(RadianceFacts(16)).code_dim == 0


@every_preset
def test_a_recipe_names_parts_that_exist(name: str) -> None:
    field = find(name, "radiance")(RadianceFacts(16))
    groups = adam(field, field.recipe).param_groups  # refuses a name that is nobody's
    assert sum(len(group["params"]) for group in groups) == len(list(field.parameters()))
    rates = {group["lr"] for group in groups}
    assert rates == {field.recipe.lr} | {field.recipe.lr * factor for factor in field.recipe.lr_factors.values()}


def test_ngp_decays_its_matrices_and_nothing_else() -> None:
    field = find("ngp", "radiance")(RadianceFacts(32))
    decayed = {id(p) for g in adam(field, field.recipe).param_groups if g["weight_decay"] for p in g["params"]}
    networks = [*field.network.parameters(), *field.color_network.parameters()]
    assert decayed == {id(p) for p in networks}


@pytest.mark.parametrize(
    ("name", "resolution", "count"),
    [
        # A table of 12.2 M, as the paper's (its coarse levels are smaller), then 32-64-16 and 32-64-64-3, no biases.
        ("ngp", 2048, 12_196_240 + 32 * 64 + 64 * 16 + 32 * 64 + 64 * 64 + 64 * 3),
        ("vm", 300, 3 * 64 * (300**2 + 300) + 144 * 27 + 151 * 128 + 129 * 128 + 129 * 3),
        ("cp", 500, 3 * 384 * 500 + 288 * 27 + 151 * 128 + 129 * 128 + 129 * 3),
        ("voxels", 128, 28 * 128**3),
        ("triplane", 512, 3 * 32 * (128**2 + 256**2 + 512**2) + 96 * 64 + 64 * 16 + 32 * 64 + 64 * 64 + 64 * 3),
        ("nerf", 1024, 67 * 256 + 6 * 257 * 256 + (256 + 67) * 256 + 257 * 257 + (256 + 30 + 1) * 128 + 129 * 3),
    ],
)
def test_the_papers_sizes_have_the_papers_counts(name: str, resolution: int, count: int) -> None:
    with torch.device("meta"):
        field = find(name, "radiance")(RadianceFacts(resolution))
        grow(field)
    assert sum(p.numel() for p in field.parameters()) == count


def test_ngp_at_its_paper_s_resolution_is_its_paper_s_grid() -> None:
    with torch.device("meta"):
        grid = find("ngp", "radiance")(RadianceFacts(2048)).encoding
    assert (grid.n_levels, grid.n_features_per_level, grid.log2_hashmap_size, grid.base_resolution) == (16, 2, 19, 16)
    assert grid.per_level_scale == pytest.approx(1.3819, abs=1e-4)  # the paper's four decimals


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no radiance preset 'voxel'; did you mean 'voxels'\?"):
        find("voxel", "radiance")


def scene(x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """A soft ball: its opacity over a fiftieth of a world unit, and a color that turns with place and direction."""
    sigma = 60 * torch.sigmoid((0.3 - (x - 0.5).norm(dim=-1)) * 30)
    rgb = 0.5 + 0.25 * torch.sin(2 * math.pi * x) + 0.15 * d[..., 2:]
    return 1 - torch.exp(-sigma / 50), rgb


SMALL = {"ngp": (32, 150), "nerf": (16, 100), "vm": (16, 60), "cp": (16, 60), "voxels": (12, 150), "triplane": (16, 60)}


def grow(field: RadianceField) -> None:
    """To the size that its plan ends with."""
    for stage in field.recipe.plan.stages if field.recipe.plan else ():
        for change in stage.before:
            change(field)


def small(name: str) -> tuple[RadianceField, int]:
    """A preset at a resolution that a thousand points a step can fill, and how many steps it gets."""
    resolution, steps = SMALL[name]
    if name == "nerf":
        field = radiance.nerf(resolution, 64, 4, generator=seeded(1))
        field.recipe = dataclasses.replace(field.recipe, lr=3e-3)  # for 100 steps in place of 10,000
        return field, steps
    field = find(name, "radiance")(RadianceFacts(resolution), seeded(1))
    grow(field)
    return field, steps


@every_preset
def test_a_preset_learns_a_small_scene_at_points(name: str) -> None:
    field, steps = small(name)
    optimizer = adam(field, field.recipe)
    generator = seeded(2)

    def errors(x: Tensor, d: Tensor) -> Tensor:
        """Mean squared errors of opacity and color, as shares of what guessing the mean leaves."""
        opacity, rgb = scene(x, d)
        _, sigma, features = field.geometry(x)
        found = (1 - torch.exp(-sigma / 50) - opacity).square().mean() / opacity.var()
        return torch.stack([found, (field.color(features, d) - rgb).square().mean() / rgb.var(0).mean()])

    unseen = torch.rand(4000, 3, generator=seeded(3)), directions(4000, seed=4)
    with torch.no_grad():
        assert errors(*unseen).min() > 0.9
    for step in range(steps):
        optimizer.zero_grad()
        errors(torch.rand(1024, 3, generator=generator), directions(1024, seed=10 + step)).sum().backward()
        optimizer.step()
    with torch.no_grad():
        after = errors(*unseen)
    assert after.max() < 0.1, after  # measured 0.01 to 0.04
