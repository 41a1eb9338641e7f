"""Encoding and network, wired to a field."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import BackendError
from neufield.core.interfaces import Encoding, Field, Network
from neufield.core.recipe import Recipe
from neufield.core.records import Chain, Event, Front
from neufield.fields.activations import ACTIVATIONS
from neufield.kernels import field as op
from neufield.kernels.dispatch import Accelerated


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
        front, chain = self.encoding.front(), self.network.chain()
        spec = _spec(front, chain, x.device)
        kernel = self._kernel(spec, x.device, None if chain is None else chain.weights[0].dtype)
        if x.requires_grad and torch.is_grad_enabled():
            kernel = None
        # bfloat16 has too few bits for a phase or a grid position.
        with torch.autocast(x.device.type, enabled=False):
            features = x if kernel and front else self.encoding(x)
            if kernel and chain and spec:
                params = torch.cat([tensor.flatten() for layer in _layers(chain) for tensor in layer])
                table = front.table if front else None
                y = kernel.evaluate(features.reshape(-1, features.shape[-1]), table, params, spec)
                return ACTIVATIONS[chain.output_activation](y).view(*x.shape[:-1], self.out_dim)
        return self.network(features, x)

    def adapt(self, event: Event) -> None:
        """Encoding and network both see the field's own coordinates."""
        self.encoding.adapt(event)
        self.network.adapt(event)

    def kernel_name(self, device: torch.device) -> str:
        """Who computes the network (and, where it can, the encoding with it) on ``device``."""
        chain = self.network.chain()
        spec = _spec(self.encoding.front(), chain, device)
        kernel = self._kernel(spec, device, None if chain is None else chain.weights[0].dtype)
        return kernel.name if kernel else "torch"

    def _kernel(self, spec: op.FieldSpec | None, device: torch.device, dtype: torch.dtype | None) -> op.CpuField | None:
        """The fused kernel that serves; None for the parts one by one."""
        if self.backend == "torch":
            return None
        reasons = []
        for kernel in op.KERNELS:
            if spec is None or dtype is None:
                obstacles = ["the network is more than a chain of linear maps (it has skips or a modulation)."]
            else:
                obstacles = kernel.obstacles(spec, device, dtype)
            if not obstacles:
                return kernel
            reasons += obstacles
        if self.backend != "auto":
            raise BackendError(f"backend '{self.backend}' cannot run this field here ({' '.join(reasons)}); use auto")
        return None


def _layers(chain: Chain) -> list[tuple[Tensor, ...]]:
    """Each linear map's weight and, if there is one, bias."""
    return list(zip(chain.weights, chain.biases, strict=True)) if chain.biases else [(w,) for w in chain.weights]


def _spec(front: Front | None, chain: Chain | None, device: torch.device) -> op.FieldSpec | None:
    if chain is None:
        return None
    first, last = chain.weights[0], chain.weights[-1]
    return op.FieldSpec(
        in_dim=first.shape[1],
        out_dim=last.shape[0],
        width=first.shape[0] if len(chain.weights) > 1 else 1,
        n_hidden_layers=len(chain.weights) - 1,
        activation=chain.activation,
        bias=bool(chain.biases),
        front=front.spec if front else None,
        precision="bf16" if torch.is_autocast_enabled(device.type) else "fp32",
    )
