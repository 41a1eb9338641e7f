"""Camera paths: where they go, and that files of nerfstudio and instant-ngp say what those tools read in them."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neufield.core.cameras import Camera
from neufield.core.errors import DataError
from neufield.core.rotations import angles, look_at, slerp, to_matrices, to_quaternions
from neufield.formats.camera_paths import (
    read_ingp_path,
    read_nerfstudio_frame,
    read_nerfstudio_path,
    write_ingp_path,
    write_nerfstudio_path,
)
from neufield.renderers.paths import _hermite, interpolate, orbit, plain, spiral

EXACT = 1e-12  # float64, a few operations on numbers around 1


def pinhole(pose: Tensor, width: int = 64, height: int = 48, focal: float = 50.0) -> Camera:
    return Camera(pose, width, height, focal, focal, width / 2, height / 2)


def random_cameras(count: int, seed: int = 0) -> list[Camera]:
    generator = torch.Generator().manual_seed(seed)
    cameras = []
    for _ in range(count):
        origin, target = torch.randn(2, 3, generator=generator, dtype=torch.float64)
        focal = 40 + 20 * float(torch.rand((), generator=generator))
        cameras.append(pinhole(look_at(3 * origin, target, (0.1, 0.2, 1.0)), focal=focal))
    return cameras


def close(a: Tensor, b: Tensor, tolerance: float = EXACT) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance)


def places(path: list[Camera]) -> Tensor:
    return torch.stack([camera.to_world[:3, 3] for camera in path])


def forward(camera: Camera) -> Tensor:
    return -camera.to_world[:3, 2]


def is_rotation(pose: Tensor) -> bool:
    turn = pose[:3, :3]
    return close(turn @ turn.T, torch.eye(3, dtype=torch.float64)) and float(torch.linalg.det(turn)) > 0


# --- rotations


def test_look_at_by_hand() -> None:
    pose = look_at((0, -2, 0), (0, 0, 0), (0, 0, 3))
    expected = [
        [1, 0, 0, 0],
        [0, 0, -1, -2],
        [0, 1, 0, 0],
        [0, 0, 0, 1],
    ]  # x stays, z is up, away from the target is -y
    assert close(pose, torch.tensor(expected, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"cannot look at \[0.0, 0.0, 0.0\]"):
        look_at((0, 0, 2), (0, 0, 0), (0, 0, 1))


def test_quaternions_by_hand_and_back() -> None:
    quarter = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)  # x to y, about z
    half = math.sqrt(0.5)
    assert close(to_quaternions(quarter), torch.tensor([0, 0, half, half], dtype=torch.float64))
    assert close(to_matrices(torch.tensor([0.0, 0, 2 * half, 2 * half], dtype=torch.float64)), quarter)
    turns = torch.stack([camera.to_world[:3, :3] for camera in random_cameras(50)])
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    turns = torch.cat([turns, half_turn[None]])
    assert close(to_matrices(to_quaternions(turns)), turns)


def test_slerp_takes_the_short_way_at_constant_speed() -> None:
    a, b = to_quaternions(torch.stack([camera.to_world[:3, :3] for camera in random_cameras(2, seed=3)]))
    whole = angles(a, b)
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    between = slerp(a.expand(9, 4), -b.expand(9, 4), t)
    assert close(angles(a.expand(9, 4), between), t * whole)
    assert close(angles(between, b.expand(9, 4)), (1 - t) * whole)
    almost = slerp(a, torch.nn.functional.normalize(a + 1e-9, dim=0), torch.tensor(0.5, dtype=torch.float64))
    assert close(almost, a, 1e-8)


# --- paths


def test_a_path_goes_through_its_cameras() -> None:
    cameras = random_cameras(5)
    dense = interpolate(cameras, 4001)
    assert len(dense) == 4001
    # Steps of 1/4000 of a path of five cameras some units apart: the nearest frame is within a hundredth of a unit.
    for camera in cameras:
        nearest = min(dense, key=lambda frame: float((frame.to_world - camera.to_world).norm()))
        assert close(nearest.to_world, camera.to_world, 0.02)
        assert nearest.fx == pytest.approx(camera.fx, abs=0.1)
    for frame, camera in ((dense[0], cameras[0]), (dense[-1], cameras[-1])):
        assert close(frame.to_world, camera.to_world)
        assert frame.fy == pytest.approx(camera.fy)
    assert all(is_rotation(frame.to_world) for frame in dense[::100])


@pytest.mark.parametrize("loop", [False, True])
def test_velocity_is_continuous(loop: bool) -> None:
    def largest_jump(frames: int) -> float:
        spots = places(interpolate(random_cameras(5), frames, loop))
        if loop:
            spots = torch.cat([spots, spots[:2]])
        velocity = spots.diff(dim=0) * frames
        return float(velocity.diff(dim=0).norm(dim=1).max())

    # A kink keeps its jump however fine the frames; without one it falls with their distance.
    assert largest_jump(4000) < 0.3 * largest_jump(1000)


def test_cameras_in_a_line_give_a_line_at_constant_speed() -> None:
    pose = look_at((0, 0, 0), (1, 0, 0), (0, 0, 1))
    cameras = []
    for x in (0.0, 1.0, 4.0, 5.0):  # uneven on purpose
        moved = pose.clone()
        moved[1, 3] = x
        cameras.append(pinhole(moved))
    path = interpolate(cameras, 11)
    expected = torch.zeros(11, 3, dtype=torch.float64)
    expected[:, 1] = torch.linspace(0, 5, 11)
    assert close(places(path), expected)
    assert all(close(frame.to_world[:3, :3], pose[:3, :3]) for frame in path)


def test_uneven_steps_of_a_parabola_give_that_parabola() -> None:
    times = torch.tensor([0.0, 0.3, 1.0, 1.2, 2.0], dtype=torch.float64)
    curve = torch.tensor([[1.0, 2, 3], [-1, 0.5, 0], [0.3, -2, 1]], dtype=torch.float64)

    def at(t: Tensor) -> Tensor:
        return t[:, None] ** torch.arange(3) @ curve

    index = torch.arange(4).repeat_interleave(5)
    share = torch.linspace(0, 1, 5, dtype=torch.float64).repeat(4)
    found = _hermite(at(times), times.diff(), False, index, share)
    assert close(found, at(times[index] + share * times.diff()[index]))


def test_a_turn_on_the_spot_is_even() -> None:
    targets = [(math.cos(a), math.sin(a), 0.0) for a in (0.0, 0.3, 1.2)]
    path = interpolate([pinhole(look_at((0, 0, 0), target, (0, 0, 1))) for target in targets], 13)
    headings = [math.atan2(float(forward(frame)[1]), float(forward(frame)[0])) for frame in path]
    assert headings == pytest.approx([0.1 * i for i in range(13)], abs=1e-9)


def test_a_loop_ends_before_its_beginning_and_repeated_cameras_do_not_matter() -> None:
    cameras = random_cameras(4)
    loop = interpolate(cameras, 30, loop=True)
    assert close(loop[0].to_world, cameras[0].to_world)
    twice = interpolate([*cameras, cameras[0]], 31)
    assert not close(loop[-1].to_world, cameras[0].to_world, 1e-3)
    assert close(twice[-1].to_world, cameras[0].to_world)
    doubled = interpolate([cameras[0], *cameras, cameras[3]], 30)
    for a, b in zip(doubled, interpolate(cameras, 30), strict=True):
        assert close(a.to_world, b.to_world, 1e-9)
    assert interpolate([cameras[0]] * 2, 3) == [cameras[0]] * 3


def test_the_path_has_the_first_cameras_size_and_one_kind_of_lens() -> None:
    a, b = random_cameras(2)
    path = interpolate([a, b.resized(128, 96)], 3)
    assert [(frame.width, frame.height) for frame in path] == [(64, 48)] * 3
    assert path[1].fx == pytest.approx((a.fx + b.fx) / 2)
    with pytest.raises(ValueError, match="different kinds"):
        interpolate([a, dataclasses.replace(b, lens="fisheye")], 3)
    with pytest.raises(ValueError, match="cameras is 0"):
        interpolate([], 3)


def test_an_orbit_by_hand() -> None:
    like = random_cameras(1)[0]
    path = orbit(like, 4, radius=2, center=(1, 2, 3), elevation=30, start=0)
    r, z = 2 * math.cos(math.pi / 6), 3 + 2 * 0.5
    expected = [[1 + r, 2, z], [1, 2 + r, z], [1 - r, 2, z], [1, 2 - r, z]]
    assert close(places(path), torch.tensor(expected, dtype=torch.float64))
    for camera in path:
        assert close(camera.to_world[:3, 3] + 2 * forward(camera), torch.tensor([1.0, 2, 3], dtype=torch.float64))
        assert float(camera.to_world[2, 0]) == pytest.approx(0, abs=EXACT)  # level
        assert float(camera.to_world[2, 1]) > 0
        assert camera.fx == like.fx
    backwards = orbit(like, 4, radius=2, center=(1, 2, 3), turns=-1)
    assert close(places(backwards)[1], places(path)[3])
    with pytest.raises(ValueError, match="elevation is 90"):
        orbit(like, 4, radius=2, elevation=90)


@pytest.mark.parametrize("up", [(0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (-1.0, 2.0, 0.5)])
def test_an_orbit_around_any_axis(up: tuple[float, float, float]) -> None:
    path = orbit(random_cameras(1)[0], 7, radius=3, elevation=-20, up=up)
    axis = torch.nn.functional.normalize(torch.tensor(up, dtype=torch.float64), dim=0)
    assert close(places(path) @ axis, torch.full((7,), 3 * math.sin(math.radians(-20)), dtype=torch.float64))
    turn = torch.linalg.cross(places(path)[0], places(path)[1])
    assert float(turn @ axis) > 0  # counter-clockwise seen from above


def forward_facing(seed: int = 0) -> list[Camera]:
    generator = torch.Generator().manual_seed(seed)
    cameras = []
    for _ in range(20):
        x, y, z = (0.5 * torch.randn(3, generator=generator, dtype=torch.float64)).tolist()
        cameras.append(pinhole(look_at((x, y, 0.2 * z), (0, 0, -5), (0, 1, 0))))
    return cameras


def test_a_spiral_looks_at_one_point_and_stays_within_its_radii() -> None:
    cameras = forward_facing()
    path = spiral(cameras, 40, near=2, far=10)
    depth = 1 / (0.25 / 1.8 + 0.75 / 50)
    mean = places(cameras).mean(0)
    ahead = torch.nn.functional.normalize(sum(map(forward, cameras)), dim=0)
    for camera in path:
        towards = torch.nn.functional.normalize(mean + depth * ahead - camera.to_world[:3, 3], dim=0)
        assert close(forward(camera), towards)
        assert is_rotation(camera.to_world)
    spread = (places(cameras) - mean).abs().quantile(0.9, dim=0)
    # 20 frames a turn: frame 0 lies on the right, frame 5 below.
    right = (path[0].to_world[:3, 3] - mean).norm()
    assert float(right) == pytest.approx(float(spread[0]), rel=0.02)  # the mean camera is tilted by some hundredths
    assert float((path[5].to_world[:3, 3] - mean)[1]) == pytest.approx(-float(spread[1]), rel=0.02)


def test_a_spiral_moves_with_the_world() -> None:
    cameras = forward_facing()
    world = look_at((3, 1, 2), (0.5, 0.2, 0.9), (0.3, 1, 0.1))
    moved = []
    for camera in cameras:
        pose = world @ camera.to_world
        pose[:3, 3] = 7 * (world @ camera.to_world)[:3, 3]
        moved.append(dataclasses.replace(camera, to_world=pose))
    for there, here in zip(spiral(moved, 12, 14, 70), spiral(cameras, 12, 2, 10), strict=True):
        expected = world @ here.to_world
        expected[:3, 3] *= 7
        assert close(there.to_world, expected, 1e-11)
    with pytest.raises(ValueError, match="far is 1"):
        spiral(cameras, 5, near=2, far=1)


# --- nerfstudio


def test_nerfstudio_paths_return(tmp_path: Path) -> None:
    cameras = random_cameras(6)
    frame = look_at((1, 2, 3), (0, 0, 0), (0, 1, 0))
    file = tmp_path / "camera_path.json"
    write_nerfstudio_path(file, cameras, fps=30, transform=frame, scale=0.2)
    for read, camera in zip(read_nerfstudio_path(file, frame, 0.2), cameras, strict=True):
        assert close(read.to_world, camera.to_world)
        assert (read.width, read.height, read.lens) == (64, 48, "pinhole")
        assert (read.fx, read.fy) == pytest.approx((camera.fx, camera.fy))
        assert (read.cx, read.cy) == (32, 24)
    written = json.loads(file.read_text())
    assert written["seconds"] == pytest.approx(6 / 30)


def test_nerfstudio_path_by_hand(tmp_path: Path) -> None:
    # dataparser_transforms.json: x to y to z to x, then up by 1, then half the size.
    frame = {"transform": [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 1]], "scale": 0.5}
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps(frame))
    matrix = [1, 0, 0, 0.5, 0, 0, -1, 1.0, 0, 1, 0, 2.5, 0, 0, 0, 1]
    camera = {"camera_to_world": matrix, "fov": 90, "aspect": 2.0}
    path = {"render_width": 200, "render_height": 100, "camera_path": [camera]}
    (tmp_path / "path.json").write_text(json.dumps(path))
    transform, scale = read_nerfstudio_frame(tmp_path / "dataparser_transforms.json")
    (read,) = read_nerfstudio_path(tmp_path / "path.json", transform, scale)
    # (0.5, 1, 2.5) / 0.5 = (1, 2, 5) in the turned world; less 1 up: (1, 2, 4); turned back: (2, 4, 1).
    assert close(read.to_world[:3, 3], torch.tensor([2.0, 4.0, 1.0], dtype=torch.float64))
    # The camera's x is x in the trained frame: what was z in the input's.
    assert close(read.to_world[:3, 0], torch.tensor([0.0, 0, 1], dtype=torch.float64))
    assert (read.fx, read.fy) == pytest.approx((50, 50))  # 90 degrees from top to bottom: half the height
    (raw,) = read_nerfstudio_path(tmp_path / "path.json")
    assert close(raw.to_world.flatten(), torch.tensor(matrix, dtype=torch.float64))


def test_nerfstudio_fisheye_paths_return(tmp_path: Path) -> None:
    cameras = [dataclasses.replace(camera, lens="fisheye") for camera in random_cameras(2)]
    write_nerfstudio_path(tmp_path / "path.json", cameras)
    assert [camera.lens for camera in read_nerfstudio_path(tmp_path / "path.json")] == ["fisheye"] * 2


GOOD = {
    "camera_type": "perspective",
    "render_width": 8,
    "render_height": 4,
    "camera_path": [{"camera_to_world": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], "fov": 50.0}],
}
CAMERA = GOOD["camera_path"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camera_type": "equirectangular"}, "path of equirectangular cameras"),
        ({"render_width": None}, "'render_width' is null"),
        ({"render_height": 0}, "'render_height' is 0"),
        ({"camera_path": []}, r"'camera_path' is \[\]"),
        ({"camera_path": {}}, r"'camera_path' is \{\}"),
        ({"camera_path": [3]}, r"camera_path\[0\] is 3, but an object"),
        ({"camera_path": [CAMERA | {"fov": 180}]}, r"camera_path\[0\]: 'fov' is 180"),
        ({"camera_path": [CAMERA | {"fov": "wide"}]}, r"camera_path\[0\]: 'fov' is \"wide\""),
        ({"camera_path": [CAMERA | {"camera_to_world": [1, 2]}]}, "has the shape 2, but 16 was"),
        ({"camera_path": [CAMERA | {"camera_to_world": [-1, *CAMERA["camera_to_world"][1:]]}]}, "is not a rotation"),
        ({"camera_path": [CAMERA | {"camera_to_world": [math.nan, *CAMERA["camera_to_world"][1:]]}]}, "holds a NaN"),
    ],
)
def test_bad_nerfstudio_paths_are_refused_in_a_sentence(tmp_path: Path, change: dict, message: str) -> None:
    file = tmp_path / "path.json"
    file.write_text(json.dumps(GOOD))
    assert len(read_nerfstudio_path(file)) == 1
    file.write_text(json.dumps(GOOD | change))
    with pytest.raises(DataError, match=message) as caught:
        read_nerfstudio_path(file)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_nerfstudio_path(tmp_path / "missing.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match="is not valid JSON"):
        read_ingp_path(tmp_path / "bad.json", 4, 4)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(DataError, match=r"list.json is \[\], but an object"):
        read_nerfstudio_frame(tmp_path / "list.json")


def test_cameras_that_a_file_cannot_hold_are_refused_until_they_are_plain(tmp_path: Path) -> None:
    camera = random_cameras(1)[0]
    off = dataclasses.replace(camera, cx=30.0, fx=60.0, distortion=(0.1, 0, 0, 0, 0, 0), lens="opencv")
    with pytest.raises(DataError, match="camera 1 differs from camera 0"):
        write_nerfstudio_path(tmp_path / "path.json", [camera, off])
    for write in (write_nerfstudio_path, lambda path, cameras: write_ingp_path(path, cameras, 1.0)):
        with pytest.raises(DataError, match=r"camera 0 is distorted.*paths\.plain"):
            write(tmp_path / "path.json", [off])
        assert not (tmp_path / "path.json").exists()
    made = plain(off)
    assert (made.fx, made.fy, made.cx, made.lens) == (camera.fy, camera.fy, 32, "pinhole")
    write_nerfstudio_path(tmp_path / "path.json", [made, plain(camera)])


# --- instant-ngp


def ngp_matrix(pose: Tensor, scale: float, offset: Tensor) -> Tensor:
    """nerf_matrix_to_ngp of instant-ngp's nerf_loader.h, step by step."""
    result = pose[:3].clone()
    result[:, 1] *= -1
    result[:, 2] *= -1
    result[:, 3] = result[:, 3] * scale + offset
    return result[[1, 2, 0]]


def test_ingp_paths_return_and_are_in_its_frame(tmp_path: Path) -> None:
    cameras = random_cameras(6)
    file = tmp_path / "base_cam.json"
    write_ingp_path(file, cameras, seconds=2, scale=0.5, offset=(0.1, 0.2, 0.3))
    for read, camera in zip(read_ingp_path(file, 64, 48, None, 0.5, (0.1, 0.2, 0.3)), cameras, strict=True):
        assert close(read.to_world, camera.to_world)
        assert (read.fx, read.fy) == pytest.approx((camera.fx, camera.fy))
    for key, camera in zip(json.loads(file.read_text())["path"], cameras, strict=True):
        expected = ngp_matrix(camera.to_world, 0.5, torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
        assert close(torch.tensor(key["T"], dtype=torch.float64), expected[:, 3])
        assert close(to_matrices(torch.tensor(key["R"], dtype=torch.float64)), expected[:, :3])


def test_ingp_defaults_put_the_worlds_origin_in_the_middle_of_the_cube(tmp_path: Path) -> None:
    write_ingp_path(tmp_path / "p.json", [pinhole(look_at((0, 0, 0), (1, 0, 0), (0, 0, 1)))], seconds=1)
    (key,) = json.loads((tmp_path / "p.json").read_text())["path"]
    assert key["T"] == [0.5, 0.5, 0.5]
    (read,) = read_ingp_path(tmp_path / "p.json", 100, 50)
    assert read.height == 50
    assert read.fy == pytest.approx(50 * 50 / 48)  # the same vertical field of view


def keyframes(order: int, loop: bool = False, stamps: tuple[float, ...] = ()) -> dict:
    keys = []
    for i in range(5):
        angle = 0.2 * i
        turn = [0, 0, math.sin(angle / 2), math.cos(angle / 2)]
        key = {"R": turn, "T": [i, i * i, 0], "slice": 0, "scale": 1, "fov": 40 + i, "aperture_size": 0}
        keys.append(key | ({"timestamp": stamps[i]} if stamps else {}))
    keys[2]["R"] = [-x for x in keys[2]["R"]]  # the same rotation
    return {"spline_order": order, "loop": loop, "path": keys}


def ngp_places(path: list[Camera]) -> Tensor:
    """Positions in instant-ngp's frame, of scale 1 and offset 0."""
    return places(path)[:, [1, 2, 0]]


def flown(tmp_path: Path, content: dict, frames: int) -> list[Camera]:
    (tmp_path / "p.json").write_text(json.dumps(content))
    return read_ingp_path(tmp_path / "p.json", 64, 48, frames, 1.0, (0, 0, 0))


def test_ingp_straight_lines(tmp_path: Path) -> None:
    path = flown(tmp_path, keyframes(1), 8)
    expected = [[0, 0], [0.5, 0.5], [1, 1], [1.5, 2.5], [2, 4], [2.5, 6.5], [3, 9], [3.5, 12.5]]
    assert close(ngp_places(path)[:, :2], torch.tensor(expected, dtype=torch.float64))
    # Turned about z by 0.2 a keyframe; the flipped third quaternion must not send the camera round the other way.
    turns = torch.stack([camera.to_world[:3, :3] for camera in path])
    steps = angles(to_quaternions(turns[1:]), to_quaternions(turns[:-1]))
    assert close(steps, torch.full((7,), 0.1, dtype=torch.float64), 1e-4)  # linear, not spherical: off by angle^3 / 50


def test_ingp_cubic_and_quadratic_b_splines_by_hand(tmp_path: Path) -> None:
    cubic = ngp_places(flown(tmp_path, keyframes(3), 8))
    # At keyframe 2 the weights are 1/6, 4/6, 1/6; halfway between 1 and 2 they are 1, 23, 23, 1 of 48.
    assert float(cubic[4, 1]) == pytest.approx((1 + 4 * 4 + 9) / 6)
    assert float(cubic[3, 1]) == pytest.approx((0 + 23 * 1 + 23 * 4 + 9) / 48)
    assert float(cubic[0, 0]) == pytest.approx((0 + 0 + 1) / 6)  # the first keyframe stands for the one before it
    quadratic = ngp_places(flown(tmp_path, keyframes(2), 8))
    assert float(quadratic[3, 1]) == pytest.approx((0 + 6 * 1 + 4) / 8)  # 1, 6, 1 of 8
    steps = ngp_places(flown(tmp_path, keyframes(0), 8))[:, 0]
    assert steps.tolist() == pytest.approx([0, 1, 1, 2, 2, 3, 3, 4])


def test_ingp_loops_and_timestamps(tmp_path: Path) -> None:
    loop = ngp_places(flown(tmp_path, keyframes(1, loop=True), 10))
    assert float(loop[9, 0]) == pytest.approx(2)  # halfway from the last back to the first
    # Keyframe i is reached at the timestamp of the one before it, and the last but one's is the end of the film.
    timed = ngp_places(flown(tmp_path, keyframes(1, stamps=(0.1, 0.2, 0.4, 0.8, 1.0)), 8))[:, 0]
    assert timed.tolist() == pytest.approx([0, 1, 2, 2.5, 3, 3.25, 3.5, 3.75])
    broken = ngp_places(flown(tmp_path, keyframes(1, stamps=(0.1, 0.2, 0.2, 0.8, 1.0)), 8))[:, 0]
    assert broken.tolist() == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5])  # not increasing: equal steps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": None}, "'path' is null"),
        ({"path": [{"R": [0, 0, 0, 0], "T": [0, 0, 0], "fov": 50}]}, "'R' is zero"),
        ({"path": [{"R": [0, 0, 1], "T": [0, 0, 0], "fov": 50}]}, r"path\[0\]: 'R' has the shape 3, but 4 was"),
        ({"path": [{"R": [0, 0, 0, 1], "T": [0, 0, "x"], "fov": 50}]}, r"path\[0\]: 'T' is \[0, 0, \"x\"\]"),
        ({"path": [{"R": [0, 0, 0, 1], "T": [0, 0, 0]}]}, r"path\[0\] has no 'fov'"),
        ({"path": [{"R": [0, 0, 0, 1], "T": [0, 0, 0], "fov": 0}]}, "'fov' is 0"),
        ({"spline_order": 7}, "'spline_order' is 7"),
    ],
)
def test_bad_ingp_paths_are_refused_in_a_sentence(tmp_path: Path, change: dict, message: str) -> None:
    assert len(flown(tmp_path, keyframes(3), 3)) == 3
    with pytest.raises(DataError, match=message):
        flown(tmp_path, keyframes(3) | change, 3)


def test_ingp_refuses_fisheye_lenses(tmp_path: Path) -> None:
    camera = dataclasses.replace(random_cameras(1)[0], lens="fisheye")
    with pytest.raises(DataError, match="fisheye"):
        write_ingp_path(tmp_path / "p.json", [camera], seconds=1)
