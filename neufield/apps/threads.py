"""How many threads a command computes with, and a word where others want the same cores."""

import torch

from neufield.apps.console import Terminal
from neufield.core.errors import ConfigError
from neufield.core.processors import busy


def use_threads(count: int | None) -> None:
    """Compute with so many threads on the CPU; None leaves it as it is."""
    if count is None:
        return
    if count < 1:
        raise ConfigError(f"--threads is {count}, but at least 1 is needed; leave it out for one for each core")
    torch.set_num_threads(count)


def say_if_busy(device: torch.device, console: Terminal) -> None:
    """A line where other programs want the cores that are to train."""
    sentence = busy(torch.get_num_threads()) if device.type == "cpu" else ""
    if sentence:
        console.print(f"note: {sentence}", style="yellow", soft_wrap=True)
