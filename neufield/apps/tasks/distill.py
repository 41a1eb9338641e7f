"""Distillations as tasks: what is learned is another field, known by its file alone."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from neufield.apps.console import Terminal
from neufield.apps.load_field import load_field, predictor
from neufield.apps.nerf.evaluation import choose_judged
from neufield.apps.nerf.load_model import load_model
from neufield.apps.options.distill import Distill
from neufield.apps.options.shared import Training
from neufield.apps.report.distill import Origin, TaughtPictureReport, TaughtSceneReport
from neufield.apps.report.picture import PictureReport
from neufield.apps.settings import parse_settings
from neufield.apps.tasks.task import Subject, Task
from neufield.core.errors import ConfigError, nearest
from neufield.core.interfaces import Field
from neufield.core.signal_info import SignalInfo
from neufield.fitting import count_parameters
from neufield.fitting.files import read_header
from neufield.formats.scene import read_scene
from neufield.kernels.dispatch import use_backend
from neufield.metrics import protocol as find_protocol
from neufield.presets.registry import Kind as PresetKind
from neufield.presets.registry import names
from neufield.presets.scene import distillation
from neufield.signals.exporters import image_facts
from neufield.signals.image import Image, render
from neufield.signals.teacher import Teacher

OpenPicture = Callable[[Path, Training, torch.device, Image], Subject]
_NEVER = 2**31  # an evaluation would be taken from the time
_EVALUATE_EVERY = 100  # steps, at least


def check_student(options: Distill, kind: PresetKind, what: str) -> None:
    """Refuse a preset of another kind of field than the teacher, which is ``what``."""
    if options.to not in names(kind):
        raise ConfigError(
            f"{options.teacher} holds {what}, but --to is '{options.to}', which is no preset for one"
            f"{nearest(options.to, names(kind))}"
        )


def scene_task(options: Distill, info: SignalInfo, device: torch.device, console: Terminal) -> Task:
    """The teacher is a radiance field with its cameras."""
    check_student(options, "radiance", "a radiance field")
    find_protocol(options.protocol)
    if options.budget_params is not None:
        raise ConfigError("--budget-params is for pictures; give a radiance field its size by --resolution or --set")
    judged = None
    if options.scene is not None:
        judged = choose_judged(read_scene(options.scene), options.test_every, options.eval_budget)
        judged.check()
    teacher = load_model(options.teacher, options.device, options.backend)
    made = distillation(
        teacher,
        options.to,
        resolution=options.resolution,
        edits=parse_settings(options.settings),
        seed=options.seed,
        inherit=options.inherit,
        active=options.active,
        release_ranking=options.release_ranking,
    )
    model = made.student
    use_backend(model, options.backend, device)
    if options.steps is not None:
        model.recipe = dataclasses.replace(model.recipe, steps=options.steps)
    if made.skipped:
        console.print(f"no stage of features: {made.skipped}", soft_wrap=True)
    every = max(_EVALUATE_EVERY, model.recipe.steps // 10)
    return Task(
        info,
        made.source,
        model,
        made.objective,
        made.evaluator,
        TaughtSceneReport(teacher, model, made.evaluator, _origin(options, teacher), judged, options.protocol),
        options.to,
        _contents(options),
        _NEVER if options.time_budget else every,
        {"inherit": options.inherit, "active": list(options.active), "release_ranking": options.release_ranking},
        {"skipped": made.skipped},
        f"{info.name}: {made.source.poses.count} poses an epoch",
        drawn_on=device,
    )


def picture_task(
    options: Distill, info: SignalInfo, device: torch.device, console: Terminal, open_picture: OpenPicture
) -> Task:
    """The teacher is a picture's field: the student learns it at points between pixels, too."""
    del console
    check_student(options, "signal", "a picture")
    for flag, value in (("--scene", options.scene), ("--resolution", options.resolution), ("--active", options.active)):
        if value:
            raise ConfigError(f"{options.teacher} holds a picture, but {flag} is for radiance fields; leave it out")
    teacher = load_field(options.teacher, options.device, options.backend)
    assert isinstance(teacher, Field)
    image = Image(render(predictor(teacher), image_facts(info, str(options.teacher))))
    subject = open_picture(options.teacher, options, device, image)
    wish = subject.wish(options.to, parse_settings(options.settings), options.budget_params)
    task = subject.task(wish, options.seed)
    use_backend(task.model, options.backend, device)
    origin = _origin(options, teacher)
    return dataclasses.replace(
        task,
        info=info,
        source=Teacher(teacher),
        report=TaughtPictureReport(PictureReport(image), origin),
        contents=_contents(options),
        about=f"{info.name}: {subject.size} as its teacher draws it",
    )


def _contents(options: Distill) -> dict[str, str]:
    return {f"the teacher {options.teacher}": read_header(options.teacher, "field")["header_sha256"]}


def _origin(options: Distill, teacher: torch.nn.Module) -> Origin:
    return Origin(str(options.teacher), options.teacher.stat().st_size, count_parameters(teacher))
