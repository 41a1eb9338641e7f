"""A model whose views are known, for tests of the viewer."""

import math

import torch

from neufield.core.cameras import Camera
from neufield.core.rotations import look_at
from neufield.encodings import SphericalHarmonics
from neufield.fields import Plenoxels
from neufield.renderers import Box, Cameras, RadianceScene, StratifiedSampler

BOX = Box([-1.0, -1.0, -1.0], [1.0, 1.0, 1.0])
WIDTH, HEIGHT = 640, 320  # viser's page for desktops, not for telephones


LEFT, RIGHT = (0.9, 0.3, 0.1), (0.1, 0.4, 0.8)  # the model's two halves


def standing(azimuth: float, distance: float = 4.0, width: int = WIDTH, height: int = HEIGHT) -> Camera:
    place = (distance * math.cos(azimuth), distance * math.sin(azimuth), 0.3 * distance)
    return Camera(look_at(place, (0, 0, 0), (0, 0, 1)), width, height, 420.0, 420.0, width / 2, height / 2)


def two_halves() -> RadianceScene:
    """An opaque box, one color where y < 0 and another where y > 0, seen from where the border is upright."""
    field = Plenoxels([8, 8, 8], SphericalHarmonics(1), initial_density=30.0)
    with torch.no_grad():
        for half, color in ((slice(0, 4), LEFT), (slice(4, 8), RIGHT)):
            field.color_table[:, half] = (torch.tensor(color) - 0.5) * math.sqrt(
                4 * math.pi
            )  # of the constant harmonic
    cameras = [standing(0.0), *(standing(a, 8.0) for a in (2.0, 4.0))]
    return RadianceScene(field, Cameras.of(cameras), BOX, StratifiedSampler(BOX, 12), (0.0, 0.0, 0.0))
