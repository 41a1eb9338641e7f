"""The commands: how they are parsed, and which function carries out which. Parsing needs neither torch nor pictures."""

import importlib
from collections.abc import Callable
from typing import Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes

from neufield.apps.options import (
    Compare,
    Distill,
    Doctor,
    ExportAny,
    Fit,
    Import,
    Info,
    NerfConvert,
    NerfDoctor,
    NerfEval,
    NerfExport,
    NerfProcess,
    NerfRender,
    NerfTrain,
    NerfView,
    Render,
    View,
)

Nerf = Annotated[
    Annotated[NerfProcess, tyro.conf.subcommand("process")]
    | Annotated[NerfTrain, tyro.conf.subcommand("train")]
    | Annotated[NerfEval, tyro.conf.subcommand("eval")]
    | Annotated[NerfView, tyro.conf.subcommand("view")]
    | Annotated[NerfRender, tyro.conf.subcommand("render")]
    | Annotated[NerfExport, tyro.conf.subcommand("export")]
    | Annotated[NerfDoctor, tyro.conf.subcommand("doctor")]
    | Annotated[NerfConvert, tyro.conf.subcommand("convert")],
    tyro.conf.subcommand("nerf", description="Radiance fields: posed photographs in, novel views out."),
]
Command = (
    Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Distill, tyro.conf.subcommand("distill")]
    | Annotated[Render, tyro.conf.subcommand("render")]
    | Annotated[View, tyro.conf.subcommand("view")]
    | Annotated[ExportAny, tyro.conf.subcommand("export")]
    | Annotated[Import, tyro.conf.subcommand("import")]
    | Nerf
    | Annotated[Info, tyro.conf.subcommand("info")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)
# Modules of neufield.apps, which are imported when they are needed: each command pays only for what it uses.
FUNCTIONS: dict[type, tuple[str, str]] = {
    Fit: ("fit", "fit_signal"),
    Compare: ("compare", "compare"),
    Distill: ("distill", "distill"),
    Render: ("dispatch", "render_field"),
    View: ("dispatch", "view_field"),
    ExportAny: ("dispatch", "export_field"),
    NerfProcess: ("nerf.process", "process"),
    NerfTrain: ("nerf.train", "train_scene"),
    NerfEval: ("nerf.evaluate", "evaluate"),
    NerfView: ("nerf.viewer", "view_field"),
    NerfRender: ("nerf.render_path", "render_path"),
    NerfExport: ("nerf.export", "export"),
    NerfDoctor: ("nerf.scenes", "examine"),
    NerfConvert: ("nerf.scenes", "convert"),
    Import: ("import_model", "import_model"),
    Info: ("info", "print_info"),
    Doctor: ("doctor", "print_report"),
}


def parse(arguments: list[str] | None) -> Any:
    """The command that is asked for; what is none ends the program with tyro's account of it."""
    return tyro.cli(
        OmitArgPrefixes[Command],  # type: ignore[misc]
        prog="neufield",
        description="Neural fields: fit a signal, render it at any size, see what is inside.",
        args=arguments,
    )


def function_of(command: Any) -> Callable[[Any], None]:
    """What carries it out."""
    module, name = FUNCTIONS[type(command)]
    return getattr(importlib.import_module(f"neufield.apps.{module}"), name)
