"""Shape checks at the public doors. Inside, jaxtyping annotations are executed by the tests."""

from torch import Tensor, nn

from neufield.core.errors import ArgumentError
from neufield.core.records import Batch

MOST_LAYERS = 10_000  # the deepest network of a paper has a hundred


def check_points(x: Tensor, dim: int, name: str = "x", to: nn.Module | None = None) -> None:
    """Refuse anything but a floating tensor whose last axis is ``dim``, of the type that module ``to`` computes in."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} is a {type(x).__name__}, but a tensor was expected; write torch.tensor({name})")
    if x.ndim == 0 or x.shape[-1] != dim:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, but its last axis must be {dim} (coordinates in [0, 1]); "
            f"reshape it to (..., {dim})"
        )
    if not x.is_floating_point():
        raise TypeError(f"{name} is {x.dtype}, but coordinates are floating point; call {name}.float()")
    own = None if to is None else next(to.parameters(), None)  # a replica of torch's DataParallel has none
    if own is not None and x.dtype != own.dtype:
        raise TypeError(f"{name} is {x.dtype}, but this field computes in {own.dtype}; call {name}.to({own.dtype})")


def check_batch(batch: Batch, channels: int) -> None:
    """Refuse targets or weights that are not one for each point: they would be repeated, or the rest be forgotten."""
    points = batch.x.shape[:-1]
    for name, tensor, shape in (("target", batch.target, (*points, channels)), ("weight", batch.weight, points)):
        if tensor is not None and tensor.shape != shape:
            raise ArgumentError(
                f"the batch has a {name} of shape {tuple(tensor.shape)}, but with x of shape {tuple(batch.x.shape)} "
                f"and {channels} channels that is {tuple(shape)}; give one for each point"
            )


def check_positive(**values: float) -> None:
    """Refuse the first value that is not above zero, by name."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}, but it must be above 0")


def check_layers(n_hidden_layers: int) -> None:
    """Refuse fewer hidden layers than none, and more than :data:`MOST_LAYERS`: a list of them would be made first."""
    if not 0 <= n_hidden_layers <= MOST_LAYERS:
        raise ValueError(f"n_hidden_layers is {n_hidden_layers}, but it must be 0 to {MOST_LAYERS:,}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a word outside ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, but it must be one of {', '.join(map(repr, choices))}")
