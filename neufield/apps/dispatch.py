"""``neufield render``, ``view`` and ``export``: each does what suits the kind of signal that a field's file holds."""

import dataclasses

from neufield.apps.console import Terminal
from neufield.apps.options import Export, ExportAny, Render, View
from neufield.apps.options.shared import SurfaceOptions
from neufield.apps.portable import form_of
from neufield.apps.refuse import refuse
from neufield.apps.run_folder import field_of
from neufield.apps.tasks import kind_of_field
from neufield.field_files import load_signal


def render_field(options: Render) -> None:
    """Draw what the file says it holds, as its kind is drawn."""
    path = field_of(options.field)
    info = load_signal(path)
    kind_of_field(info, path).render(dataclasses.replace(options, field=path), info, Terminal())


def view_field(options: View) -> None:
    """Show what the file says it holds, as its kind is shown."""
    path = field_of(options.field)
    info = load_signal(path)
    kind_of_field(info, path).view(dataclasses.replace(options, field=path), info, Terminal())


def export_field(options: ExportAny) -> None:
    """Write what the file says it holds as a file of its kind, or the whole field in one of the forms that all have."""
    form = form_of(options)
    path = field_of(options.field)
    if form is not None:
        refuse(options, SurfaceOptions, f"--to {options.to or form.suffix} writes a whole field", "surfaces")
        form.write(options, path, Terminal())
        return
    own = {field.name: getattr(options, field.name) for field in dataclasses.fields(Export)}
    info = load_signal(path)
    kind_of_field(info, path).export(Export(**own | {"field": path}), info, Terminal())
