"""Bytes <-> arrays, in the formats of others.

Names load when they are first used: what reads no picture needs no package that does.
"""

from typing import TYPE_CHECKING, Any

from neufield.core.lazy_names import load_name

if TYPE_CHECKING:
    from neufield.formats.camera_paths import (
        read_ingp_path,
        read_nerfstudio_frame,
        read_nerfstudio_path,
        write_ingp_path,
        write_nerfstudio_path,
    )
    from neufield.formats.encode import suffix_for, write_image
    from neufield.formats.meshes import Mesh, read_mesh, write_mesh, write_points
    from neufield.formats.pixels import ImageFacts
    from neufield.formats.read import read_image
    from neufield.formats.scene import Frame, Scene, check_scene, read_scene, write_scene

_NAMES = {
    "camera_paths": (
        "read_ingp_path",
        "read_nerfstudio_frame",
        "read_nerfstudio_path",
        "write_ingp_path",
        "write_nerfstudio_path",
    ),
    "encode": ("suffix_for", "write_image"),
    "meshes": ("Mesh", "read_mesh", "write_mesh", "write_points"),
    "pixels": ("ImageFacts",),
    "read": ("read_image",),
    "scene": ("Frame", "Scene", "check_scene", "read_scene", "write_scene"),
}
__all__ = [
    "Frame",
    "ImageFacts",
    "Mesh",
    "Scene",
    "check_scene",
    "read_image",
    "read_ingp_path",
    "read_mesh",
    "read_nerfstudio_frame",
    "read_nerfstudio_path",
    "read_scene",
    "suffix_for",
    "write_image",
    "write_ingp_path",
    "write_mesh",
    "write_nerfstudio_path",
    "write_points",
    "write_scene",
]


def __getattr__(name: str) -> Any:
    return load_name(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
