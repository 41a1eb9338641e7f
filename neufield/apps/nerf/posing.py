"""Poses of photographs by structure from motion, COLMAP's through pycolmap 3.13, 4.0 or later: its steps, watched."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neufield.core.errors import BackendError, DataError
from neufield.core.extras import extra
from neufield.formats.decoding import first_line

MODELS: Mapping[str, str] = {
    "opencv": "OPENCV",
    "pinhole": "PINHOLE",
    "fisheye": "OPENCV_FISHEYE",
    "simple-radial": "SIMPLE_RADIAL",
}
_OLDEST = (3, 13)  # the first whose extraction and matching take the options of today
# Photographs whose features are found between two looks at the progress, and at Ctrl-C: as many as COLMAP has threads.
_AT_A_TIME = os.cpu_count() or 1
_PAIRS_AT_A_TIME = 32
_NEIGHBORS = 10  # frames after each that it is compared with, one by one; then in steps of 16, 32, 64 ...
_STOPS = 25  # frames, evenly spaced, that are all compared with each other: a walk around something ends at its begin
# Where "up" is in the rows as stored, (right, down), by EXIF orientation: 6 is a picture whose left side is its top.
_UP = {1: (0, -1), 2: (0, -1), 3: (0, 1), 4: (0, 1), 5: (-1, 0), 6: (-1, 0), 7: (1, 0), 8: (1, 0)}

Tick = Callable[[int], None]
"""Is told how many of a step's photographs or pairs are done."""


class Colmap:
    """COLMAP's steps for the photographs in the folder ``images``; what is between them is kept in ``work``."""

    def __init__(self, images: Path, work: Path) -> None:
        self.images = images
        self.work = work
        self.pycolmap: Any = extra("pycolmap", "nerf", "finding poses")
        self.version = tuple(int(part) for part in self.pycolmap.__version__.split(".")[:2])
        if self.version < _OLDEST:
            raise BackendError(
                f"pycolmap {self.pycolmap.__version__} is installed, but {_OLDEST[0]}.{_OLDEST[1]} or later is needed; "
                "pip install --upgrade pycolmap"
            )
        self._database = str(work / "database.db")

    def add(self, names: Sequence[str], model: str, shared: bool) -> None:
        """Photographs ``names`` of one size, whose camera is of the ``model``, one for each or ``shared`` by all.

        The first guess of a focal length is that of the EXIF block, or 1.2 times the longer side.
        """
        colmap = self.pycolmap
        with self._step("reading the photographs"):
            colmap.set_random_seed(0)
            colmap.Database.open(self._database).close()
            mode = colmap.CameraMode.SINGLE if shared else colmap.CameraMode.PER_IMAGE
            options = colmap.ImageReaderOptions()
            options.camera_model = MODELS[model]
            colmap.import_images(self._database, str(self.images), mode, list(names), options)

    def extract(self, names: Sequence[str], tick: Tick) -> None:
        """Find the features of the photographs. Raises DataError for one that COLMAP does not read."""
        with self._step("looking for features"):
            for part, done in _parts(names, _AT_A_TIME):
                self.pycolmap.extract_features(self._database, str(self.images), image_names=list(part))
                tick(done)
            with self.pycolmap.Database.open(self._database) as database:
                images = database.read_all_images()
                read = {image.name for image in images if database.exists_keypoints(image.image_id)}
        unread = [name for name in names if name not in read]
        if unread:
            raise DataError(f"COLMAP cannot read {unread[0]}{_more(unread)}; convert it to PNG or JPEG, or take it out")

    def match(self, pairs: Sequence[tuple[str, str]], sequential: bool, tick: Tick) -> None:
        """Compare the photographs of each pair; before pycolmap 4, all or neighbors by its own choice, in one go."""
        with self._step("matching"):
            if self.version < (4, 0):
                (self.pycolmap.match_sequential if sequential else self.pycolmap.match_exhaustive)(self._database)
                tick(len(pairs))
                return
            options = self.pycolmap.ImportedPairingOptions()
            options.match_list_path = str(self.work / "pairs.txt")
            for part, done in _parts(pairs, _PAIRS_AT_A_TIME):
                (self.work / "pairs.txt").write_text("".join(f"{a} {b}\n" for a, b in part), encoding="utf-8")
                self.pycolmap.match_image_pairs(self._database, pairing_options=options)
                tick(done)

    def reconstruct(self, tick: Tick) -> Any | None:
        """The ``pycolmap.Reconstruction`` with the most photographs, None where not even two go together."""
        options = self.pycolmap.IncrementalPipelineOptions()
        options.min_model_size = 3
        done = 0

        def begun() -> None:
            nonlocal done
            done = 2
            tick(done)

        def added() -> None:
            nonlocal done
            done += 1
            tick(done)

        (self.work / "models").mkdir()
        with self._step("placing the photographs"):
            made = self.pycolmap.incremental_mapping(
                self._database,
                str(self.images),
                str(self.work / "models"),
                options,
                initial_image_pair_callback=begun,
                next_image_callback=added,
            )
        return max(made.values(), key=lambda model: model.num_reg_images(), default=None)

    def level(self, model: Any, orientations: Mapping[str, int]) -> None:
        """Turn the world of ``model`` so that z is what is upwards in the photographs' mean.

        ``orientations`` are those of their EXIF blocks, by name: rows as stored may lie on a side.
        """
        ups = []
        for image in registered(model):
            right, down = _UP[orientations[image.name]]
            ups.append(image.cam_from_world().rotation.matrix().T @ np.array([right, down, 0.0]))
        up = np.mean(ups, axis=0)
        if np.linalg.norm(up) > 0.1:  # less is none that most would call up
            turn = _turn_to_z(up / np.linalg.norm(up))
            model.transform(self.pycolmap.Sim3d(np.concatenate([turn, np.zeros((3, 1))], axis=1)))

    @contextlib.contextmanager
    def _step(self, doing: str) -> Iterator[None]:
        """Keep COLMAP's log from the terminal, and make one sentence of its complaints."""
        logging = self.pycolmap.logging
        before, logging.minloglevel = logging.minloglevel, int(logging.FATAL)
        try:
            yield
        except (RuntimeError, ValueError, IndexError) as problem:
            said = first_line(problem).rpartition("] ")[2]
            raise DataError(f"COLMAP stopped while {doing} ({said}); are the photographs whole?") from None
        finally:
            logging.minloglevel = before


def registered(model: Any) -> list[Any]:
    """The images of a ``pycolmap.Reconstruction`` that have a pose, sorted by name."""
    return sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.name)


def all_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Every photograph with every other."""
    return list(itertools.combinations(names, 2))


def neighboring_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Each of a sequence with those soon after it, ever fewer farther on, and some from all over with each other."""
    count = len(names)
    steps = [*range(1, _NEIGHBORS + 1), *(2**power for power in range(4, count.bit_length()))]
    pairs = {(i, i + step) for i in range(count) for step in steps if i + step < count}
    stops = [i * count // _STOPS for i in range(_STOPS)] if count > _STOPS else []
    pairs.update(itertools.combinations(stops, 2))
    return [(names[first], names[second]) for first, second in sorted(pairs)]


def _turn_to_z(up: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that takes the unit vector ``up`` to z (Rodrigues' formula)."""
    x, y, z = up
    if z < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    across = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])
    return np.eye(3) + across + across @ across / (1 + z)


def _parts(things: Sequence[Any], size: int) -> Iterator[tuple[Sequence[Any], int]]:
    """Up to ``size`` of them at a time, with how many it is so far."""
    for begin in range(0, len(things), size):
        part = things[begin : begin + size]
        yield part, begin + len(part)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
