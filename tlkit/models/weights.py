"""How pretrained weights reach our layers.

Files are read tensor by tensor with h5py; nothing in them is ever run.
"""

import contextlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from tlkit.errors import WeightsError, some
from tlkit.manifest import sha256_of
from tlkit.models.architecture import Architecture

_SUFFIXES = (".weights.h5", ".h5", ".hdf5", ".keras")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What was loaded: the file's sha256, and whether the final layer's weights were carried over as well."""

    sha256: str
    head: bool


def _first_line(err: BaseException) -> str:
    return (str(err).strip() or type(err).__name__).splitlines()[0]


def load_weights(model: keras.Model, architecture: Architecture, path: Path) -> Loaded:
    """Carries pretrained weights over to a model of ours.

    The backbone must be complete; the head is taken when its shape agrees (same number of classes) and left random
    otherwise.

    Args:
        model: As `registry.build` returns it.
        architecture: What it was built from.
        path: `.weights.h5`, a legacy `.h5` of `keras.applications` (top or no top), or a `.keras` file.

    Raises:
        WeightsError: no such file, not one of these formats, or for another architecture, width or depth.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}. Check the path given with --weights.")
    if not path.name.endswith(_SUFFIXES):
        raise WeightsError(f"{path.name} is no weights file: tlkit reads .weights.h5, .h5 and .keras.")
    try:
        with _open(path) as file:
            tensors = _tensors(file, path)
            names = _names(model, architecture, tensors, path)
            reverse = (
                bool(architecture.origins)
                and architecture.module.ORIGINS["keras"].bgr
                and any(ours != theirs for ours, theirs in names.items())
            )
            head = _carry(model, architecture, tensors, names, path=path, reverse_first=reverse)
    except (KeyError, ValueError, TypeError, AttributeError, OSError) as err:  # what odd HDF5 provokes in h5py
        raise WeightsError(f"{path} is no weights file of Keras ({_first_line(err)}). Fetch it again.") from err
    return Loaded(sha256=sha256_of(path), head=head)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    """Opens the HDF5 file, or the one inside a `.keras` archive."""
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                content: Any = io.BytesIO(archive.read("model.weights.h5"))
        else:
            content = path
        file = h5py.File(content, "r")
    except (OSError, KeyError, zipfile.BadZipFile) as err:
        raise WeightsError(f"{path} can't be read as a weights file ({_first_line(err)}). Fetch it again.") from err
    with file:
        yield file


def _tensors(file: h5py.File, path: Path) -> dict[str, list[h5py.Dataset]]:
    """Lists the datasets of every layer by the layer's name, in Keras 3 form and in the legacy form."""
    root = _child(file, "model_weights", path) if "model_weights" in file else file
    found: dict[str, list[h5py.Dataset]] = {}
    if "layer_names" in root.attrs:
        for layer in _strings(root.attrs["layer_names"]):
            group = _child(root, layer, path)
            found[layer] = [_child(group, name, path) for name in _strings(group.attrs["weight_names"])]
        return found

    def walk(group: h5py.Group) -> None:
        for key in group:
            child = _child(group, key, path)
            if not isinstance(child, h5py.Group):
                continue
            if key == "vars" and len(child):
                name = child.attrs.get("name", group.name.rpartition("/")[2])
                found[str(name)] = [_child(child, i, path) for i in sorted(child, key=int)]
            walk(child)

    walk(root)
    return found


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


def _names(
    model: keras.Model, architecture: Architecture, tensors: dict[str, list[h5py.Dataset]], path: Path
) -> dict[str, str]:
    """Maps our layers' names to the file's: the same names for files of ours, else the published ones.

    Only layers that the file has are in the result.
    """
    ours = [layer.name for layer in model.layers if layer.weights]
    backbone = [name for name in ours if not name.startswith("head_")]
    candidates = [{name: name for name in ours}]
    if architecture.origins:
        candidates.append({name: architecture.module.ORIGINS["keras"].name_of(name) for name in ours})
    names = max(candidates, key=lambda names: sum(names[name] in tensors for name in backbone))
    missing = [names[name] for name in backbone if names[name] not in tensors]
    if len(missing) == len(backbone):
        raise WeightsError(
            f"{path.name} is not for {architecture.name}: it has none of its layers "
            f"(it has {some(tensors, 3) or 'none at all'}). Check --base and --weights."
        )
    if missing:
        raise WeightsError(
            f"{path.name} is not for {architecture.name}{_variant(architecture, tensors)}: "
            f"it has no {some(missing, 3)}. Check --base and --weights."
        )
    wanted = {names[layer.name]: tuple(layer.weights[0].shape) for layer in model.layers if layer.weights}
    other = _variant(architecture, tensors)
    if architecture.origins and other and other != f" but for {architecture.module.variant_of(wanted)}":
        raise WeightsError(f"{path.name} is not for {architecture.name}{other}. Check --base and --weights.")
    return {name: names[name] for name in ours if names[name] in tensors}


def _variant(architecture: Architecture, tensors: dict[str, list[h5py.Dataset]]) -> str:
    """Says what a file holds: ` but for VGG-19`."""
    if not architecture.origins:
        return ""
    shapes = {name: tuple(arrays[0].shape) for name, arrays in tensors.items() if arrays}
    variant = architecture.module.variant_of(shapes)
    return f" but for {variant}" if variant else ""


def _carry(
    model: keras.Model,
    architecture: Architecture,
    tensors: dict[str, list[h5py.Dataset]],
    names: dict[str, str],
    *,
    path: Path,
    reverse_first: bool,
) -> bool:
    """Checks every shape, then assigns; returns whether the final layer was carried over."""
    plan, head = [], False
    for ours, theirs in names.items():
        layer = model.get_layer(ours)
        wanted = [tuple(weight.shape) for weight in layer.weights]
        given = [tuple(dataset.shape) for dataset in tensors[theirs]]
        if wanted == given:
            plan.append((layer, tensors[theirs]))
            head = head or ours == "head_logits"
        elif not ours.startswith("head_"):
            raise WeightsError(
                f"{path.name} is not for this {architecture.name}{_variant(architecture, tensors)}: its {theirs} has "
                f"the shape {given[0] if given else '()'}, {wanted[0]} is needed. Check --base and --weights."
            )
    first = next(layer for layer, _ in plan if len(layer.weights[0].shape) == 4)
    loaded = [(layer, [np.asarray(dataset, np.float32) for dataset in datasets]) for layer, datasets in plan]
    for layer, values in loaded:
        if not all(np.isfinite(value).all() for value in values):
            raise WeightsError(f"{path.name} has values in {names[layer.name]} that are not numbers. Fetch it again.")
    for layer, values in loaded:
        if layer is first and reverse_first:
            values[0] = values[0][:, :, ::-1]
        layer.set_weights(values)
    return head
