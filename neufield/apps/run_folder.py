"""A run on disk: which file is what, and how a run is saved and found again."""

import contextlib
import csv
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neufield.apps.run_record import RunRecord
from neufield.apps.stopping import INTERRUPTED
from neufield.core.errors import ConfigError, DataError
from neufield.core.files import atomic_path, claimed
from neufield.fitting.files import read_header, read_tensors, write_tensors
from neufield.fitting.state import FitState, check_finite
from neufield.formats.encode import suffix_for
from neufield.formats.pixels import ImageFacts


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

    @contextlib.contextmanager
    def claimed(self, resume: bool, overwrite: bool) -> Iterator[None]:
        """Make the folder ready for writing and keep other runs out of it, or say why it cannot be."""
        with claimed(self.path):
            with atomic_path(self.path / ".writable"):  # better now than after an hour of training
                pass
            (self.path / ".writable").unlink()
            self.prepare(resume, overwrite)
            yield

    def prepare(self, resume: bool, overwrite: bool) -> None:
        """Refuse or remove the run that is there, as the flags say."""
        self.check(resume, overwrite)
        if overwrite and not resume:
            for path in self._ours():
                path.unlink()

    def contents(self) -> str:
        """The names of what is there, for people."""
        return ", ".join(sorted(path.name for path in self.path.iterdir() if not path.name.startswith(".")))

    def _ours(self) -> list[Path]:
        return [path for path in (self.state, self.field, self.result, self.log) if path.exists()]

    def save_state(self, state: FitState, record: RunRecord) -> None:
        """Save what a resume needs, and the log so far."""
        write_tensors(self.state, "state", state.tensors(), {**record.header(), "facts": state.facts()})
        self.write_log(state.history)

    def saving(self, record: RunRecord, every: float) -> Callable[[FitState], None]:
        """A hook for ``fit`` that saves the state, if it is finite, every so many seconds and at the end.

        What Ctrl-C ended is saved by ``stopping``.
        """
        saved = time.perf_counter()

        def keep(state: FitState) -> None:
            nonlocal saved
            if state.stopped not in ("", INTERRUPTED) or time.perf_counter() - saved >= every:
                check_finite(state.model, state.step)
                self.save_state(state, record)
                saved = time.perf_counter()

        return keep

    def restore(self, state: FitState, record: RunRecord) -> list[str]:
        """Bring ``state`` to where it was saved last; what there is to say about it, a line each."""
        if not self.state.exists():
            return [f"nothing to resume in {self.path}: the run begins anew"]
        tensors, header = read_tensors(self.state, "state")
        said = record.check(header, self.path)
        state.restore(tensors, header.get("facts"), str(self.state))
        return [f"resumed at step {state.step}", *said]

    def finished(self, record: RunRecord) -> bool:
        """Whether this run was finished here, at the length it now has; whatever is here must be of this run."""
        if not self.state.exists():
            return False
        header = read_header(self.state, "state")
        record.check(header, self.path)
        if not (self.result.exists() and self.field.exists()) or record.is_longer_than(header):
            return False
        read_tensors(self.field, "field")  # whole, or that is said
        return True

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
    """Refuse numbers and flags with which no run can be, and a folder that holds one already."""
    if steps is not None and steps < 1:
        raise ConfigError(f"--steps is {steps}, but a run needs at least 1; leave it out for a sensible number")
    if time_budget == math.inf:
        raise ConfigError("--time-budget is inf, but it must be a number of seconds; leave it out for a run of --steps")
    for flag, value in (("--time-budget", time_budget), ("--save-every", save_every)):
        if value is not None and not value > 0:
            raise ConfigError(f"{flag} is {value}, but it must be above 0 seconds")
    if resume and out is None:
        raise ConfigError("--resume needs --out DIR, the folder of the run to go on with")
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite contradict each other; give one of them")
    if out is not None:
        RunFolder(out).check(resume, overwrite)


def check_seed(seed: int) -> None:
    """Refuse a seed that generators of random numbers do not take."""
    if not 0 <= seed < 2**63:
        raise ConfigError(f"--seed is {seed}, but it must be a whole number from 0 to 2^63 - 1")


def default_folder(name: str) -> Path:
    """Make runs/<name>-<time>, with a number behind it should two runs start within one second."""
    stem = f"runs/{Path(name).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        Path("runs").mkdir(exist_ok=True)
        for count in itertools.count(1):
            path = Path(stem if count == 1 else f"{stem}-{count}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
    except OSError as error:
        raise DataError(f"cannot write to {stem}: {error.strerror or error}; choose a folder with --out") from None
    raise AssertionError("numbers do not end")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_finite(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
