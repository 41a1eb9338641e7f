"""Feature-wise linear modulation: its equation, its start, and what can be learned of a signal by a code alone."""

import dataclasses

import pytest
import torch
from cases import seeded

from neufield.core.recipe import Recipe
from neufield.encodings import Frequency
from neufield.fields import NeuralField
from neufield.fitting import fit
from neufield.networks import MLP, FiLM
from neufield.signals import Array


def test_it_is_its_equation() -> None:
    film = FiLM(4, 2, 3, generator=seeded())
    with torch.no_grad():
        film.code.copy_(torch.tensor([0.5, -1.0, 2.0]))
        film.shift += torch.randn(2, 2, 4, generator=seeded(1))
    h = torch.randn(5, 4, generator=seeded(2))
    y = film(h, torch.zeros(5, 1), 1)
    for c in range(4):
        gamma = 1 + film.shift[1, 0, c] + (film.matrix[1, 0, c] * film.code).sum()
        beta = film.shift[1, 1, c] + (film.matrix[1, 1, c] * film.code).sum()
        torch.testing.assert_close(y[:, c], gamma * h[:, c] + beta)


@pytest.mark.parametrize("code_dim", [0, 3])
def test_it_starts_as_nothing_and_learns(code_dim: int) -> None:
    film = FiLM(4, 1, code_dim, generator=seeded())
    h = torch.randn(5, 4, generator=seeded(2))
    y = film(h, torch.zeros(5, 1), 0)
    assert torch.equal(y, h)
    y.square().sum().backward()
    assert bool((film.shift.grad != 0).all())
    assert bool((film.code.grad != 0).all())


def test_a_code_alone_takes_a_network_to_another_signal() -> None:
    """A sine is learned; then, the network kept, its code alone learns the same one upside down."""
    x = (torch.arange(64) + 0.5) / 64
    wave = torch.sin(2 * torch.pi * x)[:, None]
    network = MLP(4, 1, 16, 2, "tanh", modulation=FiLM(16, 2, 6, generator=seeded()), generator=seeded())
    field = NeuralField(Frequency(1, 2), network, Recipe(lr=1e-2, steps=150, beta2=0.999, epsilon=1e-8))
    fit(field, Array(wave))
    kept = {name: p.detach().clone() for name, p in field.named_parameters()}
    recipe = dataclasses.replace(field.recipe, lr_factors={"network": 0.0, "network.modulation.code": 5.0})
    state = fit(field, Array(-wave), recipe)
    changed = [name for name, p in field.named_parameters() if not torch.equal(p, kept[name])]
    assert changed == ["network.modulation.code"]
    assert state.history[-1]["mse"] < 0.6  # measured 0.32; 2.0 before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"width": 0}, "width is 0"), ({"n_layers": 0}, "n_layers is 0"), ({"code_dim": -1}, "code_dim is -1")],
)
def test_impossible_sizes_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FiLM(**arguments)
