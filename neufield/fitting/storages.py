"""How many bytes a field's numbers take in its file: the storages, written and read.

"int8" keeps each learned matrix and table as rows of 64 consecutive numbers (a row of a layer 64 wide, 32 entries of a
grid): whole numbers from -127 to 127 times one float32 step a row, the row's largest number / 127, so that no number
moves by more than half a step. What is small or no matrix (biases, scales) and buffers (random frequencies, cameras)
stay as they are; a buffer of many numbers is a map that was filled (an occupancy grid), and becomes float16.

"...-zlib" codes every tensor's bytes by their frequency (deflate's Huffman code, of Python's own zlib), the first bytes
of all numbers before the second ones. Of 8-bit numbers that are normally distributed it leaves 0.956, with an entropy
of 0.953; zstandard at its best leaves the same, lzma 0.966.
"""

import dataclasses
import math
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neufield.core.errors import DataError
from neufield.core.json_files import Keys, shown
from neufield.core.memory import check_budget
from neufield.core.recipe import STORAGES
from neufield.core.shapes import check_choice

ROW = 64  # consecutive numbers that share a step
_MOST = 127
_STEPS = ".steps"  # behind a tensor's name; no module's own, whose name a tensor has already
_MAP = 4096  # numbers from which a buffer is a map; there are at most some hundred random frequencies or cameras
_MOST_AXES = 16
_CODED = {str(kind).removeprefix("torch."): kind for kind in (
    torch.float32, torch.float16, torch.int8, torch.uint8, torch.bool, torch.int16, torch.int32, torch.int64,
)}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stored:
    """The ``tensors`` of a file, and the JSON-able ``header`` entry that says how they are read."""

    tensors: Mapping[str, Tensor]
    header: Mapping[str, Any]


def pack(field: nn.Module, storage: str) -> Stored:
    """The state of ``field`` as ``storage`` has it; raises DataError for numbers that it cannot hold."""
    check_choice("storage", storage, STORAGES)
    kind, _, coder = storage.partition("-")
    learned = {name for name, _ in field.named_parameters()}
    tensors: dict[str, Tensor] = {}
    rows: list[str] = []
    for name, value in field.state_dict().items():
        value = value.detach().cpu()
        if not value.is_floating_point():
            tensors[name] = value
        elif kind != "int8":
            tensors[name] = _narrowed(name, value, getattr(torch, kind))
        elif name in learned and value.ndim >= 2 and value.numel() >= ROW:
            tensors[name], tensors[name + _STEPS] = quantize(value.float(), name)
            rows.append(name)
        else:
            is_map = name not in learned and value.numel() >= _MAP
            tensors[name] = _narrowed(name, value, torch.float16 if is_map else torch.float32)
    numbers = sum(value.numel() for value in field.parameters())
    header: dict[str, Any] = {"type": storage, "parameters": numbers, "quantized": rows, "coded": {}}
    if coder:
        tensors, header["coded"] = _code(tensors)
    return Stored(tensors, header)


def unpack(tensors: Mapping[str, Tensor], header: Any, where: str) -> dict[str, Tensor]:
    """The float32 state of the field whose file ``where`` has ``tensors`` and says ``header`` of their storage.

    What they become is reckoned from the header, and refused beyond the memory budget, before any is decoded.
    """
    keys = Keys(header, f"the storage in {where}")
    coded = keys.object("coded") if keys.has("coded") else Keys({}, keys.where)
    shapes = {name: _Coded.of(coded.object(name), name, tensors, where) for name in coded.values}
    quantized = _names(keys, "quantized")
    found = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}
    found |= {name: (one.shape, one.dtype) for name, one in shapes.items()}
    _check_rows(quantized, found, where)
    needed = sum(math.prod(shape) * (dtype.itemsize + 4) for shape, dtype in found.values())
    check_budget(needed, f"{where}, decoded,", "take a machine with more")
    state = {name: shapes[name].decode(v, name, where) if name in shapes else v for name, v in tensors.items()}
    for name in quantized:
        state[name] = dequantize(state[name], state.pop(name + _STEPS))
    return {name: v.float() if v.is_floating_point() else v for name, v in state.items()}


def rate(facts: Mapping[str, Any], size: int) -> str:
    """What a file of ``size`` bytes, whose header says ``facts``, spends on its field, in words."""
    keys = Keys(facts.get("storage"), "the storage")
    parameters = keys.integer("parameters", least=0)
    bits = f", {8 * size / parameters:.2f} bits a parameter" if parameters else ""
    return f"{keys.text('type')}, {size:,} bytes{bits}"


def quantize(values: Tensor, name: str = "the tensor") -> tuple[Tensor, Tensor]:
    """``values (*shape)`` as int8 of the same shape, and the step of each row of 64; raises DataError for a NaN."""
    if not values.isfinite().all():
        raise DataError(f"numbers of {name} are NaN or infinite; train again, or save with storage='float32'")
    rows = _rows(values)
    steps = rows.abs().amax(dim=1) / _MOST
    whole = (rows / steps.clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(1)).round().clamp(-_MOST, _MOST)
    return whole.to(torch.int8).flatten()[: values.numel()].view(values.shape), steps


def dequantize(whole: Tensor, steps: Tensor) -> Tensor:
    """What :func:`quantize` made of a tensor, as float32 again."""
    return (_rows(whole).float() * steps.float().unsqueeze(1)).flatten()[: whole.numel()].view(whole.shape)


def _rows(values: Tensor) -> Tensor:
    flat = values.flatten()
    return nn.functional.pad(flat, (0, -flat.numel() % ROW)).view(-1, ROW)


def _narrowed(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    """``value`` in ``dtype``, which must not turn its numbers into infinities."""
    stored = value.to(dtype)
    lost = int((stored.isinf() & value.isfinite()).sum())
    if lost:
        raise DataError(f"{lost} of {value.numel()} numbers of {name} are beyond {dtype}; save with storage='float32'")
    return stored


def _code(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Those ``tensors`` that become smaller by it as their coded bytes, and what these are of."""
    kept: dict[str, Tensor] = {}
    coded: dict[str, Any] = {}
    for name, value in tensors.items():
        kind = str(value.dtype).removeprefix("torch.")
        data = _planes(value) if kind in _CODED and value.numel() else b""
        code = min((_deflated(data, zlib.Z_HUFFMAN_ONLY), _deflated(data, zlib.Z_DEFAULT_STRATEGY)), key=len)
        kept[name] = value
        if len(code) < len(data):
            kept[name] = torch.frombuffer(bytearray(code), dtype=torch.uint8)
            coded[name] = {"dtype": kind, "shape": list(value.shape)}
    return kept, coded


def _deflated(data: bytes, strategy: int) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return coder.compress(data) + coder.flush()


def _planes(value: Tensor) -> bytes:
    """The first bytes of all numbers, then the second ones: an exponent is better foretold than digits."""
    one_byte = value.contiguous().flatten().view(torch.uint8).view(value.numel(), value.dtype.itemsize)
    return one_byte.T.contiguous().numpy().tobytes()


@dataclasses.dataclass(frozen=True)
class _Coded:
    """What a coded tensor becomes."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, keys: Keys, name: str, tensors: Mapping[str, Tensor], where: str) -> "_Coded":
        """Check what a header says of a tensor, which must be there."""
        shape, kind = keys.values.get("shape"), keys.text("dtype")
        whole = isinstance(shape, list) and len(shape) <= _MOST_AXES and all(type(n) is int and n >= 0 for n in shape)
        if not isinstance(shape, list) or not whole or kind not in _CODED:
            raise DataError(f"{keys.where} is {shown(keys.values)}, but a type and a shape were expected; copy it anew")
        if name not in tensors or tensors[name].dtype != torch.uint8 or tensors[name].ndim != 1:
            raise DataError(f"{where} has no coded bytes of {name}; copy it anew from where it is whole")
        return cls(tuple(shape), _CODED[kind])

    def decode(self, code: Tensor, name: str, where: str) -> Tensor:
        """The tensor of ``code``, which may become no larger than was said."""
        size = math.prod(self.shape) * self.dtype.itemsize
        decoder = zlib.decompressobj()
        try:
            data = decoder.decompress(code.numpy().tobytes(), size + 1)
        except zlib.error as error:
            raise DataError(f"{where} cannot be decoded at {name} ({error}); copy it anew") from None
        if len(data) != size or not decoder.eof or decoder.unused_data:
            raise DataError(f"{where} holds another number of bytes of {name} than it says, {size:,}; copy it anew")
        planes = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(self.dtype.itemsize, -1)
        return planes.T.contiguous().flatten().view(self.dtype).view(self.shape)


def _names(keys: Keys, key: str) -> list[str]:
    names = keys.values.get(key, [])
    if not isinstance(names, list) or len({name for name in names if isinstance(name, str)}) != len(names):
        raise DataError(f"{keys.where}: '{key}' is {shown(names)}, but a list of names was expected; copy it anew")
    return names


def _check_rows(names: list[str], found: Mapping[str, tuple[tuple[int, ...], torch.dtype]], where: str) -> None:
    for name in names:
        shape, dtype = found.get(name, ((), torch.float32))
        if dtype != torch.int8 or found.get(name + _STEPS) != ((-(-math.prod(shape) // ROW),), torch.float32):
            raise DataError(f"{where} does not hold {name} as whole numbers and the steps of their rows; copy it anew")
