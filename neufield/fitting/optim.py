"""From a recipe's numbers to Adam, and the averaged weights."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from neufield.core.errors import ConfigError, nearest
from neufield.core.recipe import Recipe


def adam(model: nn.Module, recipe: Recipe) -> torch.optim.Adam:
    """Torch's fused Adam, one group per (rate factor, weight decay).

    Adam here is dense: a table row that got no gradient still moves by its momentum and its second moment still
    decays. tiny-cuda-nn skips such rows and counts steps per entry; with the batches used here most rows are touched
    at every step, but the two are not the same optimiser.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        in_network = any(part.endswith("network") for part in name.split("."))  # or in a radiance field's color_network
        decay = recipe.l2_reg if in_network and parameter.ndim == 2 else 0.0
        settings = _nearest_above(name, recipe.lr_factors, 1.0), _nearest_above(name, recipe.l2_regs, decay)
        groups.setdefault(settings, []).append(parameter)
    _check_used("lr_factors", recipe.lr_factors, model)
    _check_used("l2_regs", recipe.l2_regs, model)
    return torch.optim.Adam(
        [
            {"params": members, "lr": recipe.lr * factor, "base_lr": recipe.lr * factor, "weight_decay": decay}
            for (factor, decay), members in groups.items()
        ],
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        fused=True,
    )


def _nearest_above(name: str, settings: Mapping[str, float], otherwise: float) -> float:
    """The setting with the longest key that ``name`` starts with."""
    matching = [key for key in settings if _starts(name, key)]
    return settings[max(matching, key=len)] if matching else otherwise


def _starts(name: str, key: str) -> bool:
    return name == key or name.startswith(key + ".")


def _check_used(which: str, settings: Mapping[str, float], model: nn.Module) -> None:
    names = [name for name, _ in model.named_parameters()]
    for key in settings:
        if not any(_starts(name, key) for name in names):
            hint = nearest(key, {name.rpartition(".")[0] for name in names})
            raise ConfigError(f"recipe.{which} has '{key}', but no parameter's name starts so{hint}")


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's learning rate to ``factor`` times its base."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


class Average:
    """Exponential moving average of the parameters, without the bias towards the start (tiny-cuda-nn's EMA)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema is {decay}, but it must be in [0, 1); 0 turns it off")
        self.decay = decay
        self.count = 0
        self.shadow = {name: p.detach().clone() for name, p in model.named_parameters()} if decay else {}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the parameters after one more step."""
        if not self.decay:
            return
        self.count += 1
        # shadow is the debiased average: its weight for the newest value is (1 - d) / (1 - d^n).
        newest = (1 - self.decay) / (1 - self.decay**self.count)
        parameters = [p.detach() for _, p in model.named_parameters()]
        torch._foreach_lerp_(list(self.shadow.values()), parameters, newest)

    @contextlib.contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside the block the model holds the averaged weights."""
        if not self.count:
            yield
            return
        own = {name: p.data for name, p in model.named_parameters()}
        try:
            for name, p in model.named_parameters():
                p.data = self.shadow[name]
            yield
        finally:
            for name, p in model.named_parameters():
                p.data = own[name]
