"""Writes state dicts in both forms of `torch.save`, operation by operation, and whatever else a pickle can say."""

import struct
import zipfile

import numpy as np

STORAGES = {"<f4": "FloatStorage", "<i8": "LongStorage", "<f2": "HalfStorage", "<f8": "DoubleStorage"}
MAGIC = 0x1950A86A20F9469CFC6C


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return b"\x8a\x0b" + value.to_bytes(11, "little", signed=True)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def storage(kind, key, count, *, legacy=False):
    view = b"N" if legacy else b""
    return b"(" + text("storage") + named("torch", kind) + text(key) + text("cpu") + number(count) + view + b"tQ"


def rebuilt(where, offset, shape, strides, function="_rebuild_tensor_v2"):
    hooks = named("collections", "OrderedDict") + b")R"
    arguments = b"(" + where + number(offset) + numbers(shape) + numbers(strides) + b"\x89" + hooks + b"t"
    return named("torch._utils", function) + arguments + b"R"


def tensor(array, key, *, legacy=False):
    """Says that a whole array lies in the storage `key`."""
    kind = STORAGES[array.dtype.str]
    strides = [step // array.itemsize for step in array.strides]
    return rebuilt(storage(kind, key, array.size, legacy=legacy), 0, array.shape, strides)


def pickled(body):
    return b"\x80\x02" + body + b"."


def ordered(items, *, metadata=True):
    """An OrderedDict of what is pickled already, with the `_metadata` that PyTorch gives it."""
    filled = named("collections", "OrderedDict") + b")R(" + b"".join(text(k) + v for k, v in items.items()) + b"u"
    return filled + (b"}" + text("_metadata") + named("collections", "OrderedDict") + b")Rsb" if metadata else b"")


def write_zip(path, content, storages, root="archive", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", content)
        archive.writestr(f"{root}/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"{root}/data/{key}", np.ascontiguousarray(array).tobytes())
        archive.writestr(f"{root}/version", "3\n")


def legacy_bytes(content, storages, little=b"\x88"):
    system = b"}(" + text("protocol_version") + number(1001) + text("little_endian") + little + b"u"
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    head = b"".join(pickled(part) for part in (number(MAGIC), number(1001), system))
    arrays = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())
    return head + content + pickled(keys) + arrays


def write_state_dict(path, arrays, *, legacy=False):
    """Writes arrays by name as `torch.save(state_dict, path)` does."""
    items = {name: tensor(array, str(i), legacy=legacy) for i, (name, array) in enumerate(arrays.items())}
    storages = {str(i): array for i, array in enumerate(arrays.values())}
    if legacy:
        path.write_bytes(legacy_bytes(pickled(ordered(items)), storages))
    else:
        write_zip(path, pickled(ordered(items)), storages)
