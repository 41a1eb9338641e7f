"""The "encoding" of a tiny-cuda-nn config as our encoding."""

from fractions import Fraction
from typing import Any

import torch

from neufield.core import exact
from neufield.core.errors import ConfigError
from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_positive
from neufield.encodings import Composite, Frequency, Grid, Identity, OneBlob, SphericalHarmonics, TriangleWave
from neufield.tcnn.keys import Keys, lookup, whole


def make_encoding(config: Any, dims: int, generator: torch.Generator | None, where: str) -> Encoding:
    """The encoding of ``dims`` coordinates that ``config``, found at ``where``, describes."""
    keys = Keys(config, where)
    kind = str(keys.take("otype", "OneBlob"))
    kinds = {
        "grid": _grid, "hashgrid": _grid, "tiledgrid": _grid, "densegrid": _grid, "composite": _composite,
        "oneblobfrequency": _nrc, "nrc": _nrc, "frequency": _frequency, "trianglewave": _triangle_wave,
        "oneblob": _one_blob, "sphericalharmonics": _spherical_harmonics, "identity": _identity, "empty": _empty,
    }  # fmt: skip
    make = lookup(kind, kinds, f"{where}.otype")
    try:
        encoding = make(keys, dims, generator, kind.lower())
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigError(f"{where}: {error}") from None
    if encoding.in_dim != dims:
        raise ConfigError(f"{where} reads {encoding.in_dim} dims, but the input has {dims}; let it read all of them")
    keys.done()
    return encoding


def _grid(keys: Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
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


def _composite(keys: Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del kind
    nested = [dict(part) for part in keys.take("nested", [])]
    widths = [whole(part.pop("n_dims_to_encode", None)) for part in nested]
    begins = [whole(part.pop("dims_to_encode_begin", None)) for part in nested]
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
            parts.append(make_encoding(part, width, generator, f"{keys.where}.nested[{i}]"))
            starts.append(offset)
        offset += width
    reduction = str(keys.take("reduction", "Concatenation")).lower()
    if nested and not parts:
        return _empty(keys, dims, generator, "empty")
    return Composite(parts, starts, reduction, dims if len(parts) < len(nested) else None)


def _nrc(keys: Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    nested = [
        {"otype": "TriangleWave", "n_dims_to_encode": 3, "n_frequencies": keys.take("n_frequencies", 12)},
        {"otype": "OneBlob", "n_dims_to_encode": 5, "n_bins": keys.take("n_bins", 4)},
        {"otype": "Identity"},
    ]
    return _composite(Keys({"nested": nested}, keys.where), dims, generator, kind)


def _frequency(keys: Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del generator, kind
    return Frequency(dims, keys.take("n_frequencies", 12))


def _triangle_wave(keys: Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del generator, kind
    return TriangleWave(dims, keys.take("n_frequencies", 12))


def _one_blob(keys: Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del generator, kind
    return OneBlob(dims, keys.take("n_bins", 16))


def _spherical_harmonics(keys: Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del generator, kind
    if dims != 3:
        raise ConfigError(f"{keys.where}: spherical harmonics encode 3 dims (a direction), not {dims}")
    return SphericalHarmonics(keys.take("degree", 4))


def _identity(keys: Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del generator, kind
    return Identity(dims, float(keys.take("scale", 1.0)), float(keys.take("offset", 0.0)))


def _empty(keys: Keys, dims: int, generator: torch.Generator | None, kind: str) -> Encoding:
    del keys, generator, kind
    return Identity(dims, 0.0, 1.0)  # nothing but tcnn's padding with ones
