"""How a described radiance field comes to end in another one's head: one function for each architecture that can."""

from collections.abc import Callable, Mapping

import torch

from neufield.core.config import Config, build, describe, part_name
from neufield.fields import EncodedRadiance, NerfRadiance, TensoRFCP, TensoRFVM
from neufield.networks import MLP
from neufield.parts import PARTS

Graft = Callable[[Config, Config, int], Config]  # the field's, the head's, and how many features that reads


def _encoded(field: Config, head: Config, n_features: int) -> Config:
    """The network gives as many features."""
    network = {**field["network"], "out_dim": n_features}
    return {**field, "network": network, "direction": head["direction"], "color_network": head["color_network"]}


def _tensorf(field: Config, head: Config, n_features: int) -> Config:
    """The basis gives all but the logit; rates that were the own color network's are the head's."""
    recipe = field["recipe"]
    factors = {"head" if key == "color_network" else key: value for key, value in recipe["lr_factors"].items()}
    return {**field, "n_features": n_features - 1, "head": head, "recipe": {**recipe, "lr_factors": factors}}


def _nerf(field: Config, head: Config, n_features: int) -> Config:
    """PVD's MLP: NeRF's layers behind its encoding, and no color network of its own."""
    depth, back = field["depth"], field["depth"] // 2 + 1
    with torch.device("meta"):  # only its width is wanted
        in_dim = build(field["encoding"], PARTS, "encoding").out_dim
        network = MLP(in_dim, n_features, field["width"], depth, skips=[back] if back < depth else [])
    kept = {key: field[key] for key in ("encoding", "density_activation", "recipe")}
    described = {**describe(network), "modulation": field["modulation"]}
    return {"type": part_name(EncodedRadiance), **kept, **_encoded({"network": described}, head, n_features)}


GRAFTS: Mapping[str, Graft] = {
    part_name(EncodedRadiance): _encoded,
    part_name(TensoRFVM): _tensorf,
    part_name(TensoRFCP): _tensorf,
    part_name(NerfRadiance): _nerf,
}
