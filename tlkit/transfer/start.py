"""The model that a run begins with when it goes on from another: that one's, with room for new classes."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit.errors import RunError
from tlkit.manifest import sha256_of

FINAL = "head_logits"
_REPAIR = "Restore it from a copy, or train again."


def grown_model(path: Path, *, old: int, classes: int) -> tuple[keras.Model, dict[str, Any]]:
    """Reads a run's model and widens its final layer.

    A new class begins neutral: its kernel is 0 and its bias the mean of the others, so it gets the logit of a class of
    which nothing is known, and what the model says of the old classes relative to each other stays as it was.

    Args:
        path: `model.keras` of the run.
        old: Its number of classes.
        classes: Of the grown run, the old ones first.

    Returns:
        A model from `[N, S, S, 3]` float32 RGB in [0, 255] to `[N, classes]` logits, and the manifest's `weights`.

    Raises:
        RunError: the file is broken, or not the model of such a run.
    """
    try:
        sha256 = sha256_of(path)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as err:  # a damaged or forged file provokes every kind
        raise RunError(f"{path} can't be loaded ({str(err).strip().partition(chr(10))[0]}). {_REPAIR}") from err
    try:
        final = model.get_layer(FINAL)
        features, width = final.input, final.output.shape[-1]
    except (ValueError, AttributeError) as err:
        raise RunError(f"{path} has no layer {FINAL}, so it is not the model of a run. {_REPAIR}") from err
    if width != old:
        raise RunError(f"{path} is not the model of this run: it knows {width} classes, run.json {old}. {_REPAIR}")
    wider = keras.layers.Dense(classes, name=FINAL)
    logits = wider(features)
    kernel, bias = (np.asarray(values) for values in final.get_weights())
    new = classes - old
    wider.set_weights(
        [
            np.concatenate([kernel, np.zeros((len(kernel), new), kernel.dtype)], axis=1),
            np.concatenate([bias, np.full(new, bias.mean(), bias.dtype)]),
        ]
    )
    return keras.Model(model.input, logits, name=model.name), {
        "source": str(path),
        "sha256": sha256,
        "file": path.name,
    }
