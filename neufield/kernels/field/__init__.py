"""Op ``field``: an encoding and a small network, fused."""

from neufield.kernels.field import operators
from neufield.kernels.field.fused import CpuField, TritonField
from neufield.kernels.field.reference import evaluate, fused_loss
from neufield.kernels.field.spec import (
    FUSED_ENCODINGS,
    HIDDEN_ACTIVATIONS,
    REGRESSION_LOSSES,
    FieldKernel,
    FieldSpec,
    FrequencySpec,
)
from neufield.kernels.field.tcnn import TcnnField

# In order of preference; ``auto`` takes the first that can run, and the parts one by one where none can.
KERNELS: tuple[FieldKernel, ...] = (CpuField(), TritonField(), TcnnField())

__all__ = [
    "FUSED_ENCODINGS",
    "HIDDEN_ACTIVATIONS",
    "KERNELS",
    "REGRESSION_LOSSES",
    "CpuField",
    "FieldKernel",
    "FieldSpec",
    "FrequencySpec",
    "TcnnField",
    "TritonField",
    "evaluate",
    "fused_loss",
    "operators",
]
