"""Files -> samples. Names load when they are first used: what reads no picture needs no package that does."""

import importlib
from typing import TYPE_CHECKING, Any

from neufield.core.errors import BackendError

if TYPE_CHECKING:
    from neufield.signals.array import Array
    from neufield.signals.image import Image, ImageFacts, render, suffix_for, write_image
    from neufield.signals.meshes import Mesh, read_mesh, write_mesh, write_points
    from neufield.signals.scene import Frame, Scene, check_scene, read_scene, write_scene

__all__ = [
    "Array",
    "Frame",
    "Image",
    "ImageFacts",
    "Mesh",
    "Scene",
    "check_scene",
    "read_mesh",
    "read_scene",
    "render",
    "suffix_for",
    "write_image",
    "write_mesh",
    "write_points",
    "write_scene",
]

_NAMES = {
    "array": ("Array",),
    "image": ("Image", "ImageFacts", "render", "suffix_for", "write_image"),
    "meshes": ("Mesh", "read_mesh", "write_mesh", "write_points"),
    "scene": ("Frame", "Scene", "check_scene", "read_scene", "write_scene"),
}
_PIP = {"PIL": "pillow", "OpenImageIO": "OpenImageIO"}


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names:
            try:
                return getattr(importlib.import_module(f"neufield.signals.{module}"), name)
            except ModuleNotFoundError as error:
                if error.name not in _PIP:
                    raise
                raise BackendError(
                    f"signals.{name} needs {error.name}, which is not installed; pip install {_PIP[error.name]}"
                ) from None
    raise AttributeError(f"module 'neufield.signals' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
