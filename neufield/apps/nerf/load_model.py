"""A trained radiance field, ready for use."""

from pathlib import Path

from neufield.apps.load_field import load_field
from neufield.apps.run_folder import field_of
from neufield.core.errors import DataError
from neufield.renderers import RadianceScene


def load_model(path: Path, device: str, backend: str) -> RadianceScene:
    """The model in ``path``, a ``field.safetensors`` or its run's folder, on ``device`` and run by ``backend``."""
    path = field_of(path)
    model = load_field(path, device, backend)
    if not isinstance(model, RadianceScene):
        raise DataError(f"{path} holds a field that is not of a photographed scene; give one of neufield nerf train")
    return model
