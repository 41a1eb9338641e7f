"""A trained field from its file, ready to be drawn."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from neufield.apps.resolve import choose_device
from neufield.core.errors import DataError
from neufield.core.interfaces import Trainable
from neufield.field_files import load
from neufield.kernels.dispatch import use_backend


def load_field(path: Path, device: str, backend: str) -> Trainable:
    """The field of a file, on ``device`` and run by ``backend``; refused where it could only draw nonsense."""
    field = load(path)
    for name, values in field.state_dict().items():
        if values.is_floating_point() and not (finite := values.isfinite()).all():
            raise DataError(
                f"{path} cannot be drawn: {int((~finite).sum())} of the {values.numel()} numbers of {name} are NaN or "
                "infinite; give another copy, or train again"
            )
    chosen = choose_device(device)
    use_backend(field.to(chosen), backend, chosen)
    return field


def predictor(field: nn.Module) -> Callable[[Tensor], Tensor]:
    """The field (N, d) -> (N, C) for points and values on the CPU, wherever it is itself, without a gradient."""
    device = next(field.parameters()).device

    @torch.no_grad()
    def predict(x: Tensor) -> Tensor:
        return field(x.to(device)).float().cpu()

    return predict
