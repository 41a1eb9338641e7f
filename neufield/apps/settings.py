"""What ``--set`` says, as edits: the one place where a setting is text."""

import itertools
from collections.abc import Iterable, Sequence

from neufield.core.edits import Edit
from neufield.core.errors import ConfigError, DataError
from neufield.core.json_files import parse_json


def parse_setting(setting: str) -> Edit:
    """The edit in one ``dotted.key=value``; the value is JSON, or else a word.

    The parts of a list are named by their place: ``encoding.encodings.0.n_bins=8``.
    """
    path, equals, text = setting.partition("=")
    if not equals or not all(path.split(".")):
        raise ConfigError(f"--set {setting!r} is not of the form key=value, for instance --set encoding.n_levels=8")
    try:
        value = parse_json(text, "the value")
    except DataError:
        value = text
    return Edit(path, value, f"--set {setting}")


def parse_settings(groups: Iterable[Sequence[str]]) -> list[Edit]:
    """The edits of every ``--set``, each of which may hold several settings."""
    return [parse_setting(setting) for setting in itertools.chain.from_iterable(groups)]
