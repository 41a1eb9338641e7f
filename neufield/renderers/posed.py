"""A radiance field seen through a scene's cameras: itself a field, from pixels to colours."""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Field, RadianceField, Sampler
from neufield.core.records import Event, Rays, View
from neufield.kernels.dispatch import Accelerated
from neufield.renderers.cameras import Cameras
from neufield.renderers.look import find_plan, look
from neufield.renderers.space import Space


class PosedField(Field, Accelerated):
    """``field`` seen by ``cameras``: points (camera index, column, row) -> colour (3) on a background.

    Pixels are counted in the cameras' images; the middle of the first is (0.5, 0.5).

    Args:
        field: density and colour.
        cameras: whose pixels are rendered.
        space: the part of the world that the field covers.
        sampler: where rays are looked at.
        background: what shines through, the same in all directions.
    """

    def __init__(
        self,
        field: RadianceField,
        cameras: Cameras,
        space: Space,
        sampler: Sampler,
        background: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        self.field = field
        self.cameras = cameras
        self.space = space
        self.sampler = sampler
        self.background = background
        factors = {f"field.{name}": factor for name, factor in field.recipe.lr_factors.items()}
        self.recipe = dataclasses.replace(field.recipe, lr_factors=factors)
        self.in_dim = 3
        self.out_dim = 3

    def forward(self, x: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Render pixels, the same every time."""
        flat = x.reshape(-1, 3)
        return self.view(flat, flat.new_tensor([self.background])).rgb.view(x.shape)

    def view(
        self, x: Float[Tensor, "N 3"], background: Float[Tensor, "#N 3"], generator: torch.Generator | None = None
    ) -> View:
        """Render pixels with everything that is known about them; with a ``generator``, jittered."""
        return look(self.field, self.sampler, self.rays(x), background, generator, self.backend)

    def rays(self, x: Float[Tensor, "N 3"]) -> Rays:
        """The rays through pixels, clipped to the space."""
        index = x[:, 0].long()
        origins, directions = self.cameras.rays(index, x[:, 1:])
        return Rays(origins, directions, *self.space.clip(origins, directions), index)

    def adapt(self, event: Event) -> None:
        """The sampler looks around, the field hears where the visible samples were."""
        generator = torch.Generator().manual_seed(event.step)
        self.sampler.update(event.step, self.field.sigma, generator)
        self.field.adapt(event)

    def kernel_name(self, device: torch.device) -> str:
        """Who looks along rays on ``device``: a fused kernel, or else the parts, which have kernels of their own."""
        plan = find_plan(self.field, self.sampler, device, self.backend)
        return plan.kernel.name if plan else "torch"
