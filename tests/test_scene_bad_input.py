"""Every kind of bad scene: one clear sentence."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scene_files import colmap, edit, edit_frame, llff, picture, poses, quaternion, transforms

from neufield.core.errors import DataError
from neufield.formats.scene import read_scene

FOCAL = {"fl_x": 10.0, "fl_y": 10.0}
Spoil = Callable[[Path], object]


def json_with(**keys: object) -> Spoil:
    return lambda folder: transforms(folder, **(FOCAL | keys))


def frame_with(**keys: object) -> Spoil:
    return lambda folder: edit_frame(transforms(folder, **FOCAL), 1, **keys)


def text(content: str, name: str = "transforms.json") -> Spoil:
    return lambda folder: (folder / name).write_text(content)


def without(key: str) -> Spoil:
    def spoil(folder: Path) -> None:
        path = transforms(folder, **FOCAL)
        document = json.loads(path.read_text())
        del document["frames"][1][key]
        path.write_text(json.dumps(document))

    return spoil


def llff_with(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(folder: Path) -> None:
        llff(folder)
        np.save(folder / "poses_bounds.npy", change(np.load(folder / "poses_bounds.npy")))

    return spoil


def set_to(row: int, column: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(rows: np.ndarray) -> np.ndarray:
        rows[row, column] = value
        return rows

    return change


def npz(**arrays: object) -> Spoil:
    good = {"images": np.zeros((3, 6, 8, 3), np.uint8), "poses": poses(3), "focal": 10.0}
    kept = {key: value for key, value in (good | arrays).items() if value is not None}
    return lambda folder: np.savez(folder / "t.npz", **kept)


def sparse(
    binary: bool = True, q: object = None, t: object = (0, 0, 1), camera: int = 1, spoil: Callable | None = None
):
    def write(folder: Path) -> None:
        image = (1, q or quaternion(1, [0, 0, 1]), t, camera, "a.png", [(1.0, 2.0, 3)])
        colmap(folder, [(1, "PINHOLE", 8, 6, [9, 9, 4, 3])], [image], [(3, [0, 0, 0], [1, 2, 3])], binary)
        if spoil:
            spoil(folder / "sparse/0")

    return write


def cut(name: str, keep: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def rewrite(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def point(number: int) -> bytes:
    return struct.pack("<QQ3d3BdQii", 1, number, 0.0, 0.0, 0.0, 1, 2, 3, 0.5, 1, 1, 0)


NAN_POSE = [[float("nan"), 0, 0, 0], *np.eye(4)[1:].tolist()]
BAD = {
    "nothing": (lambda folder: None, "is no scene of posed photographs"),
    "no frames": (text('{"fl_x": 1}'), "has no 'frames'"),
    "misspelt frames": (text('{"frame": []}'), "has no 'frames'; did you mean 'frame'"),
    "empty frames": (text('{"frames": []}'), "'frames' is .*, but a list with entries was expected"),
    "frames no list": (text('{"frames": {"a": 1}}'), "'frames' is .*, but a list"),
    "frame no object": (text('{"frames": [1], "fl_x": 1}'), "frame 0 is 1, but an object with keys"),
    "no object": (text("[1]"), r"is \[1\], but an object"),
    "no json": (text('{"frames": [1,]}'), "not valid JSON: .* at line 1, column"),
    "cut json": (text('{"frames": [{'), "not valid JSON"),
    "binary": (lambda folder: (folder / "transforms.json").write_bytes(b"\xff\xfe\x80"), "is not text"),
    "nested": (text("[" * 100_000), "nested more than 64 levels deep"),
    "no path": (without("file_path"), "frame 1 has no 'file_path'"),
    "no matrix": (without("transform_matrix"), "frame 1 has no 'transform_matrix'"),
    "empty path": (frame_with(file_path=""), 'frame 1: .file_path. is "", but a text was expected'),
    "nan pose": (frame_with(transform_matrix=NAN_POSE), "'transform_matrix' holds a NaN"),
    "2x2 pose": (frame_with(transform_matrix=[[1, 0], [0, 1]]), "shape 2 x 2, but 4 x 4 or 3 x 4 was expected"),
    "ragged pose": (frame_with(transform_matrix=[[1, 0], [1]]), "4 x 4 or 3 x 4 numbers were expected"),
    "words in pose": (frame_with(transform_matrix="identity"), "4 x 4 or 3 x 4 numbers were expected"),
    "pose out of reach": (
        frame_with(transform_matrix=[[1, 0, 0, 1e308], *np.eye(4)[1:].tolist()]),
        r"frame 1 has a pose with the number 1e\+308, but at most 1e\+15",
    ),
    "colmap pose out of reach": (sparse(t=(1e308, 1e308, 1e308)), "a.png has a pose with the number"),
    "colmap text pose out of reach": (sparse(False, t=(0, 1e308, 0)), "a.png has a pose with the number"),
    "llff pose out of reach": (llff_with(set_to(2, 3, 1e308)), r"images/02.png, has a pose with the number 1e\+308"),
    "npz pose out of reach": (npz(poses=poses(3) * [[1, 1, 1, 1e300]]), "image 0, has a pose with the number"),
    "colmap number of 64 bits": (
        sparse(spoil=lambda folder: (folder / "points3D.bin").write_bytes(point(2**63))),
        "has a point with the number 9223372036854775808, but 0 to 2.63 - 1 was expected",
    ),
    "colmap text number of 64 bits": (
        sparse(False, spoil=rewrite("points3D.txt", f"{2**63} 0 0 0 1 2 3 0.5 1 0\n")),
        "line 1 has a point with the number 9223372036854775808",
    ),
    "colmap text sighting of 70 bits": (
        sparse(False, spoil=rewrite("images.txt", f"1 1 0 0 0 0 0 1 1 a.png\n1 2 {2**70}\n")),
        "line 2, is not IMAGE_ID",
    ),
    "colmap text of half a pixel": (
        sparse(False, spoil=rewrite("cameras.txt", "1 PINHOLE 8.5 6 9 9 4 3\n")), "line 1, is not CAMERA_ID MODEL",
    ),
    "fisheye in words": (json_with(is_fisheye="false"), "'is_fisheye' is \"false\", but true or false was expected"),
    "circle of nothing": (
        json_with(camera_model="OPENCV_FISHEYE", fisheye_crop_radius=0), "'fisheye_crop_radius' is 0, but a radius",
    ),
    "transposed pose": (frame_with(transform_matrix=poses(2)[1].T.tolist()), "last row .* row by row"),
    "no focal": (json_with(fl_x=None, fl_y=None), "has no focal length; add 'fl_x'"),
    "focal 0": (json_with(fl_x=0), "focal length is 0, but it must be above 0"),
    "focal text": (json_with(fl_x="10"), "'fl_x' is \"10\", but a finite number"),
    "focal true": (json_with(fl_x=True), "'fl_x' is true, but a finite number"),
    "focal nan": (json_with(fl_x=float("nan")), "'fl_x' is NaN, but a finite number"),
    "wide angle": (json_with(fl_x=None, fl_y=None, camera_angle_x=3.2), "between 0 and 3.142"),
    "degrees": (json_with(x_fov=190.0), "'x_fov' is 190, but an angle between 0 and 180"),
    "size 0": (json_with(w=0, h=6), "the size is 0 x 6"),
    "all absent": (
        lambda folder: [path.unlink() for path in transforms(folder, **FOCAL).parent.glob("images/*")],
        r"lists 2 photographs, none of which exists \(the first is images/a.png",
    ),
    "cut picture": (
        lambda folder: (transforms(folder, **FOCAL).parent / "images/a.png").write_bytes(b"\x89PNG\r\n"),
        "a.png is damaged",
    ),
    "ftheta": (json_with(ftheta_p0=1.0), "'ftheta_p0', a projection that is not read"),
    "latlong": (frame_with(latlong=True), "frame 1 has 'latlong'"),
    "model": (json_with(camera_model="OPENCV_FISHY"), "did you mean 'OPENCV_FISHEYE'"),
    "mitsuba": (json_with(normal_mts_args={"a": 1}), "camera axes are Mitsuba's"),
    "5 params": (json_with(distortion_params=[1, 2]), "shape 2, but 6 was expected"),
    "applied": (json_with(applied_transform=[[0] * 4] * 3), "cannot be undone"),
    "scale 0": (json_with(applied_scale=0, camera_model="OPENCV"), "'applied_scale' is 0"),
    "box empty": (json_with(aabb=[[0, 0, 0], [1, 1, 0]]), "box of the scene is empty"),
    "box scale": (json_with(aabb_scale=4, scale=0), "'scale' is 0"),
    "llff shape": (llff_with(lambda rows: rows[:, :15]), "shape 9 x 15, but rows of 17"),
    "llff nan": (llff_with(set_to(2, 3, np.nan)), "row 2 holds a NaN"),
    "llff size": (llff_with(set_to(4, 9, 0)), "row 4 has a height, width or focal"),
    "llff count": (llff_with(lambda rows: rows[:4]), "4 poses, but images holds 9 pictures"),
    "llff objects": (llff_with(lambda rows: np.array([{}], object)), "holds Python objects; save plain arrays"),
    "llff empty": (lambda folder: (llff(folder), (folder / "poses_bounds.npy").write_bytes(b"")), "not a NumPy file"),
    "llff no images": (
        lambda folder: (llff(folder), (folder / "images").rename(folder / "photos")),
        "no folder images, images_4",
    ),
    "npz focal": (npz(focal=None), "has no focal, but images, poses, focal were expected; it holds images, poses"),
    "npz focal -1": (npz(focal=-1.0), "'focal' must be one number"),
    "npz count": (npz(poses=poses(2)), "3 images, but poses of the shape 2 x 4 x 4"),
    "npz shape": (npz(images=np.zeros((6, 8, 3))), "shape 6 x 8 x 3, but N x H x W x 3"),
    "npz range": (npz(images=np.full((3, 6, 8, 3), 255.0)), "from 255 to 255, but uint8, or floats"),
    "npz nan": (npz(poses=poses(3) * np.nan), "'poses' holds a NaN"),
    "npz words": (npz(focal=np.array("ten")), "'focal' is <U3, but numbers"),
    "npz objects": (npz(poses=np.array([None] * 3)), "Python objects"),
    "npz cut": (text("PK\x03\x04 not really", "t.npz"), "is not a NumPy file that can be read|Python objects"),
    "colmap cameras cut": (sparse(spoil=cut("cameras.bin", 30)), "cameras.bin is cut short"),
    "colmap images cut": (sparse(spoil=cut("images.bin", 80)), "images.bin is cut short"),
    "colmap points cut": (sparse(spoil=cut("points3D.bin", 40)), "points3D.bin is cut short"),
    "colmap empty": (sparse(spoil=cut("cameras.bin", 0)), "cameras.bin is cut short"),
    "colmap count": (
        sparse(spoil=lambda folder: (folder / "images.bin").write_bytes(b"\xff" * 8)), "images.bin is cut short",
    ),
    "colmap no images": (sparse(spoil=lambda folder: (folder / "images.bin").unlink()), "no images.bin beside"),
    "colmap zero q": (sparse(q=[0, 0, 0, 0]), "pose of a.png is not finite or not a rotation"),
    "colmap nan t": (sparse(t=[0, float("nan"), 0]), "pose of a.png is not finite"),
    "colmap camera": (sparse(camera=5), "a.png has the camera 5, which cameras.bin lacks"),
    "colmap none": (
        sparse(spoil=lambda folder: (folder / "images.bin").write_bytes(bytes(8))), "holds no photograph",
    ),
    "colmap absent": (
        sparse(spoil=lambda folder: (folder / "../../images/a.png").unlink()), "lists 1 photographs, none of which",
    ),
    "text camera": (sparse(False, spoil=rewrite("cameras.txt", "1 PINHOLE 8\n")), "line 1, is not CAMERA_ID"),
    "text model": (sparse(False, spoil=rewrite("cameras.txt", "1 SPHERE 8 6 1\n")), "model SPHERE is unknown"),
    "text count": (sparse(False, spoil=rewrite("cameras.txt", "1 PINHOLE 8 6 1\n")), "PINHOLE needs 4 finite"),
    "text image": (sparse(False, spoil=rewrite("images.txt", "# x\n1 1 0 0\n\n")), "line 2, is not IMAGE_ID"),
    "text point": (sparse(False, spoil=rewrite("points3D.txt", "1 2 3\n")), "line 1, is not POINT3D_ID"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_sentence(tmp_path: Path, case: str) -> None:
    spoil, pattern = BAD[case]
    spoil(tmp_path)
    with pytest.raises(DataError, match=pattern) as caught:
        read_scene(tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert not re.search(r"[.!?] [A-Z]|\n", message), message
    assert ";" in message, "it must say what to do"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_paths_dialects_and_folders_that_do_not_exist(tmp_path: Path) -> None:
    path = transforms(tmp_path, **FOCAL)
    with pytest.raises(DataError, match=r"no file or folder .*none; check"):
        read_scene(tmp_path / "none")
    with pytest.raises(DataError, match="'Colmap' is unknown; did you mean 'colmap'"):
        read_scene(tmp_path, "Colmap")
    with pytest.raises(DataError, match=r"holds no poses_bounds\.npy, which llff needs"):
        read_scene(tmp_path, "llff")
    with pytest.raises(DataError, match=r"no folder .*images_8; name"):
        read_scene(tmp_path, images="images_8")
    with pytest.raises(DataError, match="is no scene of posed photographs"):
        read_scene(picture(tmp_path / "a.png"))
    with pytest.raises(ValueError, match="holdout is -1"):
        read_scene(edit(path), holdout=-1)
