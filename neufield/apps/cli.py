"""The command line. Parsing needs neither torch nor an image library, so ``neufield --help`` is quick."""

import sys
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import OmitArgPrefixes

import neufield
from neufield.apps.console import complain
from neufield.apps.options import (
    Compare,
    Doctor,
    Fit,
    Info,
    Limits,
    NerfConvert,
    NerfDoctor,
    NerfEval,
    NerfExport,
    NerfProcess,
    NerfRender,
    NerfTrain,
    NerfView,
    Render,
)
from neufield.core.errors import NeufieldError
from neufield.core.files import check_name
from neufield.core.memory import budget_of, explain_exhaustion, keep_freed_memory

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
    | Annotated[Render, tyro.conf.subcommand("render")]
    | Nerf
    | Annotated[Info, tyro.conf.subcommand("info")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


def run(command: Command) -> None:
    """Carry out a parsed command."""
    for value in vars(command).values():
        if isinstance(value, (str, Path)):
            check_name(value)
    keep_freed_memory()
    # Imported here: each command pays only for what it uses.
    if isinstance(command, Fit):
        from neufield.apps.fit import fit_picture

        fit_picture(command)
    elif isinstance(command, Compare):
        from neufield.apps.compare import compare

        compare(command)
    elif isinstance(command, Render):
        from neufield.apps.render import render_field

        render_field(command)
    elif isinstance(command, NerfProcess):
        from neufield.apps.nerf.process import process

        process(command)
    elif isinstance(command, NerfTrain):
        from neufield.apps.nerf.train import train_scene

        train_scene(command)
    elif isinstance(command, NerfEval):
        from neufield.apps.nerf.evaluate import evaluate

        evaluate(command)
    elif isinstance(command, NerfView):
        from neufield.apps.nerf.viewer import view_field

        view_field(command)
    elif isinstance(command, NerfRender):
        from neufield.apps.nerf.films import render_path

        render_path(command)
    elif isinstance(command, NerfExport):
        from neufield.apps.nerf.export import export

        export(command)
    elif isinstance(command, NerfDoctor):
        from neufield.apps.nerf.scenes import examine

        examine(command)
    elif isinstance(command, NerfConvert):
        from neufield.apps.nerf.scenes import convert

        convert(command)
    elif isinstance(command, Info):
        from neufield.apps.info import print_info

        print_info(command)
    else:
        from neufield.apps.doctor import print_report

        print_report()


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``neufield``. What the user can mend ends in one sentence and exit code 2."""
    if (sys.argv[1:] if arguments is None else arguments) == ["--version"]:
        print(f"neufield {neufield.__version__}")
        return
    try:
        command = tyro.cli(
            OmitArgPrefixes[Command],  # type: ignore[misc]
            prog="neufield",
            description="Neural fields: fit a signal, render it at any size, see what is inside.",
            args=arguments,
        )
        with budget_of(command.memory_budget if isinstance(command, Limits) else None):
            run(command)
    except NeufieldError as error:
        complain(str(error))
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        sentence = explain_exhaustion(error)
        if sentence is None:
            raise
        complain(sentence)
        sys.exit(2)
    except KeyboardInterrupt:
        complain("stopped; a fit goes on from its last save with --resume and the same --out")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)


if __name__ == "__main__":
    main()
