"""What a fused renderer of radiance fields is told, and what it returns."""

import abc
import dataclasses
import functools
import json

from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.json_files import parse_json
from neufield.core.rays import Rays, RenderOutput
from neufield.core.shapes import check_choice
from neufield.functional.densities import DENSITIES
from neufield.kernels.dispatch import Kernel
from neufield.kernels.field.spec import FieldSpec
from neufield.kernels.volume.spec import MarchSpec


@dataclasses.dataclass(frozen=True)
class RadianceSpec:
    """A march, a field whose channel 0 becomes the density, and a network for the color.

    The density is ``density_scale`` * ``density``(channel 0 + ``density_shift``). The color network's features are all
    of the first one's channels, spherical harmonics of the ray's direction, of bands below ``degree``, and what else is
    ``seen`` of the ray; ``color_activation`` is "none" or "sigmoid". Intervals that get less than ``early_stop_eps`` of
    their ray's light are not visible: they have neither color nor gradient.
    """

    march: MarchSpec
    geometry: FieldSpec
    color: FieldSpec
    degree: int
    density: str
    density_shift: float
    density_scale: float
    color_activation: str
    early_stop_eps: float

    def __post_init__(self) -> None:
        if not 0 <= self.degree <= MOST_BANDS:
            raise ValueError(f"degree is {self.degree}, but the harmonics have 0 to {MOST_BANDS} bands")
        check_choice("density", self.density, tuple(DENSITIES))
        known = self.geometry.out_dim + self.degree**2
        if self.color.in_dim < known or self.color.out_dim != 3 or self.color.encoding is not None:
            raise ValueError(
                f"the color network takes {self.color.in_dim} features to {self.color.out_dim} values, but it gets "
                f"{known} or more, and gives red, green, blue"
            )

    @property
    def text(self) -> str:
        """The spec as an operator of torch.library takes it."""
        own = {name: getattr(self, name) for name in _PLAIN}
        parts = {"geometry": self.geometry.text, "color": self.color.text, "march": self.march.numbers}
        return json.dumps(own | parts)

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def from_text(text: str) -> "RadianceSpec":
        """The spec that ``text`` describes."""
        fields = parse_json(text, "the spec")
        for name in ("geometry", "color"):
            fields[name] = FieldSpec.from_text(fields[name])
        fields["march"] = MarchSpec.from_numbers(fields["march"])
        return RadianceSpec(**fields)

    def sigma(self, logit: Tensor) -> Tensor:
        """Densities of logits, per world unit."""
        return self.density_scale * DENSITIES[self.density](logit + self.density_shift)


MOST_BANDS = 8  # of native/radiance.hpp
_PLAIN = ("degree", "density", "density_shift", "density_scale", "color_activation", "early_stop_eps")


class RadianceKernel(Kernel[RadianceSpec]):
    """Renders rays through a radiance field in one fused operator."""

    @abc.abstractmethod
    def render_rays(
        self,
        rays: Rays,
        jitter: Float[Tensor, " N"],
        occupied: Bool[Tensor, "cascades R R R"],
        seen: Float[Tensor, "N D"],
        table: Tensor,
        params: Tensor,
        color_params: Tensor,
        spec: RadianceSpec,
    ) -> RenderOutput:
        """March (see :class:`MarchKernel`), evaluate, leave out what is not visible, color and sum up.

        ``seen`` is what the color network sees of each ray behind the harmonics, ``params`` and ``color_params`` are
        those of :meth:`MLPOp.params`. Differentiable by these and ``table``, not by the rays. There is no
        background.
        """
