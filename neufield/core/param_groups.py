"""Which parameters learn alike: what modules declare of their learning rates."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from torch import nn

from neufield.core.errors import ConfigError, nearest
from neufield.core.recipe import Recipe


class ParamGroup(NamedTuple):
    """Parameters with one learning rate, absolute, and one ``weight_decay``, by which the gradient grows per weight."""

    params: list[nn.Parameter]
    lr: float
    weight_decay: float = 0.0


def groups_by_recipe(module: nn.Module, recipe: Recipe, decayed: Collection[nn.Parameter]) -> list[ParamGroup]:
    """The parameters of ``module`` by ``recipe``, in whose ``lr_factors`` and ``l2_regs`` they have their names there.

    Those that are ``decayed`` get the recipe's ``l2_reg``, unless ``l2_regs`` says otherwise.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    shrinking = {id(parameter) for parameter in decayed}
    for name, parameter in module.named_parameters():
        decay = recipe.l2_reg if id(parameter) in shrinking else 0.0
        rate = recipe.lr * _nearest_above(name, recipe.lr_factors, 1.0)
        groups.setdefault((rate, _nearest_above(name, recipe.l2_regs, decay)), []).append(parameter)
    names = [name for name, _ in module.named_parameters()]
    for which in ("lr_factors", "l2_regs"):
        check_names(f"recipe.{which}", getattr(recipe, which), names)
    return [ParamGroup(members, rate, decay) for (rate, decay), members in groups.items()]


def starts_with(name: str, key: str) -> bool:
    """Whether the parameter ``name`` is what ``key`` names, or a part of it."""
    return name == key or name.startswith(key + ".")


def check_names(what: str, keys: Collection[str], names: Collection[str]) -> None:
    """Refuse, of ``what``, a key that none of the parameters' ``names`` starts with."""
    for key in keys:
        if not any(starts_with(name, key) for name in names):
            hint = nearest(key, {name.rpartition(".")[0] or name for name in names})
            raise ConfigError(f"{what} has '{key}', but no parameter's name starts so{hint}")


def _nearest_above(name: str, settings: Mapping[str, float], otherwise: float) -> float:
    """The setting with the longest key that ``name`` starts with."""
    matching = [key for key in settings if starts_with(name, key)]
    return settings[max(matching, key=len)] if matching else otherwise
