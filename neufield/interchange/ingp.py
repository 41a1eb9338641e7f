"""instant-ngp's snapshots (``.ingp``: gzip or zlib around MessagePack; ``.msgpack``: without) as fields of ours.

The layout is that of the documented one and of tiny-cuda-nn's rows: the network config, and in ``snapshot`` the
``params_binary`` of all networks, in float16 or float32: of a radiance field the density network, the color network and
the grid, in this order; of a picture or an SDF the network and the grid. It was tested on files built by that layout,
not on one that instant-ngp wrote.
"""

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neufield.core.cameras import Camera
from neufield.core.errors import ConfigError, DataError
from neufield.core.interfaces import Encoding, Field
from neufield.core.json_files import Keys
from neufield.core.memory import check_budget
from neufield.encodings import Composite
from neufield.fields import DensityActivation, EncodedRadiance
from neufield.formats.msgpack import unpack_msgpack
from neufield.interchange.rows import Row, row_length
from neufield.networks import MLP
from neufield.renderers import Box, Cameras, OccupancyGrid, RadianceScene, orbit
from neufield.tcnn import from_tcnn_config, from_tcnn_params

STEP = math.sqrt(3) / 1024  # of a march through the unit cube
CONE = 1 / 256  # by which steps grow with their distance, in a scene larger than the unit cube
CELLS = 128  # an axis, of each cascade of its density grid
FEATURES = 16  # that the density network ends in, its logit among them
FINEST = 2048  # cells an axis and unit of its box that the finest level has where the config does not say
_DIMS: Mapping[str, tuple[int, int]] = {"image": (2, 3), "sdf": (3, 1)}
_TYPES = {"__half": torch.float16, "float": torch.float32}
_DISTANCE = 4 * 0.33  # of cameras from the middle, on average: 4 by colmap2nerf.py, times the usual scale
_VIEWS, _PIXELS, _ANGLE = 24, 400, 40.0
_LOOKS = 4  # at each block of 2 x 2 x 2 cells before they count as empty
_CHUNK = 1 << 24


def read_ingp(path: str | Path) -> Field | RadianceScene:
    """The model in an instant-ngp snapshot: a radiance field with cameras around it, a picture's, or an SDF's field.

    A radiance field keeps instant-ngp's own frame, whose box lies around (0.5, 0.5, 0.5); the photographs' cameras are
    not read, a ring of 24 at the usual distance stands for them. Where there is something is found anew.
    Raises DataError for a file that is something else, and for what neufield does not compute.
    """
    config = Keys(unpack_msgpack(_content(Path(path)), str(path)), str(path))
    snapshot = config.object("snapshot")
    mode = snapshot.text("mode")
    params = _params(snapshot, str(path))
    try:
        if mode == "nerf":
            return _radiance_scene(config, snapshot, params)
        if mode in _DIMS:
            described = {key: config.values.get(key, {}) for key in ("encoding", "network")}
            return from_tcnn_params(described, params, *_DIMS[mode])
    except (ConfigError, ValueError) as error:
        raise DataError(f"{path} holds what neufield does not compute: {error}") from None
    raise DataError(f"{path} holds a snapshot of the mode '{mode}'; neufield reads nerf, image and sdf")


def _content(path: Path) -> bytes:
    """The bytes of MessagePack in the file, which may not become more than the memory."""
    try:
        check_budget(2 * path.stat().st_size, str(path), "take a machine with more")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; give an .ingp or .msgpack snapshot") from None
    if data[:2] != b"\x1f\x8b" and data[:1] != b"\x78":
        return data
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header
    found = bytearray()
    try:
        while not decoder.eof and (data or decoder.unconsumed_tail):
            check_budget(len(found) + 2 * _CHUNK, f"{path}, decompressed so far,", "check that it is the right file")
            found += decoder.decompress(data, _CHUNK)
            data = decoder.unconsumed_tail
    except zlib.error as error:
        raise DataError(f"{path} cannot be decompressed ({error}); copy it anew from where it is whole") from None
    if not decoder.eof:
        raise DataError(f"{path} ends before its compressed data does; copy it anew from where it is whole")
    return bytes(found)


def _params(snapshot: Keys, where: str) -> Tensor:
    """All parameters in a row, float32."""
    binary = snapshot.values.get("params_binary")
    kind = _TYPES.get(str(snapshot.values.get("params_type", "__half")))
    if not isinstance(binary, bytes) or kind is None or not binary or len(binary) % kind.itemsize:
        raise DataError(f"{where} has no params_binary of float16 or float32 numbers; give a snapshot with its weights")
    row = torch.frombuffer(bytearray(binary), dtype=kind).float()
    if not row.isfinite().all():
        raise DataError(f"{where} has parameters that are NaN or infinite; save the snapshot anew")
    if snapshot.has("n_params") and snapshot.integer("n_params") != len(row):
        raise DataError(
            f"{where} says {snapshot.integer('n_params'):,} parameters, but holds {len(row):,}; copy it anew"
        )
    return row


def _radiance_scene(config: Keys, snapshot: Keys, params: Tensor) -> RadianceScene:
    nerf = snapshot.object("nerf")
    dataset = nerf.object("dataset") if nerf.has("dataset") else Keys({}, nerf.where)
    if dataset.has("is_hdr") and dataset.flag("is_hdr"):
        raise ConfigError("its colors are linear and without a bound, but neufield's lie in [0, 1]")
    scale = nerf.integer("aabb_scale", least=1) if nerf.has("aabb_scale") else 1
    box = _box(snapshot, scale)
    field = _field(config, scale, params, snapshot.where)
    cascades = 1 + max(0, math.ceil(math.log2(max(hi - lo for lo, hi in zip(box.lower, box.upper, strict=True)))))
    # Our levels halve the box; its cascades are cubes of 1, 2, 4 ... around the middle. In a cube they are the same.
    sampler = OccupancyGrid(box, STEP, CELLS, CONE if scale > 1 else 0.0, cascades)
    generator = torch.Generator().manual_seed(0)
    for _ in range(_LOOKS):
        sampler.update(0, field, generator)
    return RadianceScene(field, _ring(snapshot), box, sampler, background=(0.0, 0.0, 0.0))


def _box(snapshot: Keys, scale: int) -> Box:
    if not snapshot.has("aabb"):
        return Box([0.5 - scale / 2] * 3, [0.5 + scale / 2] * 3)
    corners = snapshot.object("aabb")
    return Box(corners.array("min", (3,)).tolist(), corners.array("max", (3,)).tolist())


def _field(config: Keys, scale: int, params: Tensor, where: str) -> EncodedRadiance:
    grid = dict(config.object("encoding").values)
    if not grid.get("per_level_scale"):
        levels, base = grid.get("n_levels", 16), grid.get("base_resolution", 16)
        grid["per_level_scale"] = (FINEST * scale / base) ** (1 / max(1, levels - 1))
    density = dict(config.object("network").values)
    features = density.pop("n_output_dims", FEATURES)
    backbone = from_tcnn_config({"encoding": grid, "network": density}, 3, features)
    direction = _alone(from_tcnn_config({"encoding": config.object("dir_encoding").values}, 3, 1).encoding)
    n_inputs = backbone.network.out_dim + direction.out_dim
    seen = dict(config.object("rgb_network").values) | {"output_activation": "Sigmoid"}
    color = from_tcnn_config({"encoding": {"otype": "Identity"}, "network": seen}, n_inputs, 3).network
    network, table = backbone.network, list(backbone.encoding.parameters())
    if not (isinstance(network, MLP) and isinstance(color, MLP) and len(table) == 1):
        raise ConfigError("its networks are to be perceptrons, and its encoding a grid")
    field = EncodedRadiance(backbone.encoding, network, direction, color, DensityActivation("trunc_exp"))
    expected = row_length(network) + row_length(color) + table[0].numel()
    row = Row(params, f"{where} ({expected:,} expected)")
    row.fill_network(network)
    row.fill_network(color)
    row.fill(table[0])
    row.done()
    return field


def _alone(encoding: Encoding) -> Encoding:
    """A composite's only part, which reads all that it does."""
    parts = list(encoding.encodings) if isinstance(encoding, Composite) else []
    alone = parts[0] if len(parts) == 1 else encoding
    return alone if isinstance(alone, Encoding) and alone.in_dim == encoding.in_dim else encoding


def _ring(snapshot: Keys) -> Cameras:
    up = snapshot.array("up_dir", (3,)).tolist() if snapshot.has("up_dir") else [0.0, 1.0, 0.0]
    focal = 0.5 * _PIXELS / math.tan(math.radians(_ANGLE) / 2)
    lens = Camera(torch.eye(4, dtype=torch.float64), _PIXELS, _PIXELS, focal, focal, _PIXELS / 2, _PIXELS / 2)
    return Cameras.of(orbit(lens, _VIEWS, _DISTANCE, (0.5, 0.5, 0.5), up=tuple(up)))


def compressed(data: bytes) -> bytes:
    """Pack bytes as ``.ingp`` files are: in the format of gzip, the same every time."""
    coder: Any = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return coder.compress(data) + coder.flush()
