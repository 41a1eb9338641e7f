"""Encoding and network, wired to a field."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding, Field, Network, Resampled
from neufield.core.recipe import Recipe
from neufield.core.records import Batch, Event
from neufield.core.shapes import check_points
from neufield.core.wrappers import hooked
from neufield.functional.activations import ACTIVATIONS
from neufield.kernels import field as kernels
from neufield.kernels.dispatch import Accelerated, unknown
from neufield.kernels.ops import FieldOp
from neufield.kernels.plan import FieldProgram, Held, Reasons, plan_field, required


class NeuralField(Field, Accelerated):
    """network(encoding(x)), with the ``recipe`` that trains it well unless the caller of ``fit`` knows better.

    Where a fused kernel can compute network and encoding (or the network alone) in one, it does; but not at points that
    require a gradient. Who asks for it mostly differentiates it again (a normal in an eikonal loss), and the parts one
    by one have native second derivatives where the fused kernel would start over.
    """

    def __init__(self, encoding: Encoding, network: Network, recipe: Recipe | None = None) -> None:
        super().__init__()
        if network.in_dim != encoding.out_dim:
            raise ValueError(
                f"the encoding gives {encoding.out_dim} features, but the network takes {network.in_dim}; "
                f"build the network with in_dim={encoding.out_dim}"
            )
        self.encoding = encoding
        self.network = network
        self.recipe = recipe or Recipe()
        self.in_dim = encoding.in_dim
        self.out_dim = network.out_dim
        self._held: Held[FieldProgram] = Held()

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Evaluate at points of the unit box."""
        return self._outputs(x)[-1]

    def outputs(self, x: Float[Tensor, "*points in_dim"]) -> Sequence[Float[Tensor, "*points out_dim"]]:
        """What the network wants trained, at points of the unit box."""
        found = self._outputs(x)
        return [*found[:-1], self(x)] if hooked(self) else found  # hooks hear of a call, and may change what it gives

    def _outputs(self, x: Tensor) -> Sequence[Tensor]:
        check_points(x, self.in_dim, to=self)
        program = self._program(x)
        if program is None:
            with torch.autocast(x.device.type, enabled=False):  # bfloat16 has too few bits for a phase or a position
                features = self.encoding(x)
            return self.network.outputs(features, x)
        points = x
        if program.op.encoding is None:
            with torch.autocast(x.device.type, enabled=False):
                points = self.encoding(x)
        y = program.evaluate(points.reshape(-1, points.shape[-1]))
        return [ACTIVATIONS[program.op.network.output_activation](y).view(*x.shape[:-1], self.out_dim)]

    def fused_loss(self, batch: Batch, loss: str) -> tuple[Tensor, Tensor] | None:
        """Compute the loss in one pass, where the kernel knows it and the network ends linearly."""
        check_points(batch.x, self.in_dim, to=self)
        if hooked(self) or loss not in kernels.REGRESSION_LOSSES or not torch.is_grad_enabled():
            return None
        program = self._program(batch.x)
        if program is None or program.op.network.output_activation != "none" or program.op.encoding is None:
            return None
        return program.fused_loss(batch.x, batch.needed("target"), batch.weight, loss)

    def graph_safe(self, device: torch.device) -> bool:
        """True where one kernel computes both parts: no part that a kernel computes adapts."""
        program = self._program(torch.empty(0, self.in_dim, device=device))
        return program is not None and program.op.encoding is not None

    def init_from_signal(self, signal: Resampled, generator: torch.Generator | None = None) -> None:
        """Show the network the signal."""
        self.network.init_from_signal(signal, generator)

    def on_step(self, event: Event) -> None:
        """Encoding and network both see the field's own coordinates."""
        self.encoding.on_step(event)
        self.network.on_step(event)

    def backends(self) -> Sequence[str]:
        """See :class:`Accelerated`."""
        return [*[kernel.name for kernel in kernels.KERNELS], "torch"]

    def kernel_name(self, device: torch.device) -> str:
        """Name the kernel that computes the network (and, where it can, the encoding with it) on ``device``."""
        program = self._program(torch.empty(0, self.in_dim, device=device))
        return program.kernel.name if program else "torch"

    def op(self) -> FieldOp | None:
        """Both as one op, or the network's alone; None where the network is more than linear maps and activations."""
        return FieldOp.of(self.encoding.op(), self.network.op())

    def _program(self, x: Tensor) -> FieldProgram | None:
        """How a fused kernel would evaluate ``x``; None for the parts one by one."""
        if self.backend == "torch" or (x.requires_grad and torch.is_grad_enabled()):
            return None
        if self.backend not in ("auto", *self.backends()):
            raise unknown(self.backend, "this field", self.backends())
        parts = self.encoding, self.network
        found = self._held.program(parts, x.device, self.backend, lambda: self._planned(x.device))
        return required(found, self.backend, "this field")

    def _planned(self, device: torch.device) -> FieldProgram | Reasons:
        op = self.op()
        if op is None:
            return ["the network is more than a chain of linear maps (it has skips or a modulation)."]
        return plan_field(op, device, self.backend)
