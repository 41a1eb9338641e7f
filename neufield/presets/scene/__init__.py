"""A scene's model, its images and the objective that trains it: here the rooms below meet."""

from neufield.presets.scene.background import check_rays, choose_background, find_behind
from neufield.presets.scene.bounds import choose_bounds
from neufield.presets.scene.memory_plan import MemoryPlan, plan_memory
from neufield.presets.scene.model import radiance_scene
from neufield.presets.scene.objective import photometric
from neufield.presets.scene.students import student
from neufield.presets.scene.teaching import Distillation, choose_poses, distillation
from neufield.presets.scene.views import Views, choose_views, scene_images

__all__ = [
    "Distillation",
    "MemoryPlan",
    "Views",
    "check_rays",
    "choose_background",
    "choose_bounds",
    "choose_poses",
    "choose_views",
    "distillation",
    "find_behind",
    "photometric",
    "plan_memory",
    "radiance_scene",
    "scene_images",
    "student",
]
