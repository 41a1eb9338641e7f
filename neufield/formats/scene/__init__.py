"""Posed photographs: the one reader, writer and checker of all the files that hold them."""

from neufield.formats.scene.check import check_scene
from neufield.formats.scene.read import read_scene
from neufield.formats.scene.read_log import Note
from neufield.formats.scene.records import Depth, Frame, Mask, Observations, Points, Scene
from neufield.formats.scene.write import write_scene

__all__ = [
    "Depth",
    "Frame",
    "Mask",
    "Note",
    "Observations",
    "Points",
    "Scene",
    "check_scene",
    "read_scene",
    "write_scene",
]
