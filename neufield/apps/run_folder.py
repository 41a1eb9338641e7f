"""A run on disk: which file is what, and how a run is saved and found again."""

import csv
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neufield.core.errors import ConfigError, DataError
from neufield.core.files import atomic_path, sweep_temporaries
from neufield.core.json_files import one_line, parse_json
from neufield.fitting.files import read_header, read_tensors, write_tensors
from neufield.fitting.state import FitState, check_finite
from neufield.signals.image import ImageFacts, suffix_for


class RunFolder:
    """The folder of one run. Every file in it is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.field = path / "field.safetensors"
        self.state = path / "state.safetensors"
        self.result = path / "result.json"
        self.log = path / "log.csv"

    def check(self, resume: bool, overwrite: bool) -> None:
        """Say why this folder cannot be used, before anything is loaded; nothing is written."""
        if self._ours() and not resume and not overwrite:
            raise DataError(
                f"--out {self.path} already holds a run; add --resume to go on with it, --overwrite to replace it, "
                "or choose another folder"
            )

    def prepare(self, resume: bool, overwrite: bool) -> None:
        """Make the folder ready for writing, or say why it is not."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot write to --out {self.path}: {error.strerror}; choose another folder") from None
        with atomic_path(self.path / ".writable"):  # better now than after an hour of training
            pass
        (self.path / ".writable").unlink()
        sweep_temporaries(self.path)
        self.check(resume, overwrite)
        if overwrite and not resume:
            for path in self._ours():
                path.unlink()

    def _ours(self) -> list[Path]:
        return [path for path in (self.state, self.field, self.result, self.log) if path.exists()]

    def save_state(self, state: FitState, identity: Mapping[str, Any]) -> None:
        """Save what a resume needs, and the log so far. ``identity`` is what makes this run this run."""
        write_tensors(self.state, "state", state.tensors(), {"identity": identity, "facts": state.facts()})
        self.write_log(state.history)

    def saving(self, identity: Mapping[str, Any], every: float) -> Callable[[FitState], None]:
        """A hook for ``fit`` that saves the state every so many seconds and at the end, if it is finite."""
        saved = time.perf_counter()

        def keep(state: FitState) -> None:
            nonlocal saved
            if state.stopped or time.perf_counter() - saved >= every:
                check_finite(state.model, state.step)
                self.save_state(state, identity)
                saved = time.perf_counter()

        return keep

    def restore(self, state: FitState, identity: Mapping[str, Any]) -> bool:
        """Bring ``state`` to where it was saved last; False when the run was killed before its first save."""
        if not self.state.exists():
            return False
        tensors, header = read_tensors(self.state, "state")
        check_same(header["identity"], identity, self.path)
        state.restore(tensors, header.get("facts"), str(self.state))
        return True

    def finished(self, identity: Mapping[str, Any]) -> bool:
        """Whether a run was finished here, which must then be that of ``identity``."""
        if self.state.exists():
            check_same(read_header(self.state, "state")["identity"], identity, self.path)
        return self.state.exists() and self.result.exists()

    def reconstruction(self, facts: ImageFacts) -> Path:
        """The picture as the field gives it back."""
        return self.path / f"reconstruction{suffix_for(facts)}"

    def write_log(self, history: Sequence[Mapping[str, float]]) -> None:
        """One row per step; columns that a step does not have stay empty."""
        columns = list(dict.fromkeys(key for row in history for key in row))
        with atomic_path(self.log) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(history)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """See :func:`write_json`."""
        write_json(self.result, result)


def field_of(path: Path) -> Path:
    """The file that a command's ``path`` to a trained field means: itself, or that of a run's folder."""
    if not path.is_dir():
        return path
    field = path / "field.safetensors"
    if field.exists():
        return field
    if (path / "state.safetensors").exists():
        raise DataError(f"the run in {path} has no field yet; it ends with --resume")
    inside = next(iter(sorted(path.glob("*/*/field.safetensors"))), None)  # of a comparison
    hint = f"give one of its runs, such as {inside.parent}" if inside else "give one with a field.safetensors"
    raise DataError(f"{path} is not the folder of a run; {hint}")


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result; a number that JSON cannot hold (the infinite PSNR of a perfect copy) is null."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(_finite(result), indent=2) + "\n", encoding="utf-8")


def check_run(
    steps: int | None, time_budget: float | None, save_every: float, out: Path | None, resume: bool, overwrite: bool
) -> None:
    """Refuse numbers and flags with which no run can be."""
    if steps is not None and steps < 1:
        raise ConfigError(f"--steps is {steps}, but a run needs at least 1; leave it out for a sensible number")
    for flag, value in (("--time-budget", time_budget), ("--save-every", save_every)):
        if value is not None and not value > 0:
            raise ConfigError(f"{flag} is {value}, but it must be above 0 seconds")
    if resume and out is None:
        raise ConfigError("--resume needs --out DIR, the folder of the run to go on with")
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite contradict each other; give one of them")


def default_folder(name: str) -> Path:
    """runs/<name>-<time>, with a number behind it should two runs start within one second."""
    stem = f"runs/{Path(name).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, count = Path(stem), 1
    while path.exists():
        count += 1
        path = Path(f"{stem}-{count}")
    return path


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_finite(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_same(saved: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> None:
    """Raise DataError naming the first thing in which a saved run and the one asked for differ."""
    given = parse_json(one_line(given), "the identity")  # as it was saved
    for key in saved.keys() | given.keys():
        if saved.get(key) != given.get(key):
            was, now = saved.get(key), given.get(key)
            if isinstance(was, dict) and isinstance(now, dict):
                check_same(was, now, path)
            raise DataError(
                f"the run in {path} was started with {key}={was}, but now {key}={now}; "
                "give the same options to --resume, or another --out"
            )
