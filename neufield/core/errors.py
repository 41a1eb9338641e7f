"""Errors that teach: what was given, what was expected, what to type instead."""

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence

# No word of a language, and no path that people type: a value of a stranger's file.
_ENDLESS = re.compile(r"\S{500,}")


class NeufieldError(Exception):
    """Base of every error meant for the person at the keyboard; its text is one sentence, whatever it quotes."""

    def __str__(self) -> str:
        return _ENDLESS.sub(lambda found: f"{found[0][:100]} ...", super().__str__())


class ConfigError(NeufieldError):
    """A name or value in a preset, a config or a ``--set`` is not one we know."""


class DataError(NeufieldError):
    """A file cannot be read, written, or used for what was asked."""


class BackendError(NeufieldError):
    """The named backend, device or precision cannot run here."""


class ArgumentError(NeufieldError, ValueError):
    """An operator was called with a tensor, an index or a spec that does not go with the others."""


class NonFiniteError(NeufieldError):
    """Training met a NaN or an infinity; the text names the step and the first tensor."""


def command(*words: object) -> str:
    """What the user may type, or paste, into a shell: ``words`` with blanks between them, quoted where it is needed."""
    return shlex.join(map(str, words))


def shortened(value: object) -> str:
    """A ``value`` as Python writes it, for a sentence: its beginning where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def some(names: Sequence[str]) -> str:
    """The first few of ``names``, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The clause ``; did you mean 'x'?``, or the list of known names when none is close."""
    known, word = sorted(known), word[:100]  # of a stranger's word the beginning will do
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{folded[close[0]]}'?"
    return f"; known: {', '.join(known)}" if known else ""
