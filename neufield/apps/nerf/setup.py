"""What the options of ``neufield nerf`` say of a scene: its files, and the box."""

from pathlib import Path

from neufield.apps.console import Terminal
from neufield.apps.options import Reading
from neufield.apps.options.shared import SceneTraining
from neufield.core.errors import ConfigError
from neufield.formats.scene import Scene, check_scene, read_scene
from neufield.presets.scene import choose_bounds
from neufield.renderers import Box, SceneBounds


def open_scene(path: Path, console: Terminal, options: Reading) -> Scene:
    """Read and check; warnings are shown."""
    scene = read_scene(path, options.dialect, images=options.images)
    for note in (*scene.notes, *check_scene(scene)):
        if note.level == "warning":
            console.print(f"note: {note.key}: {note.text}", style="yellow")
    return scene


def given_bounds(scene: Scene, options: SceneTraining) -> SceneBounds:
    """What --box and --space say that the field covers, or the scene where they say nothing."""
    box = None if options.box is None else given_box(options.box)
    return choose_bounds(scene, box, options.space)


def given_box(text: str) -> Box:
    """What --box says: half a side, or two corners."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers = [-numbers[0]] * 3 + [numbers[0]] * 3
    if len(numbers) != 6:
        raise ConfigError(
            f"--box is {text!r}, but half a side such as 1.5, or x0,y0,z0,x1,y1,z1 in world units, was expected"
        )
    try:
        return Box(numbers[:3], numbers[3:])
    except ValueError as error:
        raise ConfigError(f"--box: {error}") from None
