"""What is fitted: sources of samples, most of which judge a field, too, and write it back.

Names load when they are first used: a lattice needs no package for pictures.
"""

from typing import TYPE_CHECKING, Any

from neufield.core.lazy_names import load_name

if TYPE_CHECKING:
    from neufield.signals.array import Array
    from neufield.signals.exporters import exporter_of
    from neufield.signals.image import Image, render
    from neufield.signals.lattice import Lattice
    from neufield.signals.posed_images import PosedImages
    from neufield.signals.sampled_views import Renderings, SampledViews
    from neufield.signals.teacher import Teacher

_NAMES = {
    "array": ("Array",),
    "exporters": ("exporter_of",),
    "image": ("Image", "render"),
    "lattice": ("Lattice",),
    "posed_images": ("PosedImages",),
    "sampled_views": ("Renderings", "SampledViews"),
    "teacher": ("Teacher",),
}
__all__ = [
    "Array",
    "Image",
    "Lattice",
    "PosedImages",
    "Renderings",
    "SampledViews",
    "Teacher",
    "exporter_of",
    "render",
]


def __getattr__(name: str) -> Any:
    return load_name(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
