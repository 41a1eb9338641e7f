"""Safetensors with a JSON header: tensors in, tensors out, whole or not at all, and never any code.

Every byte is under a checksum: the header, with the container's own list of tensors, under ``header_sha256`` (that of
the bytes before the tensors, with zeros where its own digits are), the tensors under the header's ``data_sha256``.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save_file
from torch import Tensor

from neufield._version import __version__
from neufield.core.errors import DataError
from neufield.core.files import atomic_path
from neufield.core.json_files import Keys, one_line, parse_json
from neufield.core.memory import check_budget

FORMAT_VERSION = 3
OWN_KEYS = ("header_sha256", "data_sha256", "format_version", "neufield_version", "kind")  # of every header
_KEY = "neufield"
_NO_DIGITS = "0" * 64
_LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit
# In the container's header, where our JSON is a string; it comes before anything that others may have written.
_OWN = re.compile(rb'\\"header_sha256\\": \\"([0-9a-f]{64})\\"')


def write_tensors(path: str | Path, kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write ``tensors`` and the JSON-able ``header``, atomically. ``kind`` says what the file is ("field", "state")."""
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    full = {
        "header_sha256": _NO_DIGITS,
        "data_sha256": _NO_DIGITS,
        "format_version": FORMAT_VERSION,
        "neufield_version": __version__,
        "kind": kind,
        **header,
    }
    try:
        with atomic_path(path) as temporary:
            save_file(stored, temporary, metadata={_KEY: one_line(full)})
            _seal(temporary)
    except SafetensorError as error:
        raise DataError(f"cannot write {path}: {error}; what was there before is untouched") from None


def is_safetensors(path: str | Path) -> bool:
    """Whether ``path`` is a file that begins as safetensors do, whatever its name: a length, then an object of JSON."""
    try:
        with Path(path).open("rb") as file:
            begin = file.read(9)
    except OSError:
        return False
    return begin[8:] == b"{" and int.from_bytes(begin[:8], "little") <= _LONGEST_HEADER


def read_header(path: str | Path, kind: str) -> dict[str, Any]:
    """The header of a file of ``kind``, checked, without reading its tensors."""
    path = Path(path)
    _check_is_file(path, kind)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            begin = file.read(8)
            head = begin + file.read(_header_length(path, begin, size))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check that you may read it") from None
    return _header(path, kind, head, size)


def read_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file of ``kind``, after checking its version and its checksums.

    The tensors are in memory of their own: what becomes of the file afterwards does not change them.
    """
    path = Path(path)
    _check_is_file(path, kind)
    try:
        check_budget(2 * path.stat().st_size, str(path), "take a machine with more")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check that you may read it") from None
    start = 8 + _header_length(path, content[:8], len(content))
    header = _header(path, kind, content[:start], len(content))
    if header.get("data_sha256") != _hash(memoryview(content)[start:]):
        raise _damaged(path)
    try:
        tensors = load_bytes(content)
    except (SafetensorError, AssertionError, KeyError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise _not_whole(path, error) from None
    return tensors, header


def _seal(path: Path) -> None:
    """Write both checksums of the file at ``path`` into its header, in the place of zeros."""
    with path.open("r+b") as file:
        begin = file.read(8)
        head = begin + file.read(int.from_bytes(begin, "little"))
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        zeros = _NO_DIGITS.encode()
        head = head.replace(rb"\"data_sha256\": \"" + zeros, rb"\"data_sha256\": \"" + digest.hexdigest().encode(), 1)
        head = head.replace(rb"\"header_sha256\": \"" + zeros, rb"\"header_sha256\": \"" + _hash(head).encode(), 1)
        file.seek(0)
        file.write(head)


def _header_length(path: Path, begin: bytes, size: int) -> int:
    length = int.from_bytes(begin, "little")
    if len(begin) == 8 and length > _LONGEST_HEADER:
        raise DataError(f"{path} is no .safetensors file; give a field that neufield wrote, or a run's folder")
    if len(begin) < 8 or length > size - 8:
        raise _not_whole(path, "it ends within its header")
    return length


def _header(path: Path, kind: str, head: bytes, size: int) -> dict[str, Any]:
    """Our part of the container's header ``head``, whose version, kind, checksum and file's ``size`` are right."""
    where = f"the header of {path}"
    try:
        container = parse_json(head[8:].decode(), "its header")
    except (DataError, UnicodeDecodeError) as error:
        raise _not_whole(path, error) from None
    metadata = container.get("__metadata__") if isinstance(container, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise DataError(
            f"{path} is a safetensors file, but not one of neufield's; make one with: neufield fit photo.png"
        )
    keys = Keys(parse_json(metadata[_KEY], where), where)
    version, found = keys.integer("format_version", least=1), keys.text("kind")
    if version > FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {version}, but this neufield reads up to {FORMAT_VERSION}; "
            "get a newer one with: pip install --upgrade neufield"
        )
    if version < FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {version}, which no released neufield wrote; this one reads {FORMAT_VERSION}: "
            "train again, or take the neufield that wrote it"
        )
    own = _OWN.search(head)
    if own is None or own[1].decode() != _hash(head[: own.start(1)], _NO_DIGITS.encode(), head[own.end(1) :]):
        raise _damaged(path)
    if (whole := len(head) + _data_length(container)) != size:
        raise _not_whole(path, f"it has {size:,} bytes, but its header says {whole:,}")
    if found != kind:
        raise DataError(
            f"{path} holds a {found[:20]}, but a {kind} was expected; give the {kind}.safetensors of the run"
        )
    return keys.values


def _data_length(container: dict[str, Any]) -> int:
    """How many bytes of tensors the container's header speaks of; 0 where it speaks of none that can be."""
    try:
        return max((entry["data_offsets"][1] for name, entry in container.items() if name != "__metadata__"), default=0)
    except (TypeError, KeyError, IndexError):
        return 0


def _check_is_file(path: Path, kind: str) -> None:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}; expected a neufield {kind}, for instance runs/photo/{kind}.safetensors")


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path} does not match its own checksum: it was damaged or changed; copy it anew from where it is whole"
    )


def _not_whole(path: Path, reason: object) -> DataError:
    why = str(reason).rpartition("; ")[0] or reason  # without the advice of a sentence within: no header is corrected
    return DataError(f"{path} is not a whole safetensors file ({why}); copy it anew from where it is whole")


def _hash(*pieces: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
