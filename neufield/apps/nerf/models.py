"""A trained model from its file, ready to be looked at."""

from pathlib import Path

from neufield.apps.choices import choose_device
from neufield.core.errors import DataError
from neufield.kernels.dispatch import use_backend
from neufield.parts import load
from neufield.renderers import PosedField


def open_model(path: Path, device: str, backend: str) -> PosedField:
    """The model in ``path``, on ``device`` and run by ``backend``."""
    model = load(path)
    if not isinstance(model, PosedField):
        raise DataError(f"{path} holds a field that is not of a photographed scene; give one of neufield nerf train")
    chosen = choose_device(device)
    model = model.to(chosen)
    use_backend(model, backend, chosen)
    return model
