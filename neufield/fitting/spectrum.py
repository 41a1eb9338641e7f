"""Spectra of lattices of numbers, collapsed to one axis, and how far apart two of them are."""

import functools
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

Spectrum = Callable[[Tensor, int], Tensor]


def diagonal_spectrum(values: Float[Tensor, "*cube c"], size: int) -> Float[Tensor, " size"]:
    """S[m] = sum of |DFT| over wave vectors of indices i >= 0 with i + j (+ k ...) = m, for m = 1 .. ``size``.

    FreSh's spectrum (arXiv 2410.05050): the amplitude, not the power, of the unshifted DFT along its anti-diagonals,
    not divided by their lengths, channels summed, the mean (m = 0) left out. ``values (n, ..., n, C)`` has n cells on
    each of d axes; of each pair of mirrored waves the one with the smaller sum counts (of equals, the first). For
    m < n / 2 only waves with all indices positive are seen: a wave that runs the other way, (a, -b), is not. That is
    the published method; :func:`isotropic_spectrum` sees all directions.
    """
    return _collapsed(values, size, _index_sums)


def isotropic_spectrum(values: Float[Tensor, "*cube c"], size: int) -> Float[Tensor, " size"]:
    """Sum |DFT| by the length of the wave vector in cycles per box, rounded: ours, not the paper's."""
    return _collapsed(values, size, _lengths)


SPECTRA: Mapping[str, Spectrum] = {"diagonal": diagonal_spectrum, "isotropic": isotropic_spectrum}


def largest_size(n: int, dim: int) -> int:
    """The last m of which the diagonals of ``n``^dim cells have a wave."""
    return dim * n // 2


def wasserstein(a: Float[Tensor, "*a m"], b: Float[Tensor, "*b m"]) -> Float[Tensor, "*ab"]:
    """Wasserstein-1 distance of spectra, each as a distribution over m, in steps of m."""
    a, b = a.double(), b.double()
    shares = a / a.sum(-1, keepdim=True) - b / b.sum(-1, keepdim=True)
    return shares.cumsum(-1)[..., :-1].abs().sum(-1)


def _collapsed(values: Tensor, size: int, of_waves: Callable[[list[Tensor], int], Tensor]) -> Tensor:
    """Amplitudes summed by what ``of_waves`` says of the DFT's indices along each axis, and of n; 0 is left out."""
    n, dim = values.shape[0], values.ndim - 1
    amplitude = torch.fft.fftn(values.double(), dim=tuple(range(dim))).abs().sum(-1)
    along = torch.arange(n, device=values.device)
    place = of_waves([along.view([-1 if axis == j else 1 for j in range(dim)]) for axis in range(dim)], n)
    kept = place <= size
    return amplitude.new_zeros(size + 1).index_add_(0, place[kept], amplitude[kept])[1:]


def _index_sums(indices: list[Tensor], n: int) -> Tensor:
    """The sum of a wave's indices; 0 where its mirror image counts."""
    mirror = [(n - index) % n for index in indices]
    total, mirrored = functools.reduce(torch.add, indices), functools.reduce(torch.add, mirror)
    order = torch.zeros_like(total)
    for index, other in zip(indices, mirror, strict=True):
        order = torch.where(order == 0, index - other, order)
    counts = (total < mirrored) | ((total == mirrored) & (order <= 0))
    return torch.where(counts, total, 0)


def _lengths(indices: list[Tensor], n: int) -> Tensor:
    """Cycles per box. Mirrored waves both count, which the shares do not show."""
    squares = [torch.minimum(index, n - index).square() for index in indices]
    return functools.reduce(torch.add, squares).double().sqrt().round().long()
