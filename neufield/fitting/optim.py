"""Adam as a recipe describes it, and the averaged weights."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from neufield.core.errors import ConfigError
from neufield.core.interfaces import Trainable
from neufield.core.recipe import Recipe


def adam(model: Trainable, recipe: Recipe) -> torch.optim.Adam:
    """Make torch's fused Adam for the groups that ``model`` declares; those of one rate and weight decay become one.

    Adam here is dense: a table row that got no gradient still moves by its momentum and its second moment still
    decays. tiny-cuda-nn skips such rows and counts steps per entry; with the batches used here most rows are touched
    at every step, but the two are not the same optimizer.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for group in model.param_groups(recipe):
        groups.setdefault((group.lr, group.weight_decay), []).extend(group.params)
    _check_all_declared(model, [id(parameter) for members in groups.values() for parameter in members])
    return torch.optim.Adam(
        [
            {"params": members, "lr": rate, "base_lr": rate, "weight_decay": decay}
            for (rate, decay), members in groups.items()
        ],
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        fused=True,
    )


def _check_all_declared(model: nn.Module, declared: list[int]) -> None:
    """Refuse a model with a parameter that no group has: it would never learn, and nobody would know."""
    for name, parameter in model.named_parameters():
        if id(parameter) not in declared:
            raise ConfigError(f"{name} is in no group of parameters; declare it in its module's param_groups()")


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's learning rate to ``factor`` times its base."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def forget_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Free all gradients, as ``zero_grad()`` does in twenty times as long: it lets profilers and compilers look on."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


class EMA:
    """Exponential moving average of the parameters, without the bias towards the start (tiny-cuda-nn's EMA)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema is {decay}, but it must be in [0, 1); 0 turns it off")
        self.decay = decay
        self.count = 0
        self.ema_params = {name: p.detach().clone() for name, p in model.named_parameters()} if decay else {}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the parameters after one more step."""
        if not self.decay:
            return
        self.count += 1
        # shadow is the debiased average: its weight for the newest value is (1 - d) / (1 - d^n).
        newest = (1 - self.decay) / (1 - self.decay**self.count)
        parameters = [p.detach() for _, p in model.named_parameters()]
        torch._foreach_lerp_(list(self.ema_params.values()), parameters, newest)

    @contextlib.contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside the block the model holds the averaged weights."""
        if not self.count:
            yield
            return
        own = {name: p.data for name, p in model.named_parameters()}
        try:
            for name, p in model.named_parameters():
                p.data = self.ema_params[name]
            yield
        finally:
            for name, p in model.named_parameters():
                p.data = own[name]
