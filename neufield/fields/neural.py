"""Encoding and network, wired to a field."""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import BackendError
from neufield.core.interfaces import Encoding, Field, Network, Signal
from neufield.core.recipe import Recipe
from neufield.core.records import Batch, Event, MLPOp
from neufield.core.shapes import check_points
from neufield.core.wrappers import hooked, watched
from neufield.fields.activations import ACTIVATIONS
from neufield.kernels import field as op
from neufield.kernels.dispatch import Accelerated, unknown


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

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Evaluate at points of the unit box."""
        return self._outputs(x)[-1]

    def outputs(self, x: Float[Tensor, "*points in_dim"]) -> Sequence[Float[Tensor, "*points out_dim"]]:
        """What the network wants trained, at points of the unit box."""
        found = self._outputs(x)
        return [*found[:-1], self(x)] if hooked(self) else found  # hooks hear of a call, and may change what it gives

    def _outputs(self, x: Tensor) -> Sequence[Tensor]:
        check_points(x, self.in_dim, to=self)
        plan = self._plan(x)
        if plan is None:
            with torch.autocast(x.device.type, enabled=False):  # bfloat16 has too few bits for a phase or a position
                features = self.encoding(x)
            return self.network.outputs(features, x)
        with torch.autocast(x.device.type, enabled=False):
            points = x if plan.spec.front else self.encoding(x)
            y = plan.kernel.evaluate(points.reshape(-1, points.shape[-1]), plan.table, plan.chain.params(), plan.spec)
        return [ACTIVATIONS[plan.chain.output_activation](y).view(*x.shape[:-1], self.out_dim)]

    def fused_loss(self, batch: Batch, loss: str) -> tuple[Tensor, Tensor] | None:
        """In one pass where the kernel knows the loss and the network ends linearly."""
        check_points(batch.x, self.in_dim, to=self)
        if hooked(self) or loss not in op.REGRESSION_LOSSES or not torch.is_grad_enabled():
            return None
        plan = self._plan(batch.x)
        if plan is None or plan.chain.output_activation != "none" or not plan.spec.front:
            return None
        with torch.autocast(batch.x.device.type, enabled=False):
            return plan.kernel.fused_loss(
                batch.x, plan.table, plan.chain.params(), batch.target, batch.weight, loss, plan.spec
            )

    def graph_safe(self, device: torch.device) -> bool:
        """Where one kernel computes both parts: none that one can compute adapts."""
        plan = self._plan(torch.empty(0, self.in_dim, device=device))
        return plan is not None and plan.spec.front is not None

    def init_from_signal(self, signal: Signal, generator: torch.Generator | None = None) -> None:
        """The network sees the signal."""
        self.network.init_from_signal(signal, generator)

    def on_step(self, event: Event) -> None:
        """Encoding and network both see the field's own coordinates."""
        self.encoding.on_step(event)
        self.network.on_step(event)

    def backends(self) -> Sequence[str]:
        """See :class:`Accelerated`."""
        return [*[kernel.name for kernel in op.KERNELS], "torch"]

    def kernel_name(self, device: torch.device) -> str:
        """Who computes the network (and, where it can, the encoding with it) on ``device``."""
        plan = self._plan(torch.empty(0, self.in_dim, device=device))
        return plan.kernel.name if plan else "torch"

    def _plan(self, x: Tensor) -> "_Plan | None":
        """How a fused kernel would evaluate ``x``; None for the parts one by one."""
        if self.backend == "torch" or (x.requires_grad and torch.is_grad_enabled()):
            return None
        front, chain = self.encoding.op(), self.network.op()
        if front is not None and not isinstance(front.spec, op.FUSED_ENCODINGS):
            front = None
        if watched(self.encoding, self.network):
            reasons = ["there are hooks on its encoding or network, which are called only where these are."]
        elif chain is None:
            reasons = ["the network is more than a chain of linear maps (it has skips or a modulation)."]
        elif front and front.table is not None and front.table.dtype != chain.weights[0].dtype:
            reasons = ["the encoding and the network are of different types."]
        else:
            reasons = []
            spec = op.FieldSpec.of(front, chain, x.device)
            for kernel in op.KERNELS:
                if self.backend not in ("auto", kernel.name):
                    continue
                obstacles = kernel.obstacles(spec, x.device, chain.weights[0].dtype)
                if not obstacles:
                    return _Plan(kernel, spec, chain, front.table if front else None)
                reasons += obstacles
        if self.backend not in ("auto", *self.backends()):
            raise unknown(self.backend, "this field", self.backends())
        if self.backend != "auto":
            raise BackendError(f"backend '{self.backend}' cannot run this field here ({' '.join(reasons)}); use auto")
        return None


@dataclasses.dataclass(frozen=True)
class _Plan:
    """A kernel and what it is to be called with."""

    kernel: op.FieldKernel
    spec: op.FieldSpec
    chain: MLPOp
    table: Tensor | None
