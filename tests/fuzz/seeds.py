"""Good inputs of every kind that neufield reads: small files, each of which its reader accepts."""

import contextlib
import dataclasses
import json
import shutil
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Pillow

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import scene_files
from ball import write_ball
from image_files import info_of, noise, write_oiio

from neufield import presets, save
from neufield.apps.settings import parse_settings
from neufield.core.recipe import Recipe
from neufield.fitting import fit
from neufield.fitting.files import write_tensors
from neufield.formats import scene, write_ingp_path, write_nerfstudio_path
from neufield.formats.encode_video import open_film
from neufield.formats.msgpack import pack_msgpack
from neufield.renderers import Box, interpolate
from neufield.signals import Array
from neufield.tcnn import from_tcnn_config, to_tcnn_params

SMALL = ["encoding.n_levels=2", "encoding.log2_hashmap_size=4", "network.width=8", "recipe.batch_size=16"]


@dataclasses.dataclass(frozen=True)
class Seed:
    """``file`` in ``folder`` is what is spoilt; ``reader``, a name of ``readers.py``, gets the folder and the file."""

    name: str
    reader: str
    folder: Path
    file: str


def make_seeds(root: Path) -> list[Seed]:
    """All of them, in folders below ``root``; the same bytes every time."""
    torch.manual_seed(0)
    makers = (_pictures, _films, _fields, _snapshots, _configs, _paths, _transforms, _others, _colmap, _run)
    return [seed for make in makers for seed in make(root)]


def _folder(root: Path, name: str) -> Path:
    path = root / name
    path.mkdir(parents=True)
    return path


def _pictures(root: Path) -> Iterator[Seed]:
    rgb, rgba = noise(12, 16, 3), noise(12, 16, 4)
    deep, real = noise(12, 16, 3, dtype="uint16"), noise(12, 16, 3, dtype="float32")
    names = ("R", "G", "B")

    def pil(mode: str, **options: object) -> Callable[[Path], object]:
        return lambda path: Pillow.fromarray(rgba if mode == "RGBA" else rgb).convert(mode).save(path, **options)

    def oiio(values: np.ndarray, kind: str) -> Callable[[Path], object]:
        return lambda path: write_oiio(path, values, kind, names)

    exif = Pillow.Exif()
    exif[0x0112] = 6
    made: dict[str, Callable[[Path], object]] = {
        "rgb.png": pil("RGB"), "rgba.png": pil("RGBA"), "palette.png": pil("P"), "bits.png": pil("1"),
        "deep.png": oiio(deep, "uint16"), "turned.jpg": pil("RGB", exif=exif), "gray.jpg": pil("L"),
        "cmyk.jpg": pil("CMYK"), "plain.tif": pil("RGB"), "lzw.tif": pil("RGB", compression="tiff_lzw"),
        "deep.tif": oiio(deep, "uint16"), "real.tif": oiio(real, "float"), "real.exr": oiio(real, "float"),
        "real.hdr": oiio(real, "float"), "real.pfm": oiio(real, "float"), "a.bmp": pil("RGB"), "a.gif": pil("P"),
        "a.webp": pil("RGB"), "a.ico": lambda path: Pillow.fromarray(noise(16, 16, 4)).save(path), "a.dds": pil("RGBA"),
        "a.pcx": pil("RGB"), "a.im": pil("RGB"), "a.ppm": pil("RGB"), "a.pgm": pil("L"), "a.tga": pil("RGB"),
        "a.sgi": pil("RGB"), "a.avif": pil("RGB"), "a.jp2": pil("RGB"), "a.icns": lambda path: Pillow.fromarray(
            noise(32, 32, 4)).save(path),
    }  # fmt: skip
    for name, make in made.items():
        folder = _folder(root, f"picture_{name}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow will not write .im for ever
            make(folder / name)
        yield Seed(f"picture {name}", "picture", folder, name)


def _films(root: Path) -> Iterator[Seed]:
    for suffix in (".mp4", ".webm", ".gif"):
        folder = _folder(root, f"film{suffix}")
        with open_film(folder / f"a{suffix}", 10.0) as add:
            for i in range(4):
                add(np.full((16, 16, 3), 40 * i, np.uint8))
        yield Seed(f"film {suffix}", "film", folder, f"a{suffix}")


def _fields(root: Path) -> Iterator[Seed]:
    generator = torch.Generator().manual_seed(0)
    for name in ("ngp", "ffn", "cam", "sape"):
        field = presets.find(name)(presets.SignalFacts(2, 3, (8, 8), 500), generator)
        if name == "ngp":
            field = presets.customize(field, parse_settings([SMALL]), generator)
        folder = _folder(root, f"field_{name}")
        save(field, folder / "field.safetensors", signal=info_of((8, 8), 3))
        yield Seed(f"field {name}", "field", folder, "field.safetensors")
    folder = _folder(root, "field_small")
    save(field, folder / "field.safetensors", storage="int8-zlib")
    yield Seed("field in 8 bits, coded", "field", folder, "field.safetensors")
    posed = scene.read_scene(write_ball(_folder(root, "ball"), train=3, test=1))
    model = presets.radiance_scene(posed, "ngp", bounds=Box([-1.0] * 3, [1.0] * 3), resolution=16)
    folder = _folder(root, "field_radiance")
    save(model, folder / "field.safetensors")
    yield Seed("field radiance", "field", folder, "field.safetensors")
    folder = _folder(root, "state")
    state = fit(small_field(), Array(torch.rand(8, 8, 3)), Recipe(steps=2, batch_size=16))
    write_tensors(folder / "state.safetensors", "state", state.tensors(), {"identity": {}, "facts": state.facts()})
    yield Seed("state", "state", folder, "state.safetensors")


def _snapshots(root: Path) -> Iterator[Seed]:
    config = {
        "encoding": {"otype": "HashGrid", "n_levels": 2, "log2_hashmap_size": 4, "base_resolution": 4},
        "network": {"otype": "FullyFusedMLP", "n_neurons": 16, "n_hidden_layers": 1},
    }
    row = to_tcnn_params(from_tcnn_config(config, generator=torch.Generator().manual_seed(0))).half()
    snapshot = {"version": 1, "mode": "image", "n_params": len(row), "params_binary": row.numpy().tobytes()}
    document = pack_msgpack(config | {"snapshot": snapshot})
    for suffix, content in ((".msgpack", document), (".ingp", zlib.compress(document))):
        folder = _folder(root, f"snapshot{suffix}")
        (folder / f"a{suffix}").write_bytes(content)
        yield Seed(f"snapshot {suffix}", "snapshot", folder, f"a{suffix}")


def small_field():
    """The field whose state is fuzzed."""
    generator = torch.Generator().manual_seed(0)
    return presets.customize(presets.ngp(shape=(8, 8)), parse_settings([SMALL]), generator)


def _configs(root: Path) -> Iterator[Seed]:
    config = {
        "loss": {"otype": "RelativeL2"},
        "optimizer": {"otype": "Ema", "decay": 0.9, "nested": {"otype": "Adam", "learning_rate": 0.01}},
        "encoding": {"otype": "HashGrid", "n_levels": 3, "log2_hashmap_size": 6, "per_level_scale": 1.5},
        "network": {"otype": "FullyFusedMLP", "n_neurons": 16, "n_hidden_layers": 2},
    }
    composite = {"otype": "Composite", "nested": [{"otype": "OneBlob", "n_dims_to_encode": 1}, {"otype": "Frequency"}]}
    for name, encoding in (("grid", config["encoding"]), ("composite", composite)):
        folder = _folder(root, f"tcnn_{name}")
        (folder / "c.json").write_text("// a comment\n" + json.dumps(config | {"encoding": encoding}, indent=1))
        yield Seed(f"tcnn config {name}", "tcnn", folder, "c.json")


def _paths(root: Path) -> Iterator[Seed]:
    posed = scene.read_scene(root / "ball")
    cameras = interpolate([frame.camera for frame in posed.frames][:3], 4)
    folder = _folder(root, "path_nerfstudio")
    write_nerfstudio_path(folder / "path.json", cameras)
    yield Seed("camera path nerfstudio", "path_nerfstudio", folder, "path.json")
    folder = _folder(root, "path_ingp")
    write_ingp_path(folder / "path.json", cameras, 2.0)
    yield Seed("camera path instant-ngp", "path_ingp", folder, "path.json")
    folder = _folder(root, "path_frame")
    (folder / "d.json").write_text(json.dumps({"transform": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "scale": 2}))
    yield Seed("dataparser_transforms", "path_frame", folder, "d.json")


def _transforms(root: Path) -> Iterator[Seed]:
    names = [f"images/{letter}.png" for letter in "abcd"]
    lens = {"fl_x": 9.0, "fl_y": 9.0, "cx": 4.0, "cy": 3.0, "w": 8, "h": 6, "k1": 0.01, "p1": 0.001}
    folder = _folder(root, "nerfstudio")
    (folder / "points.ply").write_bytes(_ply_binary())
    scene_files.transforms(folder, names, **lens, camera_model="OPENCV", ply_file_path="points.ply")
    scene_files.edit_frame(folder / "transforms.json", 0, mask_path="images/a.png")
    yield Seed("scene nerfstudio", "scene", folder, "transforms.json")
    yield Seed("scene nerfstudio, its photograph", "scene", folder, "images/b.png")
    yield Seed("scene nerfstudio, its points", "scene", folder, "points.ply")
    folder = _folder(root, "ingp")
    scene_files.transforms(folder, names, **lens, aabb_scale=4, scale=0.33, offset=[0.5, 0.5, 0.5], is_fisheye=False)
    yield Seed("scene instant-ngp", "scene", folder, "transforms.json")
    folder = _folder(root, "blender")
    shutil.copytree(root / "ball", folder, dirs_exist_ok=True)
    yield Seed("scene blender", "scene", folder, "transforms_train.json")
    for name, text in (("text", _PLY), ("binary", _ply_binary())):
        folder = _folder(root, f"ply_{name}")
        (folder / "points.ply").write_bytes(text if isinstance(text, bytes) else text.encode())
        yield Seed(f"points PLY {name}", "ply", folder, "points.ply")


_HEAD = """ply
format {} 1.0
element vertex 3
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
end_header
"""
_PLY = _HEAD.format("ascii") + "0 0 0 1 2 3\n1 0 0.5 4 5 6\n0 1 2 7 8 9\n"


def _ply_binary() -> bytes:
    row = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])
    return _HEAD.format("binary_little_endian").encode() + np.zeros(3, row).tobytes()


def _others(root: Path) -> Iterator[Seed]:
    folder = _folder(root, "llff")
    scene_files.llff(folder, 4)
    yield Seed("scene llff", "scene", folder, "poses_bounds.npy")
    for name, write in (("stored", np.savez), ("deflated", np.savez_compressed)):
        folder = _folder(root, f"tiny_{name}")
        images, poses = np.random.default_rng(0).random((4, 6, 8, 3), np.float32), scene_files.poses(4)
        write(folder / "tiny.npz", images=images, poses=poses.astype(np.float32), focal=np.float32(9))
        yield Seed(f"scene tiny-nerf {name}", "scene", folder, "tiny.npz")


def _colmap(root: Path) -> Iterator[Seed]:
    for kind in ("bin", "txt"):
        folder = _folder(root, f"colmap_{kind}")
        cameras = [(1, "OPENCV", 8, 6, [9.0, 9, 4, 3, 0.01, 0, 0, 0]), (2, "SIMPLE_RADIAL", 8, 6, [9.0, 4, 3, 0.01])]
        turn = scene_files.quaternion(0.3, [0, 1, 0])
        images = [
            (i, turn, [0.1 * i, 0, 4], 1 + i % 2, f"{i}.png", [(1.0, 2.0, 1), (3.0, 2.0, -1)]) for i in (1, 2, 3, 4)
        ]
        points = [(1, (0.0, 0, 1), (10, 20, 30)), (2, (0.5, 0, 1), (10, 20, 30))]
        scene_files.colmap(folder, cameras, images, points, binary=kind == "bin")
        for file in ("cameras", "images", "points3D"):
            yield Seed(f"scene colmap {file}.{kind}", "scene", folder, f"sparse/0/{file}.{kind}")


def _run(root: Path) -> Iterator[Seed]:
    from neufield.apps import cli

    folder = _folder(root, "run")
    Pillow.fromarray(noise(8, 8, 3)).save(folder / "p.png")
    (folder / "arguments.json").write_text(json.dumps(["--steps", "3", "--set", *SMALL]))
    arguments = ["fit", str(folder / "p.png"), "--out", str(folder / "r"), *_arguments(folder)]
    with contextlib.redirect_stdout(None):
        cli.main(arguments)
    for file in ("state.safetensors", "result.json", "field.safetensors"):
        yield Seed(f"run resumed, {file}", "run", folder, f"r/{file}")
    yield Seed("run rendered", "render", folder, "r/field.safetensors")
    folder = _folder(root, "comparison")
    Pillow.fromarray(noise(8, 8, 3)).save(folder / "p.png")
    with contextlib.redirect_stdout(None):
        cli.main(compare_of(folder))
    for file in ("compare.json", "ngp/seed0/result.json", "ngp/seed0/field.safetensors", "ngp/seed0/state.safetensors"):
        yield Seed(f"comparison resumed, {Path(file).name}", "compare", folder, f"c/{file}")


def compare_of(folder: Path) -> list[str]:
    """A comparison of one preset in ``folder``."""
    out = str(folder / "c")
    return ["compare", str(folder / "p.png"), "--out", out, "--presets", "ngp", "--seeds", "1", "--steps", "3"]


def _arguments(folder: Path) -> list[str]:
    return json.loads((folder / "arguments.json").read_text())
