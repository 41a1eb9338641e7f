"""Camera-to-world matrices as every reader gives them."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import DataError

_FARTHEST = 1e15  # world units: the square of a distance must be a number of float32, which ends at 3e38


def pose_of(rows: np.ndarray, where: str) -> Float[Tensor, "4 4"]:
    """The pose, float64, of its upper three ``rows`` (3, 4). ``where`` begins the sentence of a DataError."""
    largest = float(np.abs(rows).max())
    if largest > _FARTHEST:
        raise DataError(
            f"{where} has a pose with the number {largest:.3g}, but at most {_FARTHEST:g} was expected; "
            "correct it, or remove the photograph"
        )
    pose = np.eye(4)
    pose[:3] = rows
    return torch.from_numpy(pose)
