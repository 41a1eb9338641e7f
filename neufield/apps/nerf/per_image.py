"""What ``neufield nerf train`` learns of each photograph beside the field: codes, exposures, poses."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from neufield.apps.options import NerfTrain
from neufield.core.config import build, describe, with_setting
from neufield.core.errors import ConfigError
from neufield.parts import PARTS
from neufield.presets_radiance import CODED, RADIANCE_PRESETS
from neufield.renderers import AppearanceEmbedding, Exposure, PoseRefinement, SceneBounds
from neufield.signals.scene import Frame

_FLAGS = {"appearance": "--appearance K", "exposure": "--exposure", "refinement": "--refine-cameras"}


class PerImage(NamedTuple):
    """The parts that were asked for."""

    appearance: AppearanceEmbedding | None = None
    exposure: Exposure | None = None
    refinement: PoseRefinement | None = None

    def field_options(self) -> dict[str, int]:
        """What the radiance field's preset must be told."""
        return {} if self.appearance is None else {"code_dim": self.appearance.dim}


def per_image(
    options: NerfTrain, settings: Sequence[str], frames: Sequence[Frame], space: SceneBounds
) -> tuple[PerImage, list[str]]:
    """What ``options`` ask for, by the ``settings`` that are for it, and the settings left for the radiance field."""
    _check_appearance(options)
    positions = torch.stack([frame.camera.to_world[:3, 3] for frame in frames])
    distance = float((positions - positions.new_tensor(space.center)).norm(dim=1).mean())
    parts: dict[str, Any] = {}
    if options.appearance:
        parts["appearance"] = AppearanceEmbedding(len(frames), options.appearance)
    if options.exposure:
        parts["exposure"] = Exposure(len(frames))
    if options.refine_cameras:
        parts["refinement"] = PoseRefinement(len(frames), space.center, distance or 1.0)
    configs = {name: describe(part) for name, part in parts.items()}
    others = []
    for setting in settings:
        name = setting.partition(".")[0]
        if name not in _FLAGS:
            others.append(setting)
            continue
        if name not in configs:
            raise ConfigError(f"--set {setting} needs {_FLAGS[name]}")
        configs = with_setting(configs, setting, PARTS)
    return PerImage(**{name: build(config, PARTS, name) for name, config in configs.items()}), others


def _check_appearance(options: NerfTrain) -> None:
    if options.appearance < 0:
        raise ConfigError(f"--appearance is {options.appearance}, but a code has 1 number or more; 0 is none")
    if options.appearance and options.preset in RADIANCE_PRESETS and options.preset not in CODED:
        raise ConfigError(
            f"--appearance was given, but the colours of --preset {options.preset} take no codes; "
            f"those of {' and '.join(CODED)} do"
        )
