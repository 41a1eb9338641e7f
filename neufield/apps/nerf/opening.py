"""A trained radiance field, ready for use."""

from pathlib import Path

from neufield.apps.opening import open_field
from neufield.apps.run_folder import field_of
from neufield.core.errors import DataError
from neufield.renderers import PosedField


def open_model(path: Path, device: str, backend: str) -> PosedField:
    """The model in ``path``, a ``field.safetensors`` or its run's folder, on ``device`` and run by ``backend``."""
    path = field_of(path)
    model = open_field(path, device, backend)
    if not isinstance(model, PosedField):
        raise DataError(f"{path} holds a field that is not of a photographed scene; give one of neufield nerf train")
    return model
