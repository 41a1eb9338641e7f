"""Op ``field``: an encoding and a small network, fused."""

from neufield.kernels.field import operators
from neufield.kernels.field.fused import CpuField, TritonField
from neufield.kernels.field.losses import LOSSES, REGRESSION_LOSSES
from neufield.kernels.field.reference import ACTIVATE, evaluate, fused_loss, positional_encoding
from neufield.kernels.field.spec import FUSED_ENCODINGS, HIDDEN_ACTIVATIONS, FieldKernel, FieldSpec, FrequencySpec
from neufield.kernels.field.tcnn import TcnnField

# In order of preference; ``auto`` takes the first that can run, and the parts one by one where none can.
KERNELS: tuple[FieldKernel, ...] = (CpuField(), TritonField(), TcnnField())

__all__ = [
    "ACTIVATE",
    "FUSED_ENCODINGS",
    "HIDDEN_ACTIVATIONS",
    "KERNELS",
    "LOSSES",
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
    "positional_encoding",
]
