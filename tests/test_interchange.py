"""Models of other programs: built by their documented layout, read, computed, and written again."""

import gzip
import struct
import zlib

import numpy as np
import pytest
import torch
from cases import seeded
from commands import run

import neufield as nf
from neufield.core.errors import ConfigError, DataError
from neufield.encodings import Grid
from neufield.fields import DensityActivation, EncodedRadiance
from neufield.formats.msgpack import pack_msgpack, unpack_msgpack
from neufield.interchange import read_ingp, write_ingp
from neufield.networks import MLP
from neufield.renderers import Box, RadianceScene
from neufield.tcnn import from_tcnn_config, from_tcnn_params, to_tcnn_params

_GRID = {"otype": "HashGrid", "n_levels": 3, "n_features_per_level": 2, "log2_hashmap_size": 8, "base_resolution": 4}
_DENSITY = {"otype": "FullyFusedMLP", "activation": "ReLU", "output_activation": "None", "n_neurons": 16}
_DIRECTION = {"otype": "Composite", "nested": [
    {"n_dims_to_encode": 3, "otype": "SphericalHarmonics", "degree": 4}, {"otype": "Identity"}
]}  # fmt: skip
_CONFIG = {
    "encoding": _GRID | {"per_level_scale": 1.5},
    "network": _DENSITY | {"n_hidden_layers": 1},
    "dir_encoding": _DIRECTION,
    "rgb_network": _DENSITY | {"n_hidden_layers": 2},
    "loss": {"otype": "Huber"},
}


def numbers(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n).astype(np.float16) * np.float16(0.3)


# By the layout: the density network (6 inputs filled up to 16), the color network (3 outputs, to 16), the grid.
_FIRST, _SECOND = numbers(16 * 16, 0).reshape(16, 16), numbers(16 * 16, 1).reshape(16, 16)
_COLORS = [
    numbers(16 * 32, 2).reshape(16, 32),
    numbers(16 * 16, 3).reshape(16, 16),
    numbers(16 * 16, 4).reshape(16, 16),
]
_TABLE = numbers(2 * (64 + 216 + 256), 5)  # 4^3, 6^3, and of 9^3 the 2^8 that there are
_ROW = np.concatenate([m.ravel() for m in (_FIRST, _SECOND, *_COLORS, _TABLE)])


def snapshot(**changes: object) -> dict:
    inside = {
        "version": 1, "mode": "nerf", "n_params": len(_ROW), "params_type": "__half", "params_binary": _ROW.tobytes(),
        "density_grid_size": 128, "density_grid_binary": b"", "nerf": {"aabb_scale": 1, "dataset": {"is_hdr": False}},
        "aabb": {"min": [0.0, 0.0, 0.0], "max": [1.0, 1.0, 1.0]}, "up_dir": [0.0, 1.0, 0.0],
    }  # fmt: skip
    return _CONFIG | {"snapshot": inside | changes}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.ingp"
    path.write_bytes(gzip.compress(pack_msgpack(snapshot())))
    return path


def written_out(x: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Density and color of the snapshot, computed with NumPy from its matrices and our grid alone."""
    grid = Grid(3, 3, 2, 8, 4, 1.5)
    with torch.no_grad():
        grid.table.copy_(torch.from_numpy(_TABLE.astype(np.float32)).view(-1, 2))
    features = np.zeros((len(x), 16))
    features[:, :6] = grid(torch.from_numpy(x).float()).detach().numpy()
    hidden = np.maximum(features @ _FIRST.astype(float).T, 0) @ _SECOND.astype(float).T
    harmonics = nf.encodings.SphericalHarmonics(4)(torch.from_numpy((d + 1) / 2).float()).numpy()
    seen = np.concatenate([hidden, harmonics], axis=1)
    for matrix in _COLORS[:-1]:
        seen = np.maximum(seen @ matrix.astype(float).T, 0)
    return np.exp(hidden[:, 0]), 1 / (1 + np.exp(-(seen @ _COLORS[-1].astype(float).T)[:, :3]))


def test_a_snapshot_computes_what_its_numbers_say(file):
    scene = read_ingp(file)
    x, d = np.random.default_rng(9).random((200, 3)), np.random.default_rng(8).normal(size=(200, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    geometry = scene.field.geometry(torch.from_numpy(x).float())
    color = scene.field.color(geometry.features, torch.from_numpy(d).float())
    density, expected = written_out(x, d)
    # float32 against float64 over sums of 32 products of order 1: 2^-24 * 32 and an exponential of it.
    np.testing.assert_allclose(geometry.sigma.detach().numpy(), density, rtol=2e-5)
    np.testing.assert_allclose(color.detach().numpy(), expected, atol=1e-5)
    assert scene.cameras.count > 3
    assert bool(scene(torch.tensor([[0.0, 200.0, 200.0]])).isfinite().all())


@pytest.mark.parametrize("pack", [lambda data: data, zlib.compress, gzip.compress], ids=["plain", "zlib", "gzip"])
def test_a_picture_s_snapshot_is_its_field(pack, tmp_path):
    config = {"encoding": _GRID | {"per_level_scale": 1.5}, "network": _DENSITY | {"n_hidden_layers": 1}}
    field = from_tcnn_config(config, 2, 3, seeded())
    row = to_tcnn_params(field)
    document = config | {"snapshot": {"mode": "image", "params_type": "float", "params_binary": row.numpy().tobytes()}}
    (tmp_path / "a.msgpack").write_bytes(pack(pack_msgpack(document)))
    x = torch.rand(50, 2, generator=seeded())
    assert torch.equal(read_ingp(tmp_path / "a.msgpack")(x), field(x))


def test_params_of_tiny_cuda_nn_become_their_field():
    config = {"encoding": _GRID, "network": _DENSITY | {"n_hidden_layers": 2}}
    field = from_tcnn_config(config, 2, 3, seeded())
    row = to_tcnn_params(field)
    x = torch.rand(50, 2, generator=seeded())
    assert torch.equal(from_tcnn_params(config, row, 2, 3)(x), field(x))
    with pytest.raises(ConfigError, match=r"params has .* numbers, but"):
        from_tcnn_params(config, row[:-1], 2, 3)


def made_scene(**changes: object) -> RadianceScene:
    """A scene of the preset ngp, small, whose numbers float16 holds."""
    field = nf.presets.radiance.ngp(32, seeded())
    parts = {"network": MLP(field.encoding.out_dim, 16, 64, 1, bias=False, generator=seeded())} | changes
    field = EncodedRadiance(
        field.encoding, parts["network"], field.direction, field.color_network,
        parts.get("density", DensityActivation("trunc_exp", -1.0)),
    )  # fmt: skip
    with torch.no_grad():
        field.encoding.table.normal_(0, 0.5, generator=seeded(3))
        for parameter in field.parameters():
            parameter.copy_(parameter.half())
    cameras = nf.renderers.Cameras(2)
    box = parts.get("box", Box([-1.5] * 3, [1.5] * 3))
    return RadianceScene(field, cameras, box, nf.renderers.StratifiedSampler(box, 8))


def test_what_is_written_is_the_same_function_in_another_frame(tmp_path):
    scene = made_scene()
    write_ingp(scene, tmp_path / "a.ingp")
    again = read_ingp(tmp_path / "a.ingp")
    x = torch.rand(300, 3, generator=seeded(1))
    ours, theirs = scene.field.geometry(x), again.field.geometry(x)
    side = again.space.upper[0] - again.space.lower[0]
    assert side == pytest.approx(3 * np.exp(-1))
    # The same light is lost on the way through the box; a product of two roundings apart.
    torch.testing.assert_close(ours.sigma * 3, theirs.sigma * side, rtol=1e-5, atol=0)
    d = torch.nn.functional.normalize(torch.randn(300, 3, generator=seeded(2)), dim=1)
    torch.testing.assert_close(scene.field.color(ours.features, d), again.field.color(theirs.features, d))


def test_a_written_file_is_the_documented_layout(tmp_path):
    scene = made_scene()
    write_ingp(scene, tmp_path / "a.ingp")
    document = unpack_msgpack(gzip.decompress((tmp_path / "a.ingp").read_bytes()), "a.ingp")
    assert document.keys() >= {"encoding", "network", "dir_encoding", "rgb_network", "snapshot"}
    inside = document["snapshot"]
    assert inside.keys() >= {
        "version", "mode", "params_binary", "density_grid_size", "density_grid_binary", "nerf", "aabb", "render_aabb",
        "up_dir", "background_color", "training_step",
    }  # fmt: skip
    row = np.frombuffer(inside["params_binary"], np.float16)
    first = scene.field.network.layers[0].weight
    padded = np.zeros((64, -(-first.shape[1] // 16) * 16), np.float16)
    padded[:, : first.shape[1]] = first.detach().numpy()
    assert (row[: padded.size].reshape(padded.shape) == padded).all()
    assert (row[-scene.field.encoding.table.numel() :] == scene.field.encoding.table.detach().numpy().ravel()).all()
    # Its density grid: two cascades of 128^3, the second of which reaches beyond the box, in Morton order.
    grid = np.frombuffer(inside["density_grid_binary"], np.float16).reshape(2, 128**3)
    cell = (90, 17, 64)
    code = sum(((value >> bit) & 1) << (3 * bit + axis) for axis, value in enumerate(cell) for bit in range(7))
    side = inside["aabb"]["max"][0] - inside["aabb"]["min"][0]
    for level, of_box in enumerate((1.0, 2.0)):
        at = ((np.array(cell) + 0.5) / 128 - 0.5) * of_box / side + 0.5
        sigma = scene.field.geometry(torch.from_numpy(at).float()).sigma.item() * 3 / side
        expected = sigma * np.sqrt(3) / 1024 * of_box if (np.abs(at - 0.5) < 0.5).all() else 0.0
        assert grid[level, code] == pytest.approx(expected, rel=2**-10, abs=1e-7)  # float16, and its smallest numbers


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"density": DensityActivation("softplus")}, "its density is no exponential"),
        ({"box": Box([-1.0, -1.0, -2.0], [1.0, 1.0, 2.0])}, "not held in a cube"),
        ({"box": Box([-1e4] * 3, [1e4] * 3)}, r"would be 7.36e\+03 wide"),
        ({"network": MLP(4, 16, 64, 1)}, "without biases"),
        ({"network": MLP(4, 16, 48, 1, bias=False)}, "16, 32, 64 or 128"),
    ],
)
def test_what_instant_ngp_does_not_compute_is_not_written(changes, sentence, tmp_path):
    scene = made_scene(**{key: value for key, value in changes.items() if key != "network"})
    if "network" in changes:
        old = changes["network"]
        inputs = scene.field.encoding.out_dim
        scene.field.backbone.network = MLP(inputs, 16, old.width, old.n_hidden_layers, bias=old.bias)
    with pytest.raises(ConfigError, match=sentence):
        write_ingp(scene, tmp_path / "a.ingp")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "ends within a value"),
        (b"\x78\x9cno", "cannot be decompressed"),
        (gzip.compress(pack_msgpack(snapshot()))[:-900], "ends before its compressed data"),
        (pack_msgpack(snapshot())[:-1], "no whole MessagePack"),
        (pack_msgpack(snapshot()) + b"\0", "more behind its end"),
        (b"\x91" * 100, "more than 64 levels"),
        (b"\xdd" + struct.pack(">I", 2**32 - 1) + b"\xc0", "ends within a list"),
        (b"\x81\x01\x02", "a key that is no text"),
        (b"\x81\xa1\n\x02", "a key that is no text of one line"),
        (b"\xc7\x00\x01", "of the type 0xc7"),
        (b"\xa1\xff", "not UTF-8"),
        (pack_msgpack([1]), "an object with keys was expected"),
        (pack_msgpack({"a": 1}), "has no 'snapshot'"),
        (pack_msgpack(snapshot(mode="volume")), "of the mode 'volume'"),
        (pack_msgpack(snapshot(params_binary=b"abc")), "no params_binary of float16"),
        (pack_msgpack(snapshot(params_type="double")), "no params_binary of float16"),
        (pack_msgpack(snapshot(n_params=3)), r"says 3 parameters"),
        (pack_msgpack(snapshot(n_params=100, params_binary=b"\0" * 200)), "fewer than its config describes"),
        (pack_msgpack(snapshot(n_params=20_000, params_binary=b"\0" * 40_000)), "but its config describes 2,"),
        (pack_msgpack(snapshot(n_params=1, params_binary=b"\0\x7c")), "NaN or infinite"),
        (pack_msgpack(snapshot(nerf={"dataset": {"is_hdr": True}})), "its colors are linear"),
        (pack_msgpack(snapshot() | {"encoding": {"otype": "Frequency"}}), "unknown key 'per_level_scale'"),
        (pack_msgpack(snapshot() | {"encoding": _GRID | {"n_levels": 10**9}}), "does not compute|memory"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_sentence(data, sentence, tmp_path):
    (tmp_path / "a.ingp").write_bytes(data)
    with pytest.raises(DataError, match=sentence) as caught:
        read_ingp(tmp_path / "a.ingp")
    assert "\n" not in str(caught.value)


def test_a_bomb_is_stopped_by_the_budget(tmp_path, monkeypatch):
    (tmp_path / "a.ingp").write_bytes(gzip.compress(bytes(200_000_000), 1))
    monkeypatch.setenv("NEUFIELD_MEMORY_BUDGET", "100MB")
    with pytest.raises(DataError, match=r"decompressed so far, needs .* the memory budget allows"):
        read_ingp(tmp_path / "a.ingp")


def test_messagepack_round_trips():
    value = {"a": [None, True, False, 0, 127, 128, -1, -(2**63), 2.5], "b": b"\0\xff", "c": {"d": "ü"}, "e": []}
    assert unpack_msgpack(pack_msgpack(value), "x") == value
    sizes = {b"\xcc\xff": 255, b"\xcd\x01\0": 256, b"\xd0\x80": -128, b"\xca\x3f\x80\0\0": 1.0, b"\xe0": -32}
    assert all(unpack_msgpack(data, "x") == value for data, value in sizes.items())
    assert unpack_msgpack(b"\xc4\x01a", "x") == b"a"
    assert unpack_msgpack(b"\xd9\x01a", "x") == "a"
    assert unpack_msgpack(b"\xde\0\1\xa1a\xdc\0\1\xc0", "x") == {"a": [None]}


def _last_filled() -> bytes:
    """The last matrix as it is written: what fills it up is 0."""
    filled = _COLORS[-1].copy()
    filled[3:] = 0
    return filled.tobytes()


def test_the_shell_imports_and_exports(file, tmp_path, capsys):
    run("import", file)
    assert "parameters of" in capsys.readouterr().out
    run("info", tmp_path / "a.safetensors")
    assert "the radiance field of a scene (instant-ngp)" in capsys.readouterr().out
    run("export", tmp_path / "a.safetensors", tmp_path / "b.ingp")
    document = unpack_msgpack(gzip.decompress((tmp_path / "b.ingp").read_bytes()), "b.ingp")
    assert document["snapshot"]["n_params"] == len(_ROW)
    assert document["snapshot"]["params_binary"].endswith(_COLORS[1].tobytes() + _last_filled() + _TABLE.tobytes())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a.safetensors"], "is no .ingp or .msgpack"),
        (["step-000029999.ckpt"], "is a checkpoint of nerfstudio, a pickle in which neufield reads nothing"),
        (["a.ingp", "a.png"], "a.png is no .safetensors"),
        (["none.ingp"], "cannot read none.ingp: No such file"),
    ],
)
def test_what_the_shell_does_not_import_is_one_sentence(words, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run("import", *words)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ")
