"""``neufield nerf train``: a scene's photographs in, a radiance field out, judged by views it has not seen."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console

import neufield
from neufield.apps import pictures
from neufield.apps.choices import choose_device
from neufield.apps.nerf import setup, views
from neufield.apps.nerf.viewer import Viewer
from neufield.apps.options import NerfTrain
from neufield.apps.progress import Live
from neufield.apps.run_folder import RunFolder, check_run, default_folder
from neufield.core.config import describe
from neufield.core.errors import ConfigError
from neufield.core.files import write_atomically
from neufield.core.protocol import Protocol
from neufield.core.protocol import protocol as find_protocol
from neufield.fitting import FitState, Photometric, count_parameters, fit, start
from neufield.kernels.dispatch import use_backend
from neufield.parts import load, save
from neufield.renderers import PosedField
from neufield.signals.scene import Scene

_NEVER = 2**31  # an evaluation would be taken from the time
_EVALUATE_EVERY = 100  # steps, at least


def train_scene(options: NerfTrain) -> None:
    """Run the whole command. Every wrong option is found before the first step."""
    console = Console(highlight=False)
    check_run(options.steps, options.time_budget, options.save_every, options.out, options.resume, options.overwrite)
    if options.viewer_port is not None and not options.viewer:
        raise ConfigError("--viewer-port needs --viewer")
    judged_by = find_protocol(options.protocol)
    device = choose_device(options.device)
    scene, split = setup.open_scene(options.scene, console)
    space = setup.choose_space(scene, options.box)
    settings = [setting for group in options.settings for setting in group]
    model = setup.build_model(split, space, options.preset, settings, options.resolution, options.seed).to(device)
    backend = use_backend(model, options.backend, device)
    if options.steps is not None:
        model.recipe = dataclasses.replace(model.recipe, steps=options.steps)
    folder = RunFolder(options.out or default_folder(options.scene.resolve().name))
    folder.prepare(options.resume, options.overwrite)

    photographs = setup.load(split)
    console.print(
        f"{options.scene}: {scene.dialect}, {len(split.train)} photographs to train on, {len(split.test)} to test by, "
        f"{photographs.nbytes / 1e6:.0f} MB in memory"
    )
    identity = {
        "field": describe(model),
        "recipe": describe(model.recipe),
        "background": options.background,
        "seed": options.seed,
        "pixels": photographs.nbytes,
    }
    state = start(model, model.recipe, options.seed)
    resumed = options.resume and folder.restore(state, identity)
    length = f"{model.recipe.steps} steps" if options.time_budget is None else f"{options.time_budget:g} s"
    where = f"{device} ({backend})"
    console.print(f"{options.preset}: {count_parameters(model):,} parameters on {where}, {length}")
    if resumed:
        console.print(f"resumed at step {state.step}")
    viewer = None
    if options.viewer:
        viewer = Viewer(model, options.viewer_host, options.viewer_port, True, console)
    state = _train(options, model, photographs, state, folder, identity, viewer, console)

    _finish(
        options, scene, split, model, state, folder, judged_by, {"backend": backend, "device": str(device)}, console
    )
    if viewer is not None:
        with state.average.applied(model):
            viewer.stay()


def _train(
    options: NerfTrain,
    model: PosedField,
    photographs: Any,
    state: FitState,
    folder: RunFolder,
    identity: dict,
    viewer: Viewer | None,
    console: Console,
) -> FitState:
    recipe = model.recipe
    if options.time_budget is not None and options.steps is None:
        recipe = dataclasses.replace(recipe, steps=1_000_000)  # the time alone decides
    hooks: list[Callable[[FitState], None]] = [folder.saving(identity, options.save_every)]
    if viewer is not None:
        hooks.append(viewer.painter.between_steps)
    with Live(console, recipe.steps, options.time_budget, lambda row: row["rays"], "rays") as live:
        return fit(
            model,
            photographs,
            recipe,
            objective=Photometric(model.view, recipe.loss, options.background),
            time_budget=options.time_budget,
            evaluate_every=_NEVER if options.time_budget else max(_EVALUATE_EVERY, recipe.steps // 10),
            hooks=[live.show, *hooks],
            state=state,
            clock=viewer.painter.clock if viewer is not None else time.perf_counter,
        )


def _finish(
    options: NerfTrain,
    scene: Scene,
    split: setup.Views,
    model: PosedField,
    state: FitState,
    folder: RunFolder,
    judged_by: Protocol,
    how: dict[str, str],
    console: Console,
) -> None:
    """Write everything. The views are those of the model as the file gives it back, not of the one in memory."""
    with state.average.applied(model):
        save(model, folder.field, signal={"kind": "scene", "name": options.scene.name, "dialect": scene.dialect})
    device = next(model.parameters()).device
    written = load(folder.field).to(device)
    assert isinstance(written, PosedField)
    use_backend(written, options.backend, device)
    frames, kind = (split.test, "test") if split.test else (split.train[:8], "train")
    renders = folder.path / "renders"
    renders.mkdir(exist_ok=True)
    shown: list = []

    def keep(frame: Any, rendered: views.Rendered) -> None:
        name = frame.name.replace("/", "-").rsplit(".", 1)[0] + ".png"  # folders may hold the same names
        write_atomically(renders / name, views.to_picture(views.straight(rendered.rgba)).save)
        if len(shown) < 4:
            shown.append((frame.name, views.read_photograph(frame).float() / 255, rendered))

    begun = time.perf_counter()
    scores, each = views.score_views(written, frames, judged_by, keep)
    rendering = (time.perf_counter() - begun) / len(frames)
    shown = [(f"{name}: {views.describe_scores(own)}", *rest) for (name, *rest), own in zip(shown, each, strict=False)]
    write_atomically(folder.path / "views.png", views.strip(shown).save)
    write_atomically(folder.path / "curve.png", pictures.curve(state.history).save)
    rays = sum(row["rays"] for row in state.history)
    result = {
        **scores,
        "views": kind,
        "n_views": len(frames),
        "protocol": options.protocol,
        **{f"protocol_{name}": value for name, value in dataclasses.asdict(judged_by).items()},
        "seconds": round(state.seconds, 3),
        "steps": state.step,
        "stopped_by": state.stopped,
        "rays_per_second": round(rays / max(state.seconds, 1e-9)),
        "samples_per_second": round(sum(row["marched"] for row in state.history) / max(state.seconds, 1e-9)),
        "seconds_per_view": round(rendering, 3),
        "n_params": count_parameters(model),
        "field_bytes": folder.field.stat().st_size,
        "scene": str(options.scene),
        "dialect": scene.dialect,
        "preset": options.preset,
        **how,
        "threads": torch.get_num_threads(),
        "seed": options.seed,
        "version": neufield.__version__,
        "torch_version": torch.__version__,
    }
    folder.write_log(state.history)
    folder.write_result(result)
    console.print(
        f"[bold]{views.describe_scores(scores)}[/bold], {kind} views, after {state.step} steps, {state.seconds:.1f} s, "
        f"{result['rays_per_second']:,} rays/s; {rendering:.2f} s a view"
    )
    console.print(f"in {folder.path}: {', '.join(sorted(p.name for p in folder.path.iterdir()))}", soft_wrap=True)
