"""How pretrained weights reach our layers: whose they are, whether they fit, what must be turned, and the assignment.

Files are read tensor by tensor; nothing in them is ever run.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tlkit.errors import WeightsError, some
from tlkit.manifest import sha256_of
from tlkit.models import own_file, registry
from tlkit.models.architecture import Architecture
from tlkit.models.hdf5_file import open_keras
from tlkit.models.layouts import fitted, flattened_maps, from_torch, keras_shape
from tlkit.models.origins import Normalization, Origin
from tlkit.models.safetensors_file import open_safetensors
from tlkit.models.tensors import Tensor, WeightsFile
from tlkit.models.torch_file import read_torch

_KERAS = (".weights.h5", ".h5", ".hdf5", ".keras")
_TORCH = (".pth", ".pt")
_SAFETENSORS = ".safetensors"
_OPTIONAL = ("head_", "aux")  # left random where a file has none: auxiliary classifiers are published untrained
_AGAIN = "Check --base and --weights."


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What was loaded: the file's sha256, and whether the final layer's weights were carried over as well."""

    sha256: str
    head: bool


@dataclass(frozen=True, kw_only=True)
class _Match:
    """Whose file it is (None is ours), and our layers' names with the file's, for those that it has."""

    origin: Origin | None
    names: dict[str, str]


def load_weights(model: keras.Model, architecture: Architecture, path: Path) -> Loaded:
    """Carries pretrained weights over to a model of ours, and the normalization that they were trained with.

    The backbone must be complete; the head is taken when its shape agrees (same number of classes) and left random
    otherwise. Nothing is changed unless everything fits. A `.weights.h5` of ours does not say how the input was
    normalized: the architecture's own way is kept, and where its weights come in several ways the file is refused.
    Nor does it say strides, paddings or activations: of two variants with the same layers and shapes it may be either.

    Args:
        model: As `registry.build` returns it, before its first prediction (a compiled one would keep the old
            normalization).
        architecture: What it was built from.
        path: `.weights.h5`, a legacy `.h5` of `keras.applications` (top or no top), a `.keras` file, or a state dict
            of PyTorch: `.pth`, `.pt` or `.safetensors`.

    Raises:
        WeightsError: no such file, not one of these formats, or for another architecture, width, depth or variant.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}. Check the path given with --weights.")
    try:
        with _open(path) as file:
            match = _match(model, architecture, file, path)
            head = _carry(model, architecture, file, match, path)
    except (KeyError, ValueError, TypeError, AttributeError, OSError) as err:  # what odd HDF5 provokes in h5py
        reason = (str(err).strip() or type(err).__name__).splitlines()[0]
        raise WeightsError(f"{path} is no weights file that can be used ({reason}). Fetch it again.") from err
    normalization = match.origin.normalization if match.origin else file.normalization
    if normalization is not None:
        _normalize(model, normalization)
    return Loaded(sha256=sha256_of(path), head=head)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[WeightsFile]:
    if path.name.endswith(_KERAS):
        with open_keras(path) as file:
            yield file
    elif path.name.endswith(_SAFETENSORS):
        with open_safetensors(path) as file:
            yield file
    elif path.name.endswith(_TORCH):
        yield read_torch(path)
    else:
        raise WeightsError(
            f"{path.name} is no weights file: tlkit reads .weights.h5, .h5, .keras, .pth, .pt and .safetensors."
        )


def _match(model: keras.Model, architecture: Architecture, file: WeightsFile, path: Path) -> _Match:
    """Finds out whose names the file has: ours, or those of one of the publishers of the family."""
    ours = [layer.name for layer in model.layers if layer.weights]
    backbone = [name for name in ours if not name.startswith(_OPTIONAL)]
    origins: dict[str, Origin] = getattr(architecture.module, "ORIGINS", {})
    candidates = _candidates(architecture, origins, file, ours)
    if not candidates:
        raise WeightsError(
            f"{path.name} has the layout of PyTorch; of the {architecture.family} family only Keras' files are read. "
            "Use a .h5 or .keras file."
        )
    key, names = max(candidates, key=lambda one: sum(one[1][name] in file.layers for name in backbone))
    missing = [names[name] for name in backbone if names[name] not in file.layers]
    if len(missing) == len(backbone):
        raise WeightsError(
            f"{path.name} is not for {architecture.name}: it has none of its layers "
            f"(it has {some(file.layers, 3) or 'none at all'}). {_AGAIN}"
        )
    wanted = {names[layer.name]: tuple(layer.weights[0].shape) for layer in model.layers if layer.weights}
    other = _variant(architecture, file)
    if other and other != _named(architecture, wanted):
        raise WeightsError(f"{path.name} is not for {architecture.name}{other}. {_AGAIN}")
    if key is not None and key not in architecture.origins:
        raise WeightsError(_for_another(architecture, key, "torchvision" if file.torch else "keras.applications", path))
    if key is None and file.described and (misfit := own_file.misfit(model, architecture, file.described)):
        raise WeightsError(f"{path.name} is not for {architecture.name}: {misfit}")
    if missing:
        raise WeightsError(f"{path.name} is not for {architecture.name}{other}: it has no {some(missing, 3)}. {_AGAIN}")
    of_backbone = {name: names[name] for name in backbone}
    weighted = [layer for layer, tensors in file.layers.items() if tensors]
    if surplus := own_file.surplus(weighted, of_backbone, origins[key].name_of if key else None):
        raise WeightsError(
            f"{path.name} is not for {architecture.name}: it has {some(surplus, 3)} as well, which {architecture.name} "
            f"has not. {_AGAIN}"
        )
    if key is None and file.normalization is None:
        _check_one_normalization(architecture, origins, path)
    return _Match(origin=origins[key] if key else None, names={n: names[n] for n in ours if names[n] in file.layers})


def _candidates(
    architecture: Architecture, origins: Mapping[str, Origin], file: WeightsFile, ours: list[str]
) -> list[tuple[str | None, dict[str, str]]]:
    """Lists whose file it may be (None is ours), each with our layers' names and theirs; the likelier first."""
    found: list[tuple[str | None, dict[str, str]]] = [] if file.torch else [(None, {name: name for name in ours})]
    publishers = sorted(origins, key=lambda publisher: publisher not in architecture.origins)
    fitting = [publisher for publisher in publishers if origins[publisher].torch == file.torch]
    found += [(publisher, {name: origins[publisher].name_of(name) for name in ours}) for publisher in fitting]
    if not file.torch and (ranked := own_file.ranked(file.layers)):
        found += [(key, {name: ranked.get(their, their) for name, their in names.items()}) for key, names in found[1:]]
    return found


def _check_one_normalization(architecture: Architecture, origins: Mapping[str, Origin], path: Path) -> None:
    """Refuses a file of ours that does not say how its input was normalized, where there are several ways."""
    if len({origins[origin].normalization for origin in architecture.origins}) > 1:
        raise WeightsError(
            f"{path.name} does not say how its input was normalized, and {architecture.name} has weights trained in "
            "several ways. Use the .keras file of that model."
        )


def _for_another(architecture: Architecture, origin: str, publisher: str, path: Path) -> str:
    """Says which architecture of the family takes the weights of that publisher."""
    name = architecture.name
    takers = [
        one.name
        for one in registry.ARCHITECTURES
        if one.family == architecture.family and origin in one.origins
        if one.name.startswith(name) or name.startswith(one.name)
    ]
    advice = f"Use --base {takers[0]}." if takers else _AGAIN
    return f"{path.name} is not for {name}: it has the weights of {publisher}, whose network differs from it. {advice}"


def _variant(architecture: Architecture, file: WeightsFile) -> str:
    """Says what a file holds: ` but for VGG-19`."""
    turned = keras_shape if file.torch else tuple
    return _named(architecture, {name: turned(tensors[0].shape) for name, tensors in file.layers.items() if tensors})


def _named(architecture: Architecture, shapes: Mapping[str, tuple[int, ...]]) -> str:
    variant_of = getattr(architecture.module, "variant_of", None)
    variant = variant_of(shapes) if variant_of else None
    return f" but for {variant}" if variant else ""


def _carry(model: keras.Model, architecture: Architecture, file: WeightsFile, match: _Match, path: Path) -> bool:
    """Checks every shape and every number, then assigns; returns whether the final layer was carried over."""
    maps = flattened_maps(model) if file.torch else {}
    layers = {layer.name: layer for layer in model.layers}
    plan: dict[str, list[Tensor]] = {}
    biases: dict[str, Tensor] = {}
    for ours, theirs in match.names.items():
        layer, tensors = layers[ours], file.layers[theirs]
        if file.torch:
            tensors = from_torch(layer, tensors, maps.get(ours))
        tensors, bias = fitted(layer, tensors, normalized=f"{ours}_bn" in match.names)
        wanted = [tuple(weight.shape) for weight in layer.weights]
        given = [tensor.shape for tensor in tensors]
        if wanted == given:
            plan[ours] = tensors
            if bias is not None:
                biases[f"{ours}_bn"] = bias
        elif not ours.startswith(_OPTIONAL):
            given_text = next((f"{g}, {w} is needed" for g, w in zip(given, wanted, strict=False) if g != w), None)
            detail = f"the shape {given_text}" if given_text else f"{len(given)} tensors, {len(wanted)} are needed"
            raise WeightsError(
                f"{path.name} is not for this {architecture.name}{_variant(architecture, file)}: "
                f"its {theirs} has {detail}. {_AGAIN}"
            )
    values = {name: [_read(tensor, match.names[name], path) for tensor in plan[name]] for name in plan}
    for name, bias in biases.items():
        values[name][-2] = values[name][-2] - _read(bias, name, path)  # the mean
    if match.origin is not None and match.origin.bgr:
        first = values[next(name for name in values if values[name][0].ndim == 4)]
        first[0] = first[0][:, :, ::-1]
    for name, arrays in values.items():
        layers[name].set_weights(arrays)
    return "head_logits" in plan


def _read(tensor: Tensor, name: str, path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 can't hold becomes infinite, and is refused
        array = np.asarray(tensor.read(), np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(f"{path.name} has values in {name} that are not numbers. Fetch it again.")
    return array


def _normalize(model: keras.Model, normalization: Normalization) -> None:
    """Sets the model's one Rescaling to what the weights were trained with."""
    layer = model.get_layer("input_rescaling")
    layer.scale, layer.offset = (list(part) if isinstance(part, tuple) else part for part in normalization)
