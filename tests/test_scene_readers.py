"""LLFF, COLMAP in both forms and tiny-NeRF, from files made byte by byte."""

from pathlib import Path

import numpy as np
import pytest
from scene_files import colmap, llff, picture, poses, quaternion, transforms

from neufield.core.errors import DataError
from neufield.formats.scene import Scene, check_scene, read_scene

PLAIN = [(1, "PINHOLE", 8, 6, [10.0, 11.0, 4.0, 3.0])]
Q = quaternion(0.7, [1, 2, 3])


def said(scene: Scene, key: str, level: str | None = None) -> str:
    return " ".join(note.text for note in scene.notes if note.key == key and level in (None, note.level))


def three(folder: Path, binary: bool = True) -> None:
    """Three photographs out of order, two cameras, three points and one pixel of no point."""
    images = [
        (7, Q, [1, 2, 3], 2, "b 10.png", [(1.5, 2.5, 42), (3.0, 1.0, -1)]),
        (5, quaternion(3.1, [0, 1, 0]), [0, 0, 5], 1, "b 9.png", []),
        (9, quaternion(-2.0, [1, 0, 1]), [0.1, -4, 2], 2, "a.png", [(0.25, 0.5, 7), (7.0, 5.0, 42)]),
    ]
    cameras = [*PLAIN, (2, "OPENCV", 16, 12, [20.0, 21.0, 8.5, 5.5, 0.1, 0.2, 0.3, 0.4])]
    points = [(42, [1.0, 2.0, 3.0], [1, 2, 3]), (7, [-1.0, 0.0, 0.5], [9, 8, 7]), (8, [0, 0, 0], [255, 0, 1])]
    colmap(folder, cameras, images, points, binary)


# LLFF


def test_llff(tmp_path: Path) -> None:
    expected = llff(tmp_path)
    scene = read_scene(tmp_path)
    assert (scene.dialect, scene.forward_facing) == ("llff", False)
    for index, frame in enumerate(scene.frames):
        camera = frame.camera
        assert frame.name == f"images/{index:02d}.png"
        np.testing.assert_array_equal(camera.to_world.numpy(), expected[index])
        # 20 pixels of 16 x 12 are 10 of 8 x 6
        assert (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy) == (8, 6, 10, 10, 4, 3)
        assert (frame.near, frame.far) == (1.5, 7.0 + index)
        assert frame.split == ("test" if index in (0, 8) else "train")
    assert "16 x 12" in said(scene, "hwf", "info")
    assert [frame.split for frame in read_scene(tmp_path, holdout=3).frames][:4] == ["test", "train", "train", "test"]
    assert read_scene(tmp_path / "poses_bounds.npy").frames[3].name == "images/03.png"


def test_llff_that_is_forward_facing(tmp_path: Path) -> None:
    llff(tmp_path)
    rows = np.load(tmp_path / "poses_bounds.npy")
    angle = np.radians(25)
    for index, row in enumerate(rows):
        turn = angle * (-1) ** index
        right, back = [np.cos(turn), 0, np.sin(turn)], [-np.sin(turn), 0, np.cos(turn)]
        row[:15] = np.stack([[0, -1, 0], right, back, [index, 0, 0], [12, 16, 20]], axis=1).ravel()
    np.save(tmp_path / "poses_bounds.npy", rows)
    scene = read_scene(tmp_path)
    assert scene.forward_facing
    # Eight cameras in balance and a ninth: the mean leans towards it by atan(tan(25 deg) / 9) = 2.97 degrees.
    assert "28 degrees" in said(scene, "forward-facing")


def test_llff_rows_belong_to_names_sorted_as_text(tmp_path: Path) -> None:
    expected = llff(tmp_path, 3)
    for old, new in (("00", "9"), ("01", "10"), ("02", "8")):
        (tmp_path / f"images/{old}.png").rename(tmp_path / f"images/{new}.png")
    scene = read_scene(tmp_path)
    assert [frame.name for frame in scene.frames] == ["images/10.png", "images/8.png", "images/9.png"]
    np.testing.assert_array_equal(scene.frames[0].camera.to_world.numpy(), expected[0])
    assert "sorted as text" in said(scene, "order", "warning")


def test_llff_folders_of_pictures(tmp_path: Path) -> None:
    llff(tmp_path, 3, images="images_4")
    picture(tmp_path / "images/only.png", 16, 12)
    scene = read_scene(tmp_path)
    assert scene.frames[0].name == "images_4/00.png"
    assert "images_4" in said(scene, "images")
    with pytest.raises(DataError, match="3 poses, but images holds 1 pictures"):
        read_scene(tmp_path, images="images")


# COLMAP


@pytest.mark.parametrize("binary", [True, False])
def test_colmap(tmp_path: Path, binary: bool) -> None:
    three(tmp_path, binary)
    scene = read_scene(tmp_path)
    assert scene.dialect == ("colmap" if binary else "colmap-text")
    assert [frame.name for frame in scene.frames] == ["a.png", "b 9.png", "b 10.png"]
    assert [frame.split for frame in scene.frames] == ["test", "train", "train"]
    camera = scene.frames[2].camera
    # 16 x 12 in the file, 8 x 6 on disk
    numbers = (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    assert numbers == (8, 6, 10, 10.5, 4.25, 2.75)
    assert (camera.lens, camera.distortion) == ("opencv", (0.1, 0.2, 0, 0, 0.3, 0.4))
    w, x, y, z = Q
    axis, pose = np.array([x, y, z]), camera.to_world.numpy()
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-15)
    for point in np.eye(3):
        cross = np.cross(axis, point)
        seen = point + 2 * (w * cross + np.cross(axis, cross)) + [1, 2, 3]  # the quaternion's action, and translation
        local = np.linalg.inv(pose) @ [*point, 1]
        np.testing.assert_allclose(local[:3], seen * [1, -1, -1], atol=1e-14)
    points = scene.points
    assert points is not None
    assert points.xyz.tolist() == [[1, 2, 3], [-1, 0, 0.5], [0, 0, 0]]
    assert points.rgb.tolist() == [[1, 2, 3], [9, 8, 7], [255, 0, 1]]
    assert points.observations is not None
    rows = zip(points.observations.frame.tolist(), points.observations.point.tolist(), strict=True)
    # The pixels are those of the 16 x 12 file, halved.
    pixels = [(0, 1, 0.125, 0.25), (0, 0, 3.5, 2.5), (2, 0, 0.75, 1.25)]
    found = [(f, p, *xy) for (f, p), xy in zip(rows, points.observations.pixel.tolist(), strict=True)]
    assert found == pixels


def test_colmap_binary_and_text_are_equal(tmp_path: Path) -> None:
    three(tmp_path, True)
    three(tmp_path, False)
    both = [read_scene(tmp_path, dialect) for dialect in ("colmap", "colmap-text")]
    assert [scene.dialect for scene in both] == ["colmap", "colmap-text"]
    assert "not read" in said(both[0], "txt")
    for one, other in zip(*(scene.frames for scene in both), strict=True):
        assert (one.name, one.split) == (other.name, other.split)
        np.testing.assert_array_equal(one.camera.to_world.numpy(), other.camera.to_world.numpy())
        assert one.camera.distortion == other.camera.distortion
    a, b = (scene.points for scene in both)
    assert a is not None
    assert b is not None
    assert a.xyz.equal(b.xyz)
    assert a.rgb.equal(b.rgb)
    assert a.observations is not None
    assert b.observations is not None
    assert a.observations.pixel.equal(b.observations.pixel)
    assert a.observations.point.equal(b.observations.point)


@pytest.mark.parametrize(
    ("model", "values", "focal", "lens", "distortion"),
    [
        ("SIMPLE_PINHOLE", [9, 4, 3], (9, 9), "pinhole", (0, 0, 0, 0, 0, 0)),
        ("PINHOLE", [9, 8, 4, 3], (9, 8), "pinhole", (0, 0, 0, 0, 0, 0)),
        ("SIMPLE_RADIAL", [9, 4, 3, 0.1], (9, 9), "opencv", (0.1, 0, 0, 0, 0, 0)),
        ("RADIAL", [9, 4, 3, 0.1, 0.2], (9, 9), "opencv", (0.1, 0.2, 0, 0, 0, 0)),
        ("OPENCV", [9, 8, 4, 3, 0.1, 0.2, 0.3, 0.4], (9, 8), "opencv", (0.1, 0.2, 0, 0, 0.3, 0.4)),
        ("OPENCV_FISHEYE", [9, 8, 4, 3, 0.1, 0.2, 0.3, 0.4], (9, 8), "fisheye", (0.1, 0.2, 0.3, 0.4, 0, 0)),
        ("SIMPLE_RADIAL_FISHEYE", [9, 4, 3, 0.1], (9, 9), "fisheye", (0.1, 0, 0, 0, 0, 0)),
        ("RADIAL_FISHEYE", [9, 4, 3, 0.1, 0.2], (9, 9), "fisheye", (0.1, 0.2, 0, 0, 0, 0)),
        (
            "FULL_OPENCV", [9, 8, 4, 3, 0.1, 0.2, 0.3, 0.4, 0.5, 0, 0, 0],
            (9, 8), "opencv", (0.1, 0.2, 0.5, 0, 0.3, 0.4),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("binary", [True, False])
def test_colmap_camera_models(
    tmp_path: Path, binary: bool, model: str, values: list, focal: tuple, lens: str, distortion: tuple
) -> None:
    colmap(tmp_path, [(3, model, 8, 6, values)], [(1, Q, [0, 0, 1], 3, "a.png", [])], binary=binary)
    camera = read_scene(tmp_path).frames[0].camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (*focal, 4, 3)
    assert (camera.lens, camera.distortion) == (lens, distortion)


@pytest.mark.parametrize(
    ("model", "values"),
    [("FOV", [9, 9, 4, 3, 0.5]), ("THIN_PRISM_FISHEYE", [9.0] * 12), ("FULL_OPENCV", [9.0] * 12)],
)
@pytest.mark.parametrize("binary", [True, False])
def test_colmap_camera_models_that_are_refused(tmp_path: Path, binary: bool, model: str, values: list) -> None:
    colmap(tmp_path, [(3, model, 8, 6, values)], [(1, Q, [0, 0, 1], 3, "a.png", [])], binary=binary)
    with pytest.raises(DataError, match=rf"{model}.* is not read; undistort .* image_undistorter"):
        read_scene(tmp_path)


@pytest.mark.parametrize("place", ["sparse/0", "sparse", ".", "colmap/sparse/0"])
def test_places_of_a_reconstruction(tmp_path: Path, place: str) -> None:
    three(tmp_path)
    target = tmp_path / "new" / place
    target.parent.mkdir(parents=True, exist_ok=True)
    if place == ".":
        (tmp_path / "new").rmdir() if (tmp_path / "new").exists() else None
    (tmp_path / "sparse/0").rename(target)
    (tmp_path / "images").rename(tmp_path / "new/images")
    for path in (tmp_path / "new", target, target / "images.bin"):
        assert [frame.name for frame in read_scene(path).frames] == ["a.png", "b 9.png", "b 10.png"]


def test_colmap_photographs_that_do_not_exist(tmp_path: Path) -> None:
    three(tmp_path)
    (tmp_path / "images/a.png").unlink()
    scene = read_scene(tmp_path)
    assert [frame.name for frame in scene.frames] == ["b 9.png", "b 10.png"]
    assert "(a.png)" in said(scene, "file_path", "warning")
    assert scene.points is not None
    assert scene.points.observations is not None
    assert scene.points.observations.frame.tolist() == [1]


def test_colmap_with_reduced_pictures_and_without_points(tmp_path: Path) -> None:
    three(tmp_path)
    (tmp_path / "sparse/0/points3D.bin").unlink()
    for name in ("a.png", "b 9.png", "b 10.png"):
        picture(tmp_path / "images_2" / name, 4, 3)
    frame = read_scene(tmp_path, images="images_2").frames[1]
    assert (frame.camera.width, frame.camera.fx, frame.camera.fy, frame.camera.cx) == (4, 5, 5.5, 2)
    scene = read_scene(tmp_path)
    assert scene.points is None
    assert "points3D.bin" in said(scene, "points3D")


def test_llff_goes_before_colmap_beside_it(tmp_path: Path) -> None:
    three(tmp_path)
    llff(tmp_path, images="images_4")
    scene = read_scene(tmp_path)
    assert scene.dialect == "llff"
    assert "colmap" in said(scene, "dialect", "info")
    assert read_scene(tmp_path, "colmap").dialect == "colmap"


# tiny-NeRF


def test_npz(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 256, (9, 6, 8, 3), dtype=np.uint8)
    matrices = poses(9)
    for images in (stored, (stored / 255).astype(np.float32), stored / 255):
        np.savez(tmp_path / "t.npz", images=images, poses=matrices, focal=np.float64(11.5))
        scene = read_scene(tmp_path)
        assert scene.dialect == "tiny-nerf"
        for index, frame in enumerate(scene.frames):
            np.testing.assert_array_equal(frame.image, stored[index])
            np.testing.assert_array_equal(frame.camera.to_world.numpy(), matrices[index])
            camera = frame.camera
            assert (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy) == (8, 6, 11.5, 11.5, 4, 3)
        assert [frame.name for frame in scene.split("test")] == ["0000", "0008"]
        assert not said(scene, "images")
    np.savez(tmp_path / "t.npz", images=stored / 300, poses=matrices[:, :3], focal=np.array([11.5]), more=1)
    scene = read_scene(tmp_path / "t.npz")
    np.testing.assert_array_equal(scene.frames[4].image, np.rint(stored[4] * 0.85))
    assert "rounded" in said(scene, "images")
    assert "ignored" in said(scene, "more")
    assert check_scene(scene) == ()


# which files win


def test_blender_goes_before_one_file(tmp_path: Path) -> None:
    transforms(tmp_path, fl_x=9.0, fl_y=9.0)
    transforms(tmp_path, name="transforms_train.json", fl_x=9.0, fl_y=9.0)
    scene = read_scene(tmp_path)
    assert scene.dialect == "blender"
    assert "transforms are there too" in said(scene, "dialect")
    assert read_scene(tmp_path, "instant-ngp").dialect == "instant-ngp"


@pytest.fixture(scope="module")
def shared_scenes(shared_data: Path) -> dict[str, Scene]:
    names = ("lego_100", "lego_200", "fox_270", "fern_8", "lego_tiny_npz")
    return {name: read_scene(shared_data / name) for name in names}


@pytest.mark.shared
def test_shared_scenes(shared_scenes: dict[str, Scene]) -> None:
    facts = {
        "lego_100": ("blender", {"train": 100, "val": 25, "test": 50}, 100, 138.88887889922103),
        "lego_200": ("blender", {"train": 100, "test": 25}, 200, 277.77775779844206),
        "fox_270": ("instant-ngp", {"train": 43, "test": 7}, 152, 193.5917037037037),
        "fern_8": ("llff", {"train": 17, "test": 3}, 504, 3260.5263328805895 / 8),
        "lego_tiny_npz": ("tiny-nerf", {"train": 92, "test": 14}, 100, 138.88887889922103),
    }
    assert facts.keys() == shared_scenes.keys()
    for folder, (dialect, splits, width, focal) in facts.items():
        scene = shared_scenes[folder]
        assert scene.dialect == dialect
        assert {split: len(scene.split(split)) for split in ("train", "val", "test") if scene.split(split)} == splits
        assert {frame.camera.width for frame in scene.frames} == {width}
        np.testing.assert_allclose([frame.camera.fx for frame in scene.frames], focal, rtol=1e-12)
        assert [note for note in (*scene.notes, *check_scene(scene)) if note.level == "warning"] == []
        assert scene.forward_facing == (dialect == "llff")


@pytest.mark.shared
def test_the_same_cameras_in_two_dialects(shared_scenes: dict[str, Scene]) -> None:
    """The npz was made from the first views of the same scene, by other code."""
    json, npz = shared_scenes["lego_100"], shared_scenes["lego_tiny_npz"]
    for one, other in zip(json.split("train"), npz.frames[:100], strict=True):
        np.testing.assert_allclose(one.camera.to_world.numpy(), other.camera.to_world.numpy(), atol=1e-6)
        assert one.camera.fx == pytest.approx(other.camera.fx, rel=1e-12)
