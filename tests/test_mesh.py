"""A mesh of a capture: where it is looked for, what of it no camera has seen, its pieces, and others' formats."""

import dataclasses
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from cases import seeded
from mesh_cases import colored_mesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import neufield as nf
from neufield.apps import cli
from neufield.apps.console import Terminal
from neufield.apps.nerf.seen import Look, box_of, look_around, seen
from neufield.core.cameras import Camera
from neufield.core.errors import DataError
from neufield.core.rotations import look_at
from neufield.encodings import SphericalHarmonics
from neufield.fields import Plenoxels
from neufield.formats.meshes import read_mesh, write_mesh
from neufield.renderers import (
    NDC,
    Box,
    Cameras,
    Contraction,
    RadianceScene,
    StratifiedSampler,
    isosurface,
    kept_triangles,
)
from neufield.renderers.pieces import areas, large_pieces, pieces

pytestmark = pytest.mark.usefixtures("one_thread")
RADIUS = 4.0  # of the ring of cameras
SPECK = (2.0, 0.0, 0.0)


# A capture: a hollow ball with a core, a speck beside it, and a wall all around, far away


def camera(azimuth: float) -> Camera:
    place = (RADIUS * math.cos(azimuth), RADIUS * math.sin(azimuth), 0.5 * math.sin(2 * azimuth))
    return Camera(look_at(place, (0, 0, 0), (0, 0, 1)), 56, 42, 60.0, 60.0, 28.0, 21.0)


def capture(nodes: int = 96) -> RadianceScene:
    space = Contraction([0.0, 0.0, 0.0], RADIUS, 0.1, 100.0)
    field = Plenoxels([nodes] * 3, SphericalHarmonics(1), initial_density=0.0)
    y = (torch.stack(torch.meshgrid(*[torch.linspace(0, 1, nodes)] * 3, indexing="ij"), dim=-1) - 0.5) * 4
    size = y.norm(dim=-1, keepdim=True)
    away = torch.where(size > 1, 1 / (2 - size).clamp(min=1e-3), size) * RADIUS  # the contraction undone
    world = y / size.clamp(min=1e-6) * away
    r, speck = away[..., 0], (world - torch.tensor(SPECK)).norm(dim=-1)
    solid = ((r < 1) & (r > 0.6)) | (r < 0.3) | (speck < 0.3) | (r > 10)
    with torch.no_grad():
        field.density_table[..., 0] = torch.where(solid, 60.0, -60.0)  # surfaces lie halfway between two nodes
        field.color_table[:] = (torch.sigmoid(world) - 0.5).nan_to_num() * math.sqrt(4 * math.pi)
    cameras = Cameras.of([camera(2 * math.pi * i / 6) for i in range(6)])
    return RadianceScene(field, cameras, space, StratifiedSampler(space, 256, "piecewise", RADIUS), (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    nf.save(capture(), folder / "field.safetensors")
    return folder


def export(run: Path, out: Path, *options: object) -> trimesh.Trimesh:
    cli.main([str(part) for part in ("nerf", "export", run, out, "--resolution", 64, *options)])
    return trimesh.load(out, process=False, force="mesh")


def test_a_capture_has_a_mesh_of_what_its_cameras_see(run, tmp_path, capsys) -> None:
    mesh = export(run, tmp_path / "mesh.ply")
    vertices = torch.tensor(np.array(mesh.vertices))
    r, speck = vertices.norm(dim=1), (vertices - torch.tensor(SPECK)).norm(dim=1)
    ball = speck > 0.6
    # Between two nodes, an eighth of a world unit and more apart; the hollow, the core and the wall are unseen or far.
    assert float(r[ball].min()) > 0.8
    assert float(r[ball].max()) < 1.2
    assert float((~ball).sum()) > 20
    assert len(pieces(torch.tensor(np.array(mesh.faces)), len(vertices)).unique()) == 2
    said = capsys.readouterr().out
    box = [float(part) for part in said.partition("--box ")[2].split()[0].split(",")]
    # The ball and the speck, but for the 1 % of points at either end, and a twentieth of the longest side around them.
    assert all(0.9 < -side < 1.5 for side in box[:3])
    assert 2.2 < box[3] < 2.7
    assert all(0.9 < side < 1.5 for side in box[4:])
    colors = np.array(mesh.visual.vertex_colors)[:, :3] / 255
    assert np.abs(colors - torch.sigmoid(vertices).numpy())[ball].max() < 0.1  # interpolated in cells of 1/8


def test_the_largest_piece_alone(run, tmp_path, capsys) -> None:
    mesh = export(run, tmp_path / "mesh.ply", "--keep-largest")
    assert float(np.linalg.norm(mesh.vertices, axis=1).max()) < 1.2
    assert "left out: 1 of 2 connected pieces, all but the largest" in capsys.readouterr().out
    mesh = export(run, tmp_path / "mesh.ply", "--smallest", 0.5)
    assert float(np.linalg.norm(mesh.vertices, axis=1).max()) < 1.2
    assert "below 50.0% of the largest" in capsys.readouterr().out


def test_a_given_box_is_where_it_looks(run, tmp_path) -> None:
    mesh = export(run, tmp_path / "mesh.ply", "--box", "1.6,-0.4,-0.4,2.4,0.4,0.4")
    assert np.linalg.norm(mesh.vertices - np.array(SPECK), axis=1).max() < 0.5
    wall = export(run, tmp_path / "wall.ply", "--box", 20, "--smallest", 0)
    assert np.linalg.norm(wall.vertices, axis=1).max() > 5


def test_a_box_scene_seen_from_outside_is_whole(tmp_path, capsys) -> None:
    """No camera sees it from below, and yet it is closed: the field's box is the user's."""
    box = Box([-1.0] * 3, [1.0] * 3)
    field = Plenoxels([16] * 3, SphericalHarmonics(1), initial_density=0.0)
    at = torch.linspace(-1, 1, 16)
    r = torch.stack(torch.meshgrid(at, at, at, indexing="ij")).norm(dim=0)
    with torch.no_grad():
        field.density_table[..., 0] = 100 * (0.6 - r)
    nf.save(
        RadianceScene(field, Cameras.of([camera(0.0)]), box, StratifiedSampler(box, 32)), tmp_path / "field.safetensors"
    )
    mesh = export(tmp_path, tmp_path / "mesh.stl", "--box", 3, "--threshold", 1)  # beyond the box there is nothing
    mesh.merge_vertices()
    assert mesh.is_watertight
    assert (mesh.volume * 3 / 4 / math.pi) ** (1 / 3) == pytest.approx(0.6, abs=2 / 15 / 2)  # half a cell of the field
    export(tmp_path, tmp_path / "mesh.ply")
    assert "--box -1,-1,-1,1,1,1" in capsys.readouterr().out


def test_ndc_has_a_mesh_too(tmp_path) -> None:
    space = NDC([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], [0.8, 0.6], 1.0, 10.0)
    field = Plenoxels([8] * 3, SphericalHarmonics(1), initial_density=-50.0)
    with torch.no_grad():
        field.density_table[:, :, 4:] = 50.0  # a wall in the middle, at a depth of 1.9
    eye = Camera(torch.eye(4, dtype=torch.float64), 40, 30, 30.0, 30.0, 20.0, 15.0)
    nf.save(
        RadianceScene(field, Cameras.of([eye]), space, StratifiedSampler(space, 64, "disparity", 1.0)),
        tmp_path / "field.safetensors",
    )
    depths = -export(tmp_path, tmp_path / "mesh.obj").vertices[:, 2]
    assert np.median(depths) == pytest.approx(1 / (1 - 0.9 * 0.5), rel=0.1)
    assert depths.min() > 1.5


# What is seen


def flat(distance: float, at: tuple[float, float, float] = (0.0, 0.0, 4.0)) -> Look:
    """Looks down on a disc of points that are all ``distance`` away; nothing at the border."""
    seen_by = Camera(look_at(at, (0, 0, 0), (0, 1, 0)), 20, 20, 20.0, 20.0, 10.0, 10.0)
    distances = torch.full((20, 20), distance)
    distances[0], distances[-1] = math.inf, math.inf
    return Look(seen_by, distances)


def test_points_are_where_their_rays_end() -> None:
    look = flat(3.0)
    assert len(look.points) == 360
    origin = look.camera.to_world[:3, 3]
    torch.testing.assert_close((look.points - origin).norm(dim=1), torch.full((360,), 3.0, dtype=torch.float64))
    pixels, before = look.camera.project(look.points)
    assert before.all()
    assert torch.equal(pixels.floor().long()[:, [1, 0]], look.distance.isfinite().nonzero())


def test_what_is_behind_or_beside_is_not_seen() -> None:
    look = flat(3.0)
    points = torch.tensor([[0.0, 0, 2], [0, 0, 1.01], [0, 0, 0.9], [0, 0, 0], [9, 0, 1], [0, 0, 5]])
    assert look.sees(points, 0.1).tolist() == [True, True, True, False, False, False]
    assert look.sees(points, 2.0).tolist() == [True, True, True, True, False, False]
    other = flat(3.0, (0.0, 0.0, -4.0))
    assert seen(points, [look, other], 0.1).tolist() == [True, True, True, False, False, False]
    assert seen(torch.tensor([[0.0, 0, -2]]), [look, other], 0.1).all()
    assert not seen(points, [], 0.1).any()


def test_where_little_is_near_the_middle_the_box_is_around_half_of_what_is_seen() -> None:
    model = capture(4)
    far = [dataclasses.replace(flat(9.0)), flat(8.5)]
    box = box_of(model, far)
    assert box.lower[2] < -4.4 < -4.0 < box.upper[2]
    with pytest.raises(DataError, match="no camera sees a surface"):
        box_of(model, [Look(flat(1.0).camera, torch.full((20, 20), torch.inf))])


def test_looks_are_small_and_through_pinholes() -> None:
    model = capture(8)
    model.sampler = StratifiedSampler(model.space, 2)
    bent = [dataclasses.replace(camera(i), lens="opencv", distortion=(-0.3, 0, 0, 0, 0, 0)) for i in range(40)]
    model.cameras = Cameras.of([one.resized(560, 420) for one in bent])
    looks = look_around(model, Terminal())
    assert len(looks) == 32
    assert {(look.camera.width, look.camera.height, look.camera.lens) for look in looks} == {(56, 42, "pinhole")}


# Pieces


def test_pieces_are_those_of_a_graph() -> None:
    for seed in range(5):
        faces = torch.randint(60, (45, 3), generator=seeded(seed))
        a, b = faces[:, [0, 1]].flatten().numpy(), faces[:, [1, 2]].flatten().numpy()
        _, truth = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(60, 60)), directed=False)
        found = pieces(faces, 60)
        names = truth[faces[:, 0]]
        assert len(found.unique()) == len(np.unique(names))
        for label in found.unique():
            assert len(np.unique(names[(found == label).numpy()])) == 1
            assert int(label) == int(faces[found == label].min())


def test_a_long_strip_is_one_piece() -> None:
    """Its vertices in any order: what takes a step for every triangle would not end."""
    order = torch.randperm(100_002, generator=seeded())
    strip = torch.stack([order[:-2], order[1:-1], order[2:]], dim=1)
    assert pieces(strip, len(order)).unique().tolist() == [0]


def test_pieces_by_their_area() -> None:
    def balls(points: torch.Tensor) -> torch.Tensor:
        radii = torch.tensor([0.8, 0.4, 0.1])
        middles = torch.tensor([[-1.0, 0, 0], [1.0, 0, 0], [1.7, 0, 0]])
        return (radii - (points[:, None] - middles).norm(dim=2)).amax(1)

    vertices, faces = isosurface(balls, (-2.0, -1, -1), (2.0, 1, 1), 100, 0.0)
    assert float(areas(vertices, faces).sum()) == pytest.approx(4 * math.pi * (0.64 + 0.16 + 0.01), rel=0.02)
    for least, sides in ((0.0, 3), (0.01, 3), (0.02, 2), (0.24, 2), (0.3, 1), (1.0, 1)):
        w, g = kept_triangles(vertices, faces, large_pieces(vertices, faces, least))
        assert len(pieces(g, len(w)).unique()) == sides
        assert set(g.flatten().tolist()) == set(range(len(w)))
    assert float((w + torch.tensor([1.0, 0, 0])).norm(dim=1).max()) < 0.81


# Formats


@pytest.mark.parametrize("colored", [True, False])
def test_a_glb_as_the_specification_has_it(tmp_path: Path, colored: bool) -> None:
    vertices, faces, colors, normals = colored_mesh()
    normals[0] = 0  # of a vertex without area
    write_mesh(tmp_path / "m.glb", vertices, faces, colors if colored else None, normals if colored else None)
    data = (tmp_path / "m.glb").read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    document = json.loads(data[20 : 20 + size])
    body_size, kind = struct.unpack_from("<I4s", data, 20 + size)
    body = data[28 + size :]
    assert (kind, size % 4, body_size % 4, len(body)) == (b"BIN\0", 0, 0, body_size)
    assert document["buffers"] == [{"byteLength": body_size}]
    kinds = {5126: "<f4", 5125: "<u4", 5123: "<u2"}
    widths = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
    read = []
    for accessor in document["accessors"]:
        part = document["bufferViews"][accessor["bufferView"]]
        assert part["byteOffset"] % 4 == 0
        assert part["byteOffset"] + part["byteLength"] <= body_size
        raw = body[part["byteOffset"] : part["byteOffset"] + part["byteLength"]]
        read.append(np.frombuffer(raw, kinds[accessor["componentType"]]).reshape(-1, widths[accessor["type"]]))
        assert len(read[-1]) == accessor["count"]
    primitive = document["meshes"][0]["primitives"][0]
    found = {name: read[index] for name, index in primitive["attributes"].items()}
    assert np.array_equal(found["POSITION"], vertices.numpy())
    position = document["accessors"][primitive["attributes"]["POSITION"]]
    assert position["min"] == vertices.amin(0).tolist()
    assert position["max"] == vertices.amax(0).tolist()
    assert np.array_equal(read[primitive["indices"]].reshape(-1, 3), faces.numpy())
    assert set(found) == {"POSITION", *(("NORMAL", "COLOR_0") if colored else ())}
    if colored:
        assert np.abs(np.linalg.norm(found["NORMAL"], axis=1) - 1).max() < 1e-5  # float32
        linear = found["COLOR_0"][:, :3] / 65535
        srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        assert np.array_equal(np.round(srgb * 255), (colors * 255).round().numpy())
        assert (found["COLOR_0"][:, 3] == 65535).all()


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb", ".stl", ".GLB"])
def test_another_program_reads_the_same_triangles(tmp_path: Path, suffix: str) -> None:
    vertices, faces, colors, normals = colored_mesh()
    write_mesh(tmp_path / f"m{suffix}", vertices, faces, colors, normals)
    read = trimesh.load(tmp_path / f"m{suffix}", process=False, force="mesh")
    assert np.array_equal(np.array(read.vertices[read.faces], np.float32), vertices[faces].numpy())


def test_an_stl_has_unit_normals_that_point_outwards(tmp_path: Path) -> None:
    vertices, faces, *_ = colored_mesh()
    vertices = vertices / torch.tensor([1e-7, 1.0, 1e6])
    faces = torch.cat([faces, torch.tensor([[0, 0, 1]])])  # a triangle without area has none
    write_mesh(tmp_path / "m.stl", vertices, faces)
    data = (tmp_path / "m.stl").read_bytes()
    assert not data.startswith(b"solid")
    assert len(data) == 84 + 50 * len(faces)
    assert struct.unpack_from("<I", data, 80) == (len(faces),)
    row = np.dtype([("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])
    rows = np.frombuffer(data, row, offset=84)
    assert np.abs(np.linalg.norm(rows["n"][:-1], axis=1) - 1).max() < 1e-6
    outwards = rows["v"][:-1].mean(1) - rows["v"][:-1].mean((0, 1))
    assert ((rows["n"][:-1] * outwards).sum(1) > 0).all()  # of a ball
    assert not rows["n"][-1].any()


def test_only_ply_and_obj_are_read_back(tmp_path: Path) -> None:
    vertices, faces, *_ = colored_mesh()
    write_mesh(tmp_path / "m.glb", vertices, faces)
    with pytest.raises(DataError, match=r"a mesh is a \.ply or an \.obj"):
        read_mesh(tmp_path / "m.glb")
