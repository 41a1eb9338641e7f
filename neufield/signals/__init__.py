"""Files -> samples."""

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
