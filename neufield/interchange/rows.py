"""Networks as rows of numbers, in the layout of tiny-cuda-nn's ``params``."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from neufield.core.errors import DataError
from neufield.networks import MLP

_ALIGNMENT = 16  # to which a network's inputs and outputs are filled up


class Row:
    """A row of numbers (N,), from which modules take theirs one after the other; ``where`` begins its sentences."""

    def __init__(self, numbers: Tensor, where: str) -> None:
        self.numbers = numbers
        self.where = where
        self.at = 0

    @torch.no_grad()
    def fill_network(self, network: MLP) -> None:
        """Matrix after matrix, (out, in) row by row; what fills them up is dropped."""
        for weight, (rows, columns) in zip(_matrices(network), padded_shapes(network), strict=True):
            taken = self._take(rows * columns).view(rows, columns)
            weight.copy_(taken[: weight.shape[0], : weight.shape[1]])

    @torch.no_grad()
    def fill(self, parameter: Tensor) -> None:
        """All of ``parameter``, in its own order."""
        parameter.copy_(self._take(parameter.numel()).view(parameter.shape))

    def done(self) -> None:
        """Refuse what nobody took."""
        if self.at != len(self.numbers):
            raise DataError(
                f"{self.where} has {len(self.numbers):,} parameters, but its config describes {self.at:,}; "
                "check that both are of one model"
            )

    def _take(self, count: int) -> Tensor:
        self.at += count
        if self.at > len(self.numbers):
            raise DataError(
                f"{self.where} has {len(self.numbers):,} parameters, fewer than its config describes; check that both "
                "are of one model"
            )
        return self.numbers[self.at - count : self.at]


def network_row(network: MLP) -> Tensor:
    """The row of a network's matrices, filled up with zeros."""
    rows = []
    for weight, (n_out, n_in) in zip(_matrices(network), padded_shapes(network), strict=True):
        filled = pad(weight.detach(), (0, n_in - weight.shape[1], 0, n_out - weight.shape[0]))
        rows.append(filled.flatten())
    return torch.cat(rows)


def padded_shapes(network: MLP) -> list[tuple[int, int]]:
    """The rows and columns that each matrix has in a row of numbers."""
    matrices = _matrices(network)
    shapes = [list(weight.shape) for weight in matrices]
    shapes[0][1], shapes[-1][0] = _filled(shapes[0][1]), _filled(shapes[-1][0])
    return [(n_out, n_in) for n_out, n_in in shapes]


def row_length(network: MLP) -> int:
    """How many numbers a network's row has."""
    return sum(math.prod(shape) for shape in padded_shapes(network))


def _matrices(network: MLP) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.ndim == 2]


def _filled(n: int) -> int:
    return -(-n // _ALIGNMENT) * _ALIGNMENT
