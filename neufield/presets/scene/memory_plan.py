"""How much memory a training needs, said before anything is loaded."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from neufield.core.errors import DataError
from neufield.core.interfaces import RadianceField
from neufield.core.memory import allowed_memory
from neufield.core.rays import Conditioning
from neufield.core.reckoning import training_bytes
from neufield.fitting import grown
from neufield.formats.scene import Frame
from neufield.renderers import RadianceScene

_SHARE = 0.8  # of the free memory
_LOADED = 0.5  # of it: while photographs are put together they are there twice
_PROBED = 256  # points
# The first steps march up to twice their budget, and gradients take as much as what they are made of. Measured peaks of
# the six presets: 2.2 (nerf) to 4.2 (vm) times what the budget's intervals keep for the way back.
_STEP = 4


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """Bytes: of all pixels, of the model with its optimizer, of a step; and what is free where the model is."""

    photographs: int
    model: int
    step: int
    device: torch.device

    def __str__(self) -> str:
        """One line."""
        free = self._free()
        there = "" if free is None else f"; {_gigabytes(free)} are free"
        return (
            f"memory: photographs {_gigabytes(self.photographs)}, model and optimizer {_gigabytes(self.model)}, "
            f"a step about {_gigabytes(self.step)}{there}"
        )

    def check(self) -> None:
        """Raise DataError, with what to change, where it does not fit."""
        host, there = allowed_memory(), self._free()
        if host is not None and self.photographs > _LOADED * host:
            raise DataError(
                f"the photographs take {_gigabytes(self.photographs)} in memory, but {_gigabytes(host)} are free; "
                "scale them down by half and try again"
            )
        needed = self.model + self.step + (self.photographs if self.device.type != "cuda" else 0)
        if there is not None and needed > _SHARE * there:
            part, change = (
                ("the model and its optimizer take", "give a smaller --resolution, or another --preset")
                if self.model > self.step
                else ("a training step takes", "give a smaller --set recipe.batch_size=N")
            )
            raise DataError(
                f"{part} about {_gigabytes(max(self.model, self.step))} in memory, but {_gigabytes(there)} are free; "
                f"{change}"
            )

    @property
    def place(self) -> torch.device:
        """Where photographs are kept: beside the model, so that no step waits, unless a GPU has no room for all."""
        there = self._free()
        crowded = there is not None and self.model + self.step + self.photographs > _SHARE * there
        return torch.device("cpu") if crowded else self.device

    def _free(self) -> int | None:
        return torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else allowed_memory()


def plan_memory(frames: Sequence[Frame], model: RadianceScene) -> MemoryPlan:
    """What training ``model`` on ``frames`` will need."""
    return MemoryPlan(
        photographs=sum(frame.camera.width * frame.camera.height * 4 for frame in frames),
        model=training_bytes(grown(model, model.recipe.plan), bool(model.recipe.ema)),
        step=_STEP * model.recipe.batch_size * kept_bytes(model.field),
        device=next(model.parameters()).device,
    )


def kept_bytes(field: RadianceField) -> int:
    """What autograd keeps of one point for the way back, found by trying some."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*field.parameters(), *field.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(field.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(_PROBED, 3, generator=generator).to(device)
    d = torch.nn.functional.normalize(torch.randn(_PROBED, 3, generator=generator), dim=1).to(device)
    first = 0.0 if field.times is None else field.times[0]
    cond = Conditioning(
        time=torch.full((_PROBED,), first, device=device),
        code=torch.zeros(_PROBED, field.code_dim, device=device) if field.code_dim else None,
    )
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = field.color(field.geometry(x, cond).features, d, cond)  # noqa: F841 -- alive, so that no address is used twice
    return max(1, sum(kept.values()) // _PROBED)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
