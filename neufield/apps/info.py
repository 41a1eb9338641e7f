"""``neufield info``: what is inside a file."""

import dataclasses
import json
from typing import Any

from rich.console import Console
from rich.tree import Tree

from neufield.apps.options import Info
from neufield.core.errors import DataError
from neufield.fitting.files import read_header
from neufield.parts import load_facts
from neufield.signals.image import Image


def print_info(options: Info) -> None:
    """Run the whole command."""
    console = Console(highlight=False)
    facts = _facts(options)
    if options.json:
        print(json.dumps(facts, indent=2))
        return
    tree = Tree(f"[bold]{options.file.name}[/bold]")
    _grow(tree, facts)
    console.print(tree)


def _facts(options: Info) -> dict[str, Any]:
    if options.file.suffix != ".safetensors":
        image = Image(options.file)
        return {"picture": {**dataclasses.asdict(image.facts), "bytes": image.source_bytes, "notes": list(image.notes)}}
    try:
        return load_facts(options.file)
    except DataError as error:
        if "holds a state" not in str(error):
            raise
    header = read_header(options.file, "state")
    history = header["facts"].pop("history")
    return {**header, "last": history[-1] if history else {}}


def _grow(tree: Tree, facts: dict[str, Any]) -> None:
    for key, value in facts.items():
        if isinstance(value, dict):
            _grow(
                tree.add(f"{key} [dim]{value.get('type', '')}[/dim]"), {k: v for k, v in value.items() if k != "type"}
            )
        else:
            tree.add(f"{key}: {value}")
