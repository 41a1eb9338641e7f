"""What modules say that a fused kernel can compute in their place: specs, and the tensors that go with them.

Each is what a module's ``op()`` gives; :mod:`neufield.kernels.plan` finds who computes it.
"""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from neufield.core.errors import ArgumentError
from neufield.core.records import Op
from neufield.kernels.field.spec import FUSED_ENCODINGS, EncodingSpec, FieldSpec, matmul_precision
from neufield.kernels.radiance.harmonics import HarmonicsSpec
from neufield.kernels.volume.spec import MarchSpec


@dataclasses.dataclass(frozen=True)
class EncodingOp(Op):
    """An encoding: its ``spec``, and its ``table`` where that has one."""

    spec: EncodingSpec
    table: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class MLPOp(Op):
    """A network that is linear maps with one ``activation`` between them, and ``output_activation`` at the end.

    ``weights`` (out, in) and ``biases`` (out,), none or one for each: differentiable functions of the parameters.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    activation: str
    output_activation: str

    @property
    def tensors(self) -> list[Tensor]:
        """Each linear map's weight and, if there is one, bias."""
        if not self.biases:
            return list(self.weights)
        return [tensor for layer in zip(self.weights, self.biases, strict=True) for tensor in layer]

    def params(self) -> Tensor:
        """All of them in one row of numbers."""
        return torch.cat([tensor.flatten() for tensor in self.tensors])


@dataclasses.dataclass(frozen=True)
class FieldOp(Op):
    """A network behind an encoding; ``encoding`` is None where the network is given features."""

    encoding: EncodingOp | None
    network: MLPOp

    @staticmethod
    def of(encoding: Op | None, network: Op | None) -> "FieldOp | None":
        """What two modules say of themselves; None where the network says nothing.

        An encoding that is nothing for a fused network gives the features.
        """
        if not isinstance(network, MLPOp):
            return None
        fused = isinstance(encoding, EncodingOp) and encoding.spec.kind in FUSED_ENCODINGS
        return FieldOp(encoding if isinstance(encoding, EncodingOp) and fused else None, network)

    @property
    def table(self) -> Tensor | None:
        """The encoding's, if it has one."""
        return None if self.encoding is None else self.encoding.table

    @property
    def tensors(self) -> list[Tensor]:
        """All that a kernel reads."""
        return [*self.network.tensors, *([] if self.table is None else [self.table])]

    def spec(self, device: torch.device) -> FieldSpec:
        """The spec of the whole, in the precision that autocast asks for on ``device``.

        Raises ArgumentError for linear maps that do not fit each other, as when one of them was replaced.
        """
        network = self.network
        first, last = network.weights[0], network.weights[-1]
        spec = FieldSpec(
            in_dim=first.shape[1],
            out_dim=last.shape[0],
            width=first.shape[0] if len(network.weights) > 1 else 1,
            n_hidden_layers=len(network.weights) - 1,
            activation=network.activation,
            bias=len(network.biases) > 0,
            encoding=self.encoding.spec if self.encoding else None,
            precision=matmul_precision(device.type),
        )
        for i, (n_out, n_in) in enumerate(spec.shapes):
            _check_link(f"layer {i}'s weight", network.weights[i], (n_out, n_in))
            if network.biases:
                _check_link(f"layer {i}'s bias", network.biases[i], (n_out,))
        return spec


@dataclasses.dataclass(frozen=True)
class RadianceOp(Op):
    """A radiance field: ``geometry``, whose first channel becomes the density, then ``color``.

    The density is ``density_scale`` * ``density``(channel 0 + ``density_shift``), by the name of its activation.
    ``color`` takes all of the channels, and behind them what ``direction`` makes of the ray's.
    """

    geometry: FieldOp
    color: MLPOp
    density: str
    density_shift: float
    density_scale: float
    direction: HarmonicsSpec

    @property
    def tensors(self) -> list[Tensor]:
        """All that a kernel reads."""
        return [*self.geometry.tensors, *self.color.tensors]


@dataclasses.dataclass(frozen=True)
class MarchOp(Op):
    """A sampler that marches by its ``spec`` through cells ``occupied`` or not."""

    spec: MarchSpec
    occupied: Tensor


def _check_link(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a linear map's ``tensor`` that does not fit those before and behind it."""
    if tensor.shape != shape:
        raise ArgumentError(
            f"{name} has shape {tuple(tensor.shape)}, but between the layers around it that is {shape}; "
            "put back one of that shape, or build the network anew"
        )
