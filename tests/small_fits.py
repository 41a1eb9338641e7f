"""A small picture and a small field, for tests of the loop."""

import numpy as np
import torch

from neufield.core.recipe import Recipe
from neufield.encodings import Grid
from neufield.fields import NeuralField
from neufield.networks import MLP
from neufield.signals import Image


def waves(height: int = 32, width: int = 48) -> Image:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = np.stack([np.sin(x / 4), np.cos(y / 5), np.sin((x + y) / 7)], -1)
    return Image(((picture + 1) * 127.5).round().astype(np.uint8))


def small_field(seed: int = 0, **recipe: object) -> NeuralField:
    generator = torch.Generator().manual_seed(seed)
    encoding = Grid(2, n_levels=6, log2_hashmap_size=10, base_resolution=4, per_level_scale=1.6, generator=generator)
    network = MLP(12, 3, 16, 1, generator=generator)
    return NeuralField(encoding, network, Recipe(**{"lr": 1e-2, "steps": 60, "batch_size": 512, **recipe}))
