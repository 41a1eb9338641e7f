"""Posed photographs: the one reader, writer and checker of all the files that hold them."""

from neufield.signals.scene.check import check_scene
from neufield.signals.scene.read import read_scene
from neufield.signals.scene.read_log import Note
from neufield.signals.scene.records import Depth, Frame, Mask, Observations, Points, Scene
from neufield.signals.scene.write import write_scene

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
