"""How many files of the package one training step runs through: what its reader must know."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ball import write_ball
from small_fits import small_field, waves

import neufield as nf
from neufield.fitting import FitState, fit

pytestmark = [pytest.mark.native, pytest.mark.usefixtures("one_thread")]
PACKAGE = Path(nf.__file__).parent
WARM = 4  # by then the programs are planned; the occupancy grid, asked every 16th step, is not looked at


def crossed(train: Callable[[Callable[[FitState], None]], object]) -> set[str]:
    """The files that a warm step enters, of a run of 6 steps that calls a hook after each."""
    entered: set[str] = set()

    def enter(frame, event, _) -> None:
        if event == "call":
            entered.add(frame.f_code.co_filename)

    def watch(state: FitState) -> None:
        if state.step == WARM:
            sys.setprofile(enter)
        if state.step == WARM + 1:
            sys.setprofile(None)

    try:
        train(watch)
    finally:
        sys.setprofile(None)
    inside = [Path(name).relative_to(PACKAGE) for name in entered if name.startswith(str(PACKAGE))]
    return {path.as_posix() for path in inside}


# What was counted when this was written: who adds a hop to every step says so here.
def test_a_step_of_a_fit_crosses_few_files():
    recipe = nf.core.recipe.Recipe(steps=6, batch_size=128)
    found = crossed(lambda watch: fit(small_field(), waves(), recipe, hooks=[watch], evaluate_every=100))
    assert {"fitting/fit.py", "fitting/steps.py", "kernels/native.py"} <= found
    assert len(found) <= 27, sorted(found)


def test_a_step_of_a_radiance_scene_crosses_few_files(tmp_path: Path):
    scene = nf.formats.read_scene(write_ball(tmp_path / "ball", train=4, test=1))
    views = nf.presets.choose_views(scene)
    model = nf.presets.radiance_scene(scene, preset="ngp", views=views)
    images = nf.presets.scene_images(views)
    objective = nf.presets.photometric(model, images)
    recipe = nf.core.recipe.Recipe(steps=6, batch_size=1024)
    found = crossed(lambda watch: fit(model, images, recipe, objective=objective, hooks=[watch], evaluate_every=100))
    assert {"renderers/radiance_scene.py", "kernels/radiance/cpu.py", "kernels/native.py"} <= found
    assert len(found) <= 35, sorted(found)
