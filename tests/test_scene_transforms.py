"""transforms.json in its three dialects: every place where readers part ways, with numbers worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from image_files import NAMES, noise, write_oiio
from PIL import Image as Pil
from scene_files import edit, edit_frame, picture, poses, transforms

from neufield.core.errors import DataError
from neufield.core.json_files import without_comments
from neufield.formats.scene import Frame, Scene, read_scene

FOCAL = {"fl_x": 10.0, "fl_y": 10.0}


def lens(frame: Frame) -> tuple:
    camera = frame.camera
    return (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)


def said(scene: Scene, key: str, level: str | None = None) -> str:
    """All that is noted under ``key``."""
    return " ".join(note.text for note in scene.notes if note.key == key and level in (None, note.level))


def pose(frame: Frame) -> np.ndarray:
    return frame.camera.to_world.numpy()


# (a) only an angle


def test_blender_folder(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        names = [f"./{split}/r_{index}" for index in range(count)]
        for name in names:
            picture(tmp_path / f"{name}.png")
        transforms(tmp_path, names, f"transforms_{split}.json", camera_angle_x=0.6911)
    scene = read_scene(tmp_path)
    assert (scene.dialect, scene.box, scene.points, scene.forward_facing) == ("blender", None, None, False)
    assert [frame.name for frame in scene.split("test")] == ["test/r_0.png", "test/r_1.png"]
    assert [len(scene.split(split)) for split in ("train", "val", "test", "")] == [3, 1, 2, 0]
    focal = 4 / math.tan(0.6911 / 2)
    for frame, expected in zip(scene.split("train"), poses(3), strict=True):
        np.testing.assert_allclose(lens(frame), (8, 6, focal, focal, 4, 3), rtol=1e-15)
        np.testing.assert_array_equal(pose(frame), expected)
        assert frame.camera.lens == "pinhole"
    assert "corners" in said(scene, "half pixel")
    alone = read_scene(tmp_path / "transforms_test.json")
    assert [frame.split for frame in alone.frames] == ["test", "test"]
    assert "transforms_train.json" in said(alone, "split")


@pytest.mark.parametrize("dialect", ["instant-ngp", "nerfstudio"])
def test_an_angle_alone_is_enough(tmp_path: Path, dialect: str) -> None:
    transforms(tmp_path, camera_angle_x=0.6911)
    frame = read_scene(tmp_path, dialect).frames[0]
    focal = 4 / math.tan(0.6911 / 2)
    np.testing.assert_allclose(lens(frame), (8, 6, focal, focal, 4, 3), rtol=1e-15)


def test_angles_of_both_axes(tmp_path: Path) -> None:
    transforms(tmp_path, camera_angle_x=0.8, camera_angle_y=0.5)
    expected = (8, 6, 4 / math.tan(0.4), 3 / math.tan(0.25), 4, 3)
    np.testing.assert_allclose(lens(read_scene(tmp_path).frames[0]), expected, rtol=1e-15)
    edit(tmp_path / "transforms.json", camera_angle_x=None)
    scene = read_scene(tmp_path)
    np.testing.assert_allclose(lens(scene.frames[0])[2:4], 3 / math.tan(0.25), rtol=1e-15)
    assert "vertical" in said(scene, "fl_y", "warning")


# (b) fl_x without fl_y, and focal lengths that contradict each other


def test_absent_fl_y(tmp_path: Path) -> None:
    path = transforms(tmp_path, fl_x=100.0, w=16, h=12)
    scene = read_scene(tmp_path)
    assert lens(scene.frames[0]) == (8, 6, 50, 50, 4, 3)
    assert "square" in said(scene, "fl_y", "warning")
    edit(path, h=24)  # squeezed to half its height: pixels of the file are square, those on disk are not
    assert lens(read_scene(tmp_path).frames[0])[2:4] == (50, 25)


def test_focal_keys_that_contradict_each_other(tmp_path: Path) -> None:
    transforms(tmp_path, fl_x=10.0, fl_y=11.0, x_fov=90.0, camera_angle_x=0.5)
    ngp = read_scene(tmp_path, "instant-ngp")
    np.testing.assert_allclose(lens(ngp.frames[0])[2:4], (4, 11), rtol=1e-15)
    assert "x_fov is used" in said(ngp, "fl_x", "warning")
    nerfstudio = read_scene(tmp_path, "nerfstudio")
    assert lens(nerfstudio.frames[0])[2:4] == (10, 11)
    assert "fl_x is used" in said(nerfstudio, "x_fov", "warning")
    assert said(nerfstudio, "camera_angle_x", "warning")
    angle = 2 * math.atan(4 / 10.0)
    transforms(tmp_path, fl_x=10.0, fl_y=10.0, camera_angle_x=angle)
    assert [note for note in read_scene(tmp_path).notes if note.level == "warning"] == []


# (c) (d) non-square pixels, off-center principal point, another size


def test_sizes_of_the_file_and_of_the_picture(tmp_path: Path) -> None:
    path = transforms(tmp_path, fl_x=10.0, fl_y=12.0, cx=3.25, cy=2.5, w=8, h=6)
    assert lens(read_scene(tmp_path).frames[0]) == (8, 6, 10, 12, 3.25, 2.5)
    edit(path, w=32, h=24)
    scene = read_scene(tmp_path)
    assert lens(scene.frames[0]) == (8, 6, 2.5, 3, 3.25 / 4, 2.5 / 4)
    assert "32 x 24" in said(scene, "w, h", "info")
    assert not said(scene, "w, h", "warning")
    assert "turned" in said(read_scene(edit(path, w=6, h=8)), "w, h", "warning")
    assert "other proportions" in said(read_scene(edit(path, w=32, h=6)), "w, h", "warning")


# (e) k3 with p1


@pytest.mark.parametrize("dialect", ["instant-ngp", "nerfstudio"])
def test_every_coefficient_has_its_own_place(tmp_path: Path, dialect: str) -> None:
    transforms(tmp_path, **FOCAL, k1=0.1, k2=0.2, k3=0.3, k4=0.4, p1=0.5, p2=0.6)
    scene = read_scene(tmp_path, dialect)
    assert scene.frames[0].camera.lens == "opencv"
    assert scene.frames[0].camera.distortion == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    assert "k3" in said(scene, "k3, p1")


def test_distortion_params_are_one_list(tmp_path: Path) -> None:
    path = transforms(tmp_path, **FOCAL, distortion_params=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    scene = read_scene(tmp_path)
    assert scene.dialect == "nerfstudio"
    assert scene.frames[0].camera.distortion == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    scene = read_scene(edit(path, k2=0.0))
    assert scene.frames[0].camera.distortion[1] == 0
    assert "k2 is used" in said(scene, "distortion_params", "warning")


# (f) per-frame intrinsics


def test_intrinsics_of_a_frame_go_before_those_of_the_file(tmp_path: Path) -> None:
    path = transforms(tmp_path, fl_x=10.0, fl_y=11.0, cx=4.0, cy=3.0, k1=0.1, camera_model="OPENCV", w=8, h=6)
    picture(tmp_path / "images/b.png", 20, 10)
    edit_frame(path, 1, fl_x=30.0, cx=9.0, cy=4.0, w=20, h=10, k1=0.0)
    first, second = (scene := read_scene(tmp_path)).frames
    assert lens(first) == (8, 6, 10, 11, 4, 3)
    assert lens(second) == (20, 10, 30, 30, 9, 4)  # a focal length comes with both its axes
    assert (first.camera.lens, second.camera.lens) == ("opencv", "pinhole")
    assert "frame's own" in said(scene, "cx", "warning")


# (g) (h) (m) (p) paths


def test_paths_without_suffix(tmp_path: Path) -> None:
    transforms(tmp_path, ["images/a", "images/b.0"], **FOCAL)
    picture(tmp_path / "images/a.jpg")
    picture(tmp_path / "images/b.0.png")
    scene = read_scene(tmp_path)
    assert [frame.name for frame in scene.frames] == ["images/a.jpg", "images/b.0.png"]
    assert "no suffix" in said(scene, "file_path", "info")


def test_photographs_that_do_not_exist(tmp_path: Path) -> None:
    path = transforms(tmp_path, [f"images/{i}.png" for i in range(10)], **FOCAL)
    (tmp_path / "images/3.png").unlink()
    (tmp_path / "images/7.png").unlink()
    scene = read_scene(path)
    assert [frame.name for frame in scene.frames] == [f"images/{i}.png" for i in (0, 1, 2, 4, 5, 6, 8, 9)]
    assert "2 frames, the first images/3.png" in said(scene, "file_path", "warning")
    np.testing.assert_array_equal(pose(scene.frames[3]), poses(10)[4])
    # What is held out does not depend on what is missing.
    assert [frame.name for frame in scene.split("test")] == ["images/0.png", "images/8.png"]


def test_back_slashes(tmp_path: Path) -> None:
    transforms(tmp_path, [r".\images\a", r".\images\b"], **FOCAL)
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "images/b.png")
    assert [frame.name for frame in read_scene(tmp_path).frames] == ["images/a.png", "images/b.png"]


def test_exr_beside_png(tmp_path: Path) -> None:
    transforms(tmp_path, ["images/a", "images/b"], camera_angle_x=0.5)
    (tmp_path / "images").mkdir()
    for name in "ab":
        write_oiio(tmp_path / f"images/{name}.exr", noise(4, 5, 3, dtype="float32"), "float", NAMES[3])
    picture(tmp_path / "images/a.png")
    scene = read_scene(tmp_path)
    assert [frame.name for frame in scene.frames] == ["images/a.png", "images/b.exr"]
    assert ".png is read" in said(scene, "file_path", "warning")
    assert lens(scene.frames[1])[:2] == (5, 4)
    edit_frame(tmp_path / "transforms.json", 0, file_path="images/a.exr")
    assert lens(read_scene(tmp_path).frames[0])[:2] == (5, 4)


def test_another_folder_of_pictures(tmp_path: Path) -> None:
    path = transforms(tmp_path, fl_x=10.0, fl_y=12.0, cx=3.0, cy=2.0, w=8, h=6)
    for name in "ab":
        picture(tmp_path / f"images_2/{name}.png", 4, 3)
    frame = read_scene(path, images="images_2").frames[0]
    assert frame.name == "images_2/a.png"
    assert lens(frame) == (4, 3, 5, 6, 1.5, 1)


def test_an_exif_orientation_is_noted_and_not_applied(tmp_path: Path) -> None:
    path = transforms(tmp_path, ["images/a.jpg", "images/b.jpg"], **FOCAL)
    exif = Pil.Exif()
    exif[274] = 6
    Pil.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / "images/a.jpg", exif=exif)
    scene = read_scene(path)
    assert lens(scene.frames[0])[:2] == (8, 6)
    assert "(a.jpg)" in said(scene, "exif", "warning")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_samples_are_the_rows_as_stored(tmp_path: Path, suffix: str, orientation: int) -> None:
    values = np.zeros((16, 24, 3), np.uint8)
    values[:8, :8] = 255  # a corner that says how the picture lies, in whole blocks of JPEG
    exif = Pil.Exif()
    exif[274] = orientation
    (tmp_path / "images").mkdir()
    Pil.fromarray(values).save(
        tmp_path / f"images/a.{suffix}", exif=exif, **({"quality": 95} if suffix == "jpg" else {})
    )
    scene = read_scene(transforms(tmp_path, ["images/a"], **FOCAL))
    np.testing.assert_array_equal(scene.frames[0].samples() > 127, values > 127)
    assert bool(said(scene, "exif")) == (orientation != 1)


# (i) masks of both polarities, and depths


def half(path: Path) -> Path:
    """A mask (6, 8) whose left half is white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((6, 8), np.uint8)
    values[:, :4] = 255
    Pil.fromarray(values).save(path)
    return path


def test_masks_of_both_polarities(tmp_path: Path) -> None:
    path = edit_frame(transforms(tmp_path, **FOCAL), 0, mask_path="masks/a.png")
    half(tmp_path / "masks/a.png")
    half(tmp_path / "images/dynamic_mask_b.png")
    left = np.arange(8)[None].repeat(6, axis=0) < 4
    black, none = (frame.mask for frame in read_scene(path, "nerfstudio").frames)
    assert black is not None
    assert none is None
    np.testing.assert_array_equal(black.read(), left)
    black, white = (frame.mask for frame in read_scene(path, "instant-ngp").frames)
    assert black is not None
    assert white is not None
    np.testing.assert_array_equal(black.read(), left)
    np.testing.assert_array_equal(white.read(), ~left)


def test_a_mask_in_color_with_alpha_is_read_by_its_color(tmp_path: Path) -> None:
    path = edit_frame(transforms(tmp_path, **FOCAL), 0, mask_path="m.png")
    picture(tmp_path / "m.png", value=0, mode="RGBA")
    values = np.zeros((6, 8, 4), np.uint8)
    values[..., 3] = 255
    values[2, 3, 1] = 1
    Pil.fromarray(values).save(tmp_path / "m.png")
    mask = read_scene(path).frames[0].mask
    assert mask is not None
    assert np.argwhere(mask.read()).tolist() == [[2, 3]]


def test_depths(tmp_path: Path) -> None:
    path = transforms(tmp_path, **FOCAL)
    picture(tmp_path / "depth/a.png", mode="L")
    edit_frame(path, 0, depth_file_path="depth/a.png", depth_path="depth/a.png")
    edit_frame(path, 1, depth_file_path="depth/b.png")
    scene = read_scene(path, "nerfstudio")
    assert scene.frames[0].depth is not None
    assert scene.frames[0].depth.unit == 1e-3
    assert scene.frames[1].depth is None
    assert "does not exist" in said(scene, "depth_file_path", "warning")
    edit(path, applied_scale=0.5)  # millimeters of the original are half as many of the world
    depth = read_scene(path, "nerfstudio").frames[0].depth
    assert depth is not None
    assert depth.unit == 5e-4
    assert read_scene(path, "instant-ngp").frames[0].depth is None  # no integer_depth_scale
    edit(path, integer_depth_scale=0.25)
    depth = read_scene(path, "instant-ngp").frames[0].depth
    assert depth is not None
    assert (depth.unit, depth.path.name) == (0.25, "a.png")
    assert read_scene(edit(path, enable_depth_loading=False), "instant-ngp").frames[0].depth is None


# (j) the box


def box(scene: Scene) -> list[list[float]]:
    assert scene.box is not None
    return [corner.tolist() for corner in scene.box]


def test_the_box_in_world_units(tmp_path: Path) -> None:
    path = transforms(tmp_path, **FOCAL)
    assert read_scene(path).box is None
    edit(path, aabb_scale=16, scale=0.5, offset=[0.1, 0.2, 0.3])
    # 0.5 p + offset = 0.5 - 8 and 0.5 + 8
    expected = [[-15.2, -15.4, -15.6], [16.8, 16.6, 16.4]]
    np.testing.assert_allclose(box(read_scene(path)), expected, rtol=1e-14)
    edit(path, scale=None, offset=None, aabb_scale=4)
    np.testing.assert_allclose(box(read_scene(path)), [[-2 / 0.33] * 3, [2 / 0.33] * 3], rtol=1e-14)
    edit(path, offset=0.5, aabb_scale=3)
    scene = read_scene(path)
    np.testing.assert_allclose(box(scene), [[-1.5 / 0.33] * 3, [1.5 / 0.33] * 3], rtol=1e-14)
    assert "power of two" in said(scene, "aabb_scale", "warning")
    edit(path, aabb=[[-1, 0, 1], [1, 4, 3]], aabb_scale=2)
    scene = read_scene(path)
    np.testing.assert_allclose(box(scene), [[-2, -2, 0], [2, 6, 4]], rtol=1e-14)
    assert "takes the place" in said(scene, "aabb", "warning")


# (k) applied_transform present, absent, old generation


def test_applied_transforms(tmp_path: Path) -> None:
    path = transforms(tmp_path, **FOCAL, camera_model="OPENCV")
    np.testing.assert_array_equal(read_scene(path).original_from_world.numpy(), np.eye(4))
    edit(path, applied_transform=[[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 5]], applied_scale=2.0)
    # saved = 2 (x, z, 5 - y): the original of saved (2, 4, 6) is x = 1, z = 2, y = 5 - 3 = 2
    back = read_scene(path).original_from_world.numpy()
    np.testing.assert_allclose(back @ [2, 4, 6, 1], [1, 2, 2, 1], rtol=1e-14)
    edit(path, applied_transform=None, applied_scale=None)
    (tmp_path / "colmap/sparse/0").mkdir(parents=True)
    scene = read_scene(path)
    # saved = (y, x, -z)
    np.testing.assert_allclose(scene.original_from_world.numpy() @ [2, 4, 6, 1], [4, 2, -6, 1], rtol=1e-14)
    assert "first generation" in said(scene, "applied_transform", "warning")
    np.testing.assert_array_equal(pose(scene.frames[0]), poses(2)[0])


# (l) order


def test_the_order_of_frames(tmp_path: Path) -> None:
    path = transforms(tmp_path, ["images/10.png", "images/9.png", "images/1.png"], **FOCAL)
    scene = read_scene(path, holdout=2)
    assert [frame.name for frame in scene.frames] == ["images/10.png", "images/9.png", "images/1.png"]
    assert [frame.split for frame in scene.frames] == ["test", "train", "test"]  # 1, 9, 10: first and third
    assert "differently" in said(scene, "order")
    assert [frame.split for frame in read_scene(path, holdout=0).frames] == ["train"] * 3


def test_lists_of_names_are_the_split(tmp_path: Path) -> None:
    names = [f"images/{i}.png" for i in range(5)]
    lists = {"train_filenames": [*names[:2], "images/7.png"], "val_filenames": ["./images/2.png"]}
    path = transforms(tmp_path, names, **FOCAL, **lists, test_filenames=[r"images\3.png", names[0]])
    scene = read_scene(path)
    assert [frame.split for frame in scene.frames] == ["train", "train", "val", "test", ""]
    assert "no frame. (images/7.png)" in said(scene, "train_filenames", "warning")
    assert "already in train" in said(scene, "test_filenames", "warning")
    assert "images/4.png" in said(scene, "split", "warning")


# (n) comments


def test_comments(tmp_path: Path) -> None:
    path = transforms(tmp_path, **FOCAL)
    text = path.read_text().replace(
        '{"frames"', '// by "hand"\n{ /* "a" // \n b */ "note": "http://x /* y */",\n"frames"'
    )
    path.write_text("\ufeff" + text, encoding="utf-8")
    scene = read_scene(path)
    assert len(scene.frames) == 2
    assert "'note' was ignored" in said(scene, "note")
    assert without_comments('"a\\"//b" //c\n/*d\n*/1') == '"a\\"//b"    \n   \n  1'


# (o) fisheye both ways


@pytest.mark.parametrize(
    ("dialect", "keys", "expected"),
    [
        ("instant-ngp", {"is_fisheye": True}, "fisheye"),
        ("instant-ngp", {"is_fisheye": False}, "opencv"),
        ("nerfstudio", {"camera_model": "OPENCV_FISHEYE"}, "fisheye"),
        ("nerfstudio", {"camera_model": "OPENCV"}, "opencv"),
        ("nerfstudio", {"camera_model": "PINHOLE"}, "opencv"),
        ("nerfstudio", {"is_fisheye": True}, "fisheye"),
        ("instant-ngp", {"camera_model": "OPENCV_FISHEYE"}, "fisheye"),
        ("nerfstudio", {"camera_model": "OPENCV", "is_fisheye": True}, "opencv"),
        ("instant-ngp", {"camera_model": "OPENCV", "is_fisheye": True}, "fisheye"),
    ],
)
def test_fisheye_by_flag_and_by_model(tmp_path: Path, dialect: str, keys: dict, expected: str) -> None:
    transforms(tmp_path, **FOCAL, k1=0.1, k2=0.2, k3=0.3, k4=0.4, p1=0.0, p2=0.0, **keys)
    scene = read_scene(tmp_path, dialect)
    assert scene.frames[0].camera.lens == expected
    assert scene.frames[0].camera.distortion == (0.1, 0.2, 0.3, 0.4, 0.0, 0.0)  # instant-ngp would lose k3 to p1 = 0
    assert bool(said(scene, "is_fisheye", "warning")) == (len(keys) == 2)


def test_a_fisheye_has_no_tangential_distortion(tmp_path: Path) -> None:
    scene = read_scene(transforms(tmp_path, **FOCAL, k1=0.1, p1=0.5, is_fisheye=True))
    assert scene.frames[0].camera.distortion == (0.1, 0, 0, 0, 0, 0)
    assert said(scene, "p1, p2", "warning")


# which dialect it is, and what else is told


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"aabb_scale": 4}, "instant-ngp"),
        ({"camera_model": "OPENCV"}, "nerfstudio"),
        ({"camera_model": "OPENCV", "aabb_scale": 4}, "nerfstudio"),
        ({}, "instant-ngp"),
    ],
)
def test_the_dialect_is_told_by_the_keys(tmp_path: Path, keys: dict, expected: str) -> None:
    transforms(tmp_path, **FOCAL, **keys)
    scene = read_scene(tmp_path)
    assert scene.dialect == expected
    assert bool(said(scene, "dialect")) == (len(keys) != 1)
    assert read_scene(tmp_path / "transforms.json").dialect == expected


def test_ignored_keys_and_times(tmp_path: Path) -> None:
    path = transforms(tmp_path, **FOCAL, n_extra_learnable_dims=16)
    for index in range(2):
        edit_frame(path, index, sharpness=3.0, time=0.25 * index)
    scene = read_scene(path)
    assert [frame.time for frame in scene.frames] == [0, 0.25]
    assert "n_extra_learnable_dims" in said(scene, "n_extra_learnable_dims", "info")
    assert "2 frames, the first images/a.png" in said(scene, "sharpness", "info")
    assert {note.key for note in scene.notes} == {"read", "split", "n_extra_learnable_dims", "sharpness"}
    text = "Keys that were read: frames, fl_x, fl_y; of frames: file_path, transform_matrix, time."
    assert said(scene, "read") == text
    assert "changes the pixels" in said(read_scene(edit(path, white_transparent=True)), "white_transparent", "warning")


def test_a_moving_camera_and_a_matrix_of_three_rows(tmp_path: Path) -> None:
    path = transforms(tmp_path, **FOCAL)
    edit_frame(path, 0, transform_matrix=poses(2)[0][:3].tolist())
    edit_frame(path, 1, transform_matrix=None, transform_matrix_start=poses(2)[0].tolist())
    scene = read_scene(path)
    for frame in scene.frames:
        np.testing.assert_array_equal(pose(frame), poses(2)[0])
    assert said(scene, "transform_matrix_start", "warning")


def test_points_of_a_ply_file(tmp_path: Path) -> None:
    path = transforms(tmp_path, **FOCAL, ply_file_path="sparse.ply")
    assert "no sparse.ply" in said(read_scene(path), "ply_file_path", "warning")
    header = "ply\nformat {} 1.0\ncomment x\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    header += "property uchar red\nproperty uchar green\nproperty uchar blue\nproperty float nx\nend_header\n"
    (tmp_path / "sparse.ply").write_text(header.format("ascii") + "1 2 3 4 5 6 0\n-1 0.5 0 255 0 9 1\n")
    layout = [("xyz", "f4", 3), ("rgb", "u1", 3), ("nx", "f4")]
    rows = [((1, 2, 3), (4, 5, 6), 0), ((-1, 0.5, 0), (255, 0, 9), 1)]
    expected = ([[1, 2, 3], [-1, 0.5, 0]], [[4, 5, 6], [255, 0, 9]])
    texts = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}
    for kind, order in texts.items():
        if order:
            table = np.array(rows, np.dtype([(n, order + t if t != "u1" else t, *s) for n, t, *s in layout]))
            (tmp_path / "sparse.ply").write_bytes(header.format(kind).encode() + table.tobytes())
        points = read_scene(path).points
        assert points is not None
        assert points.observations is None
        assert (points.xyz.tolist(), points.rgb.tolist()) == expected
    (tmp_path / "sparse.ply").write_bytes(header.format("binary_little_endian").encode() + bytes(20))
    with pytest.raises(DataError, match="cut short: 2 points"):
        read_scene(path)


def test_frames_may_be_listed_in_a_json_of_any_name(tmp_path: Path) -> None:
    path = transforms(tmp_path, name="base.json", **FOCAL)
    assert len(read_scene(path).frames) == 2
