"""``neufield fit``: a signal in, a field out, and an honest account of it."""

import dataclasses
import math

from neufield.apps.console import Terminal
from neufield.apps.fresh import FreshSearch
from neufield.apps.options import Fit
from neufield.apps.resolve import choose_device, set_deterministic
from neufield.apps.run import Run, carry_out
from neufield.apps.run_folder import RunFolder, check_run, check_seed, default_folder
from neufield.apps.settings import parse_settings
from neufield.apps.tasks import kind_of_file
from neufield.core.errors import ConfigError


def fit_signal(options: Fit) -> None:
    """Run the whole command. Every wrong option is found before the first step."""
    console = Terminal()
    check_run(options.steps, options.time_budget, options.save_every, options.out, options.resume, options.overwrite)
    check_seed(options.seed)
    if options.target_psnr is not None and not math.isfinite(options.target_psnr):
        raise ConfigError(f"--target-psnr is {options.target_psnr}, but it must be a number of dB, for instance 40")
    device = choose_device(options.device)
    if options.deterministic:
        set_deterministic(device)
    subject = kind_of_file(options.file).open(options.file, options, device, console)
    edits = parse_settings(options.settings)
    task = subject.task(subject.wish(options.preset, edits), options.seed)
    run = Run(task, options, options.seed, options.target_psnr)
    selecting = FreshSearch.of(options, subject, edits)
    folder = RunFolder(options.out or default_folder(subject.name))
    with folder.claimed(options.resume, options.overwrite):
        if selecting is not None:
            chosen = selecting.run(console)
            task = subject.task(selecting.wish(chosen["chosen"]), options.seed)
            task = dataclasses.replace(task, facts={**task.facts, "fresh": chosen})
            run = Run(task, options, options.seed, options.target_psnr)
        carry_out(run, folder, console)
