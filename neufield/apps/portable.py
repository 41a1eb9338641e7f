"""``neufield export`` of a whole field, whatever it holds: the forms that others run, load or show."""

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path

from neufield.apps.console import Terminal
from neufield.apps.options import ExportAny
from neufield.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Form:
    """A kind of file: its ``suffix``, and what writes it, a ``function`` of a ``module`` of neufield.apps."""

    suffix: str
    module: str
    function: str

    def write(self, options: ExportAny, path: Path, console: Terminal) -> None:
        """Write the field in ``path`` to where the options say, or beside it."""
        out = path.with_name(f"exported{self.suffix}") if options.out is None else options.out
        if out.exists() and out.samefile(path):
            raise ConfigError(f"{out} is the field itself; give what is to be written another name")
        write = getattr(importlib.import_module(f"neufield.apps.{self.module}"), self.function)
        write(options, path, out, console)


FORMS: Mapping[str, Form] = {
    "weights": Form(".safetensors", "weights", "export_weights"),
    "onnx": Form(".onnx", "programs", "export_onnx"),
    "torch": Form(".pt2", "programs", "export_torch"),
    "html": Form(".html", "picture_page", "export_page"),
    "ingp": Form(".ingp", "import_model", "export_ingp"),
}


def form_of(options: ExportAny) -> Form | None:
    """The form that ``--to``, or the suffix of what is to be written, asks for; None: a file of the field's own kind.

    Raises ConfigError where the two contradict each other.
    """
    suffix = None if options.out is None else options.out.suffix.lower()
    if options.to is None:
        form = next((form for form in FORMS.values() if form.suffix == suffix), None)
        if suffix is None:
            raise ConfigError(
                "neufield export needs the file to write behind the field, or --to with what it is to be, for "
                f"instance --to {next(iter(FORMS))}"
            )
    else:
        form = FORMS[options.to]
        if suffix not in (None, form.suffix):
            raise ConfigError(f"--to {options.to} writes a {form.suffix}, but {options.out} was asked for; rename it")
    if options.storage is not None and form is not FORMS["weights"]:
        raise ConfigError(f"--storage is for --to weights, a {FORMS['weights'].suffix}; leave it out, or write that")
    return form
