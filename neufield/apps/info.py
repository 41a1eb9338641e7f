"""``neufield info``: what is inside a file."""

import json
from pathlib import Path
from typing import Any

from rich.text import Text
from rich.tree import Tree

from neufield.apps.console import Terminal
from neufield.apps.options import Info
from neufield.apps.run_folder import RunFolder, field_of
from neufield.apps.standard_error import visible
from neufield.apps.tasks import kind_of_file, kinds
from neufield.core.errors import DataError
from neufield.core.signal_info import SignalInfo
from neufield.field_files import load_facts, load_signal
from neufield.fitting.files import is_safetensors, read_header
from neufield.fitting.state import SavedFacts
from neufield.fitting.storages import rate

_LONGEST = 120  # letters of a value that are shown


def print_info(options: Info) -> None:
    """Run the whole command."""
    console = Terminal()
    facts = _facts(options)
    if options.json:
        console.print(json.dumps(facts, indent=2), soft_wrap=True)
        return
    tree = Tree(Text(visible(options.file.name), "bold"))
    _grow(tree, facts)
    console.print(tree)


def _facts(options: Info) -> dict[str, Any]:
    file = options.file
    if file.is_dir():
        state = RunFolder(file).state
        state_alone = state.exists() and not RunFolder(file).field.exists()
        file = state if state_alone else file if _is_signal(file) else field_of(file)
    if file.suffix != ".safetensors" and not is_safetensors(file):
        return dict(kind_of_file(file).looks(file))
    try:
        facts = load_facts(file)
        if "storage" in facts:
            facts["storage"] = rate(facts, file.stat().st_size)
        return facts if "signal" not in facts else {"holds": _words(load_signal(file)), **facts}
    except DataError as error:
        if "holds a state" not in str(error):
            raise
    header = read_header(file, "state")
    history = SavedFacts(header.get("facts"), str(file)).history
    del header["facts"]["history"]
    return {**header, "last": history[-1] if history else {}}


def _words(info: SignalInfo) -> str:
    known = kinds()
    return known[info.kind].holds(info) if info.kind in known else f"a signal of the unknown kind '{info.kind}'"


def _is_signal(folder: Path) -> bool:
    """Whether a folder that is no run's may be a scene."""
    ours = RunFolder(folder).field.exists() or any(folder.glob("*/*/field.safetensors"))
    return not ours and any(folder.iterdir())


def _grow(tree: Tree, facts: dict[str, Any]) -> None:
    for key, value in facts.items():
        if isinstance(value, dict):
            label = Text.assemble(visible(key), (visible(f" {value.get('type', '')}"), "dim"))
            _grow(tree.add(label), {k: v for k, v in value.items() if k != "type"})
        elif isinstance(value, list) and value and all(isinstance(one, dict) and "name" in one for one in value):
            _grow(tree.add(key), {str(one["name"]): {k: v for k, v in one.items() if k != "name"} for one in value})
        else:
            text = str(value)  # a color profile is hundreds of letters of base 64
            tree.add(f"{key}: {text if len(text) <= _LONGEST else f'{text[:20]}... ({len(text)} letters)'}")
