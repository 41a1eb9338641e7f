"""tiny-cuda-nn's JSON configuration, the field's lingua franca, to our parts.

The schema is that of its DOCUMENTATION.md at commit 6ee3546: names without regard to case, tcnn's defaults for what is
absent, ``//`` and ``/* */`` comments in files. tcnn ignores a misspelt key and takes the default; here it is an error.
One thing is left out: tcnn pads the encoding to a multiple of 8 or 16 with ones, which act as a bias of its network.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import vector_to_parameters

from neufield.core import exact
from neufield.core.errors import ConfigError, nearest
from neufield.core.interfaces import Encoding
from neufield.core.json_files import read_json
from neufield.core.recipe import Constant, Recipe, Step
from neufield.core.reckoning import within_budget
from neufield.core.shapes import check_positive
from neufield.encodings import Composite, Frequency, Grid, Identity, OneBlob, SphericalHarmonics, TriangleWave
from neufield.fields import NeuralField
from neufield.kernels.field.tcnn import Packed
from neufield.networks import MLP

_ACTIVATIONS = {
    "none": "none", "relu": "relu", "leakyrelu": "leaky_relu", "silu": "silu", "exponential": "exponential",
    "sine": "sine", "sigmoid": "sigmoid", "softplus": "softplus", "squareplus": "squareplus", "tanh": "tanh",
}  # fmt: skip
_MOST_PARENTS = 16
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
            f"config is {_short(config)}, but a tiny-cuda-nn config was expected; give the path of its JSON file, or a "
            'mapping such as {"encoding": {...}, "network": {...}}'
        )
    values = _without_parent(config) if isinstance(config, Mapping) else _read(Path(config))
    what = "this tiny-cuda-nn config" if isinstance(config, Mapping) else str(config)
    return within_budget(lambda drawn: _field(values, n_input_dims, n_output_dims, drawn), generator, what)


def _field(
    values: Mapping[str, Any], n_input_dims: int, n_output_dims: int, generator: torch.Generator | None
) -> NeuralField:
    top = _Keys(values, "config")
    encoding = _encoding(top.take("encoding", {}), n_input_dims, generator, "encoding")
    network = _network(top.take("network", {}), encoding.out_dim, n_output_dims, generator)
    loss = _Keys(top.take("loss", {}), "loss")
    name = _lookup(loss.take("otype", "RelativeL2"), _LOSSES, "loss.otype")
    loss.done()
    recipe = _optimizer(top.take("optimizer", {}), {"loss": name}, "optimizer")
    top.done()
    return NeuralField(encoding, network, recipe)


def _read(path: Path, children: Sequence[Path] = ()) -> Mapping[str, Any]:
    """The config in a file, laid over its parent's, and that over its own; ``children`` are the files that led here."""
    config = read_json(path, "a tiny-cuda-nn JSON config").values
    if "parent" not in config:
        return config
    parent = config["parent"]
    if not isinstance(parent, str) or not parent:
        raise ConfigError(f"{path}: 'parent' is {parent!r}, but the name of a JSON config beside it was expected")
    above = path.parent / parent
    if len(children) >= _MOST_PARENTS or above.resolve() in {child.resolve() for child in (*children, path)}:
        raise ConfigError(f"{path}: 'parent' {parent} leads back to itself or on without end; name another config")
    return _patched(_read(above, (*children, path)), {key: value for key, value in config.items() if key != "parent"})


def _patched(below: Any, patch: Any) -> Any:
    """JSON ``below`` with ``patch`` laid over it (RFC 7396): objects key by key, null takes a key away."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(below) if isinstance(below, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _patched(result.get(key), value)
    return result


def _without_parent(config: Mapping[str, Any]) -> Mapping[str, Any]:
    if "parent" in config:
        raise ConfigError("config has a 'parent', which is a file beside its own; give the path of the file instead")
    return config


def to_tcnn_params(field: NeuralField, alignment: int = 16) -> torch.Tensor:
    """The row of numbers, float32, that tiny-cuda-nn's module of the same config has as its ``params``.

    ``alignment``, to which outputs and features are filled up with 0, is 16 for all its networks; 8 for CutlassMLP
    before its version 1.6. Raises ConfigError for a field that is not a grid encoding and a network without biases.
    """
    layout, table, params = _numbers(field, alignment)
    return layout.pack(table, params)


@torch.no_grad()
def load_tcnn_params(field: NeuralField, params: torch.Tensor) -> None:
    """Take over the ``params`` of tiny-cuda-nn's module of the same config, whichever network and version that has."""
    sizes = []
    for alignment in (16, 8):
        layout, table, numbers = _numbers(field, alignment)
        sizes.append(layout.size)
        if params.shape == (layout.size,):
            found, weights = layout.unpack(params.detach().to(table))
            table.copy_(found)
            vector_to_parameters(weights.to(numbers), (p for p in field.network.parameters()))
            return
    raise ConfigError(
        f"params has {params.numel()} numbers, but tiny-cuda-nn's module of this field has {sizes[0]}, or {sizes[1]} "
        "with CutlassMLP before version 1.6; build the field from the module's own config"
    )


def _numbers(field: NeuralField, alignment: int) -> tuple[Packed, torch.Tensor, torch.Tensor]:
    """The layout of a field, its table itself, and its network's numbers in a row."""
    op = field.op()
    if op is None or op.table is None or op.network.biases:
        raise ConfigError("tiny-cuda-nn's params hold a grid encoding and a network of linear maps without biases")
    layout = Packed(op.spec(torch.device("cpu")), alignment, torch.float32)
    return layout, op.table.detach(), op.network.params().detach()


# By a default's type: what JSON may give for it, and what that is called.
_KINDS: Mapping[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((float, int), "a number"),
    str: ((str,), "a word"),
    list: ((list,), "a list"),
}


class _Keys:
    """A JSON object whose keys are taken one by one; ``done`` refuses what nobody took."""

    def __init__(self, config: Any, where: str) -> None:
        if not isinstance(config, Mapping):
            raise ConfigError(f'{where} is {config!r}, but it must be a JSON object such as {{"otype": ...}}')
        self.left = dict(config)
        self.known: list[str] = []
        self.where = where

    def take(self, key: str, default: Any) -> Any:
        """The value of ``key``, which must be of the kind of ``default``, or ``default``.

        Numbers may be NumPy's, and whole ones floating point, as clients compute them.
        """
        self.known.append(key)
        value = _plain(self.left.pop(key, default))
        if type(default) is int:
            value = _whole(value)
        kinds, called = _KINDS.get(type(default), ((object,), ""))
        if called and type(value) not in kinds:
            raise ConfigError(f"{self.where}.{key} is {_short(value)}, but it must be {called}, such as {default!r}")
        return value

    def refuse_unless(self, key: str, allowed: Any) -> None:
        """Accept ``key`` only with the one value that means what we compute."""
        self.known.append(key)
        value = _plain(self.left.pop(key, allowed))
        if value != allowed and str(value).lower() != str(allowed).lower():
            place = f"{self.where}.{key}"
            raise ConfigError(f"{place} is {value!r}, which neufield does not have; remove it or use {allowed!r}")

    def done(self) -> None:
        """Raise if a key is left."""
        for key in self.left:
            raise ConfigError(f"{self.where} has an unknown key '{key}'{nearest(key, self.known)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _plain(value: Any) -> Any:
    """A single number of NumPy or torch as Python's; anything else as it is."""
    single = isinstance(value, np.generic | np.ndarray | torch.Tensor) and value.ndim == 0
    return value.item() if single else value


def _whole(value: Any) -> Any:
    """A floating-point number that is whole as an integer; anything else as it is."""
    value = _plain(value)
    return int(value) if type(value) is float and value.is_integer() else value


def _encoding(config: Any, dims: int, generator: torch.Generator | None, where: str) -> Encoding:
    keys = _Keys(config, where)
    kind = str(keys.take("otype", "OneBlob"))
    kinds = {
        "grid": _grid, "hashgrid": _grid, "tiledgrid": _grid, "densegrid": _grid, "composite": _composite,
        "oneblobfrequency": _nrc, "nrc": _nrc, "frequency": _frequency, "trianglewave": _triangle_wave,
        "oneblob": _one_blob, "sphericalharmonics": _spherical_harmonics, "identity": _identity, "empty": _empty,
    }  # fmt: skip
    make = _lookup(kind, kinds, f"{where}.otype")
    try:
        encoding = make(keys, dims, generator, kind.lower())
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigError(f"{where}: {error}") from None
    if encoding.in_dim != dims:
        raise ConfigError(f"{where} reads {encoding.in_dim} dims, but the input has {dims}; let it read all of them")
    keys.done()
    return encoding


def _grid(keys: _Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    storage = str(keys.take("type", {"tiledgrid": "Tiled", "densegrid": "Dense"}.get(kind, "Hash"))).lower()
    features = keys.take("n_features_per_level", 2)
    base = keys.take("base_resolution", 16)
    check_positive(n_features_per_level=features, base_resolution=base)
    if "n_levels" in keys.left and keys.left.keys() & {"n_features", "n_grid_features"}:
        raise ConfigError(f"{keys.where} has both n_features and n_levels; one determines the other, give one")
    total = keys.take("n_features", keys.take("n_grid_features", 16 * features))
    n_levels = keys.take("n_levels", total // features)
    growth = (
        exact.power(Fraction(256) / Fraction(base), Fraction(1, max(1, n_levels - 1))) if storage == "dense" else 2.0
    )
    keys.refuse_unless("hash", "CoherentPrime")
    keys.refuse_unless("stochastic_interpolation", False)
    keys.refuse_unless("fixed_point_pos", False)
    return Grid(
        dims,
        n_levels=n_levels,
        n_features_per_level=features,
        log2_hashmap_size=keys.take("log2_hashmap_size", 19),
        base_resolution=base,
        per_level_scale=float(keys.take("per_level_scale", growth)),
        storage=storage,
        interpolation=str(keys.take("interpolation", "Linear")).lower(),
        generator=generator,
    )


def _composite(keys: _Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del kind
    nested = [dict(part) for part in keys.take("nested", [])]
    widths = [_whole(part.pop("n_dims_to_encode", None)) for part in nested]
    begins = [_whole(part.pop("dims_to_encode_begin", None)) for part in nested]
    if widths.count(None) > 1:
        raise ConfigError(f"{keys.where}: only one nested encoding may leave out 'n_dims_to_encode'")
    rest = dims - sum(width for width in widths if width is not None)
    if rest < 0 and all(begin is None for begin in begins):
        raise ConfigError(f"{keys.where}: the nested encodings take {dims - rest} dims, but the input has {dims}")
    parts, starts, offset = [], [], 0
    for i, (part, width, begin) in enumerate(zip(nested, widths, begins, strict=True)):
        offset = offset if begin is None else begin
        width = max(0, rest) if width is None else width
        if width and str(part.get("otype", "")).lower() != "empty":  # whose dims nobody reads
            parts.append(_encoding(part, width, generator, f"{keys.where}.nested[{i}]"))
            starts.append(offset)
        offset += width
    reduction = str(keys.take("reduction", "Concatenation")).lower()
    if nested and not parts:
        return _empty(keys, dims, generator, "empty")
    return Composite(parts, starts, reduction, dims if len(parts) < len(nested) else None)


def _nrc(keys: _Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    nested = [
        {"otype": "TriangleWave", "n_dims_to_encode": 3, "n_frequencies": keys.take("n_frequencies", 12)},
        {"otype": "OneBlob", "n_dims_to_encode": 5, "n_bins": keys.take("n_bins", 4)},
        {"otype": "Identity"},
    ]
    return _composite(_Keys({"nested": nested}, keys.where), dims, generator, kind)


def _frequency(keys: _Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del generator, kind
    return Frequency(dims, keys.take("n_frequencies", 12))


def _triangle_wave(keys: _Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del generator, kind
    return TriangleWave(dims, keys.take("n_frequencies", 12))


def _one_blob(keys: _Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del generator, kind
    return OneBlob(dims, keys.take("n_bins", 16))


def _spherical_harmonics(keys: _Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del generator, kind
    if dims != 3:
        raise ConfigError(f"{keys.where}: spherical harmonics encode 3 dims (a direction), not {dims}")
    return SphericalHarmonics(keys.take("degree", 4))


def _identity(keys: _Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del generator, kind
    return Identity(dims, float(keys.take("scale", 1.0)), float(keys.take("offset", 0.0)))


def _empty(keys: _Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del keys, generator, kind
    return Identity(dims, 0.0, 1.0)  # nothing but tcnn's padding with ones


def _network(config: Any, n_in: int, n_out: int, generator: torch.Generator | None) -> MLP:
    keys = _Keys(config, "network")
    kinds = {name.lower(): name for name in ("MLP", "FullyFusedMLP", "CutlassMLP", "MegakernelMLP")}
    kind = _lookup(keys.take("otype", "MLP"), kinds, "network.otype")
    width = keys.take("n_neurons", 128)
    if kind in ("FullyFusedMLP", "MegakernelMLP") and width not in (16, 32, 64, 128):
        raise ConfigError(f"network.n_neurons is {width}, but {kind} has 16, 32, 64 or 128; use CutlassMLP for others")
    layers = keys.take("n_hidden_layers", 5)
    activation = _lookup(keys.take("activation", "ReLU"), _ACTIVATIONS, "network.activation")
    output_activation = _lookup(keys.take("output_activation", "None"), _ACTIVATIONS, "network.output_activation")
    keys.done()
    try:
        return MLP(n_in, n_out, width, layers, activation, output_activation, bias=False, generator=generator)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"network: {error}") from None


def _optimizer(config: Any, outer: dict[str, Any], where: str) -> Recipe:
    """The recipe of a nest of wrappers around Adam; ``outer`` is what the wrappers so far have said."""
    keys = _Keys(config, where)
    kinds = {"adam": "adam", "ema": "ema", "exponentialdecay": "decay"}
    kind = _lookup(keys.take("otype", "Adam"), kinds, f"{where}.otype")
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


def _lookup(name: Any, table: Mapping[str, Any], where: str) -> Any:
    if str(name).lower() not in table:
        raise ConfigError(f"{where} is {name!r}, which neufield does not have{nearest(str(name).lower(), table)}")
    return table[str(name).lower()]
