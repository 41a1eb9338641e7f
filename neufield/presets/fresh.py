"""What FreSh may choose between: values of one argument of a described field."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch

from neufield.core.errors import ConfigError
from neufield.fields import NeuralField


@dataclasses.dataclass(frozen=True)
class Axis:
    """One argument, as ``--set`` names it, and its ``values``; ``measured`` are settings for the comparison alone."""

    key: str
    values: Sequence[float]
    measured: Sequence[str] = ()

    def settings(self) -> Mapping[str, Sequence[str]]:
        """The setting of each candidate, ``key=value``, and all with which it is drawn for the comparison."""
        named = [f"{self.key}={value:.9g}" for value in self.values]
        return {setting: [*self.measured, setting] for setting in named}


def _steps(first: int, last: int, count_in: float = 1.0) -> list[float]:
    return [round(i * count_in, 6) for i in range(first, last + 1)]


# The grids of FreSh's configs (arXiv 2410.05050); a sigma quoted for [-1, 1] doubles in the unit box. `sape` is ours.
AXES: Mapping[str, Axis] = {
    "siren": Axis("network.omega_0", _steps(1, 20, 10.0)),
    "ffn": Axis("encoding.sigma", _steps(1, 20, 2.0)),
    "finer": Axis("network.activation.first_bias", _steps(0, 30, 0.1)),
    "sape": Axis("encoding.encoding.sigma", _steps(1, 20, 2.0), ["encoding.override=true"]),
}


def default_axis(preset: str) -> Axis:
    """The axis along which FreSh varies ``preset``."""
    if preset not in AXES:
        raise ConfigError(
            f"FreSh has no candidates of its own for the preset '{preset}', only for {', '.join(sorted(AXES))}; "
            "name an argument and its values, for instance --fresh-over network.width=32,64"
        )
    return AXES[preset]


def axis_from(text: str) -> Axis:
    """The axis in "key=10,20,30", or in "key=10:200:10", whose last value counts too."""
    key, equals, values = text.partition("=")
    try:
        if ":" in values:
            first, last, step = (float(part) for part in values.split(":"))
            if not step > 0 or last < first:
                raise ValueError
            numbers = [round(first + i * step, 9) for i in range(int((last - first) / step + 1e-6) + 1)]
        else:
            numbers = [float(part) for part in values.split(",")]
        if not equals or not key:
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"--fresh-over is {text!r}, but it must look like network.omega_0=10,20,30 or network.omega_0=10:200:10"
        ) from None
    return Axis(key, numbers)


def draws(
    axis: Axis, make: Callable[[Sequence[str], torch.Generator], NeuralField]
) -> dict[str, Callable[[torch.Generator], NeuralField]]:
    """For each candidate's setting what draws its field; ``make`` draws one with so many more settings."""

    def draw(settings: Sequence[str]) -> Callable[[torch.Generator], NeuralField]:
        return lambda generator: make(settings, generator)

    return {name: draw(settings) for name, settings in axis.settings().items()}
