"""An encoding and a network as one op: what stands in front, and a chain of linear maps with activations between."""

import abc
import dataclasses
import functools
from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from neufield.core.errors import ArgumentError
from neufield.core.json_files import parse_json
from neufield.core.shapes import check_positive
from neufield.functional.activations import ACTIVATE
from neufield.functional.losses import LOSSES
from neufield.kernels.dispatch import Kernel
from neufield.kernels.grid.spec import GridSpec

_AUTOCAST = {torch.float16: "fp16", torch.bfloat16: "bf16"}  # of autocast
HIDDEN_ACTIVATIONS = tuple(ACTIVATE)
REGRESSION_LOSSES = {name: LOSSES[name] for name in ("l2", "l1", "huber", "relative_l2")}  # that fused kernels know


@runtime_checkable
class EncodingSpec(Protocol):
    """What an encoding that kernels know computes: ``kind`` is its name in every kernel's table of encodings."""

    kind: ClassVar[str]

    @property
    def dim(self) -> int:
        """Numbers of a point."""

    @property
    def out_dim(self) -> int:
        """Features."""

    @property
    def table_shape(self) -> tuple[int, int] | None:
        """Rows and features of its table; None where it has none."""

    @property
    def text(self) -> str:
        """The spec as JSON."""


@dataclasses.dataclass(frozen=True)
class FrequencySpec:
    """Octaves of sines: channels (axis, octave, sine | cosine) of 2^k pi x."""

    dim: int
    n_frequencies: int
    kind: ClassVar[str] = "frequency"
    table_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_positive(dim=self.dim, n_frequencies=self.n_frequencies)

    @property
    def text(self) -> str:
        """The spec as JSON."""
        return f'{{"dim": {self.dim}, "n_frequencies": {self.n_frequencies}}}'

    @property
    def out_dim(self) -> int:
        """Channels."""
        return self.dim * self.n_frequencies * 2


# What may stand before a fused network.
FUSED_ENCODINGS: Mapping[str, type[GridSpec | FrequencySpec]] = {each.kind: each for each in (GridSpec, FrequencySpec)}


def _named(encoding: EncodingSpec) -> str:
    """Its JSON with its kind."""
    return f'{{"kind": "{encoding.kind}", "spec": {encoding.text}}}'


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """``n_hidden_layers`` linear maps of ``width``, each followed by ``activation``, and one more linear map.

    ``encoding`` turns points into the ``in_dim`` features of the first; None where the features are given.
    ``precision`` is that of the matrix products: "fp32", "fp16" or "bf16".
    """

    in_dim: int
    out_dim: int
    width: int
    n_hidden_layers: int
    activation: str
    bias: bool
    encoding: EncodingSpec | None = None
    precision: str = "fp32"

    def __post_init__(self) -> None:
        check_positive(in_dim=self.in_dim, out_dim=self.out_dim, width=self.width, layers=self.n_hidden_layers + 1)
        if self.encoding is not None and self.encoding.out_dim != self.in_dim:
            raise ArgumentError(
                f"the encoding gives {self.encoding.out_dim} features, but the network takes {self.in_dim}; "
                "put back a first layer of that width, or build the network anew"
            )

    @property
    def text(self) -> str:
        """The spec as an operator of torch.library takes it; written out, so that torch.compile can follow."""
        return (
            f'{{"in_dim": {self.in_dim}, "out_dim": {self.out_dim}, "width": {self.width}, '
            f'"n_hidden_layers": {self.n_hidden_layers}, "activation": "{self.activation}", '
            f'"bias": {"true" if self.bias else "false"}, "precision": "{self.precision}", '
            f'"encoding": {_named(self.encoding) if self.encoding else "null"}}}'
        )

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def from_text(text: str) -> "FieldSpec":
        """The spec that ``text`` describes."""
        fields = parse_json(text, "the spec")
        encoding = fields.pop("encoding")
        if encoding is not None:
            encoding = FUSED_ENCODINGS[encoding["kind"]](**encoding["spec"])
        return FieldSpec(**fields, encoding=encoding)

    @property
    def points_dim(self) -> int:
        """Numbers of a point, or of its features where these are given."""
        return self.in_dim if self.encoding is None else self.encoding.dim

    @property
    def table_shape(self) -> tuple[int, int] | None:
        """The grid's; None where there is none."""
        return None if self.encoding is None else self.encoding.table_shape

    @property
    def kind(self) -> str:
        """The kind of what stands before the network: that of its encoding, or "features"."""
        return "features" if self.encoding is None else self.encoding.kind

    @property
    def n_params(self) -> int:
        """Numbers of all linear maps together."""
        return sum((n_in + self.bias) * n_out for n_out, n_in in self.shapes)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(out, in) of each linear map."""
        widths = [self.in_dim] + [self.width] * self.n_hidden_layers + [self.out_dim]
        return list(zip(widths[1:], widths[:-1], strict=True))


class FieldKernel(Kernel[FieldSpec]):
    """An encoding and a network, differentiable twice at least; arguments are those of the reference's functions."""

    @abc.abstractmethod
    def evaluate(self, x: Tensor, table: Tensor | None, params: Tensor, spec: FieldSpec) -> Tensor:
        """Points or features ``x (N, .)`` -> ``(N, out_dim)``."""

    @abc.abstractmethod
    def fused_loss(
        self,
        x: Tensor,
        table: Tensor | None,
        params: Tensor,
        target: Tensor,
        weight: Tensor | None,
        loss: str,
        spec: FieldSpec,
    ) -> tuple[Tensor, Tensor]:
        """The mean of ``weight`` (N,) times the per-point error, and that error (N,), the mean over channels."""


def matmul_precision(device_type: str) -> str:
    """Find the precision in which autocast wants products of matrices on a device of that type."""
    if not torch.is_autocast_enabled(device_type):
        return "fp32"
    return _AUTOCAST.get(torch.get_autocast_dtype(device_type), "fp32")
