"""Where lenses fold back: the radius by brute force, the pixels by the inverse that rays are made with."""

import math

import numpy as np
import pytest
import torch

from neufield.core.cameras import Camera, Lens, distort
from neufield.formats.scene import Frame, Scene, check_scene
from neufield.formats.scene.fold import beyond_fold, fold_radius
from neufield.renderers.cameras import undistort

LENSES: dict[str, tuple[Lens, tuple[float, ...]]] = {
    "barrel": ("opencv", (-0.3, 0, 0, 0, 0, 0)),
    "barrel and back": ("opencv", (-0.4, 0.05, 0, 0, 0, 0)),
    "six": ("opencv", (0.1, -0.2, 0.01, -0.002, 0, 0)),
    "fisheye that folds": ("fisheye", (-0.05, -0.01, 0, 0, 0, 0)),
    "fisheye to the back": ("fisheye", (0.01, 0, 0, 0, 0, 0)),
}


def camera(lens: Lens, distortion: tuple[float, ...], width: int = 1920, height: int = 1080, f: float = 900) -> Camera:
    return Camera(torch.eye(4, dtype=torch.float64), width, height, f, f, width / 2, height / 2, lens, distortion)


@pytest.mark.parametrize("name", LENSES)
def test_the_radius_is_the_first_maximum(name: str) -> None:
    """Among 200,000 directions up to 5, or to behind the camera: steps of 2.5e-5, whose square is the error."""
    lens, distortion = LENSES[name]
    r = np.linspace(0, 5 if lens == "opencv" else math.pi, 200_001)
    bent = r * (1 + r**2 * np.polyval(distortion[3::-1], r**2))
    falls = np.flatnonzero(np.diff(bent) < 0)
    wanted = bent[falls[0]] if len(falls) else bent[-1]
    assert fold_radius(camera(lens, distortion)) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("k", [(0.0, 0.0), (0.2, 0.1), (-0.1, 0.02)])
def test_lenses_that_do_not_fold(k: tuple[float, float]) -> None:
    assert fold_radius(camera("opencv", (*k, 0, 0, 0, 0))) == math.inf
    assert beyond_fold(camera("opencv", (*k, 0, 0, 0, 0))) is None
    assert fold_radius(camera("pinhole", (0,) * 6)) == math.inf


def test_the_share_of_a_lens_that_folds_within_the_picture() -> None:
    """The circle of radius 0.7027 x 900 = 632.5 pixels, of which the picture's height cuts 540 above and below."""
    one = camera("opencv", (-0.3, 0, 0, 0, 0, 0))
    radius, half = 900 * (2 / 3) * math.sqrt(1 / 0.9), 540
    seen = 2 * (half * math.sqrt(radius**2 - half**2) + radius**2 * math.asin(half / radius))
    beyond = beyond_fold(one)
    assert beyond is not None
    assert float(beyond.double().mean()) == pytest.approx(1 - seen / (1920 * 1080), abs=1e-4)
    frame = Frame("a.png", np.zeros((1080, 1920, 3), np.uint8), one)
    assert np.array_equal(frame.counts(), ~beyond.numpy())
    two = Frame("b.png", frame.image, one)
    notes = [note.text for note in check_scene(Scene((frame, two), "colmap")) if note.key == "lens"]
    assert len(notes) == 1
    assert "43 % of the picture lies where the lens folds back, 632 pixels and more off its center" in notes[0]
    assert f"{int(beyond.sum()):,} pixels are masked. (2 frames" in notes[0]


@pytest.mark.parametrize("tangential", [(0.0, 0.0), (0.01, -0.02)])
def test_what_is_left_has_a_direction_and_what_is_masked_has_none(tangential: tuple[float, float]) -> None:
    one = camera("opencv", (-0.3, 0, 0, 0, *tangential), 96, 54, 45)
    beyond = beyond_fold(one)
    assert beyond is not None
    rows, columns = torch.meshgrid(torch.arange(54) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    plane = (torch.stack([columns, rows], -1).view(-1, 2).double() - torch.tensor([48.0, 27.0])) / 45
    coefficients = torch.tensor([one.distortion], dtype=torch.float64).expand(len(plane), 6)
    fisheye = torch.zeros(len(plane), dtype=torch.bool)
    found, _ = undistort(plane, coefficients, fisheye)
    off = (distort(found, coefficients, fisheye) - plane).norm(dim=1)
    inside = ~beyond.view(-1)
    edge = (plane.norm(dim=1) - fold_radius(one)).abs() < 0.03  # there Newton's eight steps do not end
    assert float(off[inside & ~edge].max()) < 1e-3
    if not any(tangential):  # which fold at a radius of sqrt(1 / 0.9); beyond it a picture is mirrored
        assert bool(((off > 0.02) | (found.norm(dim=1) > math.sqrt(1 / 0.9)))[~inside & ~edge].all())
    assert 0.2 < float(inside.double().mean()) < 0.9


def test_a_circular_fisheye_sees_no_farther_than_backwards() -> None:
    one = camera("fisheye", (0,) * 6, 100, 100, 12)
    beyond = beyond_fold(one)
    assert beyond is not None
    rows, columns = np.mgrid[0:100, 0:100] + 0.5 - 50
    assert np.array_equal(beyond.numpy(), np.hypot(rows, columns) > 12 * math.pi)
