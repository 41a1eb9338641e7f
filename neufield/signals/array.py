"""Any tensor of numbers on a lattice as a signal: a sound, a row of a picture, a volume, frames of a film."""

from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.domain import Domain
from neufield.core.errors import DataError
from neufield.signals.lattice import Lattice


class Array(Lattice):
    """``values (*shape, C)`` as a :class:`Lattice` of as many dimensions as ``shape`` has; float32, on the CPU.

    ``train (*shape)`` marks the cells that are sampled, all by default; the field is judged by the others, where there
    are any. ``domain`` says where the cells are, ``peak`` what PSNR calls the largest possible value.
    """

    def __init__(
        self,
        values: Float[Tensor, "*shape c"],
        train: Bool[Tensor, "*shape"] | None = None,
        peak: float = 1.0,
        domain: Domain | None = None,
        name: str = "array",
    ) -> None:
        if values.ndim < 2 or values.numel() == 0:
            raise DataError(
                f"values has shape {tuple(values.shape)}, but (*shape, channels) with at least one cell was expected; "
                "for one channel use values.unsqueeze(-1)"
            )
        if not bool(values.isfinite().all()):
            raise DataError("values has a NaN or an infinity, but every number must be finite")
        super().__init__(values.detach().float().cpu().numpy(), domain, name=name, train=train, peak=peak)
