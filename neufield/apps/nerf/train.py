"""``neufield nerf train``: a scene's photographs in, a radiance field out, judged by views it has not seen."""

import sys
from collections.abc import Sequence

from neufield.apps.console import Terminal
from neufield.apps.nerf.viewer import Viewer
from neufield.apps.options import NerfTrain
from neufield.apps.progress import ProgressLine
from neufield.apps.report.scene import SceneReport
from neufield.apps.resolve import choose_device, set_deterministic
from neufield.apps.run import Run, carry_out
from neufield.apps.run_folder import RunFolder, check_run, check_seed, default_folder
from neufield.apps.settings import parse_settings
from neufield.apps.tasks.scene import SceneSubject
from neufield.apps.tasks.task import Hook
from neufield.core.errors import ConfigError


def train_scene(options: NerfTrain) -> None:
    """Run the whole command. Every wrong option and every damaged photograph is found before the first step."""
    console = Terminal()
    check_run(options.steps, options.time_budget, options.save_every, options.out, options.resume, options.overwrite)
    check_seed(options.seed)
    if options.viewer_port is not None and not options.viewer:
        raise ConfigError("--viewer-port needs --viewer")
    device = choose_device(options.device)
    if options.deterministic:
        set_deterministic(device)
    subject = SceneSubject(options.scene, options, device, console)
    task = subject.task(subject.wish(options.preset, parse_settings(options.settings)), options.seed)
    report = task.report
    assert isinstance(report, SceneReport)
    run = Run(task, options, options.seed)
    folder = RunFolder(options.out or default_folder(subject.name))
    viewer: Viewer | None = None

    def watched(live: ProgressLine) -> Sequence[Hook]:
        nonlocal viewer
        if not options.viewer:
            return ()
        viewer = Viewer(report.model, options.viewer_host, options.viewer_port, True, console)
        viewer.painter.tell = live.say
        return [viewer.painter.between_steps]

    with folder.claimed(options.resume, options.overwrite):
        carry_out(run, folder, console, watched)
    if viewer is not None:
        with run.state.ema.applied(task.model):
            viewer.stay()
    elif report.stopped:
        sys.exit(130)
