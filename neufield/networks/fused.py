"""A network alone, by a fused kernel where there is one."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Network
from neufield.core.wrappers import watched
from neufield.functional.activations import ACTIVATIONS
from neufield.kernels.ops import FieldOp
from neufield.kernels.plan import FieldProgram, Reasons, plan_field, required


def evaluate_network(
    network: Network, h: Float[Tensor, "*points F"], x: Float[Tensor, "*points d"], backend: str = "auto"
) -> Float[Tensor, "*points out"]:
    """``network(h, x)``, by the kernel that ``backend`` names; with "auto" off the CPU by the first that can.

    Off the CPU each layer by itself would write all points' values and read them again. On it a layer of a batch stays
    in its cache, and the bits of what was trained before stay as they are. Raises BackendError where the named kernel
    cannot compute this network.
    """
    if backend == "torch" or (backend == "auto" and h.device.type == "cpu"):
        return network(h, x)
    program = required(plan_network(network, h.device, backend), backend, "this network")
    if program is None:
        return network(h, x)
    y = program.evaluate(h.reshape(-1, h.shape[-1]))
    return ACTIVATIONS[program.op.network.output_activation](y).view(*h.shape[:-1], network.out_dim)


def plan_network(network: Network, device: torch.device, backend: str) -> FieldProgram | Reasons:
    """Find a program for ``network`` alone, or why no kernel computes it."""
    if watched(network):
        return ["there are hooks on the network, which are called only where its parts are."]
    op = FieldOp.of(None, network.op())
    if op is None:
        return ["the network is more than a chain of linear maps (it has skips or a modulation)."]
    return plan_field(op, device, backend)
