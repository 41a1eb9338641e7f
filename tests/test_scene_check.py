"""What check_scene finds, one fault at a time in a scene that has none."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pil
from scene_files import picture

from neufield.core.cameras import Camera
from neufield.core.errors import DataError
from neufield.formats.scene import Frame, Mask, Observations, Points, Scene, check_scene


def good(folder: Path) -> Scene:
    """Three cameras side by side, looking along -z."""
    frames = []
    for index in range(3):
        pose = torch.eye(4, dtype=torch.float64)
        pose[0, 3] = index
        path = picture(folder / f"{index}.png")
        frames.append(Frame(path.name, path, Camera(pose, 8, 6, 10.0, 10.0, 4.0, 3.0), "train"))
    return Scene(tuple(frames), "made")


def with_camera(scene: Scene, index: int = 1, **keys: object) -> Scene:
    frames = list(scene.frames)
    frames[index] = dataclasses.replace(frames[index], camera=dataclasses.replace(frames[index].camera, **keys))
    return dataclasses.replace(scene, frames=tuple(frames))


def moved(scene: Scene, change: Callable[[torch.Tensor], torch.Tensor]) -> Scene:
    return with_camera(scene, to_world=change(scene.frames[1].camera.to_world.clone()))


def nan(pose: torch.Tensor) -> torch.Tensor:
    pose[1, 3] = torch.nan
    return pose


def mirrored(pose: torch.Tensor) -> torch.Tensor:
    pose[0, 0] = -1
    return pose


def test_a_good_scene_has_no_notes(tmp_path: Path) -> None:
    assert check_scene(good(tmp_path)) == ()


@pytest.mark.parametrize(
    ("spoil", "pattern"),
    [
        (lambda scene: dataclasses.replace(scene, frames=()), "no cameras"),
        (lambda scene: dataclasses.replace(scene, frames=scene.frames[:1]), "one photograph"),
        (lambda scene: moved(scene, nan), r"pose of 1\.png holds a NaN"),
        (lambda scene: moved(scene, lambda pose: pose * 2), r"pose of 1\.png is not rigid .*off by 3"),
        (lambda scene: moved(scene, lambda pose: pose.T.contiguous()), "not rigid"),
        (lambda scene: moved(scene, mirrored), "mirrors the world"),
        (lambda scene: with_camera(scene, fx=0.0), r"focal length, .* of 1\.png"),
        (lambda scene: with_camera(scene, cx=float("nan")), r"of 1\.png makes no sense"),
        (lambda scene: with_camera(scene, width=16), r"1\.png is 8 x 6 pixels, but its camera is for 16 x 6"),
    ],
)
def test_fatal_faults(tmp_path: Path, spoil: Callable[[Scene], Scene], pattern: str) -> None:
    with pytest.raises(DataError, match=pattern) as caught:
        check_scene(spoil(good(tmp_path)))
    assert ";" in str(caught.value) or "," in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pictures_that_are_gone(tmp_path: Path) -> None:
    scene = good(tmp_path)
    (tmp_path / "1.png").unlink()
    (note,) = check_scene(scene)
    assert (note.level, note.key, note.text) == ("warning", "absent", "The photograph does not exist. (1.png)")
    (tmp_path / "0.png").unlink()
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match="none of the 3 photographs exists"):
        check_scene(scene)


def test_different_sizes_are_allowed(tmp_path: Path) -> None:
    scene = with_camera(good(tmp_path), width=16, cx=8.0)
    picture(tmp_path / "1.png", 16, 6)
    (note,) = check_scene(scene)
    assert (note.level, note.key) == ("info", "sizes")
    assert "2 of 8 x 6, 1 of 16 x 6" in note.text


def test_a_picture_in_memory_has_a_size_too(tmp_path: Path) -> None:
    scene = good(tmp_path)
    frames = [dataclasses.replace(frame, image=np.zeros((6, 8, 3), np.uint8)) for frame in scene.frames]
    assert check_scene(dataclasses.replace(scene, frames=tuple(frames))) == ()
    frames[2] = dataclasses.replace(frames[2], image=np.zeros((8, 6, 3), np.uint8))
    with pytest.raises(DataError, match="6 x 8"):
        check_scene(dataclasses.replace(scene, frames=tuple(frames)))


@pytest.mark.parametrize(
    ("spoil", "level", "key", "words"),
    [
        (lambda scene: with_camera(scene, cx=3.5, cy=2.5), "warning", "half pixel", "add 0.5. (1.png)"),
        (
            lambda scene: dataclasses.replace(scene, frames=(scene.frames[0], scene.frames[1], scene.frames[1])),
            "warning", "names", "more than once. (1.png)",
        ),
        (
            lambda scene: dataclasses.replace(scene, frames=(scene.frames[0], dataclasses.replace(
                scene.frames[1], camera=scene.frames[0].camera))),
            "warning", "poses", "at one place",
        ),
        (
            lambda scene: dataclasses.replace(scene, box=(torch.tensor([-1.0, -1, -1]), torch.tensor([1.5, 1, 1]))),
            "warning", "box", "(2.png)",
        ),
        (
            lambda scene: dataclasses.replace(scene, box=(torch.tensor([9.0, 9, 9]), torch.tensor([10.0, 10, 10]))),
            "info", "box", "All cameras",
        ),
    ],
)  # fmt: skip
def test_odd_things(tmp_path: Path, spoil: Callable, level: str, key: str, words: str) -> None:
    (note,) = check_scene(spoil(good(tmp_path)))
    assert (note.level, note.key) == (level, key)
    assert words in note.text


def test_masks_of_the_wrong_polarity_or_size(tmp_path: Path) -> None:
    values = np.full((6, 8), 255, np.uint8)
    values[0] = 0
    Pil.fromarray(values).save(tmp_path / "m.png")
    scene = good(tmp_path)

    def masked(mask: Mask) -> Scene:
        frames = tuple(dataclasses.replace(frame, mask=mask) for frame in scene.frames)
        return dataclasses.replace(scene, frames=frames)

    assert check_scene(masked(Mask(tmp_path / "m.png", "black"))) == ()
    (note,) = check_scene(masked(Mask(tmp_path / "m.png", "white")))
    assert "leave 17 % of the pixels" in note.text
    (note,) = check_scene(masked(Mask(tmp_path / "none.png")))
    assert note.text.startswith("The mask does not exist. (3 frames")
    picture(tmp_path / "big.png", 9, 9)
    (note,) = check_scene(masked(Mask(tmp_path / "big.png")))
    assert "9 x 9 pixels, unlike" in note.text


def test_reprojection(tmp_path: Path) -> None:
    scene = good(tmp_path)
    # (1, 0.5, -10): camera 0 sees it at x = 10 * 1 / 10 + 4, y = 3 - 10 * 0.5 / 10; camera 2 one to its left.
    xyz = torch.tensor([[1, 0.5, -10], [0, 0, -5]], dtype=torch.float64)
    pixel = torch.tensor([[5, 2.5], [3, 2.5], [4, 3 + 0.25]], dtype=torch.float64)
    observations = Observations(torch.tensor([0, 2, 0]), torch.tensor([0, 0, 1]), pixel)
    points = Points(xyz, torch.zeros(2, 3, dtype=torch.uint8), observations)
    (note,) = check_scene(dataclasses.replace(scene, points=points))
    assert (note.level, note.key) == ("info", "reprojection")
    assert "0.00 pixels (median) and 0.25 (95 %)" in note.text
    off = dataclasses.replace(points, observations=dataclasses.replace(points.observations, pixel=pixel + 10))
    (note,) = check_scene(dataclasses.replace(scene, points=off))
    assert note.level == "warning"
    assert "14.14 pixels (median)" in note.text
    off = dataclasses.replace(points, observations=dataclasses.replace(points.observations, pixel=pixel + 20))
    with pytest.raises(DataError, match=r"contradict the photographs.* seen 28 pixels and more from where the poses"):
        check_scene(dataclasses.replace(scene, points=off))
    behind = dataclasses.replace(points, xyz=-xyz)
    with pytest.raises(DataError, match="cameras that look away from where the poses put them"):
        check_scene(dataclasses.replace(scene, points=behind))


def test_points_without_sightings(tmp_path: Path) -> None:
    scene = good(tmp_path)
    xyz = torch.tensor([[1, 0.5, -10], [0, 0, -5], [0, 0, 5], [0, 99, -1]], dtype=torch.float64)
    (note,) = check_scene(dataclasses.replace(scene, points=Points(xyz, torch.zeros(4, 3, dtype=torch.uint8))))
    assert (note.level, note.text) == ("info", "50 % of the points are in some photograph's view.")
    xyz[0] = torch.nan
    first, second = check_scene(dataclasses.replace(scene, points=Points(xyz, torch.zeros(4, 3, dtype=torch.uint8))))
    assert "1 of 4 points are not finite" in first.text
    assert (second.level, second.text[:4]) == ("warning", "33 %")


def test_projection_through_bent_lenses() -> None:
    """Worked out by the formulas of OpenCV's manual, in its axes (y down, z forward)."""
    pose = torch.eye(4, dtype=torch.float64)
    point = torch.tensor([[0.3, -0.4, -2.0]], dtype=torch.float64)  # x' = 0.15, y' = 0.2 in OpenCV's axes
    x, y = 0.15, 0.2
    r2 = 0.0625
    k1, k2, k3, k4, p1, p2 = 0.1, 0.2, 0.3, 0.4, 0.01, 0.02
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
    u, v = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    camera = Camera(pose, 8, 6, 10.0, 20.0, 4.0, 3.0, "opencv", (k1, k2, k3, k4, p1, p2))
    pixel, before = camera.project(point)
    assert before.tolist() == [True]
    np.testing.assert_allclose(pixel, [[10 * u + 4, 20 * v + 3]], rtol=1e-14)
    theta = np.arctan(0.25)
    bent = theta * (1 + k1 * theta**2 + k2 * theta**4 + k3 * theta**6 + k4 * theta**8) / 0.25
    camera = dataclasses.replace(camera, lens="fisheye")
    np.testing.assert_allclose(camera.project(point)[0], [[10 * x * bent + 4, 20 * y * bent + 3]], rtol=1e-14)
    np.testing.assert_allclose(camera.project(torch.tensor([[0, 0, -1.0]]))[0], [[4, 3]])
