"""neufield: neural fields for PyTorch.

    import neufield as nf

    image = nf.signals.Image("photo.png")
    field = nf.presets.ngp(dim=2, out_dim=image.channels, shape=image.shape)
    nf.fit(field, image)
    nf.save(field, "photo.safetensors")

The names below load when they are first used, so that ``import neufield`` costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from neufield._version import __version__

if TYPE_CHECKING:
    from neufield import (
        encodings,
        fields,
        fitting,
        formats,
        functional,
        interchange,
        kernels,
        metrics,
        networks,
        presets,
        renderers,
        signals,
    )
    from neufield.core.errors import NeufieldError
    from neufield.core.memory import keep_freed_memory
    from neufield.core.recipe import Recipe
    from neufield.field_files import load, save
    from neufield.fitting.fit import fit
    from neufield.parts import register

_ROOMS = (
    "encodings", "fields", "fitting", "formats", "functional", "interchange", "kernels", "metrics", "networks",
    "presets", "renderers", "signals",
)  # fmt: skip
_NAMES = {
    "NeufieldError": "neufield.core.errors",
    "Recipe": "neufield.core.recipe",
    "fit": "neufield.fitting",
    "keep_freed_memory": "neufield.core.memory",
    "load": "neufield.field_files",
    "register": "neufield.parts",
    "save": "neufield.field_files",
}

__all__ = [
    "NeufieldError",
    "Recipe",
    "__version__",
    "encodings",
    "fields",
    "fit",
    "fitting",
    "formats",
    "functional",
    "interchange",
    "keep_freed_memory",
    "kernels",
    "load",
    "metrics",
    "networks",
    "presets",
    "register",
    "renderers",
    "save",
    "signals",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"neufield.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'neufield' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
