"""Makes what is learned of each image beside the field: codes, exposures, poses."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from neufield.core.config import build, describe
from neufield.core.edits import Edit, edited
from neufield.core.errors import ConfigError
from neufield.core.interfaces import RadianceField
from neufield.formats.scene import Frame
from neufield.parts import PARTS
from neufield.presets.facts import RadianceFacts
from neufield.presets.registry import Preset, find, names
from neufield.renderers import AppearanceEmbedding, Exposure, PoseRefinement, SceneBounds

_FLAGS = {"appearance": "--appearance K", "exposure": "--exposure", "refinement": "--refine-cameras"}


class PerImage(NamedTuple):
    """The parts that were asked for."""

    appearance: AppearanceEmbedding | None = None
    exposure: Exposure | None = None
    refinement: PoseRefinement | None = None

    @property
    def code_dim(self) -> int:
        """How many numbers an image's code has; 0 where there are none."""
        return 0 if self.appearance is None else self.appearance.dim


def per_image(
    frames: Sequence[Frame],
    bounds: SceneBounds,
    edits: Sequence[Edit],
    appearance: int = 0,
    exposure: bool = False,
    refine_cameras: bool = False,
) -> tuple[PerImage, list[Edit]]:
    """The parts that are asked for, with those of the ``edits`` that are theirs; and the edits that are the field's.

    ``appearance`` is how many numbers the code of an image has, 0 for none.
    """
    parts: dict[str, Any] = {}
    if appearance:
        parts["appearance"] = AppearanceEmbedding(len(frames), appearance)
    if exposure:
        parts["exposure"] = Exposure(len(frames))
    if refine_cameras:
        positions = torch.stack([frame.camera.to_world[:3, 3] for frame in frames])
        distance = float((positions - positions.new_tensor(bounds.center)).norm(dim=1).mean())
        parts["refinement"] = PoseRefinement(len(frames), bounds.center, distance or 1.0)
    configs = {name: describe(part) for name, part in parts.items()}
    others = []
    for edit in edits:
        name = edit.path.partition(".")[0]
        if name not in _FLAGS:
            others.append(edit)
            continue
        if name not in configs:
            raise ConfigError(f"{edit.origin or edit} needs {_FLAGS[name]}")
        configs = edited(configs, [edit], PARTS)
    return PerImage(**{name: build(config, PARTS, name) for name, config in configs.items()}), others


def check_appearance(appearance: int, preset: Preset[RadianceFacts, RadianceField]) -> None:
    """Refuse codes of images for a preset whose colors take none."""
    if appearance < 0:
        raise ConfigError(f"--appearance is {appearance}, but a code has 1 number or more; 0 is none")
    if appearance and not preset.takes("code_dim"):
        coded = [name for name in names("radiance") if find(name, "radiance").takes("code_dim")]
        raise ConfigError(
            f"--appearance was given, but the colors of --preset {preset.name} take no codes; "
            f"those of {' and '.join(coded)} do"
        )
