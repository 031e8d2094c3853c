"""How pretrained weights reach a foreign base: by Keras into the original, then layer by layer into ours."""

import warnings
from pathlib import Path

import h5py
import keras
import numpy as np

from tlkit.errors import OptionError, WeightsError, some
from tlkit.manifest import sha256_of
from tlkit.models import constructors
from tlkit.models.architecture import Architecture
from tlkit.models.bases import PREFIX
from tlkit.models.foreign import Found, forget, found_of
from tlkit.models.hdf5_file import open_keras
from tlkit.models.weights import Loaded
from tlkit.models.weights import load_weights as load_ours
from tlkit.progress import Progress

_SUFFIXES = (".weights.h5", ".h5", ".hdf5", ".keras")


def load(model: keras.Model, architecture: Architecture, which: str, progress: Progress | None = None) -> Loaded:
    """Loads `imagenet`, `base` or a file into a model.

    Raises:
        OptionError: a file has its own weights, a constructor has none.
        WeightsError: they can't be had, or do not fit.
    """
    if (which == "base") != (architecture.foreign == "file"):
        fitting = "base" if architecture.foreign == "file" else "imagenet or a file"
        raise OptionError(f"weights={which!r} is not for {architecture.name}: use {fitting}, or None.")
    path = Path(which).expanduser()
    if which == "base":
        path = Path(architecture.options["base"])
    if which == "imagenet":
        path = fetch_imagenet(architecture, input_size=model.input.shape[1], progress=progress)
    return load_weights(model, architecture, path)


def fetch_imagenet(architecture: Architecture, *, input_size: int, progress: Progress | None = None) -> Path:
    """Returns the file that `keras:NAME` takes for ImageNet weights; see `constructors.fetch_weights`."""
    return constructors.fetch_weights(architecture.name.removeprefix(PREFIX), input_size, progress)


def load_weights(model: keras.Model, architecture: Architecture, path: Path) -> Loaded:
    """Carries pretrained weights over to a foreign base; its head stays random.

    Args:
        model: As `registry.build` returns it.
        architecture: What it was built from.
        path: `.weights.h5`, a legacy `.h5` or a `.keras` file, of the constructor or of a run of tlkit's; for a base
            that is a file, that file.

    Raises:
        WeightsError: no such file, not one of these formats, or for another model.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}. Check the path given with --weights.")
    if not path.name.endswith(_SUFFIXES):
        raise WeightsError(f"{path.name} is no weights file: tlkit reads .weights.h5, .h5 and .keras.")
    found = found_of(architecture, model.input.shape[1])
    ours = False
    if architecture.foreign == "keras":
        shapes = _shapes(path)
        ours = "head_logits" in shapes  # saved from a model with our names, its first kernels reversed already
        if not ours:
            _into_original(found.original, architecture, path)
        _check_depth(found, architecture, shapes, path)
    if ours:
        loaded = load_ours(model, architecture, path)
    else:
        _carry(found, model, path)
        loaded = Loaded(sha256=sha256_of(path), head=False)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with what is made of its weights, not with these
    forget()
    return loaded


def _shapes(path: Path) -> dict[str, list[tuple[int, ...]]]:
    """Returns the shapes of the tensors of every layer in a file, by the layer's name."""
    try:
        with open_keras(path) as file:
            return {name: [tensor.shape for tensor in tensors] for name, tensors in file.layers.items()}
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as err:  # odd HDF5 in h5py
        raise WeightsError(f"{path} can't be read as a weights file ({_reason(err)}). Fetch it again.") from err


def _check_depth(
    found: Found, architecture: Architecture, shapes: dict[str, list[tuple[int, ...]]], path: Path
) -> None:
    """Refuses the file of a deeper network of the same family: all the layers that are needed are found in it.

    Kernels larger than 1x1 are counted: classifiers have none, and what makes a network deeper has some.
    """
    spatial = [name for name, tensors in shapes.items() if any(map(_is_spatial, tensors))]
    needed = {call.operation for call in found.names if call.has_state}
    count = sum(any(_is_spatial(tuple(weight.shape)) for weight in one.weights) for one in needed)
    if len(spatial) > count:
        known = {*(one.name for one in needed), *found.names.values()}
        extra = [name for name in spatial if name not in known]
        which = f", such as {some(extra, 3)}," if extra else ""
        raise WeightsError(
            f"{path.name} is not for {architecture.name} but for a deeper network: it has {len(spatial)} convolutions "
            f"larger than 1x1{which} where {architecture.name} has {count}. Check --base and --weights."
        )


def _is_spatial(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and max(shape[:2]) > 1


def _into_original(original: keras.Model, architecture: Architecture, path: Path) -> None:
    """Loads a file as the constructor would; one with the classifier by the names of layers."""
    try:
        with warnings.catch_warnings():
            # Keras warns of each list of layers that a file lacks, and then raises of the layers: that is enough.
            warnings.filterwarnings("ignore", "Skipping nested container", UserWarning)
            try:
                original.load_weights(path)
            except ValueError:
                if not _holds_all(original, path):
                    raise
                original.load_weights(path, by_name=True)
    except Exception as err:  # what odd HDF5 provokes in Keras
        raise WeightsError(
            f"{path.name} is not for {architecture.name} ({_reason(err)}). Check --base and --weights; of the files "
            "that Keras publishes, take the one without the classifier (notop)."
        ) from err


def _holds_all(original: keras.Model, path: Path) -> bool:
    """Whether a legacy file has a layer of every name that is needed: it has the classifier too, then."""
    with h5py.File(path, "r") as file:
        root = file["model_weights"] if "model_weights" in file else file
        names = [name if isinstance(name, str) else name.decode() for name in root.attrs.get("layer_names", ())]
    return {layer.name for layer in original.layers if layer.weights} <= set(names)


def _carry(found: Found, model: keras.Model, path: Path) -> None:
    """Assigns every layer of the original to ours; kernels that take blue first are reversed."""
    values = {
        name: [keras.ops.convert_to_numpy(weight) for weight in call.operation.weights]
        for call, name in found.names.items()
        if call.has_state
    }
    for name, arrays in values.items():
        if not all(np.isfinite(array).all() for array in arrays):
            raise WeightsError(f"{path.name} has values in {name} that are not numbers. Fetch it again.")
    for name, arrays in values.items():
        if name in found.first:
            arrays[0] = arrays[0][:, :, ::-1]
        model.get_layer(name).set_weights(arrays)


def _reason(err: BaseException) -> str:
    return (str(err).strip() or type(err).__name__).splitlines()[0][:300]
