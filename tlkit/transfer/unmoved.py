"""The proof that frozen stages are what they were: bit by bit, statistics of batch norms included."""

import hashlib
from collections.abc import Sequence

import keras
import numpy as np

from tlkit.errors import TlkitError
from tlkit.transfer.freeze import stage_of


def fingerprints(model: keras.Model, stages: Sequence[str], *, batch_norms: bool = True) -> dict[str, str]:
    """Returns the sha256 of all weights of each of some stages, in the order of the layers.

    Args:
        model: With named stages.
        stages: Which of them.
        batch_norms: Whether those of batch norms count.
    """
    digests = {stage: hashlib.sha256() for stage in stages}
    for layer in model.layers:
        if not batch_norms and isinstance(layer, keras.layers.BatchNormalization):
            continue
        if (digest := digests.get(stage_of(layer.name))) is not None:
            for weight in layer.weights:
                digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return {stage: digest.hexdigest() for stage, digest in digests.items()}


def check_unmoved(before: dict[str, str], model: keras.Model, *, batch_norms: bool = True) -> None:
    """Compares with an earlier state.

    Raises:
        TlkitError: a stage has moved.
    """
    after = fingerprints(model, list(before), batch_norms=batch_norms)
    if moved := [stage for stage, digest in before.items() if after[stage] != digest]:
        raise TlkitError(
            f"Frozen stages have moved in training: {', '.join(moved)}. Nothing was saved, since this run would not be "
            "what it says. Train again with --no-cache, and report this."
        )
