"""``neufield fit``: a picture in, a field out, and an honest account of it."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import neufield
from neufield.apps import pictures
from neufield.apps.choices import choose_device, choose_field
from neufield.apps.fresh import Selecting
from neufield.apps.options import Fit
from neufield.apps.progress import Live
from neufield.apps.run_folder import RunFolder, check_run, default_folder
from neufield.core.config import describe
from neufield.core.errors import ConfigError
from neufield.core.files import write_atomically
from neufield.fields import NeuralField
from neufield.fitting import FitState, count_parameters, fit, start
from neufield.kernels.dispatch import use_backend
from neufield.parts import load, save
from neufield.signals.image import Image, render, suffix_for


def fit_picture(options: Fit) -> None:
    """Run the whole command. Every wrong option is found before the first step."""
    console = Console(highlight=False)
    check_run(options.steps, options.time_budget, options.save_every, options.out, options.resume, options.overwrite)
    if options.target_psnr is not None and not math.isfinite(options.target_psnr):
        raise ConfigError(f"--target-psnr is {options.target_psnr}, but it must be a number of dB, for instance 40")
    device = choose_device(options.device)
    image = Image(options.file, options.sampling)
    for note in image.notes:
        console.print(f"note: {note}", style="yellow")
    settings = [setting for group in options.settings for setting in group]
    generator = torch.Generator().manual_seed(options.seed)
    field = choose_field(image, options.preset, settings, options.steps, generator).to(device)
    backend = use_backend(field, options.backend, device)
    selecting = Selecting.of(options, image, settings, device)
    folder = RunFolder(options.out or default_folder(image.name))
    folder.prepare(options.resume, options.overwrite)
    how: dict[str, Any] = {"backend": backend, "device": str(device)}
    if selecting is not None:
        how["fresh"] = selecting.run(console)
        field = selecting.field(how["fresh"]["chosen"])
        use_backend(field, options.backend, device)

    identity = _identity(options, field, image)
    state = start(field, field.recipe, options.seed)
    resumed = options.resume and folder.restore(state, identity)
    _announce(
        console, options, field, image, f"{device} ({backend}, {options.precision})", state.step if resumed else 0
    )
    state = _train(options, field, image, state, folder, identity, console)
    result = _finish(options, field, image, state, folder, how)
    _report(console, result, folder)


def _identity(options: Fit, field: NeuralField, image: Image) -> dict[str, Any]:
    return {
        "picture": {"name": image.name, "bytes": image.source_bytes, **dataclasses.asdict(image.facts)},
        "field": describe(field),
        "seed": options.seed,
        "precision": options.precision,
        "sampling": options.sampling,
    }


def _announce(console: Console, options: Fit, field: NeuralField, image: Image, where: str, done: int) -> None:
    facts = image.facts
    kind = {1: "grey", 2: "grey + alpha", 3: "RGB", 4: "RGBA"}[facts.channels]
    console.print(f"{image.name}: {facts.width} x {facts.height} {kind} {facts.dtype}, {_bytes(image.source_bytes)}")
    length = f"{field.recipe.steps} steps"
    if options.time_budget is not None:
        length = f"{options.time_budget:g} s, at most {length}"
    console.print(f"{options.preset}: {count_parameters(field):,} parameters on {where}, {length}")
    if done:
        console.print(f"resumed at step {done}")


def _train(
    options: Fit, field: NeuralField, image: Image, state: FitState, folder: RunFolder, identity: dict, console: Console
) -> FitState:
    recipe = field.recipe
    if options.time_budget is not None and options.steps is None:
        recipe = dataclasses.replace(recipe, steps=1_000_000)  # the time alone decides
    with Live(console, recipe.steps, options.time_budget, lambda _: recipe.batch_size) as live:
        return fit(
            field,
            image,
            recipe,
            time_budget=options.time_budget,
            target_psnr=options.target_psnr,
            evaluate_every=max(1, field.recipe.steps // 20),
            precision=options.precision,
            hooks=[live.show, folder.saving(identity, options.save_every)],
            state=state,
        )


def _finish(
    options: Fit, field: NeuralField, image: Image, state: FitState, folder: RunFolder, how: dict[str, Any]
) -> dict[str, Any]:
    """Write everything. The numbers are those of the field as the file gives it back, not of the one in memory."""
    facts = dataclasses.asdict(image.facts)
    with state.average.applied(field):
        save(field, folder.field, signal={"kind": "image", "name": image.name, **facts}, seed=options.seed)
    device = next(field.parameters()).device
    written = load(folder.field).to(device)
    use_backend(written, options.backend, device)

    @torch.no_grad()
    def predict(x: torch.Tensor) -> torch.Tensor:
        return written(x.to(device)).float().cpu()

    metrics = image.score(predict)
    values = render(predict, image.facts)
    suffix = suffix_for(image.facts)
    image.write(folder.path / f"reconstruction{suffix}", values)
    write_atomically(folder.path / "comparison.png", pictures.comparison(image, values, metrics["psnr"]).save)
    write_atomically(folder.path / "curve.png", pictures.curve(state.history).save)
    result = {
        **metrics,
        "seconds": round(state.seconds, 3),
        "steps": state.step,
        "stopped_by": state.stopped,
        "n_params": count_parameters(field),
        "field_bytes": folder.field.stat().st_size,
        "source_bytes": image.source_bytes,
        "source": str(options.file),
        "preset": options.preset,
        "width": image.facts.width,
        "height": image.facts.height,
        "channels": image.facts.channels,
        "peak": image.facts.peak,
        **how,
        "precision": options.precision,
        "threads": torch.get_num_threads(),
        "seed": options.seed,
        "version": neufield.__version__,
        "torch_version": torch.__version__,
    }
    folder.write_log(state.history)
    folder.write_result(result)
    return result


def _report(console: Console, result: dict[str, Any], folder: RunFolder) -> None:
    why = {"steps": "", "target-psnr": ", the target was reached", "time-budget": ", the time was up"}
    console.print(
        f"[bold]PSNR {result['psnr']:.2f} dB, SSIM {result['ssim']:.4f}[/bold] after {result['steps']} steps, "
        f"{result['seconds']:.1f} s{why[result['stopped_by']]}"
    )
    ratio = result["field_bytes"] / max(1, result["source_bytes"])
    console.print(
        f"field {_bytes(result['field_bytes'])}, picture file {_bytes(result['source_bytes'])} ({ratio:.2f} times)"
    )
    console.print(
        f"in {_relative(folder.path)}: {', '.join(sorted(p.name for p in folder.path.iterdir()))}", soft_wrap=True
    )
    console.print(f"see it larger: neufield render {_relative(folder.field)} --scale 4 -o large.png", soft_wrap=True)


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
