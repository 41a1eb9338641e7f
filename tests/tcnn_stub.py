"""A stand-in for tinycudann where there is no GPU: its modules' interface, and its layout of numbers, on the CPU.

Written from its bindings (modules.py, bindings.cpp), network_with_input_encoding.h, fully_fused_mlp.cu and grid.h at
6ee3546; it has not been compared with tinycudann on a GPU. Corners and weights are those of the slow loop
(references.py); nothing is neufield's. What CUDA would refuse is refused. Points' derivatives are none of it: the
corners' weights are plain numbers.
"""

import importlib.machinery
import types
from collections.abc import Mapping

import references
import torch
from torch import Tensor, nn

_ACTIVATIONS = {"None": lambda h: h, "ReLU": torch.relu, "LeakyReLU": lambda h: nn.functional.leaky_relu(h, 0.01)}


def module() -> types.ModuleType:
    """What ``import tinycudann`` finds."""
    found = types.ModuleType("tinycudann")
    found.__spec__ = importlib.machinery.ModuleSpec("tinycudann", None)
    contents = {
        "Encoding": Encoding,
        "Network": Network,
        "NetworkWithInputEncoding": NetworkWithInputEncoding,
        "supports_jit_fusion": lambda: True,
    }
    found.__dict__.update(contents)
    return found


class _Grid:
    """A grid encoding of a config, whose table is a row of numbers."""

    def __init__(self, dim: int, config: Mapping) -> None:
        assert config["otype"] == "Grid"
        assert config["type"] in ("Hash", "Dense", "Tiled")
        assert config["interpolation"] in ("Linear", "Smoothstep", "Nearest")
        assert dim in (2, 3, 4)
        self.dim, self.features = dim, config["n_features_per_level"]
        assert self.features in (1, 2, 4, 8)
        self.interpolation = config["interpolation"].lower()
        self.levels = references.grid_levels(
            dim,
            config["n_levels"],
            config["log2_hashmap_size"],
            config["base_resolution"],
            config["per_level_scale"],
            config["type"].lower(),
        )
        self.size = (self.levels[-1].offset + self.levels[-1].size) * self.features
        self.out_dim = len(self.levels) * self.features

    def encode(self, x: Tensor, row: Tensor) -> Tensor:
        table = row.view(-1, self.features)
        features = []
        for level in self.levels:
            corners = [references.grid_corners(p, level, self.interpolation, single=True) for p in x.tolist()]
            index = torch.tensor([[level.offset + row for row, _ in point] for point in corners])
            weight = torch.tensor([[weight for _, weight in point] for point in corners])
            features.append((table[index].float() * weight.unsqueeze(-1)).sum(1))
        return torch.cat(features, 1)


class _Module(nn.Module):
    """What modules have in common: the numbers, and what they check."""

    def __init__(self, size: int, dtype: torch.dtype, n_input_dims: int) -> None:
        super().__init__()
        self.params = nn.Parameter(torch.rand(size))  # float32, as tinycudann's own
        self.size, self.dtype, self.n_input_dims = size, dtype, n_input_dims
        self.jit_fusion = False
        self.seen: list[Tensor] = []

    def numbers(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        assert x.is_contiguous()
        assert x.shape == (len(x), self.n_input_dims)
        assert len(x) > 0
        assert self.params.shape == (self.size,)
        self.seen.append(self.params)
        return self.params.to(self.dtype).contiguous()


class Encoding(_Module):
    def __init__(self, n_input_dims: int, encoding_config: Mapping, seed: int = 1337, dtype=None) -> None:
        self_dtype = torch.float16 if dtype is None else dtype
        grid = _Grid(n_input_dims, encoding_config)
        super().__init__(grid.size, self_dtype, n_input_dims)
        self.grid, self.n_output_dims = grid, grid.out_dim

    def forward(self, x: Tensor) -> Tensor:
        return self.grid.encode(x, self.numbers(x)).to(self.dtype)


class _Network(_Module):
    """A fused network whose numbers come before ``others``."""

    def __init__(self, n_input_dims: int, n_features: int, n_output_dims: int, config: Mapping, others: int) -> None:
        assert config["otype"] == "FullyFusedMLP"
        assert config["output_activation"] == "None"
        width = config["n_neurons"]
        assert width in (16, 32, 64, 128)
        padded = [(size + 15) // 16 * 16 for size in (n_features, n_output_dims)]
        widths = [padded[0], *[width] * config["n_hidden_layers"], padded[1]]
        assert len(widths) > 2
        shapes = list(zip(widths[1:], widths[:-1], strict=True))
        super().__init__(sum(a * b for a, b in shapes) + others, torch.float16, n_input_dims)
        self.shapes, self.n_output_dims = shapes, n_output_dims
        self.activate = _ACTIVATIONS[config["activation"]]

    def encode(self, x: Tensor, row: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        row, begin, matrices = self.numbers(x), 0, []
        for n_out, n_in in self.shapes:
            matrices.append(row[begin : begin + n_out * n_in].view(n_out, n_in))
            begin += n_out * n_in
        h = self.encode(x, row[begin:])
        for matrix in matrices[:-1]:
            h = self.activate((h.half() @ matrix.t()).float())
        return (h.half() @ matrices[-1].t())[:, : self.n_output_dims]


class NetworkWithInputEncoding(_Network):
    def __init__(self, n_input_dims, n_output_dims, encoding_config, network_config, seed=1337) -> None:
        grid = _Grid(n_input_dims, encoding_config)
        super().__init__(n_input_dims, grid.out_dim, n_output_dims, network_config, grid.size)
        self.grid = grid

    def encode(self, x: Tensor, row: Tensor) -> Tensor:
        h = self.grid.encode(x, row)
        return nn.functional.pad(h, (0, self.shapes[0][1] - h.shape[1]))


class Network(_Network):
    def __init__(self, n_input_dims, n_output_dims, network_config, seed=1337) -> None:
        super().__init__(n_input_dims, n_input_dims, n_output_dims, network_config, 0)

    def encode(self, x: Tensor, row: Tensor) -> Tensor:
        assert not len(row)
        return nn.functional.pad(x, (0, self.shapes[0][1] - x.shape[1]), value=1.0)  # as its identity encoding does
