"""A radiance field of two functions, for who wants to try something without writing a class."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from neufield.core.interfaces import RadianceField
from neufield.core.rays import Conditioning, Geometry
from neufield.core.recipe import Recipe


class RadianceFunction(RadianceField):
    """A radiance field made of two functions, which may ask ``cond`` for the time, the camera or a code of each point.

    It trains and renders like any other, but no file holds functions: write a class to save it.

    Args:
        geometry: (x (..., 3), cond) -> :class:`Geometry`, as :meth:`RadianceField.geometry`.
        color: (features (..., F), d (..., 3), cond) -> (..., 3) in [0, 1], as :meth:`RadianceField.color`.
        parts: the modules that the functions call, whose parameters learn.
        times: from when to when the field moves, in the unit of ``cond.time``; None where it does not.
        code_dim: numbers of ``cond.code`` that the functions want.
        recipe: how it is trained.
    """

    def __init__(
        self,
        geometry: Callable[[Tensor, Conditioning | None], Geometry],
        color: Callable[[Tensor, Tensor, Conditioning | None], Tensor],
        parts: Sequence[nn.Module] = (),
        times: tuple[float, float] | None = None,
        code_dim: int = 0,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        self.functions = geometry, color
        self.parts = nn.ModuleList(parts)
        self.times = times
        self.code_dim = code_dim
        self.recipe = recipe or Recipe()

    def geometry(self, x: Tensor, cond: Conditioning | None = None) -> Geometry:
        """What the first function says."""
        return self.functions[0](x, cond)

    def color(self, features: Tensor, d: Tensor, cond: Conditioning | None = None) -> Tensor:
        """What the second function says."""
        return self.functions[1](features, d, cond)
