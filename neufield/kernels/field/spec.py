"""An encoding and a network as one op: what stands in front, and a chain of linear maps with activations between."""

import abc
import dataclasses
import functools

import torch
from torch import Tensor

from neufield.core.errors import ArgumentError
from neufield.core.json_files import parse_json
from neufield.core.records import EncodingOp, MLPOp
from neufield.core.shapes import check_positive
from neufield.kernels.dispatch import Kernel
from neufield.kernels.grid.spec import GridSpec

_PRECISIONS = {torch.float16: "fp16", torch.bfloat16: "bf16"}  # of autocast
HIDDEN_ACTIVATIONS = ("none", "relu", "leaky_relu", "silu", "sine")  # in the order of native/neufield.h


@dataclasses.dataclass(frozen=True)
class FrequencySpec:
    """Octaves of sines: channels (axis, octave, sine | cosine) of 2^k pi x."""

    dim: int
    n_frequencies: int

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


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """``n_hidden_layers`` linear maps of ``width``, each followed by ``activation``, and one more linear map.

    ``front`` turns points into the ``in_dim`` features of the first; None where the features are given.
    ``precision`` is that of the matrix products: "fp32", "fp16" or "bf16".
    """

    in_dim: int
    out_dim: int
    width: int
    n_hidden_layers: int
    activation: str
    bias: bool
    front: GridSpec | FrequencySpec | None = None
    precision: str = "fp32"

    def __post_init__(self) -> None:
        check_positive(in_dim=self.in_dim, out_dim=self.out_dim, width=self.width, layers=self.n_hidden_layers + 1)
        if self.front is not None and self.front.out_dim != self.in_dim:
            raise ArgumentError(
                f"the encoding gives {self.front.out_dim} features, but the network takes {self.in_dim}; "
                "put back a first layer of that width, or build the network anew"
            )

    @staticmethod
    def of(front: EncodingOp | None, chain: MLPOp, device: torch.device) -> "FieldSpec":
        """What an encoding and a network say of themselves, in the precision that autocast asks for.

        Raises ArgumentError for a chain whose links do not fit each other, as when one of them was replaced.
        """
        first, last = chain.weights[0], chain.weights[-1]
        spec = FieldSpec(
            in_dim=first.shape[1],
            out_dim=last.shape[0],
            width=first.shape[0] if len(chain.weights) > 1 else 1,
            n_hidden_layers=len(chain.weights) - 1,
            activation=chain.activation,
            bias=len(chain.biases) > 0,
            front=front.spec if front else None,
            precision=_precision(device.type),
        )
        for i, (n_out, n_in) in enumerate(spec.shapes):
            _check_link(f"layer {i}'s weight", chain.weights[i], (n_out, n_in))
            if chain.biases:
                _check_link(f"layer {i}'s bias", chain.biases[i], (n_out,))
        return spec

    @property
    def text(self) -> str:
        """The spec as an operator of torch.library takes it; written out, so that torch.compile can follow."""
        return (
            f'{{"in_dim": {self.in_dim}, "out_dim": {self.out_dim}, "width": {self.width}, '
            f'"n_hidden_layers": {self.n_hidden_layers}, "activation": "{self.activation}", '
            f'"bias": {"true" if self.bias else "false"}, "precision": "{self.precision}", '
            f'"front": {self.front.text if self.front else "null"}}}'
        )

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def from_text(text: str) -> "FieldSpec":
        """The spec that ``text`` describes."""
        fields = parse_json(text, "the spec")
        front = fields.pop("front")
        kind = FrequencySpec if front and "n_frequencies" in front else GridSpec
        return FieldSpec(**fields, front=kind(**front) if front else None)

    @property
    def points_dim(self) -> int:
        """Numbers of a point, or of its features where these are given."""
        return self.in_dim if self.front is None else self.front.dim

    @property
    def table_shape(self) -> tuple[int, int] | None:
        """The grid's; None where there is none."""
        grid = self.front
        return (grid.n_entries, grid.n_features_per_level) if isinstance(grid, GridSpec) else None

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


def _check_link(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a linear map's ``tensor`` that does not fit those before and behind it."""
    if tensor.shape != shape:
        raise ArgumentError(
            f"{name} has shape {tuple(tensor.shape)}, but between the layers around it that is {shape}; "
            "put back one of that shape, or build the network anew"
        )


def _precision(device_type: str) -> str:
    if not torch.is_autocast_enabled(device_type):
        return "fp32"
    return _PRECISIONS.get(torch.get_autocast_dtype(device_type), "fp32")
