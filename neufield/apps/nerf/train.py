"""``neufield nerf train``: a scene's photographs in, a radiance field out, judged by views it has not seen."""

import dataclasses
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neufield
from neufield.apps import curves
from neufield.apps.console import Terminal, headline
from neufield.apps.identity import environment, field_options, scene_contents
from neufield.apps.nerf import setup, views
from neufield.apps.nerf.eval_result import EvalResult, print_eval_result
from neufield.apps.nerf.evaluation import EvalViews, choose_judged, judge
from neufield.apps.nerf.view_logger import Throttled, ViewLogger
from neufield.apps.nerf.viewer import Viewer
from neufield.apps.options import NerfTrain
from neufield.apps.progress import ProgressLine
from neufield.apps.resolve import choose_device, choose_precision, set_deterministic
from neufield.apps.run import Length, Run
from neufield.apps.run_folder import RunFolder, check_run, check_seed, default_folder
from neufield.apps.settings import parse_settings
from neufield.apps.stopping import saved_on_ctrl_c
from neufield.apps.threads import say_if_busy
from neufield.core.errors import ConfigError, command
from neufield.core.files import sweep_temporaries, write_atomically
from neufield.fitting import Backdrop, FitState, Photometric, count_parameters, fit, grown, start
from neufield.kernels.dispatch import use_backend
from neufield.metrics import describe
from neufield.metrics import protocol as find_protocol
from neufield.parts import load, save
from neufield.presets.scene import (
    Views,
    check_rays,
    choose_background,
    choose_views,
    plan_memory,
    radiance_scene,
    scene_images,
)
from neufield.presets.scene.sampling import check_distortion, penalties
from neufield.renderers import RadianceScene
from neufield.signals.posed_images import PosedImages
from neufield.signals.scene import Frame, Scene

_NEVER = 2**31  # an evaluation would be taken from the time
_EVALUATE_EVERY = 100  # steps, at least
_SHOWN = 4  # views beside their photographs


def train_scene(options: NerfTrain) -> None:
    """Run the whole command. Every wrong option and every damaged photograph is found before the first step."""
    console = Terminal()
    check_run(options.steps, options.time_budget, options.save_every, options.out, options.resume, options.overwrite)
    check_seed(options.seed)
    if options.viewer_port is not None and not options.viewer:
        raise ConfigError("--viewer-port needs --viewer")
    find_protocol(options.protocol)
    check_distortion(options.distortion)
    device = choose_device(options.device)
    if options.deterministic:
        set_deterministic(device)
    scene = setup.open_scene(options.scene, console, options)
    split = choose_views(scene, options.hold_out)
    judged = choose_judged(scene, options.test_every, options.eval_budget) if options.eval else None
    model = radiance_scene(
        scene,
        options.preset,
        views=split,
        bounds=setup.given_bounds(scene, options),
        sampler=options.sampler,
        resolution=options.resolution,
        appearance=options.appearance,
        exposure=options.exposure,
        refine_cameras=options.refine_cameras,
        edits=parse_settings(options.settings),
        seed=options.seed,
        device=device,
    )
    backend = use_backend(model, options.backend, device)
    if options.steps is not None:
        model.recipe = dataclasses.replace(model.recipe, steps=options.steps)

    console.print(
        f"{options.scene}: {scene.dialect}, {len(split.train)} photographs to train on, {len(split.test)} to test by"
    )
    needed = plan_memory((*split.train, *split.watched), model)
    console.print(str(needed), soft_wrap=True)
    needed.check()
    photographs = scene_images(split).to(needed.place)
    if judged is not None:
        judged.check()
    backdrop = _settle(model, photographs, scene, options.background, console)
    run = _run(options, model, split, photographs, backend)
    folder = RunFolder(options.out or default_folder(options.scene.resolve().name))
    with folder.claimed(options.resume, options.overwrite):
        state = start(model, model.recipe, options.seed, photographs.device)
        numbers = count_parameters(grown(model, model.recipe.plan))
        console.print(f"{options.preset}: {numbers:,} parameters on {device} ({backend}), {run.length}")
        say_if_busy(device, console)
        for line in folder.restore(state, run) if options.resume else ():
            console.print(line, soft_wrap=True)
        watch = ViewLogger(model, split, photographs, folder.path / "views.png")
        viewer = Viewer(model, options.viewer_host, options.viewer_port, True, console) if options.viewer else None
        gc.freeze()  # what is there by now would be gone through again and again: 5 % of a short step
        try:
            state = _train(options, model, photographs, backdrop, state, folder, run, watch, viewer, console)
        finally:
            gc.unfreeze()

        written = _save(options, scene, photographs, model, state, folder)
        eval_result = None if judged is None else _judge(written, judged, folder, options.protocol, console)
        facts: dict[str, Any] = {"scene": str(options.scene), "dialect": scene.dialect}
        facts |= {"backend": backend, "device": str(device)}
        if written.cameras.refinement is not None:
            facts["cameras_turned_degrees"], facts["cameras_moved"] = written.cameras.refinement.moved()
        _report(options, model, state, folder, eval_result, facts, console)
    if viewer is not None:
        with state.average.applied(model):
            viewer.stay()
    elif judged is not None and (eval_result is None or eval_result.stopped):
        sys.exit(130)


def _settle(
    model: RadianceScene, photographs: PosedImages, scene: Scene, wish: str, console: Terminal
) -> str | Backdrop:
    """What is behind the photographs; what was found there is said, and what share of the rays leaves the box."""
    backdrop, found = choose_background(model, photographs, wish)
    if found is not None:
        console.print(str(found), soft_wrap=True)
    lost = check_rays(model, photographs, scene)
    if lost is not None:
        console.print(f"note: {lost}", style="yellow", soft_wrap=True)
    return backdrop


def _run(options: NerfTrain, model: RadianceScene, split: Views, photographs: PosedImages, backend: str) -> Run:
    choices = {"background": options.background, "distortion": options.distortion, "seed": options.seed}
    identity = {
        "contents": scene_contents((*split.train, *split.watched), photographs),
        **field_options(model),
        **choices,
        "watched": len(split.watched),
    }
    by_steps = options.time_budget is None or options.steps is not None
    given = options.steps is not None or options.time_budget is not None
    length = Length(model.recipe.steps if by_steps else None, options.time_budget, given=given)
    return Run(identity, length, environment(backend, next(model.parameters()).device))


def _train(
    options: NerfTrain,
    model: RadianceScene,
    photographs: PosedImages,
    backdrop: str | Backdrop,
    state: FitState,
    folder: RunFolder,
    run: Run,
    watch: ViewLogger,
    viewer: Viewer | None,
    console: Terminal,
) -> FitState:
    recipe = model.recipe
    if options.time_budget is not None and options.steps is None:
        recipe = dataclasses.replace(recipe, steps=1_000_000)  # the time alone decides
    hooks: list[Callable[[FitState], None]] = [folder.saving(run, options.save_every)]
    with (
        ProgressLine(
            console, recipe.steps, options.time_budget, photographs.headline, lambda row: row["rays"], "rays"
        ) as live,
        saved_on_ctrl_c(state, lambda state: folder.save_state(state, run)) as look,
    ):
        if viewer is not None:
            viewer.painter.tell = live.say
            hooks.append(viewer.painter.between_steps)
        return fit(
            model,
            photographs,
            recipe,
            objective=Photometric(recipe.loss, backdrop, penalties(model, options.distortion)),
            time_budget=options.time_budget,
            precision=choose_precision(next(model.parameters()).device),
            evaluate_every=_NEVER if options.time_budget else max(_EVALUATE_EVERY, recipe.steps // 10),
            hooks=[Throttled(watch.draw), live.show, look, *hooks],
            state=state,
        )


def _save(
    options: NerfTrain,
    scene: Scene,
    photographs: PosedImages,
    model: RadianceScene,
    state: FitState,
    folder: RunFolder,
) -> RadianceScene:
    """The model as its file gives it back: what is judged is not the one in memory."""
    with state.average.applied(model):
        facts = {"dialect": scene.dialect}
        info = dataclasses.replace(photographs.info, name=options.scene.resolve().name, facts=facts)
        save(model, folder.field, signal=info)
    device = next(model.parameters()).device
    written = load(folder.field).to(device)
    assert isinstance(written, RadianceScene)
    use_backend(written, options.backend, device)
    return written


def _judge(
    written: RadianceScene, judged: EvalViews, folder: RunFolder, protocol: str, console: Terminal
) -> EvalResult | None:
    """Score views and write them; the first few also beside their photographs."""
    renders: Path = folder.path / "renders"
    renders.mkdir(exist_ok=True)
    sweep_temporaries(renders)
    shown: dict[int, tuple[str, Tensor, Tensor]] = {}

    def keep(place: int, frame: Frame, photograph: Tensor, rendered: Tensor) -> None:
        name = frame.name.replace("/", "-").rsplit(".", 1)[0] + ".png"  # folders may hold the same names
        write_atomically(renders / name, views.to_picture(views.straight(rendered)).save)
        shown[place] = (frame.name, photograph, rendered)
        if len(shown) > _SHOWN:
            del shown[max(shown)]

    eval_result = judge(written, judged, console, keep)
    if eval_result is not None:
        labelled = [
            (f"{name}: {describe(own[protocol])}", photograph, rendered)
            for (_, (name, photograph, rendered)), own in zip(sorted(shown.items()), eval_result.each, strict=False)
        ]
        write_atomically(folder.path / "views.png", views.strip(labelled).save)
    return eval_result


def _report(
    options: NerfTrain,
    model: RadianceScene,
    state: FitState,
    folder: RunFolder,
    eval_result: EvalResult | None,
    facts: dict[str, Any],
    console: Terminal,
) -> None:
    write_atomically(folder.path / "curve.png", curves.curve(state.history, PosedImages.headline).save)
    rays, marched = (sum(row[key] for row in state.history) for key in ("rays", "marched"))
    result = {
        **({} if eval_result is None else eval_result.record(options.protocol)),
        "seconds": round(state.seconds, 3),
        "steps": state.step,
        "stopped_by": state.stopped,
        "rays_per_second": round(rays / max(state.seconds, 1e-9)),
        "samples_per_second": round(marched / max(state.seconds, 1e-9)),
        "n_params": count_parameters(model),
        "field_bytes": folder.field.stat().st_size,
        "preset": options.preset,
        **facts,
        "threads": torch.get_num_threads(),
        "seed": options.seed,
        "deterministic": options.deterministic,
        "version": neufield.__version__,
        "torch_version": torch.__version__,
    }
    folder.write_log(state.history)
    folder.write_result(result)
    done = f"after {state.step} steps, {state.seconds:.1f} s, {result['rays_per_second']:,} rays/s"
    if eval_result is None:
        how = "stopped by Ctrl-C before the first view" if options.eval else "as --no-eval says"
        later = command("neufield", "nerf", "eval", folder.path, options.scene)
        console.print(f"not judged, {how}, {done}; {later}", soft_wrap=True)
    else:
        print_eval_result(eval_result, console)
        scores = describe(eval_result.scores[options.protocol])
        console.print(
            headline(scores, f", {eval_result.views}, {done}; {eval_result.seconds_per_view:.2f} s a view"),
            soft_wrap=True,
        )
    console.print(f"in {folder.path}: {folder.contents()}", soft_wrap=True)
