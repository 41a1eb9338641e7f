"""Sixteen fixtures on which readers are known to disagree go out and come back, and so does what was learned from them.

The fixtures are what a survey of six readers of transforms.json found them to differ on, (a) to (p).
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import NAMES, noise, write_oiio
from PIL import Image as Pil
from scene_files import colmap, edit_frame, llff, picture, poses, quaternion, transforms

import neufield as nf
from neufield.apps import cli
from neufield.apps.nerf import mesh
from neufield.apps.nerf.setup import given_box
from neufield.field_files import save
from neufield.formats.scene import Scene, read_scene, write_scene
from neufield.presets.scene import choose_bounds, choose_views, radiance_scene
from neufield.renderers import Box, RadianceScene

FOCAL = {"fl_x": 10.0, "fl_y": 10.0}
LENS = {"camera_model": "OPENCV", "fl_x": 10.5, "fl_y": 11.5, "cx": 3.25, "cy": 3.5, "w": 8, "h": 6}
T = [[0.0, 0.0, 1.0, 0.5], [1.0, 0.0, 0.0, -2.0], [0.0, 1.0, 0.0, 7.0]]

Write = Callable[[Path], Path]


def of(*names: str, **keys: object) -> Write:
    return lambda folder: transforms(folder, names or ("images/a.png", "images/b.png"), **keys)


def then(write: Write, *more: Callable[[Path], object]) -> Write:
    def both(folder: Path) -> Path:
        path = write(folder)
        for step in more:
            step(folder)
        return path

    return both


def masks(*names: str) -> Callable[[Path], None]:
    """The left of each is white, the right black."""

    def write(folder: Path) -> None:
        half = np.zeros((6, 8), np.uint8)
        half[:, :3] = 255
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            Pil.fromarray(half).save(folder / name)

    return write


def name_masks(folder: Path) -> None:
    for i, name in enumerate("ab"):
        edit_frame(folder / "transforms.json", i, mask_path=f"m/{name}.png")


def comments(folder: Path) -> None:
    path = folder / "transforms.json"
    path.write_text("// made by hand\n" + path.read_text().replace('"frames"', '/* all */ "frames"'))


def exr(folder: Path) -> None:
    write_oiio(folder / "images/a.exr", noise(6, 8, 3, dtype="float32"), "float", NAMES[3])


def first_generation(folder: Path) -> None:
    (folder / "colmap/sparse/0").mkdir(parents=True)


def fisheye_frame(folder: Path) -> None:
    edit_frame(folder / "transforms.json", 1, is_fisheye=False, k1=0.3, k3=0.0, k4=0.0)


FIXTURES: dict[str, Write] = {
    "a camera_angle_x only": of(camera_angle_x=0.6911, sharpness=1),
    "b fl_x without fl_y": of(fl_x=10.0, aabb_scale=2),
    "c non-square pixels": of(fl_x=10.0, fl_y=13.0, aabb_scale=2),
    "d off-center": of(**FOCAL, cx=2.5, cy=4.25, w=8, h=6, aabb_scale=2),
    "e k3 with p1": of(**LENS, k1=0.1, k2=0.02, k3=0.003, p1=1e-3, p2=-2e-3),
    "f intrinsics of frames": then(
        of(**LENS), lambda folder: edit_frame(folder / "transforms.json", 1, fl_x=20.0, fl_y=21.0, cx=1.0)
    ),
    "g missing extension": then(
        of("images/a", "images/b", **FOCAL, aabb_scale=1),
        lambda folder: [picture(folder / f"images/{name}.png") for name in "ab"],
    ),
    "h missing image": then(of(**LENS), lambda folder: (folder / "images/b.png").unlink()),
    "i masks where black is ignored": then(of(**LENS), masks("m/a.png", "m/b.png"), name_masks),
    "i masks where white is ignored": then(
        of(**FOCAL, aabb_scale=1), masks("images/dynamic_mask_a.png", "images/dynamic_mask_b.png")
    ),
    "j aabb_scale with scale and offset": of(**FOCAL, aabb_scale=16, scale=0.25, offset=[0.1, 0.6, 0.3]),
    "k applied_transform": of(**LENS, applied_transform=T, applied_scale=0.37),
    "k applied_transform absent": of(**LENS),
    "k applied_transform of the first generation": then(of(**LENS), first_generation),
    "l unsorted names": of("images/10.png", "images/9.png", "images/1.png", **LENS),
    "m back-slashes": then(
        of("images\\a", "images\\b", **FOCAL, aabb_scale=1),
        lambda folder: [picture(folder / f"images/{name}.png") for name in "ab"],
    ),
    "n comments": then(of(**LENS), comments),
    "o is_fisheye": then(of(**FOCAL, is_fisheye=True, k1=0.1, k2=0.2, k3=0.3, k4=0.4), fisheye_frame),
    "o camera_model fisheye": of(**(LENS | {"camera_model": "OPENCV_FISHEYE"}), k1=0.1, k2=0.2),
    "p EXR beside PNG": then(of("images/a", "images/b.png", **FOCAL, aabb_scale=1), exr,
                             lambda folder: picture(folder / "images/a.png")),
}  # fmt: skip


def test_there_are_all_sixteen() -> None:
    assert {name[0] for name in FIXTURES} == set("abcdefghijklmnop")


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("name", FIXTURES)
def test_a_fixture_returns(name: str, copy: bool, tmp_path: Path) -> None:
    scene = read_scene(FIXTURES[name](tmp_path / "from"))
    write_scene(scene, tmp_path / "to", scene.dialect, copy_images=copy)
    again = read_scene(tmp_path / "to")
    assert again.dialect == scene.dialect
    assert len(again.frames) == len(scene.frames) > 0
    for a, b in zip(scene.frames, again.frames, strict=True):
        np.testing.assert_array_equal(a.camera.to_world.numpy(), b.camera.to_world.numpy())
        for field in ("width", "height", "lens", "distortion", "fx", "fy", "cx", "cy"):
            assert getattr(a.camera, field) == getattr(b.camera, field)
        assert a.split == b.split
        assert (a.mask is None) == (b.mask is None) == (not name.startswith("i"))
        if a.mask and b.mask:
            np.testing.assert_array_equal(a.mask.read(), b.mask.read())
            assert a.mask.read()[0].tolist() == [("black" in name) == (column < 3) for column in range(8)]
        np.testing.assert_array_equal(a.samples(), b.samples())
    np.testing.assert_allclose(again.original_from_world.numpy(), scene.original_from_world.numpy(), atol=1e-12)
    assert (scene.box is None) == (again.box is None)
    for a, b in zip(scene.box or (), again.box or (), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)  # rounded where it became scale and offset


# What was learned, exported and read again


def many(folder: Path, count: int = 9, **keys: object) -> Path:
    return transforms(folder, [f"images/{i}.png" for i in range(count)], **keys)


def blender(folder: Path) -> None:
    for split, count in (("train", 4), ("test", 2)):
        transforms(folder, [f"{split}/{i}.png" for i in range(count)], f"transforms_{split}.json", camera_angle_x=0.7)


def colmap_of(binary: bool) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        rng = np.random.default_rng(1)
        images = [
            (i + 1, quaternion(0.3 * i, rng.normal(size=3)), (5 * rng.normal(size=3)).tolist(), 1, f"{i}.png", ())
            for i in range(5)
        ]
        colmap(folder, [(1, "OPENCV", 8, 6, [9.5, 9.25, 3.9, 3.1, 0.1, -0.02, 1e-3, 2e-3])], images, binary=binary)

    return write


def archive(folder: Path) -> None:
    folder.mkdir()
    np.savez(folder / "t.npz", images=np.zeros((5, 6, 8, 3), np.uint8), poses=poses(5), focal=10.0)


WORLDS: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "blender": (blender, None),
    "instant-ngp with scale and offset": (
        lambda folder: many(folder, **FOCAL, aabb_scale=2, scale=0.25, offset=[0.1, 0.6, 0.3]), None
    ),
    "instant-ngp with aabb": (lambda folder: many(folder, **FOCAL, aabb=[[-1, 0, 1], [7, 6, 8]]), None),
    "nerfstudio, moved and scaled": (
        lambda folder: many(folder, **LENS, k1=0.1, applied_transform=T, applied_scale=0.37), "-2,-3,1,2,0.5,4"
    ),
    "nerfstudio fisheye": (lambda folder: many(folder, **(LENS | {"camera_model": "OPENCV_FISHEYE"}), k1=0.1), "3"),
    "llff": (lambda folder: llff(folder), "-200,-150,50,100,100,300"),
    "colmap": (colmap_of(True), "-20,-3,1,10,20,31"),
    "colmap-text": (colmap_of(False), "-20,-3,1,10,20,31"),
    "tiny-nerf": (archive, "1000"),
}  # fmt: skip


def exported(scene: Scene, box: str | None, folder: Path) -> tuple[RadianceScene, torch.Tensor, torch.Tensor]:
    """A model whose density is 40 on a plane of the scene's world: unit normal, a point of it, both float64."""
    split = choose_views(scene, 0)
    space = choose_bounds(scene, None if box is None else given_box(box))
    assert isinstance(space, Box)
    model = radiance_scene(scene, "voxels", views=split, bounds=space, resolution=12)
    lower, upper = torch.tensor(space.lower).double(), torch.tensor(space.upper).double()
    normal = torch.tensor([0.36, -0.48, 0.8]).double()
    normal /= normal.norm()
    point = lower + (upper - lower) * torch.tensor([0.55, 0.45, 0.5]).double()
    cells = torch.stack(torch.meshgrid(*[(torch.arange(12).double() + 0.5) / 12] * 3, indexing="ij"), dim=-1)
    distance = ((lower + (upper - lower) * cells) - point) @ normal
    model.field.upsample([12] * 3)  # a run's plan begins coarser
    with torch.no_grad():
        model.field.density_table.copy_(40 + 100 * distance[..., None] / float((upper - lower).max()))
    save(model, folder / "field.safetensors")
    return model, normal, point


@pytest.mark.parametrize("name", WORLDS)
def test_a_model_lands_where_it_was(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The cameras of these files look anywhere; what none of them sees is left out of a capture's mesh.
    monkeypatch.setattr(mesh, "seen", lambda points, *_: torch.ones(len(points), dtype=torch.bool))
    write, box = WORLDS[name]
    write(tmp_path / "scene")
    scene = read_scene(tmp_path / "scene")
    assert scene.dialect == name.split(" ")[0].rstrip(",")
    model, normal, point = exported(scene, box, tmp_path)
    field = str(tmp_path / "field.safetensors")
    lower, upper = torch.tensor(model.space.lower), torch.tensor(model.space.upper)
    size = float((upper - lower).max())

    for out, more in (("mesh.ply", []), ("mesh.obj", []), ("points.ply", ["--points", "300"])):
        whole = ",".join(map(repr, [*model.space.lower, *model.space.upper]))  # by itself it is what the cameras see
        options = ["--resolution", "24", "--threshold", "40", f"--box={whole}", *more]
        cli.main(["nerf", "export", field, str(tmp_path / out), *options])
        vertices = nf.formats.read_mesh(tmp_path / out).vertices
        # Beyond the outermost numbers nothing is linear, nor is a cell of the export that reaches there.
        inside = ((vertices - lower) / (upper - lower) - 0.5).abs().amax(1) < 0.5 - 0.5 / 12 - 1 / 12
        assert int(inside.sum()) > 100
        off = (vertices[inside].double() - point) @ normal
        assert float(off.abs().max()) < 1e-5 * size  # what is asked for; float32 leaves about 3e-7
        # It is the middle of the box that is full of it, not a corner that happens to touch the plane.
        assert (vertices[inside].amin(0) < point.float()).all()
        assert (vertices[inside].amax(0) > point.float()).all()

    cli.main(["nerf", "export", field, str(tmp_path / "out/transforms.json")])
    for i, frame in enumerate(scene.split("train")):
        picture(tmp_path / f"out/images/{i:04d}.png", frame.camera.width, frame.camera.height)
    again = read_scene(tmp_path / "out")
    assert len(again.frames) == len(scene.split("train"))
    seen = point + 0.1 * size * torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double()
    for a, b in zip(scene.split("train"), again.frames, strict=True):
        place = a.camera.to_world[:3, 3]
        assert float((place - b.camera.to_world[:3, 3]).norm()) <= 1e-5 * float(place.norm())
        torch.testing.assert_close(b.camera.to_world, a.camera.to_world, rtol=1e-5, atol=1e-6)  # float32's rounding
        for key in ("width", "height"):
            assert getattr(a.camera, key) == getattr(b.camera, key)
        for key in ("fx", "fy", "cx", "cy", "distortion"):
            assert getattr(b.camera, key) == pytest.approx(getattr(a.camera, key), rel=1e-5)
        (ours, before), (theirs, too) = a.camera.project(seen), b.camera.project(seen)
        assert torch.equal(before, too)
        # Pixels are quotients: one beside the camera magnifies what float32 left of the pose.
        near = before & (ours.abs().amax(1) < 100)
        torch.testing.assert_close(theirs[near], ours[near], rtol=1e-5, atol=1e-3)


def test_nerfstudio_leads_back_to_the_frame_its_maker_began_with(tmp_path: Path) -> None:
    """A plane of the original, moved and scaled as the file says, returns through what was read from the file."""
    path = many(tmp_path / "scene", **LENS, applied_transform=T, applied_scale=0.37)
    scene = read_scene(path)
    _, normal, point = exported(scene, "-2,-3,1,2,0.5,4", tmp_path)
    cli.main(["nerf", "export", str(tmp_path / "field.safetensors"), str(tmp_path / "m.ply"),
              "--resolution", "24", "--threshold", "40"])  # fmt: skip
    vertices = nf.formats.read_mesh(tmp_path / "m.ply").vertices.double()
    vertices = vertices[((vertices - point).abs() < 1).all(1)]
    back = vertices @ scene.original_from_world[:3, :3].T + scene.original_from_world[:3, 3]
    linear, offset = 0.37 * torch.tensor(T).double()[:, :3], 0.37 * torch.tensor(T).double()[:, 3]
    assert len(back) > 100
    torch.testing.assert_close(back @ linear.T + offset, vertices, rtol=1e-12, atol=1e-12)
    original_normal = linear.T @ normal / 0.37
    original_point = torch.linalg.solve(linear, point - offset)
    assert float(((back - original_point) @ original_normal).abs().max()) < 1e-5 * 4 / 0.37


def test_the_exported_cameras_are_a_scene_of_their_own(tmp_path: Path) -> None:
    """No key of the export is unknown to the reader, and it is read as the dialect that it is written in."""
    blender(tmp_path / "scene")
    exported(read_scene(tmp_path / "scene"), None, tmp_path)
    cli.main(["nerf", "export", str(tmp_path / "field.safetensors"), str(tmp_path / "out/transforms.json")])
    for i in range(4):
        picture(tmp_path / f"out/images/{i:04d}.png")
    scene = read_scene(tmp_path / "out")
    assert scene.dialect == "nerfstudio"
    assert not [note for note in scene.notes if "ignored" in note.text or note.level == "warning"]
    assert len(json.loads((tmp_path / "out/transforms.json").read_text())["frames"]) == 4
