"""What strangers' scenes are like: names, marks and folders that are not as the books have them are read, and noted."""

import json
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from scene_files import colmap, edit, edit_frame, picture, quaternion, transforms

from neufield.apps import cli
from neufield.core.errors import DataError
from neufield.formats.scene import Scene, check_scene, read_scene, write_scene

FOCAL = {"fl_x": 10.0, "fl_y": 10.0}


def said(scene: Scene, *words: str) -> bool:
    """Whether one of the notes of reading and checking has all ``words``."""
    return any(all(word in note.text for word in words) for note in (*scene.notes, *check_scene(scene)))


def model(folder: Path, count: int = 2, binary: bool = True, names: Sequence[str] = ()) -> None:
    """A reconstruction of ``count`` photographs in ``folder / sparse / 0``."""
    names = names or [f"{i}.png" for i in range(count)]
    images = [(i + 1, quaternion(0.1 * i, [0, 0, 1]), (i, 0, 1), 1, name, []) for i, name in enumerate(names)]
    colmap(folder, [(1, "PINHOLE", 8, 6, [9, 9, 4, 3])], images, [(3, [0, 0, 0], [1, 2, 3])], binary)


def moved(folder: Path, to: str, **options: object) -> None:
    """A reconstruction at another place in ``folder``."""
    model(folder / "made", **options)
    (folder / to).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder / "made/sparse/0", folder / to)
    shutil.copytree(folder / "made/images", folder / "images", dirs_exist_ok=True)
    shutil.rmtree(folder / "made")


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    "place", ["sparse/1", "sparse/0/models/0", "sparse/models/3", "models/0", "colmap/sparse/2", "1"]
)
def test_a_reconstruction_is_found_where_it_is(place: str, binary: bool, tmp_path: Path) -> None:
    moved(tmp_path, place, binary=binary)
    assert len(read_scene(tmp_path).frames) == 2


@pytest.mark.parametrize("binary", [True, False])
def test_of_several_reconstructions_the_largest_is_read_and_the_others_named(binary: bool, tmp_path: Path) -> None:
    for place, count in (("sparse/0", 2), ("sparse/1", 5), ("sparse/10", 3)):
        moved(tmp_path, place, count=count, binary=binary)
    scene = read_scene(tmp_path)
    assert len(scene.frames) == 5
    assert said(scene, f"Of 3 reconstructions {tmp_path / 'sparse/1'} (5 photographs) is read, not")
    assert said(scene, f"{tmp_path / 'sparse/0'} (2), {tmp_path / 'sparse/10'} (3)")
    named = read_scene(tmp_path / "sparse/10")
    assert len(named.frames) == 3
    assert said(named, f"{tmp_path / 'sparse/1'} (5)")


def test_the_folder_and_the_dialect_are_chosen_on_the_command_line(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    moved(tmp_path, "sparse/0", count=4)
    transforms(tmp_path, **FOCAL)
    for path in (tmp_path / "images").iterdir():
        picture(tmp_path / "images_2" / path.name, 4, 3)
    cli.main(["nerf", "doctor", "."])
    assert "instant-ngp, 2 photographs" in capsys.readouterr().out
    cli.main(["nerf", "doctor", ".", "--dialect", "colmap", "--images", "images_2"])
    printed = capsys.readouterr().out
    assert "colmap, 4 photographs" in printed
    assert "sizes 4 x 3" in printed
    with pytest.raises(SystemExit):
        cli.main(["nerf", "train", ".", "--dialect", "llff"])
    assert "holds no poses_bounds.npy, which llff needs" in capsys.readouterr().err


def test_colmap_text_with_a_byte_order_mark_and_sizes_as_floats(tmp_path: Path) -> None:
    model(tmp_path, binary=False)
    for path in (tmp_path / "sparse/0").iterdir():
        text = path.read_text().replace("PINHOLE 8 6", "PINHOLE 8.0 6.0").replace(" 1 2 3 0.5", " 1.0 2.0 3.0 0.5")
        path.write_bytes(b"\xef\xbb\xbf" + text.partition("\n")[2].encode())  # without the comment that begins it
    scene = read_scene(tmp_path)
    assert [(frame.camera.width, frame.camera.height) for frame in scene.frames] == [(8, 6)] * 2
    assert scene.points is not None
    assert scene.points.rgb.tolist() == [[1, 2, 3]]


def test_json_with_a_byte_order_mark_and_sizes_as_floats(tmp_path: Path) -> None:
    path = transforms(tmp_path, w=8.0, h=6.0, **FOCAL)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_scene(tmp_path).frames[0].camera.width == 8


def test_names_that_differ_in_capital_letters(tmp_path: Path) -> None:
    path = transforms(tmp_path, names=("images/IMG_1.PNG", "images/IMG_2.png", "Images/img_3.png"), **FOCAL)
    for name in ("IMG_1.PNG", "img_3.png"):
        picture(tmp_path / "images" / name)
    shutil.rmtree(tmp_path / "Images", ignore_errors=True)
    (tmp_path / "images/IMG_1.PNG").rename(tmp_path / "images/img_1.png")
    scene = read_scene(path)
    assert [frame.name for frame in scene.frames] == ["images/img_1.png", "images/IMG_2.png", "images/img_3.png"]
    assert said(scene, "differs from the file's in capital letters", "2 frames")
    model(tmp_path / "colmap", names=("a.png", "B.png"))
    (tmp_path / "colmap/images/B.png").rename(tmp_path / "colmap/images/b.PNG")
    scene = read_scene(tmp_path / "colmap")
    assert sorted(frame.image.name for frame in scene.frames) == ["a.png", "b.PNG"]


def test_empty_names_count_as_absent(tmp_path: Path) -> None:
    path = transforms(tmp_path, camera_model="OPENCV", ply_file_path="", **FOCAL)
    for i in range(2):
        edit_frame(path, i, mask_path="", depth_file_path="")
    scene = read_scene(path)
    assert scene.points is None
    assert [(frame.mask, frame.depth) for frame in scene.frames] == [(None, None)] * 2
    assert said(scene, "'mask_path' is empty, which counts as absent")
    assert said(scene, "'ply_file_path' is empty, which counts as absent")


def test_a_flag_in_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'is_fisheye' is \"false\", but true or false was expected"):
        read_scene(transforms(tmp_path, is_fisheye="false", **FOCAL))


def masked(folder: Path, name: str, values: np.ndarray) -> Scene:
    path = transforms(folder, camera_model="OPENCV", **FOCAL)
    Pillow.fromarray(values).save(folder / name)
    for i in range(2):
        edit_frame(path, i, mask_path=name)
    return read_scene(path)


def test_masks_that_are_jpegs_or_have_alpha_are_doubted(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 48).astype(np.uint8).reshape(6, 8)
    assert said(masked(tmp_path / "a", "m.jpg", ramp), "JPEG, whose black is not quite 0", "is gray")
    alpha = np.stack([np.full((6, 8), 255, np.uint8), ramp], axis=-1)
    assert said(masked(tmp_path / "b", "m.png", alpha), "The mask has an alpha channel, which is not looked at")
    plain = masked(tmp_path / "c", "m.png", np.where(ramp > 99, np.uint8(255), np.uint8(0)))
    assert not said(plain, "JPEG")
    assert not said(plain, "alpha")


def test_most_photographs_missing_is_said_so(tmp_path: Path) -> None:
    path = transforms(tmp_path, names=[f"images/{i}.png" for i in range(10)], **FOCAL)
    for i in range(1, 10):
        (tmp_path / f"images/{i}.png").unlink()
    scene = read_scene(path)
    assert scene.absent == tuple(f"images/{i}.png" for i in range(1, 10))
    with pytest.raises(
        DataError, match=r"of the 10 photographs .* only images/0\.png exists.* images/1\.png, .* and 6 more"
    ):
        check_scene(scene)


def test_a_film_or_photographs_without_poses_say_what_to_type(tmp_path: Path) -> None:
    film = tmp_path / "clip.MOV"
    film.touch()
    with pytest.raises(
        DataError, match=r"clip\.MOV is a film without poses, .*neufield nerf process .*clip\.MOV --out scenes/clip"
    ):
        read_scene(film)
    for i in range(2):
        picture(tmp_path / "some" / f"{i}.png")
    with pytest.raises(
        DataError, match=r"some holds 2 photographs without poses, .*neufield nerf process .*some --out scenes/some"
    ):
        read_scene(tmp_path / "some")


def test_a_fisheye_shows_nothing_beyond_its_circle(tmp_path: Path) -> None:
    """Of pictures of half the stated size, half the radius; pixels by hand."""
    path = transforms(tmp_path / "in", camera_model="OPENCV_FISHEYE", fisheye_crop_radius=5.0, w=16, h=12, **FOCAL)
    scene = read_scene(path)
    assert [frame.circle for frame in scene.frames] == [2.5, 2.5]
    rows, columns = np.mgrid[0:6, 0:8] + 0.5
    inside = (rows - 3) ** 2 + (columns - 4) ** 2 <= 2.5**2
    assert np.array_equal(scene.frames[0].counts(), inside)
    assert said(
        scene, f"{100 * (1 - inside.mean()):.0f} % of the picture lies beyond 'fisheye_crop_radius'", "2 frames"
    )
    write_scene(scene, tmp_path / "out", "nerfstudio")
    assert [frame.circle for frame in read_scene(tmp_path / "out").frames] == [2.5, 2.5]
    with pytest.raises(DataError, match="cannot hold the circle that a fisheye shows"):
        write_scene(scene, tmp_path / "other", "colmap")
    plain = read_scene(edit(path, camera_model="OPENCV"))
    assert plain.frames[0].circle is None
    assert said(plain, "for fisheye lenses, as in nerfstudio; for the others it is ignored")


def test_a_model_of_many_photographs_that_is_cut_short(tmp_path: Path) -> None:
    """A count that lies is not believed when the largest is looked for; what is read then says so."""
    moved(tmp_path, "sparse/0", count=2)
    moved(tmp_path, "sparse/1", count=3)
    (tmp_path / "sparse/1/images.bin").write_bytes(struct.pack("<Q", 2**60))
    with pytest.raises(DataError, match=r"images\.bin is cut short or not COLMAP's"):
        read_scene(tmp_path)
    assert json.dumps([frame.name for frame in read_scene(tmp_path / "sparse/0").frames]) == '["0.png", "1.png"]'


def test_points_behind_a_byte_order_mark(tmp_path: Path) -> None:
    header = (
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    (tmp_path / "points.ply").write_text(f"\ufeff{header}1 2 3\n", encoding="utf-8")
    scene = read_scene(transforms(tmp_path, ply_file_path="Points.ply", **FOCAL))
    assert scene.points is not None
    assert scene.points.xyz.tolist() == [[1.0, 2.0, 3.0]]
