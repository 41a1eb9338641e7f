"""``neufield export RUN small.safetensors``: a field's own file again, in fewer bytes."""

import math
from pathlib import Path

import torch

from neufield.apps.console import Terminal
from neufield.apps.load_field import load_field
from neufield.apps.options import ExportAny
from neufield.core.interfaces import Field, Trainable
from neufield.field_files import OWN_FACTS, load_facts, load_signal, save
from neufield.fitting.storages import rate
from neufield.renderers import RadianceScene

_POINTS, _PIXELS = 65_536, 4096  # at which the two fields are compared
_SMALLEST = "int8-zlib"


def export_weights(options: ExportAny, path: Path, out: Path, console: Terminal) -> None:
    """Write the field in ``path`` as ``--storage`` says, read it back, and say what it takes and what was lost."""
    field = load_field(path, options.device, options.backend)
    facts = load_facts(path)
    signal = load_signal(path) if "signal" in facts else None
    rest = {key: value for key, value in facts.items() if key not in OWN_FACTS}
    save(field, out, storage=options.storage or _SMALLEST, signal=signal, **rest)
    said = rate(load_facts(out), out.stat().st_size)
    console.print(f"{out}: {said}; {path} has {path.stat().st_size:,} bytes", soft_wrap=True)
    written = load_field(out, options.device, options.backend)
    if isinstance(field, (Field, RadianceScene)):  # a radiance field without cameras has no values
        console.print(_difference(field, written), soft_wrap=True)


@torch.no_grad()
def _difference(field: Field | RadianceScene, written: Trainable) -> str:
    """How far the values of two fields are apart, at random points or in random pixels, the same every time."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(field, RadianceScene):
        x, what = _pixels(field, generator), "colors of pixels"
    else:
        x, what = torch.rand(_POINTS, field.in_dim, generator=generator), "values"
    device = next(field.parameters()).device
    error = (written(x.to(device)) - field(x.to(device))).double().square().mean().sqrt().item()
    below = f", {-20 * math.log10(error):.1f} dB below 1" if error > 0 else ""
    return f"the root mean square difference of {len(x):,} {what} is {error:.2g}{below}"


def _pixels(scene: RadianceScene, generator: torch.Generator) -> torch.Tensor:
    """Random pixels (camera, column, row) of the scene's cameras."""
    cameras = torch.randint(scene.cameras.count, (_PIXELS,), generator=generator)
    size = scene.cameras.size.cpu()[cameras]
    return torch.cat([cameras.float().unsqueeze(1), torch.rand(_PIXELS, 2, generator=generator) * size], dim=1)
