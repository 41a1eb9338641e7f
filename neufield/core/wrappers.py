"""Modules around a field, and what others have hung onto its parts."""

from torch import nn
from torch.nn.modules import module as torch_module

from neufield.core.errors import ConfigError
from neufield.core.interfaces import Trainable


def hooked(module: nn.Module) -> bool:
    """Whether calling ``module`` calls hooks, too."""
    forward, backward = module._forward_pre_hooks or module._forward_hooks, module._backward_pre_hooks
    return bool(forward or backward or module._backward_hooks or torch_module._has_any_global_hook())


def watched(*parts: nn.Module) -> bool:
    """Whether there are hooks on ``parts`` or on anything in them: who computes all in one would not call these."""
    return any(hooked(module) for part in parts for module in part.modules())


def unwrapped(model: nn.Module, done: str = "saved") -> Trainable:
    """The field in ``model``, if there is nothing else: as torch.compile, DDP or Sequential wrap it.

    ``done`` is what the caller does with fields, for the sentence of the ConfigError about all else.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"a {type(model).__name__} was given, but what is {done} is a field, such as nf.presets has")
    inner = model
    while not isinstance(inner, Trainable):
        children = list(inner.children())
        if len(children) != 1 or inner._parameters or inner._buffers:
            raise ConfigError(_what_to_give(model, done))
        inner = children[0]
    return inner


def _what_to_give(model: nn.Module, done: str) -> str:
    found: list[str] = []  # the outermost fields
    for name, module in model.named_modules():
        if isinstance(module, Trainable) and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    kind = f"a {type(model).__name__} was given"
    if not found:
        return f"{kind}, but what is {done} is a field, such as nf.presets has"
    names = ", ".join(f"'{name}'" for name in found)
    return (
        f"{kind}, but what is {done} is a field, and this holds more than one or something else beside it; give the "
        f"field alone, model.get_submodule(name) of {names}"
    )
