"""A tiny-cuda-nn config as a field with its recipe.

The schema is that of its DOCUMENTATION.md at commit 6ee3546: names without regard to case, tcnn's defaults for what is
absent, ``//`` and ``/* */`` comments in files. tcnn ignores a misspelt key and takes the default; here it is an error.
One thing is left out: tcnn pads the encoding to a multiple of 8 or 16 with ones, which act as a bias of its network.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from neufield.core.errors import ConfigError, shortened
from neufield.core.recipe import Constant, Recipe, Step
from neufield.core.reckoning import within_budget
from neufield.fields import NeuralField
from neufield.networks import MLP
from neufield.tcnn.encodings import make_encoding
from neufield.tcnn.files import read_config, without_parent
from neufield.tcnn.keys import Keys, lookup

_ACTIVATIONS = {
    "none": "none", "relu": "relu", "leakyrelu": "leaky_relu", "silu": "silu", "exponential": "exponential",
    "sine": "sine", "sigmoid": "sigmoid", "softplus": "softplus", "squareplus": "squareplus", "tanh": "tanh",
}  # fmt: skip
_LOSSES = {
    "l2": "l2", "l1": "l1", "relativel2": "relative_l2", "relativel2luminance": "relative_l2_luminance",
    "relativel1": "relative_l1", "mape": "mape", "smape": "smape", "huber": "huber",
}  # fmt: skip


def from_tcnn_config(
    config: Mapping[str, Any] | str | Path,
    n_input_dims: int = 2,
    n_output_dims: int = 3,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """The field and recipe of a tiny-cuda-nn config with keys "encoding", "network", "loss", "optimizer".

    ``config`` is a mapping or the path of a JSON file, comments allowed; as in instant-ngp, a file may name a "parent"
    beside it, of which it says what is different. Raises ConfigError for a key that tcnn does not have, naming the
    nearest one, and for what tcnn has and neufield does not; DataError for more than the memory.
    """
    if not isinstance(config, (Mapping, str, Path)):
        raise ConfigError(
            f"config is {shortened(config)}, but a tiny-cuda-nn config was expected; give the path of its JSON file, "
            'or a mapping such as {"encoding": {...}, "network": {...}}'
        )
    values = without_parent(config) if isinstance(config, Mapping) else read_config(Path(config))
    what = "this tiny-cuda-nn config" if isinstance(config, Mapping) else str(config)
    return within_budget(lambda drawn: _field(values, n_input_dims, n_output_dims, drawn), generator, what)


def _field(
    values: Mapping[str, Any], n_input_dims: int, n_output_dims: int, generator: torch.Generator | None
) -> NeuralField:
    top = Keys(values, "config")
    encoding = make_encoding(top.take("encoding", {}), n_input_dims, generator, "encoding")
    network = _network(top.take("network", {}), encoding.out_dim, n_output_dims, generator)
    loss = Keys(top.take("loss", {}), "loss")
    name = lookup(loss.take("otype", "RelativeL2"), _LOSSES, "loss.otype")
    loss.done()
    recipe = _optimizer(top.take("optimizer", {}), {"loss": name}, "optimizer")
    top.done()
    return NeuralField(encoding, network, recipe)


def _network(config: Any, n_in: int, n_out: int, generator: torch.Generator | None) -> MLP:
    keys = Keys(config, "network")
    kinds = {name.lower(): name for name in ("MLP", "FullyFusedMLP", "CutlassMLP", "MegakernelMLP")}
    kind = lookup(keys.take("otype", "MLP"), kinds, "network.otype")
    width = keys.take("n_neurons", 128)
    if kind in ("FullyFusedMLP", "MegakernelMLP") and width not in (16, 32, 64, 128):
        raise ConfigError(f"network.n_neurons is {width}, but {kind} has 16, 32, 64 or 128; use CutlassMLP for others")
    layers = keys.take("n_hidden_layers", 5)
    activation = lookup(keys.take("activation", "ReLU"), _ACTIVATIONS, "network.activation")
    output_activation = lookup(keys.take("output_activation", "None"), _ACTIVATIONS, "network.output_activation")
    keys.done()
    try:
        return MLP(n_in, n_out, width, layers, activation, output_activation, bias=False, generator=generator)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"network: {error}") from None


def _optimizer(config: Any, outer: dict[str, Any], where: str) -> Recipe:
    """The recipe of a nest of wrappers around Adam; ``outer`` is what the wrappers so far have said."""
    keys = Keys(config, where)
    kinds = {"adam": "adam", "ema": "ema", "exponentialdecay": "decay"}
    kind = lookup(keys.take("otype", "Adam"), kinds, f"{where}.otype")
    if kind == "ema":
        outer |= {"ema": keys.take("decay", 0.99)}
        keys.refuse_unless("full_precision", keys.left.get("full_precision", True))
    elif kind == "decay":
        outer["schedule"] = Step(
            base=keys.take("decay_base", 0.1),
            start=keys.take("decay_start", 10_000),
            interval=keys.take("decay_interval", 10_000),
            end=keys.take("decay_end", 10_000_000),
        )
    else:
        outer = {
            "schedule": Constant(),
            **outer,
            "lr": keys.take("learning_rate", 1e-3),
            "beta1": keys.take("beta1", 0.9),
            "beta2": keys.take("beta2", 0.999),
            "epsilon": keys.take("epsilon", 1e-8),
            "l2_reg": keys.take("l2_reg", 1e-8),
        }
        for key in ("relative_decay", "absolute_decay"):
            keys.refuse_unless(key, 0)
        keys.refuse_unless("adabound", False)
        keys.done()
        try:
            return Recipe(**outer)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
    nested = keys.take("nested", {})
    keys.done()
    return _optimizer(nested, outer, f"{where}.nested")
