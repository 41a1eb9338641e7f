"""Who computes a field by the operators of :mod:`.operators`: the native library, or Triton."""

from collections.abc import Mapping

import torch
from torch import Tensor

from neufield.kernels.arguments import converted
from neufield.kernels.field import cpu, operators, triton
from neufield.kernels.field.spec import FieldKernel, FieldSpec


class OperatorField(FieldKernel):
    """Encoding and network in one. Second derivatives are taken of the composition of the parts."""

    def evaluate(self, x: Tensor, table: Tensor | None, params: Tensor, spec: FieldSpec) -> Tensor:
        """Points or features ``x (N, .)`` -> ``(N, out_dim)``; the arguments are those of ``reference.evaluate``."""
        keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, table, params))
        return operators.FORWARD(converted(x, params.dtype), table, params, keep, spec)[0]

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
        """Compute ``reference.fused_loss``, and its gradients with it, in one pass through the network."""
        x, target = converted(x, params.dtype), target.to(params.dtype)  # targets may be bytes, and weights a mask
        weight = None if weight is None else weight.to(params.dtype)
        total, error, *_ = operators.REGRESSION(x, table, params, target, weight, loss, spec)
        return total, error


class CpuField(OperatorField):
    """Computes fields in C++, float32 on a CPU."""

    name = "cpu"
    # Sums of up to 256 products in float32, through up to 8 layers; measured 1e-7 to 6e-7 relative against float64.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 3e-6}

    def obstacles(self, spec: FieldSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """A CPU, float32, a library that was built, a network that it knows."""
        return cpu.obstacles(spec, device, dtype)


class TritonField(OperatorField):
    """Computes fields in Triton, on CUDA, with weights in float32."""

    name = "triton"
    # By the type of the products' factors, the others being float32. float32: sums of up to 256 products, through up to
    # 7 layers. float16, bfloat16: 11 or 8 bits of each factor; of two hidden layers 7e-4 and 4.6e-3 were measured.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 5e-3}

    def obstacles(self, spec: FieldSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """CUDA, weights in float32, a network that fits the registers, a grid that the device functions know."""
        return triton.obstacles(spec, device, dtype)
