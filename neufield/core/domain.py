"""Where a signal lives: its axes in their own units, and the way from there to the unit box and back."""

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import DataError
from neufield.core.json_files import Keys


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of a signal, from ``start`` to ``stop`` in its ``unit``: seconds, pixels, millimeters.

    Args:
        name: such as "row", "time", "x".
        start: where the unit box begins.
        stop: where it ends; for a lattice, half a cell beyond its last sample.
        unit: "" for a pure number.
        periodic: whether what lies beyond one end is what begins at the other: an angle, a loop.
        cells: of the lattice along it; None where the signal is none.
    """

    name: str
    start: float
    stop: float
    unit: str = ""
    periodic: bool = False
    cells: int | None = None

    def __post_init__(self) -> None:
        finite = math.isfinite(self.start) and math.isfinite(self.stop)
        if not (finite and self.start < self.stop):
            raise DataError(
                f"the axis {self.name} goes from {self.start:g} to {self.stop:g}, but it must go from a finite number "
                "to a larger one"
            )
        if self.cells is not None and self.cells < 1:
            raise DataError(f"the axis {self.name} has {self.cells} cells, but a lattice has at least one")

    @property
    def extent(self) -> float:
        """The length of the axis, in its unit."""
        return self.stop - self.start


@dataclasses.dataclass(frozen=True)
class Domain:
    """The axes of a signal, in the order of a point's coordinates.

    Args:
        axes: at least one.
        isotropic: whether one scale serves all axes, so that shapes keep their proportions in the unit box and lengths
            along any axis compare: the box is a cube about the middle with the longest axis' side. Otherwise each axis
            fills the unit box by itself, as rows and columns of a picture do.
    """

    axes: tuple[Axis, ...]
    isotropic: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        names = [axis.name for axis in self.axes]
        if not names or len(set(names)) < len(names):
            raise DataError(f"the axes of a signal are {names}, but at least one, and each of another name, is needed")
        if self.isotropic and len({axis.unit for axis in self.axes}) > 1:
            raise DataError("a domain with one scale for all axes needs axes of one unit")

    @classmethod
    def lattice(cls, cells: Sequence[int], names: Sequence[str] = (), unit: str = "") -> "Domain":
        """Cells of length 1 along each axis, from 0 on: the domain of values of which nothing more is known."""
        names = names or [f"axis {i}" for i in range(len(cells))]
        return cls(tuple(Axis(name, 0.0, float(n), unit, cells=n) for name, n in zip(names, cells, strict=True)))

    @property
    def dim(self) -> int:
        """How many numbers a point has."""
        return len(self.axes)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The cells of the lattice along each axis; None where the signal is no lattice."""
        cells = tuple(axis.cells for axis in self.axes if axis.cells is not None)
        return cells if len(cells) == self.dim else None

    def spacing(self, shape: Sequence[int] | None = None) -> tuple[float, ...]:
        """How far apart, in each axis' unit, samples are on a lattice of ``shape``, by default the signal's own."""
        shape = shape or self.shape
        if shape is None or len(shape) != self.dim:
            raise ValueError(f"shape is {shape}, but a number of cells for each of {self.dim} axes was expected")
        return tuple(axis.extent / cells for axis, cells in zip(self.axes, shape, strict=True))

    def coordinates(self, shape: Sequence[int] | None = None) -> tuple[Float[Tensor, " n"], ...]:
        """Where, in each axis' unit, the cells' centers of a lattice of ``shape`` are, by default the signal's own."""
        centers = []
        for axis, step in zip(self.axes, self.spacing(shape), strict=True):
            centers.append(axis.start + (torch.arange(round(axis.extent / step), dtype=torch.float64) + 0.5) * step)
        return tuple(centers)

    def to_unit(self, points: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """``points`` in the axes' units as points of the unit box."""
        origin, side = self._box(points)
        return (points - origin) / side

    def from_unit(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Points ``x`` of the unit box in the axes' units."""
        origin, side = self._box(x)
        return x * side + origin

    def to_json(self) -> dict[str, object]:
        """The description that a file's header holds."""
        return {"axes": [dataclasses.asdict(axis) for axis in self.axes], "isotropic": self.isotropic}

    @classmethod
    def from_json(cls, keys: Keys) -> "Domain":
        """What a header says; a DataError names what is wrong there."""
        axes = [
            Axis(
                axis.text("name"),
                axis.number("start"),
                axis.number("stop"),
                axis.text("unit") if axis.values.get("unit") else "",
                axis.flag("periodic"),
                axis.integer("cells", least=1) if axis.has("cells") else None,
            )
            for axis in keys.objects("axes")
        ]
        return cls(tuple(axes), keys.flag("isotropic"))

    def _box(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Where the unit box begins and how long its sides are, in the axes' units."""
        sides = [axis.extent for axis in self.axes]
        if self.isotropic:
            sides = [max(sides)] * self.dim
        middles = [(axis.start + axis.stop) / 2 for axis in self.axes]
        origin = [middle - side / 2 for middle, side in zip(middles, sides, strict=True)]
        return like.new_tensor(origin), like.new_tensor(sides)
