"""Choosing a field before it is trained, by the spectrum of what it gives at random."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import ConfigError, DataError
from neufield.core.interfaces import Field, Resampled
from neufield.core.lattice import lattice
from neufield.core.shapes import check_positive
from neufield.fitting.spectrum import Spectrum, diagonal_spectrum, largest_size, wasserstein

Draw = Callable[[torch.Generator], Field]

_MOST_CELLS = 2**20  # of the signal: 1024 x 1024, as in the paper
_PAPERS_SIZE = 64
_AT_A_TIME = 65_536  # points


@dataclasses.dataclass(frozen=True)
class Selection:
    """What FreSh found: the mean ``distances`` of candidates by their names, and the one that is least."""

    distances: Mapping[str, float]
    chosen: str


@dataclasses.dataclass(frozen=True)
class FreSh:
    """FreSh (arXiv 2410.05050): of several fields, the one whose spectrum before training is nearest to the signal's.

    Each candidate is drawn ``draws`` times, always from the same ``seed``, evaluated on a lattice, and the
    Wasserstein-1 distance of its spectrum to the signal's is averaged. Nothing is trained. Scale and offset of what a
    field gives do not matter.

    Args:
        size: m up to which the spectrum counts; by default 64 as in all configs of the authors, or half of the cells of
            a side where that is less, and in 1-D half of the cells (64 cycles are 9 Hz of a sound of seven seconds).
        draws: untrained fields of each candidate.
        points: at most so many cells has the lattice on which a candidate is evaluated; the paper's are the signal's,
            at most 1024 x 1024. The spectrum up to ``size`` needs far fewer, and the choice so costs about as much as
            70 training steps whatever the signal; coarser than twice ``size`` on a side it would not be the same.
        spectrum: from a lattice and a size to so many numbers; the paper's, or ``isotropic_spectrum``.
        seed: of the draws.

    The authors' spectrum is blind to waves that run from lower left to upper right and theirs is reproduced; their
    lattice reaches the ends of the box, ours is cell-centered. A signal that is not a square or a cube is resized,
    antialiased, to its shortest side, as there.
    """

    size: int | None = None
    draws: int = 10
    points: int = 2**16
    spectrum: Spectrum = diagonal_spectrum
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(draws=self.draws, points=self.points, size=self.size or 1)

    def select(self, signal: Resampled, shape: Sequence[int], candidates: Mapping[str, Draw]) -> Selection:
        """Compare ``candidates`` with ``signal``, whose own lattice has ``shape``."""
        return self.compare(self.of_signal(signal, shape), self.of_candidates(shape, candidates))

    def compare(self, target: Float[Tensor, " size"], spectra: Mapping[str, Float[Tensor, "draws size"]]) -> Selection:
        """The distances of ``spectra`` of candidates, drawn for signals of one shape, to that of one signal."""
        distances = {name: float(wasserstein(drawn, target).mean()) for name, drawn in spectra.items()}
        finite = {name: distance for name, distance in distances.items() if math.isfinite(distance)}
        if not finite:
            raise DataError(
                "no candidate's field varies before it is trained, so there is nothing to compare; try others"
            )
        return Selection(distances, min(finite, key=lambda name: finite[name]))

    def of_signal(self, signal: Resampled, shape: Sequence[int]) -> Float[Tensor, " size"]:
        """The spectrum of ``signal`` on a cube of its shortest side."""
        side = _side(shape, _MOST_CELLS)
        found = self.spectrum(signal.lattice([side] * len(shape)), self._size(shape))
        if not bool(found.sum() > 1e-9 * side ** len(shape)):  # rounding leaves about 1e-13 of a constant
            raise DataError("the signal is constant, or its waves are too fine; there is no spectrum to choose by")
        return found

    @torch.no_grad()
    def of_candidates(
        self, shape: Sequence[int], candidates: Mapping[str, Draw]
    ) -> dict[str, Float[Tensor, "draws size"]]:
        """The spectra of each candidate's draws, which know of the signal only its shape."""
        if not candidates:
            raise ConfigError("FreSh needs at least one candidate, got none")
        x = lattice([_side(shape, self.points)] * len(shape))
        found = {}
        for name, draw in candidates.items():
            generator = torch.Generator().manual_seed(self.seed)  # common random numbers: see the authors' code
            drawn = [self.spectrum(_values(draw(generator), x), self._size(shape)) for _ in range(self.draws)]
            found[name] = torch.stack(drawn)
        return found

    def _size(self, shape: Sequence[int]) -> int:
        side, dim = min(_side(shape, self.points), _side(shape, _MOST_CELLS)), len(shape)
        if self.size is None:
            return max(1, side // 2 if dim == 1 else min(_PAPERS_SIZE, side // 2))
        if self.size > largest_size(side, dim):
            raise ConfigError(
                f"the spectrum's size is {self.size}, but a lattice of {side} cells along an axis has "
                f"{largest_size(side, dim)}; give a smaller size or more points"
            )
        return self.size


def _side(shape: Sequence[int], cells: int) -> int:
    """The shortest side, with which the cube has no more than so many cells."""
    return max(1, min(*shape, int(cells ** (1 / len(shape)) + 1e-9)))


def _values(field: Field, x: Tensor) -> Tensor:
    flat = x.view(-1, x.shape[-1])
    device = next(field.parameters()).device
    parts = [field(part.to(device)).float() for part in flat.split(_AT_A_TIME)]
    return torch.cat(parts).view(*x.shape[:-1], -1)
