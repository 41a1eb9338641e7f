"""Exporters: a field becomes its signal's kind of file again, by what the field's own file says of the signal."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from neufield.core.errors import ConfigError, DataError, nearest
from neufield.core.files import write_atomically
from neufield.core.interfaces import Exporter
from neufield.core.signal_info import SignalInfo
from neufield.formats.pixels import ImageFacts, is_possible
from neufield.signals.drawing import Predict, draw

_PLOT = (240, 720)  # rows and columns of the picture of a signal of one dimension


class ImageExporter(Exporter):
    """Pictures, stored as the one that was fitted and with its color profile; the suffix names a format."""

    def __init__(self, info: SignalInfo) -> None:
        self.facts = image_facts(info)

    def write(self, path: Path, predict: Predict, size: Sequence[int] | None = None) -> None:
        """``size`` is rows and columns."""
        from neufield.formats.encode import write_image  # needs packages that no other kind does

        write_image(path, self._drawn(predict, size), self.facts)

    def preview(self, predict: Predict, size: Sequence[int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """See :func:`~neufield.signals.preview.to_screen`."""
        from neufield.signals.preview import to_screen

        return to_screen(self._drawn(predict, size), self.facts)

    def _drawn(self, predict: Predict, size: Sequence[int] | None) -> np.ndarray:
        return draw(predict, size or (self.facts.height, self.facts.width), self.facts.channels, self.facts.dtype)


class LatticeExporter(Exporter):
    """Values (*shape, C) as numpy's files: .npy has them alone, .npz also where they are, an array for each axis."""

    def __init__(self, info: SignalInfo) -> None:
        self.info = info
        self.dtype = str(info.facts.get("dtype", "float32"))
        if info.domain.shape is None or self.dtype not in ("uint8", "uint16", "float32"):
            raise DataError(f"{info.name} is said to be a lattice of {self.dtype}, which cannot be; use another copy")

    def write(self, path: Path, predict: Predict, size: Sequence[int] | None = None) -> None:
        """Positions in an .npz are the cells' centers, in the axes' own units."""
        path = Path(path)
        if path.suffix not in (".npy", ".npz"):
            raise ConfigError(f"{path} would hold values on a lattice, which are written as .npy or .npz; name it so")
        values = self._drawn(predict, size)
        axes = self.info.domain.coordinates(values.shape[:-1])
        named = {axis.name: where.numpy() for axis, where in zip(self.info.domain.axes, axes, strict=True)}

        def put(temporary: Path) -> None:
            with temporary.open("wb") as file:  # given a name, numpy would add a suffix
                if path.suffix == ".npy":
                    np.save(file, values)
                else:
                    np.savez_compressed(file, **{"values": values, **named})  # type: ignore[arg-type]

        write_atomically(path, put)

    def preview(self, predict: Predict, size: Sequence[int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """Draw a plot of one dimension, a picture of two from least to largest value, of more the middle slice."""
        values = self._drawn(predict, size).astype(np.float32)
        if values.ndim == 2:
            return _plot(values)
        while values.ndim > 3:
            values = values[len(values) // 2]
        span = max(float(np.ptp(values)), 1e-9)
        gray = (values.mean(-1, keepdims=True) if values.shape[-1] != 3 else values) - values.min()
        return np.broadcast_to((gray / span * 255).round().astype(np.uint8), (*values.shape[:2], 3)).copy()

    def _drawn(self, predict: Predict, size: Sequence[int] | None) -> np.ndarray:
        shape = size or self.info.domain.shape
        assert shape is not None
        return draw(predict, shape, self.info.channels, self.dtype)


EXPORTERS: Mapping[str, Callable[[SignalInfo], Exporter]] = {"image": ImageExporter, "lattice": LatticeExporter}


def exporter_of(info: SignalInfo) -> Exporter:
    """Find the exporter of that kind of signal; raises DataError where there is none."""
    if info.kind not in EXPORTERS:
        raise DataError(f"nobody writes a field of a signal of kind '{info.kind}'{nearest(info.kind, EXPORTERS)}")
    return EXPORTERS[info.kind](info)


def image_facts(info: SignalInfo, where: str = "the file") -> ImageFacts:
    """The picture that is spoken of; a DataError where there is none such."""
    keys = info.keys(where)
    if info.kind != "image" or info.domain.shape is None or info.domain.dim != 2:
        raise DataError(f"{where} holds a field that is not of a picture; give one of neufield fit")
    height, width = info.domain.shape
    facts = ImageFacts(
        height,
        width,
        info.channels,
        keys.text("dtype"),
        keys.text("transfer"),
        keys.number("peak"),
        str(keys.values.get("profile", "")),  # of any length
    )
    if not is_possible(facts):
        raise DataError(f"{where} speaks of a picture that cannot be; give another copy of it")
    return facts


def _plot(values: Shaped[np.ndarray, "n c"]) -> UInt8[np.ndarray, "h w 3"]:
    """The least and the largest value of each column's samples, all channels, in black on white."""
    rows, columns = _PLOT
    picture = np.full((rows, columns, 3), 255, dtype=np.uint8)
    low, span = float(values.min()), max(float(np.ptp(values)), 1e-9)
    edges = np.linspace(0, len(values), columns + 1)
    for column, (start, stop) in enumerate(itertools.pairwise(edges)):
        part = values[int(start) : max(int(start) + 1, math.ceil(stop))]
        top, bottom = (round((1 - (float(v) - low) / span) * (rows - 1)) for v in (part.max(), part.min()))
        picture[top : bottom + 1, column] = 0
    return picture
