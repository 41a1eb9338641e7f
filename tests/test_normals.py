"""Expected normals against a ball's own."""

import math

import pytest
import torch
from render_cases import BOX, towards
from torch import Tensor

from neufield.core.interfaces import RadianceField
from neufield.core.rays import Conditioning, Geometry, Rays
from neufield.core.recipe import Recipe
from neufield.renderers import NDC, Box, Contraction, SceneBounds, StratifiedSampler, expected_normals, render_rays


class SoftBall(RadianceField):
    """In the world a ball of radius 0.5 around the origin with a steep soft rim, whichever space it is put in."""

    def __init__(self, to_world) -> None:
        super().__init__()
        self.to_world = to_world
        self.recipe = Recipe()

    def geometry(self, x: Tensor, cond: Conditioning | None = None) -> Geometry:
        logit = 60 * (0.5 - self.to_world(x).norm(dim=-1))
        return Geometry(logit, 40 * torch.sigmoid(logit), x)

    def color(self, features: Tensor, d: Tensor, cond: Conditioning | None = None) -> Tensor:
        return torch.ones_like(features)


def from_box(box: Box):
    lower, upper = torch.tensor(box.lower), torch.tensor(box.upper)
    return lambda x: lower + x * (upper - lower)


def from_contraction(space: Contraction):
    def to_world(x: Tensor) -> Tensor:
        y = 4 * (x - 0.5)
        size = y.norm(dim=-1, keepdim=True).clamp(min=1.0)
        return y / size / (2 - size) * space.radius + torch.tensor(space.center)

    return to_world


def from_ndc(space: NDC):
    def to_world(x: Tensor) -> Tensor:
        depth = 1 / (1 / space.near - x[:, 2:] * (1 / space.near - 1 / space.far))
        across = (2 * x[:, :2] - 1) * torch.tensor(space.tangents) * depth
        local = torch.cat([across, -depth], dim=1)
        pose = torch.tensor(space.to_world)
        return local @ pose[:, :3].t() + pose[:, 3]

    return to_world


FLAT = Box((-1.0, -2.0, -4.0), (1.0, 2.0, 4.0))  # no cube: by its own coordinates a ball is no ball
SHELL = Contraction((0.0, 0.0, 0.3), 0.2, 1.0, 20.0)  # the ball lies outside of what is kept as it is
FRONT = NDC([[1.0, 0, 0, 0.1], [0, 1, 0, 0], [0, 0, 1, 4.0]], [0.5, 0.4], 2.0, 9.0)
SPACES = {"flat": (FLAT, from_box), "shell": (SHELL, from_contraction), "front": (FRONT, from_ndc)}


@pytest.mark.parametrize("name", SPACES)
def test_a_ball_s_normals_in_the_world_whatever_the_space(name: str) -> None:
    space, back = SPACES[name]
    offsets = [0.0, 0.1, -0.2, 0.3, -0.4]
    origins = torch.tensor([[a, 0.5 * a, 4.0] for a in offsets])
    directions = torch.tensor([[0.0, 0.0, -1.0]]).repeat(len(offsets), 1)
    rays = Rays(origins, directions, *space.near_far(origins, directions))
    field, sampler = SoftBall(back(space)), StratifiedSampler(space, 2000, "disparity")
    with torch.no_grad():
        view = render_rays(field, sampler, rays, torch.ones(1, 3))
        found = expected_normals(field, space, view)
    assert not found.requires_grad
    for offset, normal, opacity in zip(offsets, found, view.opacity, strict=True):
        assert float(opacity) > 0.99
        x, y = offset, 0.5 * offset
        # Light comes from a depth of about 1 / 40 around the rim; normals turn by its share of the radius of 0.5.
        expected = torch.tensor([x / 0.5, y / 0.5, math.sqrt(1 - (x * x + y * y) / 0.25)])
        assert float((normal - expected).norm()) < 0.08
        assert float(normal.norm()) == pytest.approx(1.0, abs=1e-5)
    head_on = found[0]
    torch.testing.assert_close(head_on, torch.tensor([0.0, 0.0, 1.0]), rtol=0, atol=1e-4)  # float32


def test_where_nothing_is_there_is_no_normal() -> None:
    field, sampler = SoftBall(from_box(BOX)), StratifiedSampler(BOX, 50)
    for rays in (towards(5.0, 2), towards(5.0, 0)):
        view = render_rays(field, sampler, rays, torch.ones(1, 3))
        found = expected_normals(field, BOX, view)
        assert torch.equal(found, torch.zeros(len(rays.near), 3))


def test_a_space_is_asked_for_its_own_map() -> None:
    assert all(isinstance(space, SceneBounds) for space, _ in SPACES.values())
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 0.4
    for space, back in SPACES.values():
        torch.testing.assert_close(back(space)(space.to_unit(points)), points, rtol=1e-4, atol=1e-4)  # float32
