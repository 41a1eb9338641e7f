"""A radiance field with a scene's cameras: a model from pixels to colors."""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import ConfigError
from neufield.core.interfaces import RadianceField, Sampler, Trainable
from neufield.core.on_device import device_constant, generator_for
from neufield.core.param_groups import ParamGroup
from neufield.core.rays import Conditioning, Rays, RenderOutput
from neufield.core.recipe import Recipe
from neufield.core.records import Event
from neufield.core.shapes import check_points
from neufield.kernels import radiance, volume
from neufield.kernels.dispatch import Accelerated, Kernel
from neufield.kernels.plan import Held, RadianceProgram
from neufield.renderers.cameras import Cameras
from neufield.renderers.per_image import AppearanceEmbedding, Exposure, expose
from neufield.renderers.render import find_program, render_rays
from neufield.renderers.scene_bounds import SceneBounds


class RadianceScene(Trainable, Accelerated):
    """A radiance ``field`` with ``cameras``, which render pixels (camera index, column, row), or rays, of it.

    Pixels are counted in the cameras' images; the middle of the first is (0.5, 0.5).

    What differs between photographs, their ``appearance``, ``exposure`` and the cameras' refinement, is learned at
    rates of its own, whatever the field's.

    Args:
        field: density and color.
        cameras: whose pixels are rendered.
        space: the part of the world that the field covers.
        sampler: where rays are looked at.
        background: what shines through, the same in all directions.
        appearance: the codes of the photographs, for a field whose color takes codes.
        exposure: of the photographs. It acts on colors multiplied by their opacity, before the background is added.
    """

    def __init__(
        self,
        field: RadianceField,
        cameras: Cameras,
        space: SceneBounds,
        sampler: Sampler,
        background: Sequence[float] = (1.0, 1.0, 1.0),
        appearance: AppearanceEmbedding | None = None,
        exposure: Exposure | None = None,
    ) -> None:
        super().__init__()
        code_dim = 0 if appearance is None else appearance.dim
        if code_dim != field.code_dim:
            raise ConfigError(
                f"the field's color takes codes of {field.code_dim} numbers, but the appearance has {code_dim}; "
                f"give an AppearanceEmbedding with dim={field.code_dim}, or a field with code_dim={code_dim}"
            )
        self.field = field
        self.cameras = cameras
        self.space = space
        self.sampler = sampler
        self.background = background
        self.appearance = appearance
        self.exposure = exposure
        self.recipe = field.recipe
        self._held: Held[RadianceProgram] = Held()

    def forward(self, x: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """The colors of pixels on the ``background``, the same every time: what photographs are compared with."""
        check_points(x, 3, to=self)
        flat = x.reshape(-1, 3)
        return self.render(flat, device_constant([self.background], flat)).rgb.view(x.shape)

    def render(
        self,
        pixels: Float[Tensor, "N 3"] | Rays,
        background: Float[Tensor, "#N 3"] | None = None,
        generator: torch.Generator | None = None,
    ) -> RenderOutput:
        """Render pixels (camera index, column, row), or rays, over ``background`` or nothing.

        With a ``generator`` samples are jittered, as in training; without, the result is always the same. Rays' own
        exposures (``cond.exposure``) act on what is seen before the background is added.
        """
        rays = pixels if isinstance(pixels, Rays) else self.rays(pixels)
        exposure = None if rays.cond is None else rays.cond.exposure
        if exposure is None:
            return render_rays(self.field, self.sampler, rays, background, generator, self.backend, self._held)
        seen = expose(render_rays(self.field, self.sampler, rays, None, generator, self.backend, self._held), exposure)
        if seen.samples is not None and seen.samples.coarse is not None:
            samples = dataclasses.replace(seen.samples, coarse=expose(seen.samples.coarse, exposure))
            seen = dataclasses.replace(seen, samples=samples)
        return seen if background is None else seen.over(background)

    def rays(self, pixels: Float[Tensor, "N 3"]) -> Rays:
        """The rays through pixels, clipped to the space, with what is known of their photographs.

        Where they begin and end is not differentiated.
        """
        index = pixels[:, 0].long()
        with torch.autocast(pixels.device.type, enabled=False):  # a camera in bfloat16 sees something else
            origins, directions = self.cameras.rays(index, pixels[:, 1:])
            near, far = self.space.near_far(origins.detach(), directions.detach())
        code = None if self.appearance is None else self.appearance(index)
        exposure = None if self.exposure is None else self.exposure(index)
        time = None if self.cameras.times is None else self.cameras.times[index]
        return Rays(origins, directions, near, far, Conditioning(index, time, code, exposure))

    def seen_by(self, cameras: Cameras, like: int | None = None) -> "RadianceScene":
        """Show the same field to other cameras than those it was trained on; its parts are shared.

        They get the mean of the photographs' codes, or the code of photograph ``like``, and the mean exposure.
        """
        appearance = None
        if self.appearance is not None:
            appearance = self.appearance.alone(like)
        elif like is not None:
            raise ValueError(f"photograph {like} has no code: the field was trained without an appearance")
        seen = RadianceScene(self.field, cameras, self.space, self.sampler, self.background, appearance)
        seen.backend = self.backend
        return seen

    def param_groups(self, recipe: Recipe | None = None) -> Sequence[ParamGroup]:
        """The field's, by ``recipe``; all other parts learn at rates of their own."""
        parts = (self.appearance, self.exposure, self.cameras.refinement, self.sampler)
        groups = list(self.field.param_groups(recipe))
        for part in parts:
            groups += [] if part is None else part.param_groups()
        return groups

    def recipe_owner(self) -> RadianceField:
        """The radiance field."""
        return self.field

    def planned(self) -> Sequence[RadianceField]:
        """The radiance field, and those of the sampler that are of its class: a coarse one grows with the fine one."""
        return [self.field, *(own for own in self.sampler.fields() if type(own) is type(self.field))]

    def on_step(self, event: Event) -> None:
        """Let the sampler look around, and tell it and the field where the visible samples were."""
        generator = generator_for(event.x.device, event.step)
        self.sampler.update(event.step, self.field, generator)
        detached = event.at(Tensor.detach)
        self.sampler.on_step(detached)
        self.field.on_step(detached)

    def backends(self) -> Sequence[str]:
        """The names of fused kernels, and of the march's and the sums': who names one of these wants the parts."""
        lists: Sequence[Sequence[Kernel]] = (radiance.KERNELS, volume.KERNELS, volume.COMPOSITE_KERNELS)
        return [kernel.name for kernels in lists for kernel in kernels]

    def kernel_name(self, device: torch.device) -> str:
        """Name the kernel that renders rays on ``device``: a fused one, or the one that adds up what the parts find."""
        code_dim = 0 if self.appearance is None else self.appearance.dim
        program = find_program(self.field, self.sampler, device, self.backend, code_dim)
        return program.kernel.name if program else volume.compositing(device, backend=self.backend).name
