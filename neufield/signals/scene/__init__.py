"""Posed photographs: the one reader, writer and checker of all the files that hold them."""

from neufield.signals.scene.check import check_scene
from neufield.signals.scene.notes import Note
from neufield.signals.scene.read import read_scene
from neufield.signals.scene.records import Depth, Frame, Mask, Points, Scene, Sightings
from neufield.signals.scene.write import write_scene

__all__ = [
    "Depth",
    "Frame",
    "Mask",
    "Note",
    "Points",
    "Scene",
    "Sightings",
    "check_scene",
    "read_scene",
    "write_scene",
]
