"""A user's own model in a `.keras` file: read without running anything in it, and what its input takes."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from tlkit.errors import BaseError
from tlkit.models.graph import Call, Graph, Value
from tlkit.models.hdf5_file import check_size

_SAVE = "Load it where it was made and save it with: model.save('model.keras')"


def check(path: Path) -> None:
    """Checks that a file is a model in Keras 3's own format.

    Raises:
        BaseError: it is missing or something else.
    """
    if not path.exists():
        raise BaseError(f"There is no model {path}. Check the path given with --base.")
    if path.is_dir():
        raise BaseError(f"{path} is a folder, not a .keras file. {_SAVE}")
    with path.open("rb") as file:
        head = file.read(8)
    if head == b"\x89HDF\r\n\x1a\n":
        raise BaseError(f"{path} is HDF5, the format of before Keras 3, which can't be read in safe mode. {_SAVE}")
    if path.suffix != ".keras":
        raise BaseError(f"{path} is no .keras file, and tlkit takes no other as a base. {_SAVE}")
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                check_size(info)
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, RecursionError) as err:
        raise BaseError(f"{path} is no Keras model, or is damaged ({_reason(err)}). {_SAVE}") from err
    if found := sorted({name for name in _code(config)}):
        raise BaseError(
            f"{path} holds code: {', '.join(found)}. tlkit runs no code that comes in a file. Put layers in its place, "
            "such as Rescaling for a normalization, and save the model again."
        )


def _code(config: Any) -> Iterator[str]:  # noqa: ANN401
    """Yields what in a config carries code, by name."""
    if isinstance(config, dict):
        if config.get("class_name") in ("Lambda", "__lambda__"):
            inner = config.get("config")
            name = inner.get("name") if isinstance(inner, dict) else None
            yield f"the Lambda layer {name!r}" if name else "a lambda"
            return
        config = list(config.values())
    for part in config if isinstance(config, list) else ():
        yield from _code(part)


def load(path: Path) -> keras.Model:
    """Loads a model in safe mode, with its weights.

    Raises:
        BaseError: Keras can't, or it is no model from one RGB image to one output.
    """
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as err:  # a damaged or forged file provokes every kind
        advice = "Save the model again."
        if "ustom" in str(err) or "ould not locate" in str(err):
            advice = (
                "If it has layers of your own, import the module that registers them "
                "(keras.saving.register_keras_serializable) and call tlkit.finetune from Python."
            )
        raise BaseError(f"{path} can't be loaded: {_reason(err)}. {advice}") from err
    if not isinstance(model, keras.Model):
        raise BaseError(f"{path} holds a {type(model).__name__}, not a model. {_SAVE}")
    inputs = getattr(model, "inputs", None) or []
    shapes = [tuple(tensor.shape) for tensor in inputs]
    if len(shapes) == 1 and (len(shapes[0]) != 4 or shapes[0][3] != 3):
        raise BaseError(
            f"{path} takes {shapes[0]}, not RGB images [N, height, width, 3], so photos can't be given to it."
        )
    return model


def input_size(model: keras.Model) -> int | None:
    """Returns the side of a model's square input in pixels, or None where it takes any, or is not square."""
    _, height, width, _ = model.inputs[0].shape
    return height if height == width else None


def input_of(body: Graph) -> str | None:
    """Returns what the normalization at a model's input shows that it takes: `0..255`, or None where it shows nothing.

    Rescaling by a hundredth, or a mean of a hundred, makes sense on grey levels alone.
    """
    reached = {body.image}
    for call in body.calls:
        if not reached & set(call.inputs):
            continue
        if _on_grey_levels(call):
            return "0..255"
        normalizes = isinstance(call.operation, layers.Rescaling | layers.Normalization)
        if not call.has_weights and (not normalizes or _is_identity(call.operation)):
            reached |= set(call.outputs)
    return None


def _is_identity(operation: layers.Layer) -> bool:
    if not isinstance(operation, layers.Rescaling):
        return False
    return bool(np.all(np.equal(operation.scale, 1)) and np.all(np.equal(operation.offset, 0)))


def _on_grey_levels(call: Call) -> bool:
    operation = call.operation
    if isinstance(operation, layers.Rescaling):
        by_tlkit = operation.name == "input_rescaling"  # every model of ours takes RGB in [0, 255]
        return by_tlkit or bool(np.max(np.abs(operation.scale)) < 0.1 or np.max(np.abs(operation.offset)) > 50)
    if isinstance(operation, layers.Normalization):
        mean = [np.asarray(keras.ops.convert_to_numpy(weight)) for weight in operation.weights[:1]]
        mean += [np.asarray(operation.input_mean)] if operation.input_mean is not None else []
        return bool(mean) and bool(np.max(np.abs(mean[0])) > 2)
    kind = type(operation).__name__  # `keras.applications.*.preprocess_input` in a graph
    parts = [part for part in keras.tree.flatten((call.args, call.kwargs)) if not isinstance(part, Value)]
    numbers = [np.max(np.abs(np.asarray(part))) for part in parts if np.asarray(part).dtype.kind in "fiu"]
    if kind in ("TrueDivide", "Divide", "Subtract", "Add"):
        return any(number > 50 for number in numbers)
    return kind == "Multiply" and any(number < 0.1 for number in numbers)


def _reason(err: BaseException) -> str:
    """The first sentence of what was raised."""
    text = " ".join((str(err).strip() or type(err).__name__).split())
    text = text.rpartition("Exception encountered: ")[2]  # Keras puts whole configs before it
    return text.partition(". ")[0].rstrip(".")[:300]
