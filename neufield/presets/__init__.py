"""Names and papers -> wired fields, each with the recipe that trains it.

A file here holds the presets of one method or of a few of a kind: functions that take the signal's dimension and
channels and what else they depend on, written into the one register by ``@preset`` where they are defined. ``radiance``
holds those of radiance fields, which have a register's kind of their own.

A new file needs a line below; a preset in a file that is here needs none.
"""

import importlib
from typing import TYPE_CHECKING, Any

from neufield.core.edits import Edit
from neufield.presets import radiance
from neufield.presets.activations import *
from neufield.presets.baselines import *
from neufield.presets.cam import *
from neufield.presets.editing import customize
from neufield.presets.facts import RadianceFacts, SignalFacts
from neufield.presets.fresh import Axis
from neufield.presets.int_teaching import *
from neufield.presets.layers import *
from neufield.presets.permutohedral import *
from neufield.presets.registry import Preset, find, names, preset
from neufield.presets.sape import *
from neufield.presets.shifted_bases import *
from neufield.presets.sizes import WIDTH, PresetRequest, resized
from neufield.presets.wire import *
from neufield.tcnn import from_tcnn_config

if TYPE_CHECKING:
    from neufield.presets import scene
    from neufield.presets.scene import choose_views, distillation, photometric, radiance_scene, scene_images, student

# A scene's photographs are decoded by packages that no other preset needs: loaded when it is first asked for.
_OF_SCENES = ("choose_views", "distillation", "photometric", "radiance_scene", "scene_images", "student")


def __getattr__(name: str) -> Any:
    if name == "scene" or name in _OF_SCENES:
        of_scenes = importlib.import_module("neufield.presets.scene")
        return of_scenes if name == "scene" else getattr(of_scenes, name)
    raise AttributeError(f"module 'neufield.presets' has no attribute '{name}'")
