"""Reads `.pth` and `.pt` files of PyTorch, without PyTorch and without running anything that is in them.

Two forms: since PyTorch 1.6 a zip archive with a pickle (`data.pkl`) and one uncompressed entry for each storage;
before that, five pickles in a row and the storages behind them. torchvision still publishes the second. The pickles are
read by `torch_pickle`; what they say of sizes is believed only where the file bears it out.

Source: the files that `torch.save` of PyTorch 2.13 writes, and `torch.serialization`'s description of both forms.
"""

import io
import math
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.errors import WeightsError
from tlkit.models.tensors import Tensor, WeightsFile
from tlkit.models.torch_pickle import MAX_BYTES, Call, Global, PickleError, Storage, read_pickle

# Storage classes and the dtype of their numbers. NumPy has no bfloat16: its bits are the upper half of a float32's.
_BFLOAT16 = "torch.BFloat16Storage"
_DTYPES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    _BFLOAT16: "<u2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "?",
}
_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_PARAMETER = "torch._utils._rebuild_parameter"
_KNOWN = frozenset({"collections.OrderedDict", *_TENSORS, _PARAMETER, *_DTYPES})
_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_MAX_ENTRIES = 100_000
# The tensors of a layer, in the order in which Keras has them.
_ORDER = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, kw_only=True)
class _Numbers:
    """A storage: where it begins in the file, in bytes, and how many numbers of which class it has."""

    start: int
    count: int
    kind: str

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(_DTYPES[self.kind])


def read_torch(path: Path) -> WeightsFile:
    """Lists the tensors of a state dict by layer; the numbers are read when they are asked for.

    A state dict under the key `state_dict`, and names that all begin with `module.` (as DataParallel writes them), are
    taken as if they were not wrapped. What is no tensor of a layer (`num_batches_tracked`, an epoch) is left out.

    Raises:
        WeightsError: the file is no state dict, is cut off or broken, lies about sizes, or asks for anything that a
            state dict does not need.
    """
    try:
        zipped = _bytes(path, 0, min(4, path.stat().st_size)) == b"PK\x03\x04"
        content, find = _read_zip(path) if zipped else _read_legacy(path)
        tensors = _tensors(content, find, path)
    except PickleError as err:
        raise WeightsError(
            f"{path.name} is not read: {err}. Use a state dict that torch.save wrote, or its .safetensors file."
        ) from err
    except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, NotImplementedError) as err:  # by zipfile
        raise WeightsError(f"{path.name} is cut off or broken ({str(err)[:80]}). Fetch it again.") from err
    if not tensors:
        raise WeightsError(f"{path.name} holds no tensors. Save a state dict: torch.save(model.state_dict(), path).")
    return WeightsFile(layers=by_layer(tensors), torch=True)


def by_layer(tensors: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """Groups `conv1.weight`, `conv1.bias` and the like by what stands before the last point."""
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, role = name.rpartition(".")
        if role in _ORDER:
            layers.setdefault(layer, {})[role] = tensor
    return {layer: [roles[role] for role in _ORDER if role in roles] for layer, roles in layers.items()}


# From a storage's identity in the pickle to where it lies.
_Find = Callable[[tuple[Any, ...]], _Numbers]


def _read_zip(path: Path) -> tuple[Any, _Find]:
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: info for info in archive.infolist()[:_MAX_ENTRIES]}
        (pickled, *others) = [name for name in entries if name.endswith("data.pkl")] or [""]
        root = pickled.removesuffix("data.pkl")
        if not pickled or others:
            raise PickleError("it is a zip archive, but not one of torch.save")
        if f"{root}constants.pkl" in entries:
            raise PickleError("it is a TorchScript program")
        size = path.stat().st_size
        starts = {name: _start(path, info, size) for name, info in entries.items() if name.startswith(root)}
        if entries[pickled].file_size > MAX_BYTES:
            raise PickleError("its data.pkl is too long for a state dict")
        order = entries.get(f"{root}byteorder")
        if order is not None and _bytes(path, starts[order.filename], min(order.file_size, 9)) != b"little":
            raise PickleError("its numbers are not little-endian")
        content = read_pickle(io.BytesIO(_bytes(path, starts[pickled], entries[pickled].file_size)), _KNOWN)

    def find(identity: tuple[Any, ...]) -> _Numbers:
        kind, key, _, count, *_ = identity
        name = f"{root}data/{key}"
        if name not in starts:
            raise PickleError(f"a tensor lies in {name[:80]!r}, which it does not have")
        found = _Numbers(start=starts[name], count=count, kind=kind)
        if entries[name].file_size != count * found.dtype.itemsize:
            raise PickleError(f"{name} has {entries[name].file_size:,} bytes, not those of {count:,} numbers")
        return found

    return content, find


def _start(path: Path, info: zipfile.ZipInfo, size: int) -> int:
    """Returns where the bytes of an uncompressed entry begin; all of them must be in the file."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
        raise PickleError(f"its entry {info.filename[:80]!r} is compressed, which torch.save never does")
    header = _bytes(path, info.header_offset, 30) if 0 <= info.header_offset <= size - 30 else b""
    if header[:4] != b"PK\x03\x04":
        raise PickleError(f"its entry {info.filename[:80]!r} is not where its directory says")
    start = info.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    if start + info.file_size > size:
        raise PickleError(f"its entry {info.filename[:80]!r} is longer than the file")
    return start


def _read_legacy(path: Path) -> tuple[Any, _Find]:
    size = path.stat().st_size
    pickles = io.BytesIO(_bytes(path, 0, min(size, MAX_BYTES)))
    if read_pickle(pickles, _KNOWN) != _LEGACY_MAGIC:
        raise PickleError("it is a pickle, but not one of torch.save")
    if read_pickle(pickles, _KNOWN) != _LEGACY_PROTOCOL:
        raise PickleError("it is of an unknown version of torch.save")
    system = read_pickle(pickles, _KNOWN)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise PickleError("its numbers are not little-endian")
    content = read_pickle(pickles, _KNOWN)
    keys = read_pickle(pickles, _KNOWN)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise PickleError("it does not list its storages")
    kinds = _kinds(content)
    found: dict[str, _Numbers] = {}
    position = pickles.tell()
    for key in keys:
        if key not in kinds:
            raise PickleError(f"no tensor lies in its storage {key[:80]!r}")
        count = int.from_bytes(_bytes(path, position, 8), "little")
        found[key] = _Numbers(start=position + 8, count=count, kind=kinds[key])
        position += 8 + count * found[key].dtype.itemsize
        if position > size:
            raise PickleError(f"its storage {key[:80]!r} is longer than the file")

    def find(identity: tuple[Any, ...]) -> _Numbers:
        kind, key, _, count, *view = identity
        if key not in found or found[key].kind != kind or found[key].count != count or view not in ([], [None]):
            raise PickleError(f"a tensor lies in the storage {str(key)[:80]!r}, which it does not have")
        return found[key]

    return content, find


def _kinds(content: object) -> dict[str, str]:
    """Says of which class each storage of a state dict is: in the older form only the tensors know."""
    kinds: dict[str, str] = {}
    for value in _state(content).values():
        if (call := _tensor_call(value)) is not None and call.arguments and isinstance(call.arguments[0], Storage):
            kind, key, *_ = _identity(call.arguments[0])
            kinds[key] = kind
    return kinds


def _state(content: object) -> dict[Any, Any]:
    """Returns the dict of tensors, unwrapped."""
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise PickleError("it holds no state dict")
    return content


def _tensor_call(value: object) -> Call | None:
    """Returns the call that would have made a tensor, or None for anything else."""
    if isinstance(value, Call) and value.function == _PARAMETER and value.arguments:
        value = value.arguments[0]
    return value if isinstance(value, Call) and value.function in _TENSORS else None


def _identity(storage: Storage) -> tuple[Any, ...]:
    """Checks what a storage goes by: `("storage", class, key, device, count)`, perhaps with a view. Drops the word."""
    word, *rest = storage.identity or ("",)
    if word == "storage" and 4 <= len(rest) <= 5:
        kind, key, _, count, *_ = rest
        if isinstance(kind, Global) and kind.name in _DTYPES and isinstance(key, str) and _is_count(count):
            return (kind.name, *rest[1:])
    raise PickleError("it refers to a storage in an unknown way")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= sys.maxsize


def _tensors(content: object, find: _Find, path: Path) -> dict[str, Tensor]:
    return {
        name: _tensor(call, find, path, name)
        for name, value in _state(content).items()
        if isinstance(name, str) and (call := _tensor_call(value)) is not None
    }


def _tensor(call: Call, find: _Find, path: Path, name: str) -> Tensor:
    """Checks that all of a tensor lies in its storage; its numbers are read later, and nothing but them."""
    storage, offset, shape, strides, *_ = (*call.arguments[:4], None, None, None, None)
    counts = shape if isinstance(shape, tuple) and isinstance(strides, tuple) else (None,)
    if (
        not isinstance(storage, Storage)
        or not isinstance(strides, tuple)
        or not all(_is_count(value) for value in (offset, *counts, *strides))
        or len(counts) != len(strides)
        or len(counts) > 8
    ):
        raise PickleError(f"its tensor {name[:80]!r} is described in an unknown way")
    numbers = find(_identity(storage))
    last = sum((count - 1) * stride for count, stride in zip(counts, strides, strict=True))
    size = math.prod(counts)
    if size and offset + last >= numbers.count or size > numbers.count:
        raise PickleError(f"its tensor {name[:80]!r} reaches beyond its storage")

    def read() -> np.ndarray:
        wanted = (last + 1) * numbers.dtype.itemsize if size else 0
        flat = np.frombuffer(_bytes(path, numbers.start + offset * numbers.dtype.itemsize, wanted), numbers.dtype)
        steps = [stride * numbers.dtype.itemsize for stride in strides]
        array = np.lib.stride_tricks.as_strided(flat, counts if size else (0,), steps if size else None)
        if numbers.kind == _BFLOAT16:
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return array.reshape(counts)

    return Tensor(shape=counts, read=read)


def _bytes(path: Path, start: int, count: int) -> bytes:
    """Reads a part of a file, all of it or nothing."""
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(count)
    if len(content) < count:
        raise PickleError("it is cut off")
    return content
