"""Scenes of posed photographs as tasks: radiance fields that learn to look like them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow

from neufield.apps.console import Terminal
from neufield.apps.curves import Rows
from neufield.apps.identity import scene_contents
from neufield.apps.nerf import setup
from neufield.apps.nerf.evaluation import EvalViews, choose_judged
from neufield.apps.nerf.export import export
from neufield.apps.nerf.render_path import render_scene
from neufield.apps.nerf.viewer import view_field
from neufield.apps.options.distill import Distill
from neufield.apps.options.nerf import NerfTrain
from neufield.apps.options.shared import PictureTraining, Training
from neufield.apps.options.signal import Compare, Export, Render, View
from neufield.apps.refuse import refuse
from neufield.apps.report.scene import SceneReport
from neufield.apps.report.views_side_by_side import views_side_by_side
from neufield.apps.resolve import choose_precision
from neufield.apps.run_folder import RunFolder
from neufield.apps.tasks.distill import scene_task
from neufield.apps.tasks.task import Kind, Subject, Task, Wish
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError, command
from neufield.core.signal_info import SignalInfo
from neufield.fitting import Photometric
from neufield.formats.scene import read_scene
from neufield.formats.scene.records import Split
from neufield.kernels.dispatch import use_backend
from neufield.metrics import PSNR
from neufield.metrics import protocol as find_protocol
from neufield.presets import find
from neufield.presets.scene import (
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

_NEVER = 2**31  # an evaluation would be taken from the time
_EVALUATE_EVERY = 100  # steps, at least
_COMPARED = 8  # test views, about, where --test-every does not say: all of them for every run would take long


class SceneSubject(Subject):
    """A scene's files, and, from the first task on, its photographs in memory.

    It is judged by test views: of a comparison by the same ones for all, whatever time that takes.
    """

    headline = PSNR

    def __init__(self, path: Path, options: NerfTrain | Compare, device: torch.device, console: Terminal) -> None:
        find_protocol(options.protocol)
        check_distortion(options.distortion)
        self.path, self.options, self.device, self.console = path, options, device, console
        self.scene = setup.open_scene(path, console, options)
        self.split = choose_views(self.scene, options.hold_out)
        self.judged = self._judged()
        self.bounds = setup.given_bounds(self.scene, options)
        self.name = path.resolve().name
        self.photographs: PosedImages | None = None

    @property
    def size(self) -> str:  # type: ignore[override]
        """See :class:`Subject`: by what the runs are judged, and what the curves are of."""
        assert self.judged is not None
        watched = "kept out" if self.split.watched else "trained on"
        there = len(self.scene.split(self.judged.split))
        seen = f"{len(self.judged.frames)} of {there} {self.judged.split} views"
        return f"{len(self.split.train)} photographs, judged by {seen}, curves of pixels {watched}"

    @property
    def contents(self) -> Mapping[str, str]:  # type: ignore[override]
        """See :class:`Subject`."""
        assert self.photographs is not None
        return scene_contents((*self.split.train, *self.split.watched), self.photographs)

    @property
    def choices(self) -> Mapping[str, Any]:  # type: ignore[override]
        """See :class:`Subject`."""
        judged = [] if self.judged is None else [frame.name for frame in self.judged.frames]
        return {"protocol": self.options.protocol, "judged": judged}

    def wish(self, preset: str, edits: Sequence[Edit] = (), n_params: int | None = None) -> Wish:
        """See :class:`Subject`."""
        find(preset, "radiance")
        if n_params is not None:
            raise ConfigError(
                f"--budget-params makes presets of pictures larger or smaller, but {self.path} is a scene; "
                f"give each its size, for instance --set {preset}:KEY=VALUE or --resolution"
            )
        return Wish(preset, edits)

    def model(self, wish: Wish, seed: int) -> RadianceScene:
        """The wish's model for this scene."""
        options = self.options
        model = radiance_scene(
            self.scene,
            wish.preset,
            views=self.split,
            bounds=self.bounds,
            sampler=options.sampler,
            resolution=options.resolution,
            appearance=options.appearance,
            exposure=options.exposure,
            refine_cameras=options.refine_cameras,
            edits=wish.edits,
            seed=seed,
            device=self.device,
        )
        use_backend(model, options.backend, self.device)
        if options.steps is not None:
            model.recipe = dataclasses.replace(model.recipe, steps=options.steps)
        return model

    def task(self, wish: Wish, seed: int) -> Task:
        """See :class:`Subject`. The first one reads the photographs, if there is memory for them."""
        options, model = self.options, self.model(wish, seed)
        photographs = self._read(model)
        background, _ = choose_background(model, photographs, options.background)
        info = dataclasses.replace(photographs.info, name=self.name, facts={"dialect": self.scene.dialect})
        evaluate_every = max(_EVALUATE_EVERY, model.recipe.steps // 10)
        whole = isinstance(options, Compare)
        return Task(
            info,
            photographs,
            model,
            Photometric(model.recipe.loss, background, penalties(model, options.distortion)),
            photographs,
            SceneReport(model, self.split, self.path, photographs, self.judged, options.protocol, whole),
            wish.preset,
            self.contents,
            _NEVER if options.time_budget else evaluate_every,
            {
                "background": options.background,
                "distortion": options.distortion,
                "watched": len(self.split.watched),
            },
            {"scene": str(self.path), "dialect": self.scene.dialect},
            precision=choose_precision(self.device),
            drawn_on=photographs.device,
        )

    def picture(self, folders: Mapping[str, RunFolder], histories: Mapping[str, Sequence[Rows]]) -> Pillow.Image:
        """See :class:`Subject`."""
        assert self.judged is not None
        return views_side_by_side(self.judged.frames, folders, histories)

    def _judged(self) -> EvalViews | None:
        options = self.options
        if isinstance(options, NerfTrain):
            return choose_judged(self.scene, options.test_every, options.eval_budget) if options.eval else None
        every = options.test_every or max(1, len(self.scene.split("test")) // _COMPARED)
        return choose_judged(self.scene, every)

    def _read(self, model: RadianceScene) -> PosedImages:
        """The photographs; where they are read, what is found is said."""
        options, split, console = self.options, self.split, self.console
        needed = plan_memory((*split.train, *split.watched), model)
        if self.photographs is not None:
            needed.check()
            return self.photographs
        counted = f"{len(split.train)} photographs to train on, {len(split.test)} to test by"
        console.print(f"{self.path}: {self.scene.dialect}, {counted}", soft_wrap=True)
        console.print(str(needed), soft_wrap=True)
        needed.check()
        self.photographs = scene_images(split).to(needed.place)
        if self.judged is not None:
            self.judged.check()
        _, found = choose_background(model, self.photographs, options.background)
        if found is not None:
            console.print(str(found), soft_wrap=True)
        lost = check_rays(model, self.photographs, self.scene)
        if lost is not None:
            console.print(f"note: {lost}", style="yellow", soft_wrap=True)
        return self.photographs


class SceneKind(Kind):
    """Folders and files of posed photographs."""

    name, noun = "scene", "a radiance field"
    presets = "ngp,vm,nerf"

    def accepts(self, path: Path) -> bool:
        """See :class:`Kind`."""
        return path.is_dir() or path.suffix.lower() in (".json", ".npz")

    def open(self, path: Path, options: Training, device: torch.device, console: Terminal) -> Subject:
        """See :class:`Kind`."""
        if not isinstance(options, Compare):
            train = command("neufield", "nerf", "train", path)
            what = "a folder" if path.is_dir() else "not a picture"
            raise ConfigError(f"{path} is {what}; if it holds posed photographs, a scene: {train}")
        refuse(options, PictureTraining, f"{path} is a scene", "pictures")
        return SceneSubject(path, options, device, console)

    def distill(self, options: Distill, info: SignalInfo, device: torch.device, console: Terminal) -> Task:
        """See :class:`Kind`."""
        return scene_task(options, info, device, console)

    def looks(self, path: Path) -> Mapping[str, Any]:
        """See :class:`Kind`."""
        scene = read_scene(path)
        views: dict[str, Split] = {"photographs to train on": "train", "to test by": "test", "to watch": "val"}
        counted = ", ".join(f"{len(scene.split(split))} {what}" for what, split in views.items())
        return {"scene": {"dialect": scene.dialect, "photographs": counted, "notes": [n.text for n in scene.notes]}}

    def holds(self, info: SignalInfo) -> str:
        """See :class:`Kind`."""
        cameras = next((axis for axis in info.domain.axes if axis.name == "image"), None)
        count = "" if cameras is None else f", seen by {cameras.extent:.0f} cameras"
        return f"the radiance field of a scene ({info.facts.get('dialect', 'of any dialect')}){count}"

    def render(self, options: Render, info: SignalInfo, console: Terminal) -> None:
        """See :class:`Kind`: a view, a film or a folder of frames."""
        for flag, value in (("--scale", options.scale), ("--crop", options.crop)):
            if value is not None:
                raise ConfigError(f"{options.field} holds a radiance field, but {flag} is for pictures; leave it out")
        render_scene(options, options.output, console)

    def view(self, options: View, info: SignalInfo, console: Terminal) -> None:
        """See :class:`Kind`: in a browser."""
        view_field(options)

    def export(self, options: Export, info: SignalInfo, console: Terminal) -> None:
        """See :class:`Kind`: a surface, or the cameras."""
        export(options)


KINDS = (SceneKind(),)
