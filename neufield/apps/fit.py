"""``neufield fit``: a picture in, a field out, and an honest account of it."""

import math
from pathlib import Path
from typing import Any

import torch

from neufield.apps.console import Terminal, headline
from neufield.apps.fresh import FreshSearch
from neufield.apps.identity import picture_contents
from neufield.apps.options import Fit
from neufield.apps.picture_run import PictureRun
from neufield.apps.progress import ProgressLine
from neufield.apps.resolve import choose_device, choose_field, set_deterministic
from neufield.apps.run_folder import RunFolder, check_run, check_seed, default_folder
from neufield.apps.settings import parse_settings
from neufield.apps.threads import say_if_busy
from neufield.core.errors import ConfigError, command
from neufield.fitting import count_parameters
from neufield.metrics import describe
from neufield.signals.image import Image


def fit_picture(options: Fit) -> None:
    """Run the whole command. Every wrong option is found before the first step."""
    console = Terminal()
    check_run(options.steps, options.time_budget, options.save_every, options.out, options.resume, options.overwrite)
    check_seed(options.seed)
    if options.target_psnr is not None and not math.isfinite(options.target_psnr):
        raise ConfigError(f"--target-psnr is {options.target_psnr}, but it must be a number of dB, for instance 40")
    device = choose_device(options.device)
    if options.deterministic:
        set_deterministic(device)
    image = Image(options.file, options.sampling)
    for note in image.notes:
        console.print(f"note: {note}", style="yellow")
    edits = parse_settings(options.settings)
    generator = torch.Generator().manual_seed(options.seed)
    field = choose_field(image, options.preset, edits, options.steps, generator).to(device)
    contents = picture_contents(image)
    run = PictureRun(options, image, field, contents)
    selecting = FreshSearch.of(options, image, edits, device)
    folder = RunFolder(options.out or default_folder(image.name))
    with folder.claimed(options.resume, options.overwrite):
        if selecting is not None:
            chosen = selecting.run(console)
            run = PictureRun(options, image, selecting.field(chosen["chosen"]), contents, {"fresh": chosen})
        _train(run, folder, console)
        _report(console, run.finish(folder), folder)


def _train(run: PictureRun, folder: RunFolder, console: Terminal) -> None:
    options, recipe = run.options, run.recipe
    resumed = run.restore(folder) if options.resume else []
    _announce(console, run)
    say_if_busy(run.device, console)
    for line in resumed:
        console.print(line, soft_wrap=True)
    metric = run.image.headline
    with ProgressLine(console, recipe.steps, options.time_budget, metric, lambda _: recipe.batch_size) as live:
        run.train(folder, [live.show], evaluate_every=max(1, run.field.recipe.steps // 20))


def _announce(console: Terminal, run: PictureRun) -> None:
    options, facts = run.options, run.image.facts
    kind = {1: "grey", 2: "grey + alpha", 3: "RGB", 4: "RGBA"}[facts.channels]
    console.print(
        f"{run.image.name}: {facts.width} x {facts.height} {kind} {facts.dtype}, {_bytes(run.image.source_bytes)}"
    )
    length = f"{run.field.recipe.steps} steps"
    if options.time_budget is not None:
        length = f"{options.time_budget:g} s, at most {length}"
    where = f"{run.device} ({run.backend}, {options.precision})"
    console.print(f"{options.preset}: {count_parameters(run.field):,} parameters on {where}, {length}")


def _report(console: Terminal, result: dict[str, Any], folder: RunFolder) -> None:
    why = {"steps": "", "target": ", the target was reached", "time-budget": ", the time was up"}
    how_long = f" after {result['steps']} steps, {result['seconds']:.1f} s{why[result['stopped_by']]}"
    console.print(headline(describe(result), how_long))
    ratio = result["field_bytes"] / max(1, result["source_bytes"])
    console.print(
        f"field {_bytes(result['field_bytes'])}, picture file {_bytes(result['source_bytes'])} ({ratio:.2f} times)"
    )
    console.print(f"in {_relative(folder.path)}: {folder.contents()}", soft_wrap=True)
    larger = command("neufield", "render", _relative(folder.field), "--scale", 4, "-o", "large.png")
    console.print(f"see it larger: {larger}", soft_wrap=True)


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
