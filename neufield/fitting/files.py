"""Safetensors with a JSON header: tensors in, tensors out, whole or not at all, and never any code."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import neufield
from neufield.core.errors import DataError
from neufield.core.files import atomic_path
from neufield.core.json_files import parse_json

FORMAT_VERSION = 1
_KEY = "neufield"


def write_tensors(path: str | Path, kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write ``tensors`` and the JSON-able ``header``, atomically. ``kind`` says what the file is ("field", "state")."""
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    full = {
        "format_version": FORMAT_VERSION,
        "neufield_version": neufield.__version__,
        "kind": kind,
        "sha256": _digest(stored),
        **header,
    }
    try:
        with atomic_path(path) as temporary:
            save_file(stored, temporary, metadata={_KEY: json.dumps(full)})
    except SafetensorError as error:
        raise DataError(f"cannot write {path}: {error}; what was there before is untouched") from None


def read_header(path: str | Path, kind: str) -> dict[str, Any]:
    """The header of a file of ``kind``, without reading its tensors."""
    return _read(Path(path), kind, with_tensors=False)[1]


def read_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file of ``kind``, after checking its version and its checksum."""
    tensors, header = _read(Path(path), kind, with_tensors=True)
    if header.get("sha256") != _digest(tensors):
        raise DataError(f"{path} does not match its own checksum: it was damaged or changed; use another copy")
    return tensors, header


def _read(path: Path, kind: str, with_tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}; expected a neufield {kind}, for instance runs/photo/{kind}.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            header = _checked(path, kind, metadata)
            names = file.keys() if with_tensors else ()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path} is not a whole safetensors file ({error}); it may be truncated, use another copy"
        ) from None
    return tensors, header


def _checked(path: Path, kind: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    if _KEY not in metadata:
        raise DataError(
            f"{path} is a safetensors file, but not one of neufield's; make one with: neufield fit photo.png"
        )
    try:
        header = parse_json(metadata[_KEY], f"the header of {path}")
        version, found = header["format_version"], header["kind"]
    except (DataError, KeyError, TypeError):
        raise DataError(f"{path} has a damaged neufield header; use another copy") from None
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {version}, but this neufield reads up to {FORMAT_VERSION}; "
            "get a newer one with: pip install --upgrade neufield"
        )
    if found != kind:
        raise DataError(f"{path} holds a {found}, but a {kind} was expected; give the {kind}.safetensors of the run")
    return header


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
