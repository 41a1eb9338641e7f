"""``neufield distill``: a trained field in, another architecture of it out."""

import dataclasses
from pathlib import Path

from neufield.apps.console import Terminal
from neufield.apps.options.distill import Distill
from neufield.apps.resolve import choose_device, set_deterministic
from neufield.apps.run import Run, carry_out
from neufield.apps.run_folder import RunFolder, check_run, check_seed, default_folder, field_of
from neufield.apps.tasks import kind_of_field
from neufield.core.errors import ConfigError
from neufield.field_files import load_signal


def distill(options: Distill) -> None:
    """Run the whole command. Every wrong option is found before the first step."""
    console = Terminal()
    check_run(options.steps, options.time_budget, options.save_every, options.out, options.resume, options.overwrite)
    check_seed(options.seed)
    if options.release_ranking and "camera" not in options.active:
        raise ConfigError("--release-ranking is a way of --active camera; give that, too, or leave it out")
    device = choose_device(options.device)
    if options.deterministic:
        set_deterministic(device)
    path = field_of(options.teacher)
    info = load_signal(path)
    options = dataclasses.replace(options, teacher=path)
    task = kind_of_field(info, path).distill(options, info, device, console)
    run = Run(task, options, options.seed)
    folder = RunFolder(options.out or default_folder(f"{Path(info.name).stem}-{options.to}"))
    with folder.claimed(options.resume, options.overwrite):
        carry_out(run, folder, console)
