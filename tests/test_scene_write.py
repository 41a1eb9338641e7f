"""Round trips through every dialect, and what each says it cannot hold."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pil
from scene_files import picture, poses

from neufield.core.cameras import Camera
from neufield.core.errors import DataError
from neufield.formats.scene import Depth, Frame, Mask, Observations, Points, Scene, read_scene, write_scene

PINHOLE = ("pinhole", (0.0, 0.0, 0.0, 0.0, 0.0, 0.0))


def scene_of(folder: Path, count: int = 9, size: tuple[int, int] = (8, 6), camera: tuple = PINHOLE, **numbers) -> Scene:
    """Frames with pictures in ``folder/images``, one in 8 for testing."""
    width, height = size
    values = {"fx": 9.123456789012345, "fy": 9.123456789012345, "cx": width / 2, "cy": height / 2} | numbers
    frames = []
    for index, pose in enumerate(poses(count, seed=3)):
        path = picture(folder / f"images/{index:02d}.png", width, height, value=index + 1)
        lens = Camera(torch.from_numpy(pose), width, height, **values, lens=camera[0], distortion=camera[1])
        frames.append(Frame(f"images/{index:02d}.png", path, lens, "test" if index % 8 == 0 else "train"))
    return Scene(tuple(frames), "made")


def changed(scene: Scene, **keys) -> Scene:
    """Each frame with ``keys``, functions of its index."""
    return dataclasses.replace(
        scene,
        frames=tuple(
            dataclasses.replace(frame, **{key: make(index) for key, make in keys.items()})
            for index, frame in enumerate(scene.frames)
        ),
    )


def same(one: Scene, other: Scene, rotation: float = 1e-12) -> None:
    """Cameras, splits and what else frames have, to 1e-12."""
    assert len(one.frames) == len(other.frames)
    for a, b in zip(one.frames, other.frames, strict=True):
        np.testing.assert_allclose(a.camera.to_world.numpy(), b.camera.to_world.numpy(), rtol=0, atol=rotation)
        for field in ("width", "height", "lens"):
            assert getattr(a.camera, field) == getattr(b.camera, field)
        for field in ("fx", "fy", "cx", "cy", "distortion"):
            np.testing.assert_allclose(getattr(a.camera, field), getattr(b.camera, field), rtol=1e-12)
        assert (a.split, a.time, a.near, a.far) == (b.split, b.time, b.near, b.far)


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("dialect", ["blender", "nerfstudio", "instant-ngp", "colmap", "colmap-text"])
def test_what_every_dialect_can_hold(tmp_path: Path, dialect: str, copy: bool) -> None:
    scene = scene_of(tmp_path / "from")
    write_scene(scene, tmp_path / "to", dialect, copy_images=copy)
    again = read_scene(tmp_path / "to")
    assert again.dialect == dialect
    order = sorted(again.frames, key=lambda frame: Path(frame.name).name)  # Blender has a file for each split
    again = dataclasses.replace(again, frames=tuple(order))
    same(scene, again)
    inside = {name for name in tree(tmp_path / "to") if name.endswith(".png")}
    assert len(inside) == (9 if copy else 0)
    for a, b in zip(scene.frames, again.frames, strict=True):
        assert np.array_equal(np.asarray(Pil.open(a.image)), np.asarray(Pil.open(b.image)))
        assert (a.image == b.image) is not copy
    if not copy:
        write_scene(again, tmp_path / "third", dialect)
        same(read_scene(tmp_path / "to"), read_scene(tmp_path / "third"))


def test_llff_round_trip(tmp_path: Path) -> None:
    scene = changed(scene_of(tmp_path / "from"), near=lambda i: 1.0 + i / 3, far=lambda i: 70.0 + i)
    write_scene(scene, tmp_path / "to", "llff", copy_images=True)
    again = read_scene(tmp_path / "to")
    assert again.dialect == "llff"
    same(scene, again)
    write_scene(scene, tmp_path / "from", "llff")  # the pictures are already where they must be
    same(scene, read_scene(tmp_path / "from"))
    assert np.load(tmp_path / "from/poses_bounds.npy").shape == (9, 17)
    with pytest.raises(DataError, match="copy_images=True"):
        write_scene(scene, tmp_path / "third", "llff")
    with pytest.raises(DataError, match="no near and far"):
        write_scene(changed(scene, near=lambda i: None), tmp_path / "to", "llff", copy_images=True)
    picture(tmp_path / "to/images/more.png")
    with pytest.raises(DataError, match="10 pictures, but the 9"):
        write_scene(scene, tmp_path / "to", "llff", copy_images=True)


def test_npz_round_trip(tmp_path: Path) -> None:
    scene = changed(scene_of(tmp_path / "from"), name="{:04d}".format)
    write_scene(scene, tmp_path / "to", "tiny-nerf")
    again = read_scene(tmp_path / "to")
    assert again.dialect == "tiny-nerf"
    same(scene, again)
    for a, b in zip(scene.frames, again.frames, strict=True):
        np.testing.assert_array_equal(b.image, np.asarray(Pil.open(a.image)))
    # From memory to files, in any other dialect: the pictures are written.
    write_scene(again, tmp_path / "files", "nerfstudio")
    third = read_scene(tmp_path / "files")
    same(scene, third)
    assert third.frames[3].name == "images/0003.png"
    np.testing.assert_array_equal(np.asarray(Pil.open(third.frames[3].image)), again.frames[3].image)


@pytest.mark.parametrize("dialect", ["nerfstudio", "instant-ngp", "colmap", "colmap-text"])
@pytest.mark.parametrize("kind", ["opencv", "fisheye"])
def test_bent_lenses(tmp_path: Path, dialect: str, kind: str) -> None:
    more = (0.0, 0.0, 1e-3, -2e-3) if kind == "opencv" else (0.3, -0.04, 0.0, 0.0)
    camera = (kind, (0.1, 0.2 / 3, *more))
    scene = scene_of(tmp_path / "from", camera=camera, fx=9.5, fy=8 + 1 / 3, cx=3.1, cy=2.9)
    write_scene(scene, tmp_path / "to", dialect)
    same(scene, read_scene(tmp_path / "to"))


def test_k3_of_an_opencv_lens(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "from", camera=("opencv", (0.1, 0.2, 0.3, 0.0, 0.5, 0.6)))
    for dialect in ("nerfstudio", "colmap"):
        write_scene(scene, tmp_path / dialect, dialect)
        same(scene, read_scene(tmp_path / dialect))
    with pytest.raises(DataError, match=r"k3 and k4 .*9 frames"):
        write_scene(scene, tmp_path / "to", "instant-ngp")


def test_fisheyes_of_instant_ngp_have_no_p1(tmp_path: Path) -> None:
    """Even zero, its reader would put them into the slots of k3 and k4."""
    scene = scene_of(tmp_path / "from", camera=("fisheye", (0.1, 0.2, 0.3, 0.4, 0.0, 0.0)))
    write_scene(scene, tmp_path / "to", "instant-ngp")
    frame = json.loads((tmp_path / "to/transforms.json").read_text())["frames"][0]
    assert "k3" in frame
    assert frame.keys().isdisjoint({"p1", "p2"})


def test_cameras_of_their_own(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "from")
    picture(tmp_path / "from/images/02.png", 20, 10)
    second = dataclasses.replace(scene.frames[2].camera, width=20, height=10, fx=30.0, cx=9.0)
    scene = changed(scene, camera=lambda i: second if i == 2 else scene.frames[i].camera)
    for dialect in ("nerfstudio", "instant-ngp", "colmap", "colmap-text"):
        write_scene(scene, tmp_path / dialect, dialect)
        expected = changed(scene, camera=lambda i: second if i == 2 else scene.frames[i].camera)
        again = read_scene(tmp_path / dialect)
        assert again.frames[2].camera.fx == 30
        for a, b in zip(expected.frames, again.frames, strict=True):
            assert (a.camera.width, a.camera.fx, a.camera.cx) == (b.camera.width, b.camera.fx, b.camera.cx)


def test_nerfstudio_keeps_everything_but_the_box(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "from")
    mask, depth = picture(tmp_path / "from/m.png", mode="L"), picture(tmp_path / "from/d.png", mode="L")
    original = torch.tensor([[0, 2.0, 0, 1], [2, 0, 0, 3], [0, 0, -2, 0.5], [0, 0, 0, 1]], dtype=torch.float64)
    xyz = torch.tensor([[0.1, 1 / 3, -7], [1e-9, 2, 3]], dtype=torch.float64)
    points = Points(xyz, torch.tensor([[1, 2, 3], [255, 0, 7]], dtype=torch.uint8))
    scene = changed(
        scene, mask=lambda i: Mask(mask, "white" if i == 0 else "black"), depth=lambda i: Depth(depth, 0.5e-3),
        time=lambda i: i / 7, split=lambda i: ("train", "val", "test", "")[i % 4],
    )  # fmt: skip
    scene = dataclasses.replace(scene, points=points, original_from_world=original)
    for copy in (True, False):
        folder = tmp_path / f"to{copy}"
        write_scene(scene, folder, "nerfstudio", copy_images=copy)
        again = read_scene(folder)
        same(scene, again)
        np.testing.assert_allclose(again.original_from_world.numpy(), original.numpy(), atol=1e-12)
        assert again.points is not None
        assert again.points.xyz.equal(xyz)
        assert again.points.rgb.equal(points.rgb)
        for a, b in zip(scene.frames, again.frames, strict=True):
            assert a.mask is not None
            assert b.mask is not None
            assert b.mask.ignored == "black"
            np.testing.assert_array_equal(a.mask.read(), b.mask.read())
            assert b.depth is not None
            assert b.depth.unit == pytest.approx(0.5e-3, rel=1e-12)
        assert ("depths/images/03.png" in tree(folder)) is copy
    lower, upper = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    with pytest.raises(DataError, match="cannot hold the box of the scene; pass lossy=True"):
        write_scene(dataclasses.replace(scene, box=(lower, upper)), tmp_path / "x", "nerfstudio")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("lower", "upper", "keys"),
    [
        ([-2 / 0.33] * 3, [2 / 0.33] * 3, {"aabb_scale", "scale", "offset"}),
        ([1 - 8 / 0.33] * 3, [1 + 8 / 0.33] * 3, {"aabb_scale", "scale", "offset"}),
        ([-1, -2, 0.1], [1, 7 / 3, 0.3], {"aabb_scale", "aabb"}),
    ],
)
def test_boxes_of_instant_ngp(tmp_path: Path, lower: list, upper: list, keys: set) -> None:
    box = tuple(torch.tensor(corner, dtype=torch.float64) for corner in (lower, upper))
    scene = dataclasses.replace(scene_of(tmp_path / "from"), box=box)
    write_scene(scene, tmp_path / "to", "instant-ngp")
    again = read_scene(tmp_path / "to").box
    assert again is not None
    np.testing.assert_allclose(again[0].numpy(), lower, rtol=1e-12)
    np.testing.assert_allclose(again[1].numpy(), upper, rtol=1e-12)
    assert json.loads((tmp_path / "to/transforms.json").read_text()).keys() == keys | {"frames"}


def test_masks_and_depths_of_instant_ngp(tmp_path: Path) -> None:
    mask = picture(tmp_path / "from/m.png", mode="L")
    values = np.zeros((6, 8), np.uint8)
    values[1] = 200
    Pil.fromarray(values).save(mask)
    scene = changed(
        scene_of(tmp_path / "from"),
        mask=lambda i: Mask(mask, "black") if i else None,
        depth=lambda i: Depth(mask, 0.125),
    )
    with pytest.raises(DataError, match=r"the masks, which .*copy_images=True"):
        write_scene(scene, tmp_path / "to", "instant-ngp")
    write_scene(scene, tmp_path / "to", "instant-ngp", copy_images=True)
    assert not (tmp_path / "to/images/dynamic_mask_00.png").exists()
    again = read_scene(tmp_path / "to")
    assert again.frames[0].mask is None
    for frame in again.frames[1:]:
        assert frame.mask is not None
        assert frame.mask.ignored == "white"
        np.testing.assert_array_equal(frame.mask.read(), values > 0)
        assert frame.depth is not None
        assert frame.depth.unit == 0.125
    write_scene(again, tmp_path / "third", "instant-ngp")  # the masks are beside the pictures already
    assert read_scene(tmp_path / "third").frames[1].mask == again.frames[1].mask


def sighted(folder: Path) -> Scene:
    rng = np.random.default_rng(0)
    points = Points(
        torch.from_numpy(rng.normal(size=(5, 3))), torch.arange(15, dtype=torch.uint8).view(5, 3),
        Observations(torch.tensor([0, 0, 2, 8]), torch.tensor([4, 1, 1, 0]), torch.from_numpy(rng.random((4, 2)) * 5)),
    )  # fmt: skip
    return dataclasses.replace(scene_of(folder), points=points)


def test_colmap_keeps_points_in_both_forms(tmp_path: Path) -> None:
    scene = sighted(tmp_path / "from")
    for dialect in ("colmap", "colmap-text"):
        write_scene(dataclasses.replace(scene, points=None), tmp_path / dialect, dialect)
        assert read_scene(tmp_path / dialect).points is None
        write_scene(scene, tmp_path / dialect, dialect)
        again = read_scene(tmp_path / dialect)
        same(scene, again)
        assert scene.points is not None
        assert again.points is not None
        assert again.points.xyz.equal(scene.points.xyz)
        assert again.points.rgb.equal(scene.points.rgb)
        assert scene.points.observations is not None
        assert again.points.observations is not None
        for field in ("frame", "point", "pixel"):
            assert getattr(again.points.observations, field).equal(getattr(scene.points.observations, field))
    binary, text = (read_scene(tmp_path / dialect) for dialect in ("colmap", "colmap-text"))
    same(binary, text, rotation=0)
    track = (tmp_path / "colmap-text/sparse/0/points3D.txt").read_text().splitlines()[2]
    assert track.endswith(" -1 1 1 3 0")  # the second point: photograph 1, its second pixel; photograph 3, its first


@pytest.mark.parametrize("quarter", range(4))
def test_half_turns_become_quaternions(tmp_path: Path, quarter: int) -> None:
    """Where one component of the quaternion is all there is, whichever it is."""
    signs = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]][quarter]
    pose = torch.diag(torch.tensor([*signs, 1.0], dtype=torch.float64))
    made = scene_of(tmp_path / "from")
    scene = changed(made, camera=lambda i: dataclasses.replace(made.frames[i].camera, to_world=pose))
    write_scene(scene, tmp_path / "to", "colmap")
    same(scene, read_scene(tmp_path / "to"))


def test_every_loss_is_named(tmp_path: Path) -> None:
    mask = picture(tmp_path / "from/m.png", mode="L")
    scene = sighted(tmp_path / "from")
    scene = changed(
        scene, mask=lambda i: Mask(mask) if i else None, depth=lambda i: Depth(mask, 1.0 + i), time=lambda i: 0.5,
        near=lambda i: 1.0, far=lambda i: 2.0, split=lambda i: "train" if i else "",
        camera=lambda i: dataclasses.replace(
            scene.frames[i].camera, fx=5.0 + i, cx=1.0, lens="opencv", distortion=(0.1, 0, 0, 0.2, 0, 0)
        ),
    )  # fmt: skip
    scale = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))
    box = (torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    scene = dataclasses.replace(scene, box=box, original_from_world=scale)
    common = {"near and far", "which photograph saw which point"}
    lens = {"the lens distortion", "the vertical focal length", "the principal point"}
    points, box_lost, original = "the sparse points", "the box of the scene", "the way back to the original frame"
    expected = {
        "blender": common | lens | {"the masks", "the depths", points, box_lost, original, "the frames without a split",
                                    "the different focal lengths of train frames"},
        "nerfstudio": common | {box_lost, "the masks, which", "the depths, which"},
        "instant-ngp": common | {points, original, "the split", "k3 and k4", "the masks, which", "the depths, which"},
        "llff": {*lens, "the masks", "the depths", points, box_lost, original, "the split", "the times",
                 "which photograph"},
        "colmap": {"near and far", "the masks", "the depths", "the times", box_lost, original, "the split",
                   "k4 of the lens"},
        "tiny-nerf": common | lens | {"the masks", "the depths", "the times", points, box_lost, original, "the split",
                                      "the different focal", "the names"},
    }  # fmt: skip
    for dialect, phrases in expected.items():
        with pytest.raises(DataError) as caught:
            write_scene(scene, tmp_path / dialect, dialect)
        sentence = str(caught.value)
        listed = sentence.removeprefix(f"{dialect} cannot hold ").rpartition("; pass lossy=True")[0].split("; ")
        assert len(listed) == len(phrases), listed
        for phrase in phrases:
            assert any(part.startswith(phrase) for part in listed), (dialect, phrase, listed)
        assert not (tmp_path / dialect).exists()
        write_scene(scene, tmp_path / dialect, dialect, lossy=True, copy_images=True)
        count = len(read_scene(tmp_path / dialect).frames)
        assert count == (8 if dialect == "blender" else 9)


def test_what_cannot_be_written_at_all(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "from")
    with pytest.raises(DataError, match="'nerfstudo' is unknown; did you mean 'nerfstudio'"):
        write_scene(scene, tmp_path, "nerfstudo")
    with pytest.raises(DataError, match="no photographs"):
        write_scene(Scene((), "made"), tmp_path, "blender")
    with pytest.raises(DataError, match="no frame has a split"):
        write_scene(changed(scene, split=lambda i: ""), tmp_path, "blender", lossy=True)
    bent = ("fisheye", (0.1, 0.0, 0.0, 0.0, 0.0, 0.0))
    mixed = changed(scene, camera=lambda i: dataclasses.replace(
        scene.frames[i].camera, lens=bent[0] if i else "pinhole", distortion=bent[1] if i else PINHOLE[1]))  # fmt: skip
    with pytest.raises(DataError, match="one model for all"):
        write_scene(mixed, tmp_path / "to", "nerfstudio")
    write_scene(mixed, tmp_path / "to", "instant-ngp")
    same(mixed, read_scene(tmp_path / "to"))
    picture(tmp_path / "from/images/04.png", 7, 7)
    with pytest.raises(DataError, match="differ in size"):
        write_scene(changed(scene, name="{:04d}".format), tmp_path / "to", "tiny-nerf")


def test_a_scaled_pose_is_a_loss_for_quaternions(tmp_path: Path) -> None:
    made = scene_of(tmp_path / "from")
    scene = changed(
        made, camera=lambda i: dataclasses.replace(made.frames[i].camera, to_world=made.frames[i].camera.to_world * 2)
    )
    with pytest.raises(DataError, match="no rotation"):
        write_scene(scene, tmp_path / "to", "colmap")


def test_files_of_an_earlier_scene_would_be_mixed_in(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "from")
    write_scene(scene, tmp_path / "to", "blender")
    with pytest.raises(DataError, match=r"transforms_test\.json is there, but the scene has no test frames"):
        write_scene(dataclasses.replace(scene, frames=scene.split("train")), tmp_path / "to", "blender")
    write_scene(scene, tmp_path / "to", "colmap")
    with pytest.raises(DataError, match="holds binary files"):
        write_scene(scene, tmp_path / "to", "colmap-text")


def test_names_that_would_collide_or_leave_the_folder(tmp_path: Path) -> None:
    made = scene_of(tmp_path / "from", 3)
    scene = changed(made, name=lambda i: ["../x/a.png", "/abs/a.png", "images/A.png"][i])
    write_scene(scene, tmp_path / "to", "nerfstudio", copy_images=True)
    names = {"images/0_a.png", "images/1_a.png", "images/2_A.png"}
    assert tree(tmp_path / "to") == names | {"transforms.json"}
    same(scene, read_scene(tmp_path / "to"))


def test_blender_says_that_its_readers_add_png(tmp_path: Path) -> None:
    made = scene_of(tmp_path / "from", 3)
    jpeg = picture(tmp_path / "from/b.jpg")
    scene = changed(made, image=lambda i: jpeg if i == 1 else made.frames[i].image)
    with pytest.raises(DataError, match=r"do not end in \.png.*1 frames"):
        write_scene(scene, tmp_path / "to", "blender")
    write_scene(scene, tmp_path / "to", "blender", lossy=True)
    assert {Path(frame.name).name for frame in read_scene(tmp_path / "to").frames} == {"00.png", "b.jpg", "02.png"}
