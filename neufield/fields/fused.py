"""A network alone, by a fused kernel where there is one."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Network
from neufield.core.wrappers import watched
from neufield.fields.activations import ACTIVATIONS
from neufield.kernels import field as op


def evaluate_network(
    network: Network, h: Float[Tensor, "*points F"], x: Float[Tensor, "*points d"], backend: str = "auto"
) -> Float[Tensor, "*points out"]:
    """``network(h, x)``; off the CPU by the kernel that ``backend`` names, or the first that can.

    There each layer by itself would write all points' values and read them again. On a CPU a layer of a batch stays in
    its cache, and the bits of what was trained before stay as they are.
    """
    apart = h.device.type == "cpu" or backend == "torch" or watched(network)
    chain = None if apart else network.op()
    if chain is None:
        return network(h, x)
    spec = op.FieldSpec.of(None, chain, h.device)
    for kernel in op.KERNELS:
        named = backend in ("auto", kernel.name)
        if named and not kernel.obstacles(spec, h.device, chain.weights[0].dtype):
            with torch.autocast(h.device.type, enabled=False):
                y = kernel.evaluate(h.reshape(-1, h.shape[-1]), None, chain.params(), spec)
                return ACTIVATIONS[chain.output_activation](y).view(*h.shape[:-1], network.out_dim)
    return network(h, x)
