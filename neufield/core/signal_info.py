"""What a field's file says of the signal that it represents."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from neufield.core.domain import Domain
from neufield.core.errors import DataError
from neufield.core.json_files import Keys, shown

Fact = str | int | float | bool


def digest_of(*parts: np.ndarray | bytes) -> str:
    """SHA-256: with today's processors' instructions for it, half a millisecond a megabyte."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).view(np.uint8).data if isinstance(part, np.ndarray) else part)
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class SignalInfo:
    """All that a fitted field must remember to become its signal again, and by which that is known.

    Args:
        kind: which of the signals it is, and so who writes it back: "image", "lattice", "scene".
        name: of its file, for people.
        domain: its axes, in their own units.
        channels: how many numbers a sample has.
        source_bytes: the size of its file, or of its values in memory.
        digest: SHA-256 of its samples as they were read.
        facts: what only this kind has, by name: how numbers are stored, a color profile, a dialect.
        notes: sentences about what was found in its file, for who reads it now; not written to a field's.
    """

    kind: str
    name: str
    domain: Domain
    channels: int
    source_bytes: int
    digest: str
    facts: Mapping[str, Fact] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The description that a file's header holds."""
        return {
            "kind": self.kind,
            "name": self.name,
            "domain": self.domain.to_json(),
            "channels": self.channels,
            "source_bytes": self.source_bytes,
            "digest": self.digest,
            "facts": dict(self.facts),
        }

    @classmethod
    def from_json(cls, entry: Any, where: str) -> "SignalInfo":
        """What the header of ``where`` says of its signal; a DataError names what is wrong or lacking there."""
        keys = Keys(entry, f"the signal in {where}")
        facts = keys.object("facts").values
        for name, fact in facts.items():
            if not isinstance(fact, Fact):
                raise DataError(f"{keys.where}, facts: '{name}' is {shown(fact)}, but a number or a text was expected")
        return cls(
            keys.text("kind"),
            keys.text("name"),
            Domain.from_json(keys.object("domain")),
            keys.integer("channels", least=1),
            keys.integer("source_bytes", least=0),
            keys.text("digest"),
            facts,
        )

    def keys(self, where: str) -> Keys:
        """The facts, to be asked for by kind."""
        return Keys(dict(self.facts), f"the signal in {where}")
