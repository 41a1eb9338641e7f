"""What is behind photographs without alpha, and rays that leave the box: chosen and said before the first step."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import write_ball
from commands import run
from PIL import Image as Pillow
from scene_files import colmap

from neufield.core.records import Batch
from neufield.field_files import load
from neufield.fitting import Backdrop
from neufield.presets.scene import find_behind
from neufield.signals.posed_images import PosedImages

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = ("--resolution", 16, "--box", "1", "--set", "recipe.batch_size=2048")


def pictures(color: tuple[int, int, int], alpha: int = 255, count: int = 3, thing: int = 10) -> list[torch.Tensor]:
    """Something of many colors in the middle of 20 x 30 pixels of one color, which is off by up to ``thing`` // 2."""
    rng = np.random.default_rng(0)
    values = np.full((count, 20, 30, 4), (*color, alpha))
    values[..., :3] += rng.integers(-(thing // 2), thing // 2 + 1, (count, 20, 30, 3))
    values[:, 5:15, 5:25, :3] = rng.integers(0, 256, (count, 10, 20, 3))
    values[:, 5:15, 5:25, 3] = 255
    return [torch.from_numpy(image) for image in values.clip(0, 255).astype(np.uint8)]


@pytest.mark.parametrize(
    ("color", "said"),
    [
        ((255, 255, 255), "white, as 100 % of their borders are"),
        ((0, 0, 0), "black, as 100 % of their borders are"),
        ((30, 90, 200), "the color (0.118, 0.353, 0.784), as 100 % of their borders are"),
    ],
)
def test_a_backdrop_is_the_color_of_the_borders(color: tuple[int, int, int], said: str) -> None:
    found = find_behind(PosedImages(pictures(color)))
    assert found is not None
    assert found.plain
    assert found.color == pytest.approx([value / 255 for value in color], abs=2.5 / 255)  # of 11 shades the middle one
    assert said in str(found) or color == (30, 90, 200)
    exact = find_behind(PosedImages(pictures(color, thing=0)))
    assert said in str(exact)


def test_borders_of_many_colors_are_no_backdrop() -> None:
    images = [torch.randint(0, 256, (20, 30, 4), dtype=torch.uint8) for _ in range(3)]
    for image in images:
        image[..., 3] = 255
    found = find_behind(PosedImages(images))
    assert found is not None
    assert not found.plain
    mean = torch.stack(images)[..., :3].double().mean((0, 1, 2)) / 255
    assert found.color == pytest.approx(mean.tolist(), abs=1e-6)  # a mean in float32
    assert "random colors, for their borders show no backdrop" in str(found)


def test_photographs_with_alpha_have_none() -> None:
    assert find_behind(PosedImages(pictures((255, 255, 255), alpha=0))) is None


def test_only_what_is_trained_on_counts() -> None:
    """Not what a mask ignores, nor a photograph that is kept out, nor those with alpha."""
    white, black = pictures((255, 255, 255), thing=0), pictures((0, 0, 0), thing=0)
    for image in white:
        image[:, :15, :3] = 90
    masks = [torch.ones(20, 30, dtype=torch.bool) for _ in white]
    for mask in masks:
        mask[:, :15] = False
    images = [*white, *pictures((9, 200, 9), alpha=0), *black]
    found = find_behind(PosedImages(images, [*masks, *[None] * 6], held_out=3))
    assert found is not None
    assert (found.color, found.share) == ((1.0, 1.0, 1.0), 1.0)


def test_a_backdrop_is_behind_the_opaque_and_random_colors_behind_the_others() -> None:
    backdrop = Backdrop((0.2, 0.4, 0.6), torch.tensor([True, False]))
    x = torch.tensor([[0.0, 1.5, 1.5], [1.0, 1.5, 1.5]]).repeat(50, 1)
    behind = backdrop(Batch(x, torch.ones(100, 4)), torch.Generator().manual_seed(0))
    assert torch.equal(behind[::2], torch.tensor([[0.2, 0.4, 0.6]]).expand(50, 3))
    assert len(behind[1::2].unique()) == 150


def flattened(folder: Path, color: int) -> Path:
    """The ball before a wall, without alpha."""
    write_ball(folder, train=12, test=2)
    for path in folder.rglob("*.png"):
        with Pillow.open(path) as picture:
            wall = Pillow.new("RGBA", picture.size, (color, color, color, 255))
            wall.alpha_composite(picture)
        wall.convert("RGB").save(path)
    return folder


@pytest.fixture(scope="module", params=[255, 0], ids=["white", "black"])
def learned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """The wall's color and a run of a hundred steps on the ball before it."""
    folder = tmp_path_factory.mktemp("wall")
    scene = flattened(folder / "scene", request.param)
    run("nerf", "train", scene, "--steps", 100, "--out", folder / "run", *TINY)
    return request.param, folder


def test_a_thing_before_a_wall_is_learned_and_seen_before_it(learned: tuple[int, Path], capsys) -> None:
    color, folder = learned
    result = json.loads((folder / "run" / "result.json").read_text())
    field = load(folder / "run" / "field.safetensors")
    assert field.background == pytest.approx([color / 255] * 3)
    # Judged before the wall by every protocol, whatever it puts alpha on: apart by their rounding alone.
    assert result["protocols_psnr_spread"] < 0.5
    x = torch.tensor([[0.0, 0.5, 0.5]])
    with torch.no_grad():
        assert float(field(x).mean()) == pytest.approx(color / 255, abs=0.1)  # a corner, where nothing is
    again = ("--steps", 100, "--out", folder / "random", "--background", "random")
    run("nerf", "train", folder / "scene", *again, *TINY)
    assert "behind" not in capsys.readouterr().out  # who chooses need not be told
    random = json.loads((folder / "random" / "result.json").read_text())
    assert result["psnr"] > random["psnr"] + 3  # measured 5 and more


def test_films_are_drawn_on_what_was_behind_the_photographs(learned: tuple[int, Path], tmp_path: Path) -> None:
    color, folder = learned
    for other in ("auto", "white", "black"):
        options = ("--frames", 1, "--size", "24x24", "--background", other)
        run("nerf", "render", folder / "run", tmp_path / other, *options)
        with Pillow.open(tmp_path / other / "frame_0000.png") as picture:
            corner = float(np.asarray(picture.convert("L"))[0, 0])
        assert corner == pytest.approx({"auto": color, "white": 255, "black": 0}[other], abs=40)


def room(folder: Path, outside: int) -> Path:
    """Photographs of many colors from within, and 10 sparse points, of which some lie beyond 1 unit."""
    rng = np.random.default_rng(0)
    seen = [(4.0, 3.0, i + 1) for i in range(10)]
    images = [(i + 1, [1.0, 0, 0, 0], [0.01 * i, 0.0, 0.0], 1, f"{i}.png", seen) for i in range(3)]
    points = [(i + 1, [0.0, 0.0, 5.0 if i < outside else 0.8], [9, 9, 9]) for i in range(10)]
    colmap(folder, [(1, "PINHOLE", 8, 6, [60.0, 60.0, 4.0, 3.0])], images, points)
    for i in range(3):
        Pillow.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(folder / f"images/{i}.png")
    return folder


@pytest.mark.parametrize("outside", [0, 7])
def test_rays_that_leave_the_box_are_counted(outside: int, tmp_path: Path, capsys) -> None:
    run("nerf", "train", room(tmp_path / "scene", outside), "--steps", 1, "--out", tmp_path / "run", *TINY)
    said = capsys.readouterr().out
    wanted = "note: 70 % of the rays leave the box (end outside it, by the sparse points), and what they show cannot be"
    assert (wanted in said) == bool(outside)
    assert ("leave the box" in said) == bool(outside)
    assert "random colors, for their borders show no backdrop" in said


def test_without_points_the_rays_that_miss_the_box_are_counted(tmp_path: Path, capsys) -> None:
    """Cameras around the box, whose pictures are filled: at 45 degrees half of a side of 24 pixels sees beyond it."""
    scene = write_ball(tmp_path / "scene", train=4, test=1)
    rng = np.random.default_rng(0)
    for path in scene.rglob("*.png"):
        Pillow.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(path)
    run("nerf", "train", scene, "--steps", 1, "--out", tmp_path / "run", "--resolution", 16, "--box", "0.3")
    said = capsys.readouterr().out
    share = int(said.partition("note: ")[2].partition(" % of the rays leave the box (never meet it)")[0])
    # The cube covers the solid angle of something between its inscribed and its circumscribed ball.
    covered = [math.pi * (r / 3 / (2 * math.tan(0.35))) ** 2 for r in (0.3, 0.3 * math.sqrt(3))]
    assert 100 * (1 - covered[1]) - 3 < share < 100 * (1 - covered[0]) + 3
