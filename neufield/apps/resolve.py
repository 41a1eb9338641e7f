"""What the fit app chooses where the user did not: field, device, and their reasons."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from neufield import presets
from neufield.core.edits import Edit
from neufield.core.on_device import usable_device
from neufield.fields import NeuralField
from neufield.signals.image import Image

_REFERENCE_PIXELS = 768 * 512  # the size at which the presets' steps were calibrated


def choose_field(
    image: Image,
    preset: str,
    edits: Sequence[Edit],
    steps: int | None,
    generator: torch.Generator,
    facts: presets.SignalFacts | None = None,
) -> NeuralField:
    """The preset's field for this picture, with the user's ``edits``, and with its recipe fitted to the picture.

    ``facts`` are what the preset is told of the picture, where that is not what there is.
    """
    if preset.endswith(".json"):
        field = presets.from_tcnn_config(Path(preset), 2, image.channels, generator)
    else:
        field = presets.find(preset)(facts or facts_of(image), generator)
    # The picture's own choices come first, so that the user's can overrule them.
    chosen = [Edit("recipe.steps", _steps(field.recipe.steps, image))]
    if image.facts.peak != 1.0:  # high dynamic range: relative error, and no squashing to [0, 1]
        chosen += [Edit("recipe.loss", "relative_l2"), Edit("network.output_activation", "none")]
    asked = [] if steps is None else [Edit("recipe.steps", steps)]
    field = presets.customize(field, [*chosen, *edits, *asked], generator)
    field.init_from_signal(image, generator)
    return field


def choose_size(image: Image, preset: str, request: presets.PresetRequest, n_params: int) -> presets.PresetRequest:
    """``request`` changed so that the preset's field has about ``n_params`` parameters."""

    def make(request: presets.PresetRequest) -> NeuralField:
        return choose_field(image, preset, request.edits, None, torch.Generator().manual_seed(0), request.facts)

    knobs = presets.WIDTH if preset.endswith(".json") else presets.find(preset).sizes
    return presets.resized(preset, make, request, knobs, n_params)


def facts_of(image: Image) -> presets.SignalFacts:
    """What a preset may know of a picture."""
    return presets.SignalFacts(2, image.channels, image.shape, image.source_bytes)


def choose_device(name: str) -> torch.device:
    """The named device, or the best there is."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return usable_device(name)


def choose_precision(device: torch.device) -> str:
    """The precision of matrix products that nobody chose: bfloat16 where a GPU multiplies it, with float32's range."""
    able = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return "bf16" if able else "fp32"


def set_deterministic(device: torch.device) -> None:
    """Have ``device`` add numbers up in the same order every run, at the cost of time; a CPU does anyway.

    Our kernels obey; an operator of PyTorch that has no such way is named in a warning, and the run goes on.
    """
    if device.type == "cpu":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS must be told before its first product
    # It takes time, for nothing: all of it is written. (A property of the module, which mypy does not see.)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)


def _steps(steps: int, image: Image) -> int:
    """Larger pictures get more steps, by the square root: a pixel of theirs is seen less often, but says less."""
    ratio = math.prod(image.shape) / _REFERENCE_PIXELS
    return round(steps * max(1.0, math.sqrt(ratio)))
