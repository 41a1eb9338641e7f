"""Where a signal is singular: maxima of the modulus of its wavelet transform."""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Resampled
from neufield.core.lattice import points_at
from neufield.core.shapes import check_positive


@dataclasses.dataclass(frozen=True)
class Atoms:
    """``points (N, d)`` of the unit box, each with an orthonormal frame whose unit of length is its width there.

    ``frames (N, d, d)`` turn a distance in the unit box into one in widths: the first row along the normal of the edge
    through the point, the others across.
    """

    points: Tensor
    frames: Tensor


@dataclasses.dataclass(frozen=True)
class ModulusMaxima:
    """Finds the edges of a signal on a lattice of ``resolution`` cells along each axis (Mallat & Hwang 1992).

    At each of the ``scales`` (cells of that lattice, standard deviations of a Gaussian) a point counts where the
    modulus of the smoothed signal's gradient is largest among its neighbors along the gradient. Of these, atoms are
    drawn with a probability in proportion to the modulus times the scale, without replacement, and at least two scales
    apart from those of the same scale. The idea is that of complex wavelet algebra (arXiv 2310.00545); its
    constants were not accessible, so these are our own: atoms must also cover what lies between edges, and at 1, 2 and
    4 cells they are worse than random ones (docs/methods/wire.md).
    """

    scales: Sequence[float] = (8.0, 16.0, 32.0)
    resolution: int = 128

    def __post_init__(self) -> None:
        check_positive(resolution=self.resolution, **{f"scales[{i}]": scale for i, scale in enumerate(self.scales)})

    def __call__(self, signal: Resampled, count: int, generator: torch.Generator | None = None) -> Atoms:
        """At most ``count`` atoms of ``signal``."""
        return modulus_maxima(signal.lattice([self.resolution] * signal.dim), count, self.scales, generator)


def modulus_maxima(
    values: Float[Tensor, "*shape c"],
    count: int,
    scales: Sequence[float] = (8.0, 16.0, 32.0),
    generator: torch.Generator | None = None,
) -> Atoms:
    """At most ``count`` atoms at edges of ``values`` on a cell-centered lattice, as :class:`ModulusMaxima` says."""
    gray = values.double().mean(-1)
    found = [_edges(gray, scale) for scale in scales]
    cells = torch.cat([cell for cell, _, _ in found])
    normals = torch.cat([normal for _, normal, _ in found])
    modulus = torch.cat([modulus for _, _, modulus in found])
    width = torch.cat(
        [modulus.new_full((len(cell),), scale) for (cell, _, _), scale in zip(found, scales, strict=True)]
    )
    # Ascending exponential variables of these rates are a draw without replacement with these probabilities.
    uniform = torch.rand(len(cells), generator=generator, dtype=torch.float64)
    order = (-torch.log1p(-uniform) / modulus).argsort()
    where = torch.stack(torch.unravel_index(cells, gray.shape), dim=-1)
    chosen = _apart(where[order].double(), width[order], count)
    index = order[chosen]
    size = torch.tensor(gray.shape, dtype=torch.float64)
    frames = _frames(normals[index]) / width[index, None, None] * size
    return Atoms(points_at(cells[index], gray.shape), frames.float())


def _edges(gray: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Flat cells (N,) of the edges at ``scale``, unit normals (N, d) and moduli (N,) of the gradient per scale."""
    gradient = torch.stack([_smoothed_slope(gray, axis, scale) for axis in range(gray.ndim)], dim=-1) * scale
    modulus = gradient.norm(dim=-1)
    normal = gradient / modulus.clamp_min(torch.finfo(modulus.dtype).tiny)[..., None]
    step = normal.round().long()  # to the nearest of the 3^d - 1 neighbors
    here = torch.stack(torch.meshgrid(*map(torch.arange, gray.shape), indexing="ij"), dim=-1)
    top = torch.tensor(gray.shape) - 1
    after, before = (
        modulus[tuple(torch.minimum((here + sign * step).clamp_min(0), top).unbind(-1))] for sign in (1, -1)
    )
    # Where the signal is flat, only rounding errors have a gradient.
    is_edge = (modulus > 1e-6 * modulus.max()) & (modulus >= after) & (modulus > before)
    cells = is_edge.flatten().nonzero().squeeze(-1)
    return cells, normal.reshape(-1, gray.ndim)[cells], modulus.flatten()[cells]


def _smoothed_slope(gray: Tensor, along: int, scale: float) -> Tensor:
    """The derivative by cell along axis ``along`` of ``gray`` smoothed by a Gaussian of deviation ``scale`` cells."""
    reach = int(4 * scale) + 1
    offset = torch.arange(-reach, reach + 1, dtype=gray.dtype)
    bell = torch.exp(-0.5 * (offset / scale) ** 2)
    bell = bell / bell.sum()
    slope = offset * bell
    slope = slope / (offset * slope).sum()  # exactly 1 on a ramp
    for axis in range(gray.ndim):
        lines = gray.movedim(axis, -1)
        padded = torch.nn.functional.pad(
            lines.reshape(1, -1, lines.shape[-1]), (reach, reach), mode="replicate"
        ).transpose(0, 1)
        kernel = slope if axis == along else bell
        gray = torch.nn.functional.conv1d(padded, kernel[None, None]).view(lines.shape).movedim(-1, axis)
    return gray


def _apart(where: Tensor, width: Tensor, count: int) -> list[int]:
    """The first ``count`` of ``where (N, d)`` that are two widths away from each one taken before of their width."""
    taken: list[int] = []
    free = torch.ones(len(where), dtype=torch.bool)
    for i in range(len(where)):
        if len(taken) == count:
            break
        if free[i]:
            taken.append(i)
            near = (where - where[i]).norm(dim=-1) < 2 * width[i]
            free &= ~(near & (width == width[i]))
    return taken


def _frames(normals: Tensor) -> Tensor:
    """Orthonormal frames (N, d, d) whose first rows are ``normals (N, d)``: the mirror images of the axes."""
    axis = torch.eye(normals.shape[-1], dtype=normals.dtype)
    mirror = normals - axis[0]
    mirror = mirror / mirror.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return axis - 2 * mirror[:, :, None] * mirror[:, None, :]
