"""``neufield import``: what another program trained as a field of ours; and an instant-ngp snapshot of one of ours."""

from pathlib import Path

from neufield.apps.console import Terminal
from neufield.apps.nerf.load_model import load_model
from neufield.apps.options import ExportAny, Import
from neufield.core.domain import Axis, Domain
from neufield.core.errors import ConfigError, DataError
from neufield.core.signal_info import SignalInfo, digest_of
from neufield.field_files import save
from neufield.interchange import read_ingp, write_ingp
from neufield.renderers import RadianceScene

_SUFFIXES = (".ingp", ".msgpack")


def import_model(options: Import) -> None:
    """Run the whole command."""
    console = Terminal()
    file = options.file
    if file.suffix.lower() == ".ckpt":
        raise DataError(
            f"{file} is a checkpoint of nerfstudio, a pickle in which neufield reads nothing; train the scene here, "
            "with neufield nerf train, or give an instant-ngp snapshot of it"
        )
    if file.suffix.lower() not in _SUFFIXES:
        raise DataError(f"{file} is no {' or '.join(_SUFFIXES)}, a snapshot of instant-ngp; give one of these")
    out = file.with_suffix(".safetensors") if options.out is None else options.out
    if out.suffix.lower() != ".safetensors":
        raise ConfigError(f"{out} is no .safetensors, but that is what is written; rename it")
    field = read_ingp(file)
    signal = _scene_info(field, file) if isinstance(field, RadianceScene) else None
    save(field, out, signal=signal, imported_from=file.name)
    numbers = sum(parameter.numel() for parameter in field.parameters())
    console.print(f"{out}: {numbers:,} parameters of {file}", soft_wrap=True)


def export_ingp(options: ExportAny, path: Path, out: Path, console: Terminal) -> None:
    """Write the radiance field in ``path`` as an instant-ngp snapshot."""
    write_ingp(load_model(path, options.device, options.backend), out)
    console.print(f"{out}: {out.stat().st_size:,} bytes", soft_wrap=True)


def _scene_info(scene: RadianceScene, file: Path) -> SignalInfo:
    width, height = scene.cameras.size[0].tolist()
    axes = (("image", scene.cameras.count, ""), ("column", width, "px"), ("row", height, "px"))
    domain = Domain(tuple(Axis(name, 0.0, float(stop), unit) for name, stop, unit in axes))
    content = file.read_bytes()
    return SignalInfo("scene", file.name, domain, 3, len(content), digest_of(content), {"dialect": "instant-ngp"})
