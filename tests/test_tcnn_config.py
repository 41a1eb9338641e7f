"""tiny-cuda-nn's JSON: what it means here, its defaults (DOCUMENTATION.md at 6ee3546), and what is refused."""

import math

import numpy as np
import pytest
import torch
from cases import seeded

from neufield import encodings as parts
from neufield.core.config import build, describe
from neufield.core.recipe import Constant, Step
from neufield.fields import NeuralField
from neufield.parts import PARTS
from neufield.tcnn import from_tcnn_config

GRID = {
    "n_levels": 4, "n_features_per_level": 4, "log2_hashmap_size": 8, "base_resolution": 6, "per_level_scale": 1.5,
}  # fmt: skip


def convert(dims: int = 2, **config: object) -> NeuralField:
    return from_tcnn_config(config, dims, 3, seeded())


def encoding_of(dims: int = 2, **encoding: object) -> dict:
    network = {"n_neurons": 16, "n_hidden_layers": 1}
    return describe(convert(dims, encoding=encoding, network=network).encoding)


def recipe_of(optimizer: dict):
    return convert(encoding={"otype": "Identity"}, optimizer=optimizer).recipe


def test_the_instant_ngp_sample() -> None:
    """data/config_hash.json of tiny-cuda-nn: 354,184 table rows of 2, and a 64 x 2 network without biases."""
    field = from_tcnn_config(
        {
            "loss": {"otype": "RelativeL2"},
            "optimizer": {
                "otype": "Adam", "learning_rate": 1e-2, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-15, "l2_reg": 1e-6,
            },
            "encoding": {
                "otype": "HashGrid", "n_levels": 16, "n_features_per_level": 2, "log2_hashmap_size": 15,
                "base_resolution": 16, "per_level_scale": 1.5,
            },
            "network": {
                "otype": "FullyFusedMLP", "activation": "ReLU", "output_activation": "None", "n_neurons": 64,
                "n_hidden_layers": 2,
            },
        },
        2,
        3,
    )  # fmt: skip
    assert sum(p.numel() for p in field.parameters()) == 354_184 * 2 + 32 * 64 + 64 * 64 + 64 * 3
    assert (field.in_dim, field.out_dim) == (2, 3)
    recipe = field.recipe
    assert (recipe.lr, recipe.beta1, recipe.beta2) == (1e-2, 0.9, 0.99)
    assert (recipe.epsilon, recipe.l2_reg, recipe.loss) == (1e-15, 1e-6, "relative_l2")


def test_what_is_absent_takes_tiny_cuda_nns_defaults() -> None:
    field = from_tcnn_config({}, 2, 3)
    assert describe(field.encoding) == {"type": "encodings.OneBlob", "in_dim": 2, "n_bins": 16}
    network = field.network
    assert (network.width, network.n_hidden_layers, network.bias) == (128, 5, False)
    assert (network.activation, network.output_activation) == ("relu", "none")
    recipe = field.recipe
    assert (recipe.loss, recipe.lr, recipe.beta1, recipe.beta2) == ("relative_l2", 1e-3, 0.9, 0.999)
    assert (recipe.epsilon, recipe.l2_reg, recipe.ema, recipe.schedule) == (1e-8, 1e-8, 0.0, Constant())


@pytest.mark.parametrize(
    ("dialect", "storage"),
    [
        ({"otype": "HashGrid"}, "hash"), ({"otype": "Grid"}, "hash"), ({"otype": "Grid", "type": "Hash"}, "hash"),
        ({"otype": "TiledGrid"}, "tiled"), ({"otype": "Grid", "type": "Tiled"}, "tiled"),
        ({"otype": "DenseGrid"}, "dense"), ({"otype": "grid", "type": "DENSE"}, "dense"),
    ],
)  # fmt: skip
def test_both_dialects_of_the_grid(dialect: dict, storage: str) -> None:
    expected = {"type": "encodings.Grid", "in_dim": 2, **GRID, "storage": storage, "interpolation": "linear"}
    assert encoding_of(**dialect, **GRID) == expected


def test_defaults_and_options_of_the_grid() -> None:
    config = encoding_of(2, otype="HashGrid", log2_hashmap_size=4, interpolation="Smoothstep", hash="CoherentPrime")
    assert config["interpolation"] == "smoothstep"
    assert (config["n_levels"], config["n_features_per_level"]) == (16, 2)
    assert (config["base_resolution"], config["per_level_scale"]) == (16, 2.0)
    assert encoding_of(otype="Grid", n_features=12, n_features_per_level=4, log2_hashmap_size=4)["n_levels"] == 3
    assert encoding_of(otype="Grid", n_grid_features=6, log2_hashmap_size=4)["n_levels"] == 3


def test_a_dense_grid_grows_to_256_unless_told() -> None:
    assert encoding_of(otype="DenseGrid", n_levels=3)["per_level_scale"] == pytest.approx(4.0)
    assert encoding_of(otype="DenseGrid", n_levels=3, base_resolution=4)["per_level_scale"] == pytest.approx(8.0)
    assert encoding_of(otype="DenseGrid", n_levels=3, per_level_scale=2)["per_level_scale"] == 2.0


@pytest.mark.parametrize(
    ("config", "dims", "expected"),
    [
        ({"otype": "Frequency"}, 2, parts.Frequency(2, 12)),
        ({"otype": "Frequency", "n_frequencies": 3}, 4, parts.Frequency(4, 3)),
        ({"otype": "TriangleWave"}, 2, parts.TriangleWave(2, 12)),
        ({"otype": "OneBlob", "n_bins": 8}, 3, parts.OneBlob(3, 8)),
        ({"otype": "SphericalHarmonics"}, 3, parts.SphericalHarmonics(4)),
        ({"otype": "SphericalHarmonics", "degree": 6}, 3, parts.SphericalHarmonics(6)),
        ({"otype": "Identity"}, 5, parts.Identity(5)),
        ({"otype": "Identity", "scale": 2, "offset": -1}, 1, parts.Identity(1, 2.0, -1.0)),
    ],
)
def test_fixed_encodings(config: dict, dims: int, expected: parts.Identity) -> None:
    assert encoding_of(dims, **config) == describe(expected)
    shouted = {**config, "otype": config["otype"].upper()}
    assert encoding_of(dims, **shouted) == describe(expected)


def test_composite_takes_dims_in_turn_and_gives_the_rest_to_the_one_that_does_not_say() -> None:
    nested = [{"otype": "Frequency", "n_frequencies": 2, "n_dims_to_encode": 2}, {"otype": "Identity"}]
    assert encoding_of(5, otype="Composite", nested=nested) == describe(
        parts.Composite([parts.Frequency(2, 2), parts.Identity(3)], [0, 2])
    )
    nested.reverse()
    assert encoding_of(5, otype="Composite", nested=nested)["starts"] == [0, 3]


def test_composite_drops_a_part_without_dims() -> None:
    nested = [{"otype": "Frequency", "n_dims_to_encode": 2}, {"otype": "Identity"}]
    assert len(encoding_of(2, otype="Composite", nested=nested)["encodings"]) == 1


def test_composite_parts_may_begin_anywhere_and_be_reduced() -> None:
    nested = [
        {"otype": "Identity", "n_dims_to_encode": 2, "dims_to_encode_begin": 1},
        {"otype": "Identity", "scale": 3.0, "n_dims_to_encode": 2, "dims_to_encode_begin": 0},
    ]
    config = encoding_of(3, otype="Composite", nested=nested, reduction="Product")
    assert config["starts"] == [1, 0]
    assert config["reduction"] == "product"


def test_neural_radiance_caching_is_a_composite() -> None:
    expected = describe(parts.Composite([parts.TriangleWave(3, 12), parts.OneBlob(5, 4), parts.Identity(2)], [0, 3, 8]))
    assert encoding_of(10, otype="NRC") == expected
    assert encoding_of(10, otype="OneBlobFrequency") == expected
    changed = encoding_of(8, otype="nrc", n_frequencies=6, n_bins=8)["encodings"]
    assert [part.get("n_frequencies", part.get("n_bins")) for part in changed] == [6, 8]


@pytest.mark.parametrize("otype", ["MLP", "FullyFusedMLP", "CutlassMLP", "MegakernelMLP", "cutlassmlp"])
def test_every_network_of_tiny_cuda_nn_is_an_mlp_without_biases(otype: str) -> None:
    sizes = {"n_neurons": 32, "n_hidden_layers": 3}
    network = {"otype": otype, **sizes, "activation": "LeakyReLU", "output_activation": "Sine"}
    mlp = convert(encoding={"otype": "Identity"}, network=network).network
    assert (mlp.width, mlp.n_hidden_layers, mlp.bias) == (32, 3, False)
    assert (mlp.activation, mlp.output_activation) == ("leaky_relu", "sine")


@pytest.mark.parametrize(
    "name",
    ["None", "ReLU", "LeakyReLU", "SiLU", "Exponential", "Sine", "Sigmoid", "Softplus", "Squareplus", "Tanh"],
)
def test_every_documented_activation_is_known(name: str) -> None:
    mlp = convert(encoding={"otype": "Identity"}, network={"activation": name}).network
    assert mlp.activation.replace("_", "") == name.lower()


@pytest.mark.parametrize(
    "name", ["L2", "L1", "RelativeL2", "RelativeL2Luminance", "RelativeL1", "MAPE", "SMAPE", "Huber", "relativel2"]
)
def test_losses_land_in_the_recipe(name: str) -> None:
    recipe = convert(encoding={"otype": "Identity"}, loss={"otype": name}).recipe
    assert recipe.loss.replace("_", "") == name.lower()


def test_optimizer_wrappers_nest_in_any_order() -> None:
    adam = {"otype": "Adam", "learning_rate": 0.02}
    decay = {"otype": "ExponentialDecay", "decay_start": 5, "decay_interval": 2, "decay_end": 50, "decay_base": 0.33}
    ema = {"otype": "EMA", "decay": 0.95, "full_precision": False}
    for outer, inner in [(ema, decay), (decay, ema)]:
        recipe = recipe_of({**outer, "nested": {**inner, "nested": adam}})
        assert (recipe.lr, recipe.ema) == (0.02, 0.95)
        assert recipe.schedule == Step(base=0.33, start=5, interval=2, end=50)


def test_optimizer_wrappers_have_tiny_cuda_nns_defaults() -> None:
    recipe = recipe_of({"otype": "Ema", "nested": {"otype": "ExponentialDecay", "nested": {"otype": "Adam"}}})
    assert recipe.ema == 0.99
    assert recipe.schedule == Step(base=0.1, start=10_000, interval=10_000, end=10_000_000)
    assert recipe_of({"otype": "Ema"}).lr == 1e-3  # no "nested": Adam


@pytest.mark.parametrize("zero", [0, 0.0])
def test_options_set_to_what_is_computed_anyway_are_accepted(zero: float) -> None:
    recipe = recipe_of({"relative_decay": zero, "absolute_decay": zero, "adabound": False, "learning_rate": 0.5})
    assert recipe.lr == 0.5


def test_the_generator_decides_the_weights() -> None:
    config = {"encoding": {"otype": "HashGrid", **GRID}, "network": {"n_neurons": 16, "n_hidden_layers": 1}}
    first, again = from_tcnn_config(config, 2, 3, seeded(4)), from_tcnn_config(config, 2, 3, seeded(4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert first.network.layers[0].weight.abs().max().item() <= math.sqrt(6 / 32)


@pytest.mark.parametrize(
    "scale",
    [np.float64(1.5), np.float32(1.5), np.array(1.5), torch.tensor(1.5)],
    ids=lambda value: type(value).__name__,
)
def test_numbers_may_be_numpys_as_every_client_computes_them(scale: object) -> None:
    given = {"otype": "HashGrid", **GRID, "per_level_scale": scale}
    given |= {"n_levels": np.int64(4), "base_resolution": np.float64(6.0)}
    assert encoding_of(**given) == encoding_of(otype="HashGrid", **GRID)


def test_whole_numbers_may_be_floating_point() -> None:
    sizes = {"n_neurons": 16.0, "n_hidden_layers": 2.0}
    mlp = convert(encoding={"otype": "HashGrid", **GRID, "n_levels": 4.0}, network=sizes).network
    assert (mlp.width, mlp.n_hidden_layers, mlp.in_dim) == (16, 2, 16)
    assert type(mlp.width) is int
    nested = [{"otype": "Identity", "n_dims_to_encode": 1.0, "dims_to_encode_begin": np.int64(1)}]
    assert encoding_of(2, otype="Composite", nested=nested)["starts"] == [1]


def test_dims_that_are_empty_are_read_by_none() -> None:
    nested = [
        {"otype": "Empty", "n_dims_to_encode": 1}, {"otype": "Identity", "n_dims_to_encode": 2}, {"otype": "empty"},
    ]  # fmt: skip
    field = convert(5, encoding={"otype": "Composite", "nested": nested})
    assert (field.encoding.in_dim, field.encoding.out_dim) == (5, 2)
    x = torch.rand(6, 5, generator=seeded())
    assert torch.equal(field.encoding(x), x[:, 1:3])
    rebuilt = build(describe(field.encoding), PARTS)
    assert (rebuilt.in_dim, rebuilt.starts) == (5, [1])


def test_an_empty_encoding_alone_is_the_ones_that_tiny_cuda_nn_fills_it_up_with() -> None:
    nested = {"otype": "Composite", "nested": [{"otype": "Empty"}]}
    for encoding in ({"otype": "Empty"}, nested):
        field = convert(2, encoding=encoding)
        values = field(torch.rand(5, 2, generator=seeded()))
        assert torch.equal(values, values[:1].expand(5, 3))
        assert torch.equal(field.encoding(torch.rand(5, 2, generator=seeded())), torch.ones(5, 2))
