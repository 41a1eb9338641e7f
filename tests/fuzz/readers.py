"""What reads each kind of input: called with the folder of a case and the spoilt file in it."""

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from seeds import compare_of, small_field

import neufield
import neufield.formats.scene
from neufield.apps import cli
from neufield.core.errors import DataError
from neufield.fitting import start
from neufield.fitting.files import read_header, read_tensors
from neufield.formats import read_ingp_path, read_nerfstudio_frame, read_nerfstudio_path
from neufield.formats.scene.ply import read_ply
from neufield.formats.video import evenly_spaced_frames, find_stream
from neufield.interchange import read_ingp
from neufield.presets.scene import choose_views, scene_images
from neufield.signals import Image
from neufield.tcnn import from_tcnn_config


def _field(folder: Path, file: Path) -> None:
    field = neufield.load(file)
    if not isinstance(field, neufield.renderers.RadianceScene):
        field(torch.rand(4, 2))


def _state(folder: Path, file: Path) -> None:
    field = small_field()
    state = start(field, field.recipe, 0)
    read_header(file, "state")
    tensors, header = read_tensors(file, "state")
    state.restore(tensors, header.get("facts"), str(file))
    neufield.fit(
        field, neufield.signals.Array(torch.rand(8, 8, 3)), neufield.Recipe(steps=3, batch_size=16), state=state
    )


def _scene(folder: Path, file: Path) -> None:
    scene = neufield.formats.scene.read_scene(folder)
    neufield.formats.scene.check_scene(scene)
    scene_images(choose_views(scene, 0))


def _film(folder: Path, file: Path) -> None:
    find_stream(file)
    for _, values in evenly_spaced_frames(file, 3):
        assert values.ndim == 3


def _command(folder: Path, *words: str) -> None:
    """A command of the shell: what it refuses is one line and exit code 2."""
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        try:
            cli.main(list(words))
        except SystemExit as ended:
            if ended.code != 2:
                raise
            raise DataError(said.getvalue().removesuffix("\n")) from None


def _run(folder: Path, file: Path) -> None:
    rest = json.loads((folder / "arguments.json").read_text())
    _command(folder, "fit", str(folder / "p.png"), "--out", str(folder / "r"), *rest, "--resume")


READERS: Mapping[str, Callable[[Path, Path], object]] = {
    "picture": lambda folder, file: Image(file),
    "film": _film,
    "field": _field,
    "state": _state,
    "snapshot": lambda folder, file: read_ingp(file)(torch.rand(4, 2)),
    "tcnn": lambda folder, file: from_tcnn_config(file),
    "path_nerfstudio": lambda folder, file: read_nerfstudio_path(file),
    "path_ingp": lambda folder, file: read_ingp_path(file, 64, 48, 5),
    "path_frame": lambda folder, file: read_nerfstudio_frame(file),
    "scene": _scene,
    "ply": lambda folder, file: read_ply(file),
    "run": _run,
    "render": lambda folder, file: _command(folder, "render", str(file), "--output", str(folder / "out.png")),
    "compare": lambda folder, file: _command(folder, *compare_of(folder), "--resume"),
}
