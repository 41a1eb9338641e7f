"""A radiance field of instant-ngp's architecture as its snapshot: the same function in another file."""

import dataclasses
import math
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from neufield._version import __version__
from neufield.core.errors import ConfigError
from neufield.core.files import write_atomically
from neufield.core.interfaces import Network
from neufield.encodings import Grid, SphericalHarmonics
from neufield.fields import EncodedRadiance
from neufield.formats.msgpack import pack_msgpack
from neufield.interchange.ingp import CELLS, FEATURES, STEP, compressed
from neufield.interchange.rows import network_row
from neufield.kernels.grid.tcnn import config as grid_config
from neufield.networks import MLP
from neufield.renderers import Box, RadianceScene

_SMALLEST, _LARGEST = 0.01, 128  # side of a box, in units of instant-ngp
_CUBE = 1e-6  # by which the sides of a cube may differ
_WIDTHS = (16, 32, 64, 128)
_BLOCK = 2**18  # points at a time
_LARGEST_HALF = 65_504.0


def write_ingp(scene: RadianceScene, path: str | Path) -> None:
    """Write ``scene`` as an ``.ingp`` (or, by the suffix, ``.msgpack``) that instant-ngp opens.

    instant-ngp's density is exp(logit), per unit of a frame of its own. That frame is chosen so that ours is the same:
    the box's side in it is exp(shift) * scale * side. The axes are the scene's own, z upwards. Weights are float16.
    Raises ConfigError for what instant-ngp does not have.
    """
    known = _Known.of(scene)
    density = known.field.density_activation
    side = math.exp(density.shift) * density.scale * known.side
    if not _SMALLEST <= side <= _LARGEST:
        raise ConfigError(
            f"in instant-ngp the scene's box would be {side:.3g} wide, but {_SMALLEST} to {_LARGEST} was expected"
        )
    networks = [network_row(known.network), network_row(known.color_network)]
    row = torch.cat([*networks, known.grid.table.detach().flatten()]).cpu()
    if not float(row.abs().max()) <= _LARGEST_HALF:
        raise ConfigError("the field has weights beyond float16, which instant-ngp's snapshots hold; train it again")
    scale = 2 ** max(0, math.ceil(math.log2(side)))
    lower, upper = [0.5 - side / 2] * 3, [0.5 + side / 2] * 3
    snapshot: dict[str, Any] = {
        "version": 1,
        "mode": "nerf",
        "n_params": len(row),
        "params_type": "__half",
        "params_binary": row.half().numpy().tobytes(),
        "density_grid_size": CELLS,
        "density_grid_binary": _density_grid(known.field, side, scale).numpy().tobytes(),
        "nerf": {
            "aabb_scale": scale,
            "cam_pos_offset": [],
            "cam_rot_offset": [],
            "extra_dims_opt": [],
            "rgb": {"rays_per_batch": 4096, "measured_batch_size": 0, "measured_batch_size_before_compaction": 0},
        },
        "aabb": {"min": lower, "max": upper},
        "render_aabb": {"min": lower, "max": upper},
        "up_dir": [0.0, 0.0, 1.0],
        "background_color": [*map(float, scene.background), 1.0],
        "exposure": 0.0,
        "training_step": 0,
        "written_by": f"neufield {__version__}",
    }
    document = {
        "encoding": grid_config(known.grid.spec),
        "dir_encoding": {
            "otype": "Composite",
            "nested": [{"n_dims_to_encode": 3, "otype": "SphericalHarmonics", "degree": known.direction.degree}],
        },
        "network": _config(known.network) | {"n_output_dims": known.network.out_dim},
        "rgb_network": _config(known.color_network),
        "snapshot": snapshot,
    }
    data = pack_msgpack(document)
    data = data if Path(path).suffix.lower() == ".msgpack" else compressed(data)
    write_atomically(path, lambda temporary: Path(temporary).write_bytes(data))


@dataclasses.dataclass(frozen=True)
class _Known:
    """The parts of a field that instant-ngp has, too."""

    field: EncodedRadiance
    grid: Grid
    network: MLP
    direction: SphericalHarmonics
    color_network: MLP
    side: float

    @classmethod
    def of(cls, scene: Any) -> "_Known":
        """The parts of ``scene``; a ConfigError names all that instant-ngp lacks."""
        field, box = getattr(scene, "field", None), getattr(scene, "space", None)
        if not isinstance(scene, RadianceScene) or not isinstance(field, EncodedRadiance):
            raise ConfigError("an .ingp holds a radiance field of the preset ngp; train one with neufield nerf train")
        network, color, grid, direction = field.network, field.color_network, field.encoding, field.direction
        sides = [high - low for low, high in zip(box.lower, box.upper, strict=True)] if isinstance(box, Box) else []
        cube = bool(sides) and max(sides) - min(sides) <= _CUBE * max(sides)
        lacking = [sentence for is_so, sentence in (
            (isinstance(grid, Grid), "its encoding is no grid"),
            (isinstance(direction, SphericalHarmonics), "its directions are not encoded by spherical harmonics"),
            (_is_fused(network, "none"), "its network is not of 16, 32, 64 or 128 ReLUs a layer, without biases"),
            (_is_fused(color, "sigmoid"), "its color network is not of such layers and a sigmoid"),
            (network.out_dim == FEATURES, f"its network does not end in {FEATURES} numbers"),
            (field.density_activation.activation == "trunc_exp", "its density is no exponential"),
            (not field.code_dim, "its colors depend on codes of photographs"),
            (cube, "it is not held in a cube (--space box --box SIDE/2)"),
        ) if not is_so]  # fmt: skip
        if lacking:
            raise ConfigError(f"instant-ngp does not compute this field: {', '.join(lacking)}")
        return cls(
            field, cast(Grid, grid), cast(MLP, network), cast(SphericalHarmonics, direction), cast(MLP, color), sides[0]
        )


def _is_fused(network: Network, output_activation: str) -> bool:
    """Whether ``network`` is one that instant-ngp's fused kernels have."""
    plain = isinstance(network, MLP) and network.op() is not None and not network.bias and network.n_hidden_layers > 0
    return (
        isinstance(network, MLP)
        and plain
        and network.activation == "relu"
        and network.width in _WIDTHS
        and network.output_activation == output_activation
    )


def _config(network: MLP) -> dict[str, Any]:
    return {
        "otype": "FullyFusedMLP",
        "activation": "ReLU",
        "output_activation": "None",
        "n_neurons": network.width,
        "n_hidden_layers": network.n_hidden_layers,
    }


@torch.no_grad()
def _density_grid(field: EncodedRadiance, side: float, scale: int) -> Tensor:
    """Optical thickness of a step at the middle of each cell, float16: cascade by cascade, each in Morton order."""
    cells = torch.arange(CELLS**3)
    corner = torch.stack([_every_third_bit(cells >> axis) for axis in range(3)], dim=1)
    levels = []
    for level in range(int(math.log2(scale)) + 1):
        at = ((corner + 0.5) / CELLS - 0.5) * 2**level / side + 0.5  # of the unit box that is the scene's
        inside = ((at >= 0) & (at <= 1)).all(dim=1)
        thickness = torch.zeros(len(cells))
        found = [field.geometry(block).sigma.cpu() for block in at[inside].to(_device(field)).split(_BLOCK)]
        # A density per unit of instant-ngp's frame is exp(logit); ours is per world unit.
        ours = field.density_activation.scale * math.exp(field.density_activation.shift)
        thickness[inside] = torch.cat(found) / ours * STEP * 2**level
        levels.append(thickness.clamp(max=_LARGEST_HALF).half())
    return torch.cat(levels)


def _every_third_bit(code: Tensor) -> Tensor:
    """Bits 0, 3, 6 ... of ``code``, together: a coordinate of a Morton code."""
    found = torch.zeros_like(code)
    for bit in range(7):
        found |= ((code >> (3 * bit)) & 1) << bit
    return found


def _device(field: EncodedRadiance) -> torch.device:
    return next(field.parameters()).device
