"""``neufield doctor``: what this machine has, and what keeps each backend from running, one sentence each."""

import functools
import importlib.metadata
import os
import platform

import torch
from rich.table import Table

import neufield
from neufield.apps.console import Terminal
from neufield.apps.options import Doctor
from neufield.kernels import field, grid, native, radiance, volume

_PACKAGES = (
    "torch",
    "numpy",
    "pillow",
    "OpenImageIO",
    "safetensors",
    "tyro",
    "rich",
    "jaxtyping",
    "av",
    "pycolmap",
    "viser",
    "triton",
    "tinycudann",
    "nerfacc",
)


def print_report(options: Doctor) -> None:
    """Run the whole command, which has no options."""
    del options
    console = Terminal()
    console.print(f"neufield {neufield.__version__}, Python {platform.python_version()}, {platform.platform()}")
    console.print(", ".join(f"{name} {_version(name)}" for name in _PACKAGES), soft_wrap=True)
    console.print(
        f"cpu: {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads and "
        f"{torch.backends.cpu.get_cpu_capability()}"
    )
    if native.obstacle() is None:
        console.print(f"native kernels: {native.isa()}, of {', '.join(native.isas())}")
    console.print(_gpu())
    devices = [torch.device("cpu")] + [torch.device("cuda")] * torch.cuda.is_available()
    table = Table("op", "backend", *[str(device) for device in devices], title="backends, in order of preference")
    spec = grid.GridSpec(dim=2)
    network = field.FieldSpec(spec.out_dim, 3, 64, 2, "relu", bias=False, encoding=spec)
    rows = [("grid", kernel.name, functools.partial(kernel.obstacles, spec)) for kernel in grid.KERNELS]
    rows += [("grid + network", kernel.name, functools.partial(kernel.obstacles, network)) for kernel in field.KERNELS]
    space = grid.GridSpec(dim=3)
    density = field.FieldSpec(space.out_dim, 16, 64, 1, "relu", bias=False, encoding=space)
    color = field.FieldSpec(32, 3, 64, 2, "relu", bias=False)
    march = volume.MarchSpec((0.0,) * 3, (1.0,) * 3, 0.01)
    seen = radiance.RadianceSpec(march, density, color, 4, "trunc_exp", 0.0, 1.0, "sigmoid", 1e-4)
    rows += [("march", kernel.name, functools.partial(kernel.obstacles, march)) for kernel in volume.KERNELS]
    rows += [
        ("compositing", kernel.name, functools.partial(kernel.obstacles, 3)) for kernel in volume.COMPOSITE_KERNELS
    ]
    rows += [("along rays", kernel.name, functools.partial(kernel.obstacles, seen)) for kernel in radiance.KERNELS]
    for op, name, obstacles in rows:
        found = [" ".join(obstacles(device, torch.float32)) or "runs" for device in devices]
        table.add_row(op, name, *found)
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
