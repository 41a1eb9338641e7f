"""Surfaces of known shapes, in world units, and of noise; meshes and point clouds through their files."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mesh_cases import CENTER, LOWER, UPPER, ball, colored_mesh
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes
from torch import Tensor

from neufield.core.errors import DataError
from neufield.formats.meshes import read_mesh, write_mesh, write_points
from neufield.renderers import surface
from neufield.renderers.surface import isosurface, point_cloud, surface_colors, vertex_normals

# A chord d long in a circle of radius r is tilted by d / (2 r) at its ends. A cell of 8/48 has a diagonal of 0.289, and
# the ball a radius of 2: 4.1 degrees.
NORMALS_48 = math.cos(math.radians(4.14))


def ring(x: Tensor) -> Tensor:
    """Above 0 in the torus around CENTER, about y, of radii 2 and 0.7."""
    x = x - CENTER
    return 0.7 - torch.hypot(torch.hypot(x[:, 0], x[:, 2]) - 2, x[:, 1])


def edge_counts(faces: Tensor) -> tuple[Tensor, Tensor]:
    """How many triangles each edge has, and how many go along each directed edge."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    undirected = edges.sort(dim=1).values.unique(dim=0, return_counts=True)[1]
    return undirected, edges.unique(dim=0, return_counts=True)[1]


def euler(vertices: Tensor, faces: Tensor) -> int:
    return len(vertices) - len(edge_counts(faces)[0]) + len(faces)


def is_closed(faces: Tensor) -> bool:
    undirected, directed = edge_counts(faces)
    return bool((undirected == 2).all()) and bool((directed == 1).all())


def area_and_volume(vertices: Tensor, faces: Tensor) -> tuple[float, float]:
    """The volume is positive where the triangles face outwards (divergence theorem)."""
    a, b, c = (vertices - CENTER).double()[faces].unbind(1)
    across = torch.linalg.cross(b - a, c - a)
    return float(across.norm(dim=1).sum() / 2), float((across * a).sum() / 6)


@pytest.mark.parametrize(
    ("density", "threshold", "area", "volume", "characteristic"),
    [
        (ball, 1.0, 4 * math.pi * 4, 4 / 3 * math.pi * 8, 2),
        (ring, 0.0, 4 * math.pi**2 * 2 * 0.7, 2 * math.pi**2 * 2 * 0.49, 0),
    ],
)
def test_known_shapes_in_world_units(density, threshold, area, volume, characteristic) -> None:
    vertices, faces = isosurface(density, LOWER, UPPER, 64, threshold)
    assert is_closed(faces)
    assert euler(vertices, faces) == characteristic
    # Chords of length h = 1/8 in a circle of radius r lose h^2 / (8 r^2) to each side: 0.4 % for r = 0.7.
    found = area_and_volume(vertices, faces)
    assert found == pytest.approx((area, volume), rel=0.01)
    assert found[1] < volume
    # Interpolation between corners errs by less than h^2 / (8 r).
    assert (density(vertices) - threshold).abs().max() < 0.003
    # A coarser one errs by four times as much: the rest is second order.
    coarse = area_and_volume(*isosurface(density, LOWER, UPPER, 32, threshold))
    assert (coarse[1] - volume) / (found[1] - volume) == pytest.approx(4, rel=0.15)


def test_normals_point_outwards_and_are_those_of_the_sphere() -> None:
    vertices, faces = isosurface(ball, LOWER, UPPER, 48, 1.0)
    outwards = torch.nn.functional.normalize(vertices - CENTER, dim=1)
    assert (vertex_normals(vertices, faces) * outwards).sum(1).min() > NORMALS_48


def test_noise_gives_a_closed_surface_whatever_the_corners() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(24, 24, 24, generator=generator)
    for axis in range(3):
        values.select(axis, 0).zero_()
        values.select(axis, -1).zero_()

    def noise(x: Tensor) -> Tensor:
        return values[tuple((x * 23).round().long().unbind(1))]

    vertices, faces = isosurface(noise, (0, 0, 0), (1, 1, 1), 23, 0.5)
    inside = (values > 0.5).long()
    case = sum(
        inside[x : x + 23, y : y + 23, z : z + 23] << (x + 2 * y + 4 * z)
        for x in (0, 1)
        for y in (0, 1)
        for z in (0, 1)
    )
    assert len(case.unique()) == 256  # every one of the cases is met
    assert is_closed(faces)
    assert len(vertices) == sum(int(inside.diff(dim=axis).abs().sum()) for axis in range(3))  # one for each edge
    # scikit-image's cases add vertices inside cells; those on edges are the same, in float32 times 23.
    theirs = marching_cubes(values.numpy(), 0.5)[0] / 23
    assert cKDTree(theirs).query(vertices.numpy())[0].max() < 1e-6


def test_layers_of_cells_join(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = isosurface(ring, LOWER, UPPER, 20, 0.0)
    monkeypatch.setattr(surface, "_CELLS", 700)  # two layers of 20 x 15 cells, then a rest
    in_pieces = isosurface(ring, LOWER, UPPER, 20, 0.0)
    assert torch.equal(in_pieces[0], vertices)
    assert torch.equal(in_pieces[1], faces)


def test_what_reaches_the_box_stays_open_there() -> None:
    vertices, faces = isosurface(lambda x: 0.3 - x[:, 2], (0, 0, 0), (1, 2, 1), 10, 0.0)
    assert vertices[:, 2] == pytest.approx(torch.full((len(vertices),), 0.3), abs=1e-6)
    assert len(faces) == 2 * 5 * 10
    undirected, _ = edge_counts(faces)
    assert int((undirected == 1).sum()) == 2 * (5 + 10)  # the rim of 5 x 10 cells
    assert (vertex_normals(vertices, faces)[:, 2] > 0.999).all()


def test_cells_are_nearly_cubes_and_asked_for_in_pieces() -> None:
    asked = []

    def counted(x: Tensor) -> Tensor:
        asked.append(x)
        return ball(x)

    isosurface(counted, LOWER, UPPER, 80, 1.0)
    points = torch.cat(asked)
    assert len(points) == 61 * 81 * 61
    assert max(map(len, asked)) == 2**18
    assert (points.amin(0).tolist(), points.amax(0).tolist()) == (list(LOWER), list(UPPER))


def test_empty_infinite_and_undefined_densities() -> None:
    vertices, faces = isosurface(lambda x: x[:, 0] * 0, (0, 0, 0), (1, 1, 1), 4, 0.5)
    assert (vertices.shape, faces.shape) == ((0, 3), (0, 3))
    assert vertex_normals(vertices, faces).shape == (0, 3)
    vertices, faces = isosurface(lambda x: torch.where(ball(x) > 1, torch.inf, 0.0), LOWER, UPPER, 16, 1.0)
    assert is_closed(faces)
    assert bool(vertices.isfinite().all())
    with pytest.raises(ValueError, match=r"at \[0.0, 0.0, 0.0\] is not a number"):
        isosurface(lambda x: x[:, 0] * torch.nan, (0, 0, 0), (1, 1, 1), 4, 0.5)
    with pytest.raises(ValueError, match="has no inside"):
        isosurface(ball, (0, 0, 0), (1, 0, 1), 4, 0.5)
    with pytest.raises(ValueError, match="resolution is 0"):
        isosurface(ball, LOWER, UPPER, 0, 0.5)


def test_points_are_even_over_the_surface() -> None:
    # Two triangles of very different size, and one of none.
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 1, 2], [1, 1, 2], [0, 2, 3]])
    cloud = point_cloud(vertices, faces, 20000, torch.Generator().manual_seed(0))
    on_first = cloud.points[:, 2] == 0
    # Areas 1.5 and 0.5; five standard deviations of a binomial of 20,000 are 0.015.
    assert float(on_first.float().mean()) == pytest.approx(0.75, abs=0.015)
    centroid = cloud.points[on_first].mean(0)
    assert centroid.tolist() == pytest.approx([1, 1 / 3, 0], abs=0.03)  # five standard errors of at most 0.71 / 122
    assert cloud.colors is None
    with pytest.raises(ValueError, match="faces is 0"):
        point_cloud(vertices, faces[:0], 5, torch.Generator())


def test_points_on_a_ball_have_its_normals_and_are_seen_from_outside() -> None:
    vertices, faces = isosurface(ball, LOWER, UPPER, 48, 1.0)
    asked = []

    def color(x: Tensor, d: Tensor) -> Tensor:
        asked.append((x, d))
        return 0.5 - 0.5 * d

    cloud = point_cloud(vertices, faces, 1000, torch.Generator().manual_seed(1), color)
    outwards = torch.nn.functional.normalize(cloud.points - CENTER, dim=1)
    assert (cloud.normals * outwards).sum(1).min() > NORMALS_48
    assert (cloud.colors - (0.5 + 0.5 * cloud.normals)).abs().max() < 1e-6
    (x, d) = asked[0]
    assert torch.equal(x, cloud.points)
    assert torch.equal(d, -cloud.normals)
    assert surface_colors(color, cloud.points[:0], cloud.normals[:0]).shape == (0, 3)


# --- files


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".PLY"])
@pytest.mark.parametrize("with_colors", [False, True])
def test_meshes_return_to_the_bit(tmp_path: Path, suffix: str, with_colors: bool) -> None:
    vertices, faces, colors, _ = colored_mesh()
    write_mesh(tmp_path / f"mesh{suffix}", vertices, faces, colors if with_colors else None)
    read = read_mesh(tmp_path / f"mesh{suffix}")
    assert torch.equal(read.vertices, vertices)
    assert torch.equal(read.faces, faces)
    assert read.normals is None
    if with_colors:
        assert torch.equal(read.colors, (colors * 255).round().byte())
    else:
        assert read.colors is None


def test_point_clouds_return_to_the_bit(tmp_path: Path) -> None:
    points, _, colors, normals = colored_mesh()
    write_points(tmp_path / "points.ply", points, colors, normals)
    read = read_mesh(tmp_path / "points.ply")
    assert torch.equal(read.vertices, points)
    assert torch.equal(read.normals, normals)
    assert torch.equal(read.colors, (colors * 255).round().byte())
    assert read.faces.shape == (0, 3)
    write_points(tmp_path / "none.ply", points[:0])
    assert read_mesh(tmp_path / "none.ply").vertices.shape == (0, 3)


def test_a_ply_byte_by_byte(tmp_path: Path) -> None:
    vertices = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    write_mesh(tmp_path / "m.ply", vertices, torch.tensor([[0, 1, 2]]), torch.tensor([[0, 0.5, 2.0]]).expand(3, 3))
    header, body = (tmp_path / "m.ply").read_bytes().split(b"end_header\n")
    assert header.decode().splitlines() == [
        "ply",
        "format binary_little_endian 1.0",
        "element vertex 3",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        "element face 1",
        "property list uchar int vertex_indices",
    ]
    assert body[:15] == b"\0\0\0\0\0\0\0\0\0\0\x80\x3f\x00\x80\xff"
    assert body[45:] == b"\x03\0\0\0\0\1\0\0\0\2\0\0\0"


def test_an_obj_line_by_line(tmp_path: Path) -> None:
    vertices = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 0.1, 0]])
    write_mesh(tmp_path / "m.obj", vertices, torch.tensor([[0, 1, 2]]))
    assert (tmp_path / "m.obj").read_text() == "v 0 0 1\nv 1 0 0\nv 0 0.100000001 0\nf 1 2 3\n"
    (tmp_path / "q.obj").write_text(
        "# made elsewhere\nv 0 0 0\nv 1 0 0\nvn 0 0 1\nv 1 1 0\nv 0 1 0\nf 1/1/1 2//1 3 -1\n"
    )
    assert read_mesh(tmp_path / "q.obj").faces.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_other_writers_plys_are_read(tmp_path: Path) -> None:
    row = np.dtype([("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("quality", "<f4")])
    vertices = np.zeros(3, row)
    vertices["x"] = [1, 2, 3]
    head = "ply\nformat binary_little_endian 1.0\ncomment hi\nelement vertex 3\n"
    head += "".join(f"property double {axis}\n" for axis in "xyz") + "property float quality\n"
    faces = "element face 1\nproperty list uchar uint vertex_index\nelement edge 9\nproperty int a\nend_header\n"
    body = vertices.tobytes() + b"\3" + np.array([2, 1, 0], "<u4").tobytes()
    (tmp_path / "m.ply").write_bytes((head + faces).encode() + body)
    read = read_mesh(tmp_path / "m.ply")
    assert read.vertices[:, 0].tolist() == [1, 2, 3]
    assert read.faces.tolist() == [[2, 1, 0]]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("m.ply", lambda data: data.replace(b"binary_little_endian", b"ascii"), "not a binary little-endian PLY"),
        ("m.ply", lambda data: b"", "not a binary little-endian PLY"),
        ("m.ply", lambda data: data[:-1], "cut off"),
        ("m.ply", lambda data: data.replace(b"element face ", b"element face x"), r"'element face x\d+' counts"),
        ("m.ply", lambda data: data.replace(b"float x", b"float q"), "no vertices with x, y and z"),
        ("m.ply", lambda data: data.replace(b"float x", b"quad x"), "'quad x' in 'vertex'"),
        ("m.ply", lambda data: data[:-13] + b"\4" + data[-12:], "not triangles"),
        ("m.ply", lambda data: data[:-1] + b"\x7f", "a face names a vertex"),
        ("m.obj", lambda data: data + b"f 1 2 999\n", "a face names a vertex"),
        ("m.obj", lambda data: data + b"v 1 2\n", "3 numbers each"),
        ("m.obj", lambda data: data + b"v 1 2 x\n", r"line \d+ is 'v 1 2 x'"),
        ("m.obj", lambda data: b"", "no vertices"),
    ],
)
def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path, name: str, change, message: str) -> None:
    vertices, faces, _, _ = colored_mesh()
    write_mesh(tmp_path / name, vertices, faces)
    data = (tmp_path / name).read_bytes()
    assert change(data) != data
    (tmp_path / name).write_bytes(change(data))
    with pytest.raises(DataError, match=message) as caught:
        read_mesh(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_wrong_names_and_shapes_are_refused(tmp_path: Path) -> None:
    vertices, faces, _, _ = colored_mesh()
    with pytest.raises(DataError, match=r"a mesh is one of \.ply, \.obj, \.glb, \.stl"):
        write_mesh(tmp_path / "m.off", vertices, faces)
    with pytest.raises(DataError, match=r"a mesh is a \.ply or an \.obj"):
        read_mesh(tmp_path / "m.stl")
    with pytest.raises(DataError, match=r"a point cloud is a \.ply"):
        write_points(tmp_path / "m.obj", vertices)
    with pytest.raises(DataError, match="cannot read"):
        read_mesh(tmp_path / "missing.ply")
    with pytest.raises(ValueError, match="but there are 3 vertices"):
        write_mesh(tmp_path / "m.ply", vertices[:3], faces)
    assert os.listdir(tmp_path) == []
