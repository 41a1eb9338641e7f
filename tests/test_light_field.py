"""R2L: rays as points, the residual network, and the pool of hard rays."""

import pytest
import torch
from cases import seeded

from neufield.core.recipe import Recipe, WarmUp
from neufield.core.records import Batch, StepContext
from neufield.fields import LightField
from neufield.fields.light_field import features_of_ray
from neufield.fitting import HardRays, RayRegression
from neufield.functional import octaves
from neufield.networks import ResidualMLP


def small(**changes: object) -> LightField:
    """A light field of 4 points and 2 octaves, between the depths 2 and 6."""
    network = ResidualMLP(features_of_ray(4, 2), 3, 8, 2, generator=seeded())
    return LightField(network, 2.0, 6.0, 4, 2, **changes)


def test_the_papers_sizes() -> None:
    """1008 inputs, 88 layers, 5.92 M parameters, 11.79 MFLOP a ray: 2 for each weight."""
    network = ResidualMLP(features_of_ray(16, 10), 3)
    matrices = [p for p in network.parameters() if p.ndim == 2]
    assert network.in_dim == 1008
    assert len(matrices) == 88
    assert sum(p.numel() for p in network.parameters()) == 5_917_187
    assert 2 * sum(p.numel() for p in matrices) == 11_789_824


def test_the_papers_learning_rates() -> None:
    schedule = WarmUp()
    rates = [5e-4 * schedule.factor(step, 0.0) for step in (0, 100, 200, 500_200, 1_200_000)]
    assert rates == pytest.approx([1e-4, 3e-4, 5e-4, 5e-5, 5e-4 * 0.1 ** (1_199_800 / 500_000)])


def test_octaves_are_sines_then_cosines_then_the_coordinate_without_pi() -> None:
    x = torch.tensor([[0.3, -2.0]], dtype=torch.float64)
    expected = [[f(2**k * v) for f in (torch.sin, torch.cos) for k in range(3)] + [v] for v in x[0]]
    torch.testing.assert_close(octaves(x, 3)[0], torch.stack([torch.stack(row) for row in expected]).flatten())


def test_the_residual_network_is_its_loop() -> None:
    network = ResidualMLP(3, 2, 4, 2, output_activation="none", generator=seeded())
    h = torch.rand(5, 3, generator=seeded(1))
    first = torch.relu(network.first(h))
    x = first + network.blocks[1](torch.relu(network.blocks[0](first)))
    x = x + network.blocks[3](torch.relu(network.blocks[2](x)))
    torch.testing.assert_close(network(h, h), network.last(x + first))


def test_a_ray_is_its_points_at_even_depths() -> None:
    field = small(center=[0.5, 0.0, 0.0], scale=0.5)
    ray = torch.tensor([[1.0, 2.0, 3.0, 0.1, -0.2, -1.0]])
    points = [(ray[0, :3] + z * ray[0, 3:] - torch.tensor([0.5, 0, 0])) * 0.5 for z in (2.0, 10 / 3, 14 / 3, 6.0)]
    expected = field.network(octaves(torch.cat(points)[None], 2), ray)
    torch.testing.assert_close(field(ray), expected)
    assert torch.equal(field(ray), field(ray))


def test_jitter_keeps_each_point_between_the_middles_to_its_neighbors() -> None:
    class Depths(ResidualMLP):
        """Says the depths of rays along z from the origin."""

        def forward(self, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            """The coordinate itself is each fifth feature."""
            return h[..., 4::5][..., 2::3]

    field = LightField(Depths(features_of_ray(4, 2), 4, 8, 1), 2.0, 6.0, 4, 2)
    rays = torch.tensor([[0.0, 0, 0, 0, 0, 1]]).expand(500, 6)
    found = field.jittered(rays, seeded())
    edges = torch.tensor([2, 8 / 3, 4, 16 / 3, 6])
    assert bool(((found >= edges[:-1]) & (found <= edges[1:])).all())
    spread = (found.amax(0) - found.amin(0)) / (edges[1:] - edges[:-1])
    assert bool((spread > 0.95).all())  # of 500 uniform draws all but 1e-9 of such sets span so much
    assert torch.equal(found, field.jittered(rays, seeded()))


def test_hard_rays_come_back_with_their_colors() -> None:
    field = small(recipe=Recipe())
    objective = HardRays(RayRegression(), share=0.25, capacity=2)
    sizes, hard = [], []
    for step in range(5):
        rays = torch.randn(8, 6, generator=seeded(step))
        batch = Batch(rays, torch.rand(8, 3, generator=seeded(step)))
        evaluation = objective(field, batch, StepContext(step, step / 5, seeded(step)))
        sizes.append(len(objective.state_dict()["x"]))
        hard.append((len(evaluation.x), evaluation.metrics["n_hard"]))
        fresh = evaluation.error[:8]
        assert bool(torch.isin(rays[fresh.topk(2).indices], objective.state_dict()["x"]).all())
    assert sizes == [2, 4, 4, 4, 4]
    assert hard == [(8, 0), (8, 0), (10, 2), (10, 2), (10, 2)]
    memory = objective.state_dict()
    known = torch.cat([torch.randn(8, 6, generator=seeded(step)) for step in range(5)])
    colors = torch.cat([torch.rand(8, 3, generator=seeded(step)) for step in range(5)])
    places = (memory["x"][:, None] == known).all(-1).int().argmax(1)
    assert torch.equal(memory["target"], colors[places])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"in_dim=60"):
        LightField(ResidualMLP(48, 3, 8, 1), 2.0, 6.0, 4, 2)
    with pytest.raises(ValueError, match=r"depth is -4"):
        LightField(ResidualMLP(60, 3, 8, 1), 6.0, 2.0, 4, 2)
    with pytest.raises(ValueError, match=r"share is 0"):
        HardRays(RayRegression(), share=0)
