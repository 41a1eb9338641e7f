"""A run as its saved state knows it: what it is, how long it is, and on what machine it was."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neufield.apps.identity import changed_environment, check_same
from neufield.core.errors import ConfigError
from neufield.core.json_files import Keys


@dataclasses.dataclass(frozen=True)
class Length:
    """When a run ends: after ``steps`` or ``time_budget`` seconds, or at a metric's ``target``, whatever comes first.

    ``given`` says whether the user asked for any of it now, and so for another length than a saved run's.
    """

    steps: int | None
    time_budget: float | None = None
    target: float | None = None
    given: bool = False

    def record(self) -> dict[str, float | None]:
        """What a saved state has of it."""
        return {"steps": self.steps, "time_budget": self.time_budget, "target": self.target}

    def __str__(self) -> str:
        return _words(self.record())


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """``identity`` must stay the same for a resume, ``length`` may become another, an ``environment`` is only said."""

    identity: Mapping[str, Any]
    length: Length
    environment: Mapping[str, str]

    def header(self) -> dict[str, Any]:
        """What a saved state's header has of it."""
        return {"identity": self.identity, "length": self.length.record(), "environment": self.environment}

    def check(self, header: Mapping[str, Any], path: Path) -> list[str]:
        """What is to be said, a line each, where this run goes on from the state in ``path`` with this ``header``.

        Raises:
            DataError: if that is another run's.
            ConfigError: if that has gone on for longer than this run is to be.
        """
        saved = Keys(dict(header), f"the state in {path}")
        check_same(saved.object("identity").values, self.identity, path)
        environment = saved.object("environment").values
        return [*self._check_length(saved, path), *changed_environment(environment, self.environment)]

    def is_longer_than(self, header: Mapping[str, Any]) -> bool:
        """Whether the state with this ``header`` was of a run of another length."""
        return header["length"] != self.length.record()

    def _check_length(self, saved: Keys, path: Path) -> list[str]:
        given, now = saved.object("length"), self.length
        was = {key: given.number(key) if given.has(key) else None for key in now.record()}
        if was == now.record():
            return []
        if not now.given:
            check_same(was, now.record(), path)
        facts = saved.object("facts")
        step, seconds = facts.integer("step", least=0), facts.number("seconds")
        if now.steps is not None and step > now.steps:
            raise ConfigError(f"the run in {path} has {step} steps already, more than {now.steps}; give more --steps")
        if now.time_budget is not None and seconds > now.time_budget:
            raise ConfigError(
                f"the run in {path} was trained for {seconds:.1f} s already, more than {now.time_budget:g} s; "
                "give more --time-budget"
            )
        return [f"begun for {_words(was)}, it now goes on to {now}"]


def _words(length: Mapping[str, float | None]) -> str:
    units = {"steps": "{:.0f} steps", "time_budget": "{:g} s", "target": "{:g} dB"}
    return " or ".join(text.format(length[key]) for key, text in units.items() if length.get(key) is not None)
