"""``neufield doctor``: what this machine has, and what keeps each backend from running, one sentence each."""

import importlib.metadata
import os
import platform

import torch
from rich.console import Console
from rich.table import Table

import neufield
from neufield.kernels import grid

_PACKAGES = ("torch", "numpy", "imageio", "pillow", "OpenImageIO", "safetensors", "tyro", "rich", "jaxtyping")


def print_report() -> None:
    """Run the whole command."""
    console = Console(highlight=False)
    console.print(f"neufield {neufield.__version__}, Python {platform.python_version()}, {platform.platform()}")
    console.print(", ".join(f"{name} {_version(name)}" for name in _PACKAGES), soft_wrap=True)
    console.print(
        f"cpu: {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads and "
        f"{torch.backends.cpu.get_cpu_capability()}"
    )
    console.print(_gpu())
    spec = grid.GridSpec(dim=2)
    devices = [torch.device("cpu")] + [torch.device("cuda")] * torch.cuda.is_available()
    table = Table("op", "backend", *[str(device) for device in devices], title="backends, in order of preference")
    for kernel in grid.KERNELS:
        reasons = [" ".join(kernel.obstacles(spec, device)) or "runs" for device in devices]
        table.add_row("grid", kernel.name, *reasons)
    console.print(table)


def _gpu() -> str:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return f"cuda {torch.version.cuda}: {', '.join(names)}"
    if torch.version.cuda is None:
        return "cuda: none, because this torch was built without it (see pytorch.org for a CUDA build)"
    return f"cuda: none, because torch {torch.__version__} finds no usable GPU or driver"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
