"""Nonparametric teaching of a SIREN."""

import torch

from neufield.core.recipe import Cosine, Recipe
from neufield.core.sample_selection import INT
from neufield.encodings import Identity
from neufield.fields import NeuralField
from neufield.networks import Siren
from neufield.presets.registry import preset

__all__ = ["int_siren"]


@preset("int")
def int_siren(
    dim: int = 2, out_dim: int = 3, n_hidden_layers: int = 3, generator: torch.Generator | None = None
) -> NeuralField:
    """INT (arXiv 2405.10531): a SIREN that learns from the samples it is most wrong about, a fifth at first.

    The network is that of the authors' code, except for its depth: width 256, omega 30, biases in the range of the
    weights, targets in [0, 1]; the code has five sine layers, ``n_hidden_layers`` 4. Adam from 1e-3 down a cosine to
    1e-6. The paper takes 5000 steps on all pixels at once; ``recipe.batch_size`` above their number does so here, and
    random batches are taught one by one. ``--set recipe.sample_selection.type=INT`` teaches any other preset.
    """
    network = Siren(dim, out_dim, n_hidden_layers=n_hidden_layers, bias="inside_small", generator=generator)
    recipe = Recipe(
        lr=1e-3, beta2=0.999, epsilon=1e-8, schedule=Cosine(1e-3), steps=1000, batch_size=2**18, sample_selection=INT()
    )
    return NeuralField(Identity(dim), network, recipe)
