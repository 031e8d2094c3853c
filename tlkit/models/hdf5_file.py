"""Reads the weights files of Keras, tensor by tensor with h5py; nothing in them is ever run."""

import contextlib
import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from tlkit.errors import WeightsError
from tlkit.models.origins import Normalization
from tlkit.models.tensors import Described, Tensor, WeightsFile, described

_MAX_CONFIG = 64 * 2**20  # bytes; MobileNetV2's takes 0.1 MB
_MAX_RATIO = 20  # of compression


@contextlib.contextmanager
def open_keras(path: Path) -> Iterator[WeightsFile]:
    """Opens a `.weights.h5`, a legacy `.h5` or a `.keras` file.

    Raises:
        WeightsError: it is none, or keeps anything outside itself.
    """
    layers: Described = {}
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                check_size(archive.getinfo("model.weights.h5"))
                content: Any = io.BytesIO(archive.read("model.weights.h5"))
                layers = _config(archive, path)
        else:
            content = path
        file = h5py.File(content, "r")
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile) as err:
        reason = (str(err).strip() or type(err).__name__).splitlines()[0]
        raise WeightsError(f"{path} can't be read as a weights file ({reason}). Fetch it again.") from err
    with file:
        normalization = _normalization(layers, path)
        yield WeightsFile(layers=_layers(file, path), described=layers, normalization=normalization)


def check_size(info: zipfile.ZipInfo) -> None:
    """Checks, before it is read, that a part of a `.keras` file is no larger than such a part may be.

    Raises:
        ValueError: it would fill the memory. Keras does not compress; weights hardly can be.
    """
    limit = _MAX_CONFIG
    if not info.filename.endswith(".json"):
        limit = max(limit, _MAX_RATIO * info.compress_size)
    if info.file_size > limit:
        raise ValueError(f"its {info.filename} of {info.compress_size:,} bytes would become {info.file_size:,}")


def _config(archive: zipfile.ZipFile, path: Path) -> Described:
    """Returns the layers of the model that was saved."""
    info = archive.getinfo("config.json")
    if info.file_size > _MAX_CONFIG:
        raise WeightsError(f"{path} has a config.json of {info.file_size:,} bytes. Fetch it again.")
    return described(json.loads(archive.read(info)))


def _normalization(layers: Described, path: Path) -> Normalization | None:
    """Returns scale and offset of the `input_rescaling` that a model was saved with."""
    _, config = layers.get("input_rescaling", ("", {}))
    if "scale" not in config:
        return None
    return _numbers(config["scale"], path), _numbers(config.get("offset", 0.0), path)


def _numbers(value: Any, path: Path) -> float | tuple[float, ...]:  # noqa: ANN401
    values = value if isinstance(value, list) else [value]
    if len(values) not in (1, 3) or not all(type(one) in (int, float) and math.isfinite(one) for one in values):
        raise WeightsError(f"{path} normalizes its input by {str(value)[:80]}, not by numbers. Fetch it again.")
    return tuple(map(float, values)) if isinstance(value, list) else float(value)


def _layers(file: h5py.File, path: Path) -> dict[str, list[Tensor]]:
    """Lists the datasets of every layer by the layer's name, in Keras 3 form and in the legacy form."""
    root = _child(file, "model_weights", path) if "model_weights" in file else file
    found: dict[str, list[Tensor]] = {}
    if "layer_names" in root.attrs:
        for layer in _strings(root.attrs["layer_names"]):
            group = _child(root, layer, path)
            found[layer] = [_tensor(_child(group, name, path)) for name in _strings(group.attrs["weight_names"])]
        return found

    def walk(group: h5py.Group) -> None:
        for key in group:
            child = _child(group, key, path)
            if not isinstance(child, h5py.Group):
                continue
            if key == "vars" and len(child):
                name = child.attrs.get("name", group.name.rpartition("/")[2])
                found[str(name)] = [_tensor(_child(child, i, path)) for i in sorted(child, key=int)]
            walk(child)

    walk(root)
    return found


def _tensor(dataset: h5py.Dataset) -> Tensor:
    return Tensor(shape=tuple(dataset.shape), read=lambda: dataset[()])


def _strings(values: Any) -> list[str]:  # noqa: ANN401
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _child(group: h5py.Group, name: str, path: Path) -> Any:  # noqa: ANN401
    """Returns what lies under a name, if all of it is in this very file."""
    node = group
    for part in name.split("/"):
        if not isinstance(node.get(part, getlink=True), h5py.HardLink | None):
            raise WeightsError(f"{path} links to other files ({node.name}/{part}); such files are not opened.")
        node = node[part]
        if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual):
            raise WeightsError(f"{path} keeps {node.name} outside itself; such files are not opened.")
    return node
